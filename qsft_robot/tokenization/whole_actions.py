"""Actions that are one token each; what is seen is cut into tokens as any text is.

With `quotes`, a line that begins with an action, and then ends or goes on after a space, begins with that action's
token too, before those of its text: where observations list what can be done, a model can point at it
(line_pointers.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
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
        quotes: whether lines that begin with an action say so; the actions' tokens follow those of the text.
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
        quotes: bool = False,
    ) -> None:
        super().__init__(encoding, 1, padding, end_of_line)
        self.actions = tuple(actions)
        self.quotes = quotes
        self._room = room
        self._number = {text: number for number, text in enumerate(self.actions)}

    @classmethod
    def fit(
        cls, texts: Iterator[str], actions: Sequence[str], vocabulary: int, quotes: bool = False
    ) -> WholeActionTokenizer:
        """Learn the text's tokens, at most `vocabulary`, and number the actions.

        Raises:
            ConfigurationError: a vocabulary smaller than the 256 bytes and two tokens.
            DataError: no actions.
        """
        text = TextTokenizer.fit(texts, actions, vocabulary)
        room = text.dimensions + int(quotes)
        return cls(text.encoding, sorted({lines_of(str(each))[0] for each in actions}), room, quotes=quotes)

    @classmethod
    def pretrained(cls, encoding: Any, actions: Sequence[str]) -> WholeActionTokenizer:
        """A pretrained model writes its actions in its own tokens.

        Raises:
            ConfigurationError: always.
        """
        raise ConfigurationError("a pretrained model's actions cannot be one token each")

    @property
    def vocabulary(self) -> int:
        """Number of tokens of text, and of actions where lines quote them."""
        return super().vocabulary + self.quotes * len(self.actions)

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

    def make_room(self, actions: Sequence[str]) -> None:
        self._room = max(self._room, max(len(self._line(lines_of(text)[0])) for text in set(actions)))

    def words(self, actions: Iterable[str]) -> set[int]:
        """The tokens that actions are made of; where lines quote them, also those behind a space, as in `[red]`."""
        actions = tuple(actions)
        if not self.quotes:
            return super().words(actions)
        apart = [" ".join(("", *re.findall(r"[^\W_]+", text))) for text in actions]
        text_tokens = super().vocabulary
        return {token for token in super().words((*actions, *apart)) if token < text_tokens}

    def decode(self, tokens: np.ndarray) -> list[str]:
        r"""The actions of rows (N, 1) of tokens, ended by `\n`."""
        return [self.actions[token] + "\n" for token in tokens[:, 0].tolist()]

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "actions": list(self.actions), "room": self.room, "quotes": self.quotes}

    @classmethod
    def from_dict(cls, description: dict[str, Any]) -> WholeActionTokenizer:
        """Restore what `to_dict` described.

        Raises:
            CheckpointError: the description lacks a part or is damaged.
        """
        text = TextTokenizer.from_dict(description)
        try:
            actions, room = description["actions"], int(description["room"])
        except KeyError as error:
            raise CheckpointError(f"the checkpoint's text tokenizer lacks {error}") from error
        quotes = bool(description.get("quotes", False))
        return cls(text.encoding, actions, room, text.padding, text.end_of_line, quotes)

    def _encode_line(self, line: str) -> tuple[int, ...]:
        tokens = super()._encode_line(line)
        quoted = self.quoted(line) if self.quotes else None
        return tokens if quoted is None else (super().vocabulary + self._number[quoted], *tokens)

    def quoted(self, line: str) -> str | None:
        """The longest action that a line begins with, up to its end or a space."""
        ends = (place for place in range(len(line), 0, -1) if line[place : place + 1] in ("", " "))
        return next((line[:end] for end in ends if line[:end] in self._number), None)
