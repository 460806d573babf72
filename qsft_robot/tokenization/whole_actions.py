"""Actions that are one token each; what is seen is cut into tokens as any text is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from qsft_robot.errors import CheckpointError, ConfigurationError
from qsft_robot.tokenization.text_tokenizer import END_OF_LINE, PADDING, TextTokenizer, lines_of


class WholeActionTokenizer(TextTokenizer):
    """Numbers the actions that the data hold. Others can be read, where they were taken, but not chosen.

    Args:
        encoding: a `tokenizers.Tokenizer` of the text.
        actions: first lines, without their ends, in the order of their tokens.
        room: most tokens of an action's text.
        padding, end_of_line: two tokens of the text.
    """

    kind = "whole_actions"
    never = None

    def __init__(
        self,
        encoding: Any,
        actions: Sequence[str],
        room: int,
        padding: int = PADDING,
        end_of_line: int = END_OF_LINE,
    ) -> None:
        super().__init__(encoding, 1, padding, end_of_line)
        self.actions = tuple(actions)
        self._room = room
        self._number = {text: number for number, text in enumerate(self.actions)}

    @classmethod
    def fit(cls, texts: Iterator[str], actions: Sequence[str], vocabulary: int) -> WholeActionTokenizer:
        """Learn the text's tokens, at most `vocabulary`, and number the actions.

        Raises:
            ConfigurationError: a vocabulary smaller than the 256 bytes and two tokens.
            DataError: no actions.
        """
        text = TextTokenizer.fit(texts, actions, vocabulary)
        return cls(text.encoding, sorted({lines_of(str(each))[0] for each in actions}), text.dimensions)

    @classmethod
    def pretrained(cls, encoding: Any, actions: Sequence[str]) -> WholeActionTokenizer:
        """A pretrained model writes its actions in its own tokens.

        Raises:
            ConfigurationError: always.
        """
        raise ConfigurationError("a pretrained model's actions cannot be one token each")

    @property
    def bins(self) -> int:
        """Number of actions."""
        return len(self.actions)

    @property
    def room(self) -> int:
        return self._room

    def action(self, text: str) -> tuple[int, ...]:
        """The token of an action; nothing for one that the data do not hold."""
        number = self._number.get(lines_of(text)[0])
        return () if number is None else (number,)

    def decode(self, tokens: np.ndarray) -> list[str]:
        r"""The actions of rows (N, 1) of tokens, ended by `\n`."""
        return [self.actions[token] + "\n" for token in tokens[:, 0].tolist()]

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "actions": list(self.actions), "room": self.room}

    @classmethod
    def from_dict(cls, description: dict[str, Any]) -> WholeActionTokenizer:
        """Restore what `to_dict` described.

        Raises:
            CheckpointError: the description lacks a part or is damaged.
        """
        text = TextTokenizer.from_dict(description)
        try:
            return cls(text.encoding, description["actions"], int(description["room"]), text.padding, text.end_of_line)
        except KeyError as error:
            raise CheckpointError(f"the checkpoint's text tokenizer lacks {error}") from error
