"""Returns in [low, high] mapped into [0, 1], exactly (Q-SFT, Assumption 4.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from qsft_robot.errors import DataError


@dataclass(frozen=True)
class ValueRange:
    """The affine change of value V' = (V - low) / (high - low).

    For it to be exact, rewards become r' = (r - (1 - discount) low) / (high - low), and the value of a
    terminal state, 0, becomes -low / (high - low).
    """

    low: float = 0.0
    high: float = 1.0

    @classmethod
    def of_returns(cls, returns: np.ndarray) -> ValueRange:
        """[0, 1] where all returns lie in it, else the smallest and largest of `returns` and 0.

        Raises:
            DataError: a return is not finite.
        """
        if not np.isfinite(returns).all():
            raise DataError("a return is not finite; run `python -m qsft_robot.dataset validate` on the store")
        low, high = min(0.0, float(returns.min())), max(0.0, float(returns.max()))
        if low >= 0.0 and high <= 1.0:
            return cls()
        return cls(low, high)

    @property
    def width(self) -> float:
        """High - low."""
        return self.high - self.low

    @property
    def terminal_value(self) -> float:
        """What the value 0 of a terminal state becomes."""
        return -self.low / self.width

    def reward(self, rewards: Tensor, discount: float) -> Tensor:
        """Rewards of the changed problem."""
        return (rewards - (1.0 - discount) * self.low) / self.width

    def value(self, values: Tensor) -> Tensor:
        """Values or returns of the changed problem."""
        return (values - self.low) / self.width

    def original(self, values: Tensor) -> Tensor:
        """The inverse of `value`."""
        return values * self.width + self.low
