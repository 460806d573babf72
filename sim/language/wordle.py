r"""Wordle: find a hidden word of five letters in six guesses.

Observation, letters and marks apart so that tokenizers see them one by one:

    Wordle:
    s h i r e
    b y g g b

Action: the letters of a guess, `s h i r e\n` (spaces and the end of line may be left out). Marks: g the letter is
right, y it is elsewhere in the word, b it is not there. A guess that is not in the vocabulary uses up a try and is
answered by an empty line. Reward: 0 for the right guess, -1 for every other; so a win at guess k returns -(k - 1), a
loss -6.

After LMRL-Gym (Abdulhai et al. 2023), written anew. There, and here by default, a letter that is elsewhere is marked
y as often as it is guessed (`marks="lmrl"`); the published game marks each occurrence in the word at most once
(`marks="counted"`). The word is drawn once per episode; LMRL-Gym draws it anew, after every guess, among the words that
fit, which gives episodes the same distribution.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np

from qsft_robot.errors import ConfigurationError, DataError
from qsft_robot.sim.language.game import TextGame, is_word, one_line

TRIES = 6
LETTERS = 5
HEADER = "Wordle:\n"
ACTION_LENGTH = 2 * LETTERS


def mark_lmrl(word: str, guess: str) -> str:
    """The marks of `guess` as LMRL-Gym gives them, for example `byggb`."""
    return "".join(
        "g" if here == letter else "y" if letter in word else "b" for here, letter in zip(word, guess, strict=True)
    )


def mark_counted(word: str, guess: str) -> str:
    """The marks of `guess` as the published game gives them: each letter of the word accounts for one mark."""
    left = Counter(here for here, letter in zip(word, guess, strict=True) if here != letter)
    marks = []
    for here, letter in zip(word, guess, strict=True):
        if here == letter:
            marks.append("g")
        elif left[letter]:
            left[letter] -= 1
            marks.append("y")
        else:
            marks.append("b")
    return "".join(marks)


MARKS: Mapping[str, Callable[[str, str], str]] = {"lmrl": mark_lmrl, "counted": mark_counted}


class Vocabulary:
    """Words that may be hidden and guessed, and the marks of every guess against every word.

    Attributes:
        words: sorted.
        index: word -> its place.
        actions: each word as an action.
        marks: (words, words) uint8, `marks[guess, hidden]`: equal numbers are equal marks.
    """

    def __init__(self, words: tuple[str, ...], rule: str) -> None:
        """Mark all pairs by the rule, `lmrl` or `counted`."""
        self.words = words
        self.index = {word: place for place, word in enumerate(words)}
        self.actions = tuple(spell(word) for word in words)
        if rule == "lmrl":
            letters = np.array([list(word.encode()) for word in words], dtype=np.uint8)
            here = letters[:, None, :] == letters[None, :, :]
            present = np.stack(
                [(letters[:, place, None, None] == letters[None]).any(-1) for place in range(LETTERS)], -1
            )
            digits = np.where(here, 2, present.astype(np.uint8))
            self.marks = (digits @ 3 ** np.arange(LETTERS)).astype(np.uint8)
        else:
            codes: dict[str, int] = {}
            pairs = [[codes.setdefault(mark_counted(word, guess), len(codes)) for word in words] for guess in words]
            self.marks = np.array(pairs, dtype=np.uint8)

    @staticmethod
    @cache
    def read(path: str | None, rule: str) -> Vocabulary:
        """Read a vocabulary: the built-in one for None, or a file with one word per line.

        Raises:
            ConfigurationError: the file is missing, or is no list of words of five letters.
        """
        if path is None:
            text = files("qsft_robot.sim.language").joinpath("assets/wordle_words.txt").read_text(encoding="utf-8")
        else:
            try:
                text = Path(path).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigurationError(f"vocabulary={path} cannot be read: {error}") from error
        words = text.lower().split()
        if wrong := [word for word in words if not is_word(word, LETTERS)]:
            raise ConfigurationError(f"vocabulary={path}: '{wrong[0]}' is no word of {LETTERS} letters a to z")
        if len(words) < 2:
            raise ConfigurationError(f"vocabulary={path} holds {len(words)} words, expected two or more, one per line")
        return Vocabulary(tuple(sorted(set(words))), rule)


def spell(word: str) -> str:
    r"""A word as an action: `s h i r e\n`."""
    return " ".join(word) + "\n"


class WordleEnv(TextGame):
    """The game of one hidden word; see the module's docstring.

    Args:
        marks: how letters that occur more than once are marked, `lmrl` or `counted`.
        vocabulary: a file with one word per line, or None for the 431 common words that come with the package.
        render_mode: None or `ansi`.

    Raises:
        ConfigurationError: an option has an impossible value.
    """

    def __init__(self, *, marks: str = "lmrl", vocabulary: str | None = None, render_mode: str | None = None) -> None:
        if marks not in MARKS:
            raise ConfigurationError(f"marks is '{marks}', expected one of {', '.join(MARKS)}")
        super().__init__(
            observation_length=len(HEADER) + TRIES * 2 * ACTION_LENGTH,
            action_length=ACTION_LENGTH,
            render_mode=render_mode,
        )
        self.vocabulary = Vocabulary.read(vocabulary, marks)
        self._mark = MARKS[marks]
        self._word = self.vocabulary.words[0]
        self.turns: list[tuple[str, str]] = []
        """What was guessed and its marks, or an empty text for an unknown word."""

    def _start(self) -> None:
        self._word = self.vocabulary.words[int(self.np_random.integers(len(self.vocabulary.words)))]
        self.turns = []

    def _play(self, action: str) -> tuple[float, bool, bool]:
        guess = "".join(action.split()).lower()
        valid = guess in self.vocabulary.index
        self.turns.append(
            (guess, self._mark(self._word, guess)) if valid else (one_line(action, ACTION_LENGTH - 1), "")
        )
        return -float(not self.won), self.won or len(self.turns) == TRIES, valid

    def text(self) -> str:
        """All guesses and marks up to now."""
        lines = [(spell(said) if marks else said + "\n") + " ".join(marks) + "\n" for said, marks in self.turns]
        return HEADER + "".join(lines)

    @property
    def won(self) -> bool:
        """Whether the last guess was the hidden word."""
        return bool(self.turns) and self.turns[-1] == (self._word, "g" * LETTERS)

    def legal_actions(self) -> tuple[str, ...]:
        """Every word of the vocabulary."""
        return self.vocabulary.actions

    def candidates(self) -> np.ndarray:
        """Places in the vocabulary of the words that fit all marks up to now, (n,) int64."""
        fitting = np.arange(len(self.vocabulary.words))
        for guess, marks in self.turns:
            if marks:
                row = self.vocabulary.marks[self.vocabulary.index[guess]]
                fitting = fitting[row[fitting] == row[self.vocabulary.index[self._word]]]
        return fitting

    def hide(self, word: str) -> None:
        """Hide `word` instead, at the beginning of an episode (for tests and demonstrations).

        Raises:
            DataError: it is not in the vocabulary, or a guess has been made.
        """
        if word not in self.vocabulary.index or self.turns:
            raise DataError(f"'{word}' cannot be hidden: it is not in the vocabulary, or the game has begun")
        self._word = word
