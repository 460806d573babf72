"""Scripted players of `WordleEnv`: the random mixture that data come from, and one that is close to optimal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from qsft_robot.agents.base import Observation
from qsft_robot.agents.scripted.text import ScriptedPlayer
from qsft_robot.sim.language.wordle import Vocabulary, WordleEnv


@dataclass(frozen=True)
class WordleImperfections:
    """What goes wrong in `wordle`; all zero makes every guess fit the marks so far.

    Attributes:
        random_guess: probability that a guess is any word, whatever the marks. The default is LMRL-Gym's mixture of
            one smart guess in three, whose data return -4.12 on average.
    """

    random_guess: float = 2 / 3


class ScriptedWordle(ScriptedPlayer[WordleEnv]):
    """Guesses, at random, a word that fits all marks, or now and then just any word.

    Args:
        env: a `WordleEnv`, or a wrapper around one.
        imperfections: what goes wrong.
    """

    name = "scripted_wordle"

    def __init__(self, env: Any, imperfections: WordleImperfections | None = None) -> None:
        super().__init__(env)
        self._imperfections = WordleImperfections() if imperfections is None else imperfections

    def act(self, observation: Observation) -> str:
        """The next guess; the observation is not used."""
        vocabulary = self._game.vocabulary
        anything = self._random.uniform() < self._imperfections.random_guess
        words = np.arange(len(vocabulary.words)) if anything else self._game.candidates()
        return vocabulary.actions[int(self._random.choice(words))]


class EntropyWordle(ScriptedPlayer[WordleEnv]):
    """Guesses the fitting word whose marks tell most, by the entropy of what they leave: the yardstick for policies.

    Args:
        env: a `WordleEnv`, or a wrapper around one.
    """

    name = "entropy_wordle"

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self._first = most_telling(self._game.vocabulary, np.arange(len(self._game.vocabulary.words)))

    def act(self, observation: Observation) -> str:
        """The next guess; the observation is not used."""
        vocabulary = self._game.vocabulary
        place = most_telling(vocabulary, self._game.candidates()) if self._game.turns else self._first
        return vocabulary.actions[place]


def most_telling(vocabulary: Vocabulary, candidates: np.ndarray) -> int:
    """The one of `candidates` (n,) whose marks have the largest entropy over them; the first of equals."""
    entropies = []
    for guess in candidates:
        counts = np.bincount(vocabulary.marks[guess, candidates])
        shares = counts[counts > 0] / len(candidates)
        entropies.append(-float(np.sum(shares * np.log(shares))))
    return int(candidates[int(np.argmax(np.round(entropies, 9)))])
