"""One episode of experience, as it is collected, stored and read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qsft_robot.errors import DataError

TEXT: np.dtype[Any] = np.dtypes.StringDType()
"""Dtype of arrays of text; each element is one `str` of any length."""


def text_array(values: Sequence[str]) -> np.ndarray:
    """Return texts as an array (n,) of dtype `TEXT`."""
    return np.array(values, dtype=TEXT)


@dataclass(frozen=True)
class Episode:
    """T transitions and the observation that follows the last of them.

    Attributes:
        observations: key -> array (T, ...); row t is what the agent saw before action t. Text: (T,) of dtype `TEXT`.
        actions: raw actions as they were sent to the environment, (T, D) float32; text actions (T,) of dtype `TEXT`.
        rewards: (T,) float32.
        final_observation: key -> array (...), seen after the last action; text: an array () of dtype `TEXT`.
        terminated: the task ended the episode (success or failure).
        truncated: a limit of time ended it.
        success: the task was solved.
        seed: seed that determines the episode.
        policy: name of what acted.
    """

    observations: Mapping[str, np.ndarray]
    actions: np.ndarray
    rewards: np.ndarray
    final_observation: Mapping[str, np.ndarray]
    terminated: bool
    truncated: bool
    success: bool
    seed: int
    policy: str

    def __post_init__(self) -> None:
        """Check that the pieces fit together.

        Raises:
            DataError: lengths or keys disagree, or a number is not finite.
        """
        length = len(self.actions)
        if length == 0 or self.actions.ndim != (1 if self.actions.dtype == TEXT else 2):
            raise DataError(
                f"an episode needs actions of shape (T, D), or (T,) where they are text, with T > 0, got "
                f"{self.actions.dtype}{self.actions.shape}"
            )
        if self.rewards.shape != (length,):
            raise DataError(f"rewards have shape {self.rewards.shape}, expected ({length},)")
        if set(self.observations) != set(self.final_observation):
            raise DataError("observations and final_observation have different keys")
        for key, values in self.observations.items():
            if len(values) != length:
                raise DataError(f"observation '{key}' has {len(values)} rows, expected {length}")
        for name, values in {"action": self.actions, "reward": self.rewards, **self.observations}.items():
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise DataError(f"'{name}' of the episode with seed {self.seed} holds NaN or infinity")

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def episode_return(self) -> float:
        """Undiscounted sum of rewards."""
        return float(self.rewards.sum())
