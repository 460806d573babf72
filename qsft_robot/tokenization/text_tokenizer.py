"""Text to tokens, line by line, so that how a line is cut does not depend on what stands around it.

An observation is a number of lines, an action is one line; each ends in the token of the line feed. An episode whose
observation grows (what was seen, what was done, what came of it) is then one stream of tokens, in which an action that
was taken and the same action quoted by a later observation are the same tokens.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from qsft_robot.errors import CheckpointError, ConfigurationError, DataError

PADDING, END_OF_LINE = 0, 1
"""The first tokens of a vocabulary that was learned here."""
CACHED_LINES = 200_000


class TextTokenizer:
    """Byte-pair encoding within words (Sennrich et al. 2016), learned from the data: `fit`.

    Bytes are the alphabet, so every text can be written; letters that stand apart stay apart.

    Args:
        encoding: a `tokenizers.Tokenizer`.
        dimensions: most tokens of an action, the end of its line included.
        padding: token of places that hold nothing; it is never written.
        end_of_line: token that ends an observation's lines and an action.
    """

    kind = "byte_pair"

    def __init__(self, encoding: Any, dimensions: int, padding: int = PADDING, end_of_line: int = END_OF_LINE) -> None:
        self.encoding = encoding
        self.dimensions = dimensions
        self.padding = padding
        self.end_of_line = end_of_line
        self._line = lru_cache(CACHED_LINES)(self._encode_line)

    @classmethod
    def fit(cls, texts: Iterator[str], actions: Sequence[str], vocabulary: int) -> TextTokenizer:
        """Learn at most `vocabulary` tokens from lines of text.

        Raises:
            ConfigurationError: a vocabulary smaller than the 256 bytes and the two tokens of its own.
            DataError: no actions.
        """
        from tokenizers import Tokenizer
        from tokenizers.decoders import ByteLevel as ByteDecoder
        from tokenizers.models import BPE
        from tokenizers.pre_tokenizers import ByteLevel
        from tokenizers.trainers import BpeTrainer

        smallest = len(ByteLevel.alphabet()) + 2
        if vocabulary < smallest:
            raise ConfigurationError(f"model.vocabulary={vocabulary} must be at least {smallest}: bytes come first")
        encoding = Tokenizer(BPE())
        encoding.pre_tokenizer = ByteLevel(add_prefix_space=False)
        encoding.decoder = ByteDecoder()
        trainer = BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=["<padding>", "<end of line>"],
            initial_alphabet=sorted(ByteLevel.alphabet()),
            show_progress=False,
        )
        encoding.train_from_iterator((line for text in texts for line in lines_of(text)), trainer)
        tokenizer = cls(encoding, 1)
        tokenizer.dimensions = tokenizer.longest(actions)
        return tokenizer

    @property
    def vocabulary(self) -> int:
        """Number of tokens of text."""
        return int(self.encoding.get_vocab_size())

    @property
    def bins(self) -> int:
        """Number of tokens that an action is made of."""
        return self.vocabulary

    @property
    def never(self) -> int | None:
        """The token that no action is made of, or None."""
        return self.padding

    @property
    def room(self) -> int:
        """Most tokens that an action adds to a stream."""
        return self.dimensions

    def written(self, text: str) -> tuple[int, ...]:
        """What an action adds to a stream; one that is longer than `room` ends early, but ends."""
        line = self._line(lines_of(text)[0])
        return line if len(line) <= self.room else (*line[: self.room - 1], self.end_of_line)

    @classmethod
    def pretrained(cls, encoding: Any, actions: Sequence[str]) -> TextTokenizer:
        """The tokenizer of a pretrained model, for these actions.

        Raises:
            ConfigurationError: it does not write the line feed as a token.
            DataError: no actions.
        """
        ends = encoding.encode("a\n", add_special_tokens=False).ids
        if len(ends) < 2 or encoding.decode(ends[-1:]) != "\n":
            raise ConfigurationError("this model's tokenizer has no token of its own for the end of a line")
        special = [token for token, added in encoding.get_added_tokens_decoder().items() if added.special]
        if not special:
            raise ConfigurationError("this model's tokenizer has no special token that could stand for nothing")
        tokenizer = cls(encoding, 1, min(special), ends[-1])
        tokenizer.dimensions = tokenizer.longest(actions)
        return tokenizer

    def longest(self, actions: Sequence[str]) -> int:
        """Most tokens of any of these actions.

        Raises:
            DataError: there is none.
        """
        if not len(actions):
            raise DataError("there are no actions to learn from")
        return max(len(self.action(each)) for each in set(actions))

    def make_room(self, actions: Sequence[str]) -> None:
        """Let the longest of these actions, too, be written in full."""
        self.dimensions = max(self.dimensions, self.longest(actions))

    def observation(self, text: str) -> list[int]:
        """Tokens of an observation."""
        return [token for line in lines_of(text) for token in self._line(line)]

    def action(self, text: str) -> tuple[int, ...]:
        """Tokens of an action, which is the first line of `text`."""
        return self._line(lines_of(text)[0])

    def words(self, actions: Iterable[str]) -> set[int]:
        """The tokens that actions are made of."""
        return {token for text in actions for token in self.observation(text)}

    def encode(self, actions: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Tokens of actions, cut at D.

        Returns:
            (N, D) int64, filled up with padding, and (N,) int64: how many each one has.
        """
        tokens = np.full((len(actions), self.dimensions), self.padding, dtype=np.int64)
        lengths = np.zeros(len(actions), dtype=np.int64)
        for row, text in enumerate(actions):
            line = self.action(str(text))[: self.dimensions]
            tokens[row, : len(line)] = line
            lengths[row] = len(line)
        return tokens, lengths

    def decode(self, tokens: np.ndarray) -> list[str]:
        r"""The actions that rows (N, D) of tokens write, each up to its end of line and ended by `\n`."""
        texts = []
        for row in tokens.tolist():
            stop = row.index(self.end_of_line) if self.end_of_line in row else len(row)
            texts.append(self._text([token for token in row[:stop] if token != self.padding]) + "\n")
        return texts

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description; `from_dict` restores it exactly."""
        return {
            "kind": self.kind,
            "dimensions": self.dimensions,
            "padding": self.padding,
            "end_of_line": self.end_of_line,
            "encoding": json.loads(self.encoding.to_str()),
        }

    @classmethod
    def from_dict(cls, description: dict[str, Any]) -> TextTokenizer:
        """Restore what `to_dict` described.

        Raises:
            CheckpointError: the description lacks a part or is damaged.
        """
        from tokenizers import Tokenizer

        try:
            numbers = [int(description[key]) for key in ("dimensions", "padding", "end_of_line")]
            return cls(Tokenizer.from_str(json.dumps(description["encoding"])), *numbers)
        except KeyError as error:
            raise CheckpointError(f"the checkpoint's text tokenizer lacks {error}") from error
        except Exception as error:
            raise CheckpointError(f"the checkpoint's text tokenizer is damaged: {error}") from error

    def _text(self, tokens: list[int]) -> str:
        return str(self.encoding.decode(tokens, skip_special_tokens=True))

    def _encode_line(self, line: str) -> tuple[int, ...]:
        return (*self.encoding.encode(line, add_special_tokens=False).ids, self.end_of_line)


def lines_of(text: str) -> list[str]:
    """The lines of a text without their ends; the last line's end may be missing."""
    return text.removesuffix("\n").split("\n")
