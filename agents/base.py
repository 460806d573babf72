"""The interface of everything that acts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

Observation = Mapping[str, np.ndarray]


class Agent(ABC):
    """Chooses actions for one body, one episode at a time."""

    name: str = "agent"

    @abstractmethod
    def reset(self, seed: int) -> None:
        """Forget the last episode; every random choice of the next one follows from `seed`."""

    @abstractmethod
    def act(self, observation: Observation) -> Any:
        """Return the action for `observation` (for an arm: (D,) float32 in [-1, 1])."""
