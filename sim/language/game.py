"""What the text games share: spaces, the checks of a step, the limit of time, rendering as text.

Observations and actions are `gymnasium.spaces.Text`. `info` holds, on every reset and step,

    success        bool: the game is won
    valid          bool: the last action was one that the rules know (True after a reset)
    legal_actions  tuple of all actions that the rules know now, None where they know any words

An action that the rules do not know is answered as each game says; an action that is no text is an error.
"""

from __future__ import annotations

import string
from abc import abstractmethod
from typing import Any

import gymnasium
from gymnasium.spaces import Text

from qsft_robot.errors import ConfigurationError, DataError

CHARACTERS = "".join(map(chr, range(32, 127))) + "\n"
"""Of which observations and valid actions consist: printable ASCII and the line feed."""


class TextGame(gymnasium.Env[str, str]):
    """Base of the text games.

    Args:
        observation_length: most characters of an observation.
        action_length: most characters of an action.
        max_episode_steps: actions until an episode is truncated; None for no limit but the game's own.
        render_mode: None or `ansi`, which returns the text.

    Raises:
        ConfigurationError: an option has an impossible value.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012

    def __init__(
        self,
        *,
        observation_length: int,
        action_length: int,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        if max_episode_steps is not None and max_episode_steps < 1:
            raise ConfigurationError(f"max_episode_steps is {max_episode_steps}, expected at least 1")
        if render_mode not in (None, "ansi"):
            raise ConfigurationError(
                f"render_mode is '{render_mode}', expected ansi or None: a text game has no picture"
            )
        self.observation_space = Text(observation_length, min_length=0, charset=CHARACTERS)
        self.action_space = Text(action_length, min_length=0, charset=CHARACTERS)
        self.max_episode_steps = max_episode_steps
        self.render_mode = render_mode
        self._steps = 0
        self._ended = True

    # What a game defines.

    @abstractmethod
    def _start(self) -> None:
        """Draw the episode from `self.np_random`."""

    @abstractmethod
    def _play(self, action: str) -> tuple[float, bool, bool]:
        """Carry out an action; returns reward, whether the game is over, and whether the action was valid."""

    @abstractmethod
    def text(self) -> str:
        """What the player sees now."""

    @property
    @abstractmethod
    def won(self) -> bool:
        """Whether the game is won."""

    @abstractmethod
    def legal_actions(self) -> tuple[str, ...] | None:
        """All actions that the rules know now, or None where any words will do."""

    # Gymnasium's interface.

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Start an episode; with a seed it is the same one, whatever ran before."""
        super().reset(seed=seed)
        self._steps = 0
        self._ended = False
        self._start()
        return self.text(), self._info(True)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Carry out one action.

        Returns:
            Observation, reward, terminated (the game is over), truncated (limit of steps), info.

        Raises:
            DataError: the action is no text, or the episode is over.
        """
        if not isinstance(action, str):
            raise DataError(f"an action is a text, got {type(action).__name__}: {action!r}")
        if self._ended:
            raise DataError("step() was called after the end of an episode: call reset() first")
        reward, terminated, valid = self._play(action)
        self._steps += 1
        truncated = not terminated and self.max_episode_steps is not None and self._steps >= self.max_episode_steps
        self._ended = terminated or truncated
        return self.text(), float(reward), terminated, truncated, self._info(valid)

    def render(self) -> str | None:
        """With `ansi`, the text that the player sees."""
        return self.text() if self.render_mode == "ansi" else None

    def _info(self, valid: bool) -> dict[str, Any]:
        return {"success": self.won, "valid": valid, "legal_actions": self.legal_actions()}


def one_line(text: str, length: int) -> str:
    """What an observation repeats of an unknown action: one line of at most `length` characters, `?` for odd ones."""
    line = " ".join(text.split())[:length]
    return "".join(letter if letter in CHARACTERS else "?" for letter in line)


def is_word(text: str, length: int) -> bool:
    """Whether `text` is that many small Latin letters."""
    return len(text) == length and all(letter in string.ascii_lowercase for letter in text)
