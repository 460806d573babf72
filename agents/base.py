"""The interface of everything that acts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from qsft_robot.datasets.episode import TEXT

Observation = Mapping[str, np.ndarray]

TEXT_DECODINGS = ("greedy", "sample", "sharp")
"""How a `TokenAgent` chooses tokens: the likeliest, one drawn, or one drawn at a low temperature."""
DECODINGS = (*TEXT_DECODINGS, "mode")
"""The same for actions of numbers, whose tokens have an order: also the top of the hill that one drawn lies on."""


def as_observation(value: Any) -> Observation:
    """What an environment returned, as the mapping that agents and stores take.

    A bare text gets the key "text"; every text becomes an array () of dtype `TEXT`.
    """
    parts = {"text": value} if isinstance(value, str) else value
    return {key: np.array(part, dtype=TEXT) if isinstance(part, str) else part for key, part in parts.items()}


class Agent(ABC):
    """Chooses actions for one body, one episode at a time."""

    name: str = "agent"

    @abstractmethod
    def reset(self, seed: int) -> None:
        """Forget the last episode; every random choice of the next one follows from `seed`."""

    def inform(self, info: Mapping[str, Any]) -> None:
        """Told, before each `act`, the environment's `info` of the observation to come."""
        del info

    @abstractmethod
    def act(self, observation: Observation) -> Any:
        """Return the action for `observation` (for an arm: (D,) float32 in [-1, 1]; for a text game: str)."""
