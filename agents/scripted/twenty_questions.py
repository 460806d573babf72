"""Scripted player of `TwentyQuestionsEnv`: halves what is left, with lapses of attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from qsft_robot.agents.base import Observation
from qsft_robot.agents.scripted.text import ScriptedPlayer
from qsft_robot.sim.language.oracles import normal_form, table
from qsft_robot.sim.language.twenty_questions import TwentyQuestionsEnv, guess_of, guesses


@dataclass(frozen=True)
class TwentyQuestionsImperfections:
    """What goes wrong in `twenty_questions`; all zero makes every question halve what is left, as far as one can.

    Attributes:
        random_question: probability of a question drawn from all, whatever is known already.
        random_guess: probability of guessing one of the objects that are left, however many.
        lapse: probability that an answer is not taken in.
    """

    random_question: float = 0.72
    random_guess: float = 0.05
    lapse: float = 0.1


class ScriptedTwentyQuestions(ScriptedPlayer[TwentyQuestionsEnv]):
    """Keeps track of the objects that fit the answers, and asks what divides them.

    Args:
        env: a `TwentyQuestionsEnv`, or a wrapper around one.
        imperfections: what goes wrong.
    """

    name = "scripted_twenty_questions"

    def __init__(self, env: Any, imperfections: TwentyQuestionsImperfections | None = None) -> None:
        super().__init__(env)
        self._imperfections = TwentyQuestionsImperfections() if imperfections is None else imperfections
        self._questions = list(table().questions.items())
        self._columns = {key: column for column, key in enumerate(table().keys)}
        self._fitting = np.arange(len(table().things))
        self._heard = 0

    def reset(self, seed: int) -> None:
        """Start an episode; call it after the environment's reset."""
        super().reset(seed)
        self._fitting = np.arange(len(table().things))
        self._heard = 0

    def act(self, observation: Observation) -> str:
        """The next question; the observation is not used."""
        random, wrong = self._random, self._imperfections
        for question, yes in self._game.turns[self._heard :]:
            self._listen(question, yes)
        self._heard = len(self._game.turns)
        kind = random.uniform()
        if kind < wrong.random_question:
            return self._questions[int(random.integers(len(self._questions)))][0] + "\n"
        if len(self._fitting) <= 2 or kind < wrong.random_question + wrong.random_guess:
            return guess_of(table().things[int(random.choice(self._fitting))])
        shares = table().truth[self._fitting].mean(axis=0)
        best = np.flatnonzero(np.abs(shares - 0.5) <= np.abs(shares - 0.5).min() + 0.02)
        key = table().keys[int(random.choice(best))]
        wordings = [question for question, meant in self._questions if meant == key]
        return wordings[int(random.integers(len(wordings)))] + "\n"

    def _listen(self, question: str, yes: bool) -> None:
        """Drop the objects that do not fit an answer; answers that leave none (an oracle may err) are not believed."""
        guessed = guesses().get(normal_form(question))
        if guessed is None and self._random.uniform() < self._imperfections.lapse:
            return
        if guessed is not None:
            left = self._fitting[self._fitting != guessed]
        else:
            column = self._columns[table().meanings[normal_form(question)]]
            left = self._fitting[table().truth[self._fitting, column] == yes]
        self._fitting = left if len(left) else np.arange(len(table().things))
