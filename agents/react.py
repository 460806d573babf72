"""ReAct (Yao et al. 2023): a prompted chat model that thinks in words before each action; nothing is trained.

The model answers behind any OpenAI-compatible endpoint. Each turn it is shown what the player sees and asked for a
line `Thought: ...` and a line `Action: ...`. Its own earlier turns stay in the conversation, oldest left out first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from qsft_robot.agents.base import Agent, Observation
from qsft_robot.errors import ConfigurationError, DataError, MissingExtraError, QsftRobotError

INSTRUCTIONS: Mapping[str, str] = {
    "wordle": (
        "You play Wordle: find a hidden word of five letters in six guesses. After each guess every letter is marked: "
        "g it is right, y it is elsewhere in the word, b it is not there. An action is a word with spaces between its "
        "letters, such as: s h i r e"
    ),
    "twenty_questions": (
        "You play Twenty Questions: find out which everyday object is meant, by at most twenty questions that can be "
        "answered with yes or no. An action is a question, such as: Is the object alive? You win by asking for the "
        "object itself, such as: Is the object a chair?"
    ),
    "webshop": (
        "You shop in a web shop made of text: find and buy a product that the instruction describes. An action is "
        "search[words] on the first page, or click[name of a button] of those that the page offers"
    ),
    "chess": "You play chess as White. You see the position in FEN, or as a list of pieces, yours in capital "
    "letters, maybe with the legal moves below it. An action is one move in SAN with spaces between its characters, "
    "such as: N f 3",
    "alfworld": (
        "You act in a household through text, to carry out the task that you are given. An action is a command, such "
        "as: go to desk 1, take mug 1 from desk 1, open fridge 1, look"
    ),
}
"""What the model is told about each simulation, by the name of its option."""
FORMAT = (
    "Answer every time with exactly two lines:\nThought: <what you think about it>\nAction: <one action, nothing else>"
)
AGAIN = "That was not of the required form. Answer with a line `Thought: ...` and then a line `Action: ...`."
REMEMBERED_TURNS = 30
"""Turns of the conversation that are sent, so that a long episode stays within a model's context."""
TRIES = 3
"""How often a model is asked for one action before the last thing it said counts as the action."""
SHOWN_ACTIONS = 60
"""Legal actions that are listed, where the environment lists them and there are no more than these."""


class ReActAgent(Agent):
    """Acts by what a chat model answers.

    Args:
        address: base of the endpoint, for example `http://127.0.0.1:8000/v1`; the key is in OPENAI_API_KEY.
        model: name of the model there.
        sim: name of the simulation, which chooses the instructions.
        temperature: of the model's sampling.
        most_tokens: of one answer.

    Raises:
        MissingExtraError: the client is not installed.
        ConfigurationError: there are no instructions for this simulation, or the client refuses its settings.
    """

    name = "react"

    def __init__(self, address: str, model: str, sim: str, temperature: float = 0.0, most_tokens: int = 200) -> None:
        try:
            import openai
        except ImportError as error:
            raise MissingExtraError("language", "prompting a served model") from error
        key = "chess" if sim == "chess_endgame" else sim
        if key not in INSTRUCTIONS:
            raise ConfigurationError(f"sim={sim} does not act by text; ReAct plays {', '.join(INSTRUCTIONS)}")
        self._instructions = f"{INSTRUCTIONS[key]}.\n{FORMAT}"
        self._error: type[Exception] = openai.OpenAIError
        self._address, self._model = address, model
        self._temperature, self._most_tokens = temperature, most_tokens
        try:
            self._client = openai.OpenAI(base_url=address)
        except openai.OpenAIError as error:
            raise ConfigurationError(f"the model at {address} cannot be used: {error}") from error
        self._turns: list[dict[str, str]] = []
        self._legal: tuple[str, ...] = ()
        self._seed = 0
        self.malformed = 0
        """Answers without an action, since the agent was made."""

    def reset(self, seed: int) -> None:
        self._turns = []
        self._seed = seed

    def inform(self, info: Mapping[str, Any]) -> None:
        """Take the legal actions, to list them where they are few."""
        legal = info.get("legal_actions") or ()
        self._legal = tuple(legal) if len(legal) <= SHOWN_ACTIONS else ()

    def act(self, observation: Observation) -> str:
        """Return the action that the model names, ended by a line feed.

        Raises:
            DataError: the observation holds no text.
            QsftRobotError: the endpoint does not answer.
        """
        if "text" not in observation:
            raise DataError("the observation has no 'text', which ReAct needs")
        seen = str(observation["text"])
        if self._legal:
            seen += "\nPossible actions:\n" + "\n".join(each.strip() for each in self._legal)
        self._turns.append({"role": "user", "content": seen})
        reply = ""
        for _ in range(TRIES):
            reply = self._complete()
            self._turns.append({"role": "assistant", "content": reply})
            action = action_of(reply)
            if action is not None:
                return action
            self.malformed += 1
            self._turns.append({"role": "user", "content": AGAIN})
        return " ".join(reply.split()) + "\n"

    def _complete(self) -> str:
        # An odd number of turns, so that the first that is remembered is the user's.
        remembered = self._turns[1 - 2 * REMEMBERED_TURNS :]
        messages: Any = [{"role": "system", "content": self._instructions}, *remembered]
        try:
            reply = self._client.chat.completions.create(
                model=self._model,
                messages=messages,
                max_tokens=self._most_tokens,
                temperature=self._temperature,
                seed=self._seed,
                stop=["\nObservation:"],
            )
        except self._error as error:
            raise QsftRobotError(f"the model at {self._address} did not answer: {error}") from error
        return reply.choices[0].message.content or ""


def action_of(reply: str) -> str | None:
    """The last line `Action: ...` of an answer, as an action; None where there is none."""
    found = re.findall(r"^\s*action\s*:[ \t]*(\S.*)$", reply, flags=re.IGNORECASE | re.MULTILINE)
    return found[-1].strip().strip("`\"'") + "\n" if found else None
