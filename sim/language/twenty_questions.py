r"""Twenty Questions: find out, by yes-or-no questions, which of 158 everyday objects is meant.

Observation: all that was said.

    Questions:
    Is the object alive?
    No.

Action: a question, `Is the object alive?\n`. A question for one of the objects, `Is the object a guitar?\n`, is a
guess; the right one ends the game. The oracle (oracles.py) answers the others; what it does not understand it
answers with `No.`. Reward: 0 for the right guess, -1 for everything else, at most twenty times.

After LMRL-Gym (Abdulhai et al. 2023), written anew with objects, attributes and oracle of our own. There a fine-tuned
flan-t5-xl answers; here that is `oracle="hf"`, and a table of attributes answers by default.
"""

from __future__ import annotations

from functools import cache

from qsft_robot.sim.language.game import TextGame, one_line
from qsft_robot.sim.language.oracles import AttributeOracle, Thing, make_oracle, normal_form, table

QUESTIONS = 20
HEADER = "Questions:\n"
ACTION_LENGTH = 120
ANSWERS = {True: "Yes.\n", False: "No.\n"}


PLAIN = (
    "bread cheese chocolate coffee corn headphones ice_cream milk orange_juice pants rice scissors soap soup "
    "sunglasses tea"
)
"""Objects whose name takes no article (`_` for a space)."""


def guess_of(thing: Thing) -> str:
    """The action that guesses `thing`."""
    name = thing.name.lower()
    article = "" if name.replace(" ", "_") in PLAIN.split() else "an " if name[0] in "aeiou" else "a "
    return f"Is the object {article}{name}?\n"


@cache
def guesses() -> dict[str, int]:
    """Guess in normal form, by any of an object's names -> number of the object."""
    found = {}
    for number, thing in enumerate(table().things):
        for name in thing.names:
            found[normal_form(f"Is the object {name}?")] = number
    return found


@cache
def _actions() -> tuple[str, ...]:
    return (*(question + "\n" for question in table().questions), *(guess_of(thing) for thing in table().things))


class TwentyQuestionsEnv(TextGame):
    """The game of one object; see the module's docstring.

    Args:
        oracle: who answers: `table`, `hf` (a Hugging Face model) or `openai` (an OpenAI-compatible endpoint).
        oracle_model: name or folder of the model, for `hf` and `openai`.
        oracle_address: base of the endpoint, for `openai`.
        render_mode: None or `ansi`.

    Raises:
        ConfigurationError: an option has an impossible value.
        MissingExtraError: the oracle needs a package that is not installed.
    """

    def __init__(
        self,
        *,
        oracle: str = "table",
        oracle_model: str | None = None,
        oracle_address: str | None = None,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(
            observation_length=len(HEADER) + QUESTIONS * (ACTION_LENGTH + 1 + len(ANSWERS[True])),
            action_length=ACTION_LENGTH,
            render_mode=render_mode,
        )
        self.oracle = make_oracle(oracle, oracle_model, oracle_address)
        self.number = 0
        """Which object is meant."""
        self.turns: list[tuple[str, bool]] = []
        """What was asked, and whether the answer was yes."""

    @property
    def thing(self) -> Thing:
        """The object that is meant."""
        return table().things[self.number]

    def _start(self) -> None:
        self.number = int(self.np_random.integers(len(table().things)))
        self.turns = []

    def _play(self, action: str) -> tuple[float, bool, bool]:
        question = one_line(action, ACTION_LENGTH)
        whole = len(action.strip()) <= ACTION_LENGTH
        guess = guesses().get(normal_form(question)) if whole else None
        valid = guess is not None or (whole and self.oracle.understands(question))
        if guess is not None:
            yes = guess == self.number
        else:
            yes = valid and self.oracle.answer(self.thing, question)
        self.turns.append((question, yes))
        return -float(not self.won), self.won or len(self.turns) == QUESTIONS, valid

    def text(self) -> str:
        """All questions and answers up to now."""
        return HEADER + "".join(f"{question}\n{ANSWERS[yes]}" for question, yes in self.turns)

    @property
    def won(self) -> bool:
        """Whether the last question was the right guess."""
        return bool(self.turns) and guesses().get(normal_form(self.turns[-1][0])) == self.number

    def legal_actions(self) -> tuple[str, ...] | None:
        """The questions of the table and all guesses; None where a model answers, which takes any question."""
        return _actions() if isinstance(self.oracle, AttributeOracle) else None
