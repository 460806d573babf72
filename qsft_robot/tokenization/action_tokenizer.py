"""Per-dimension bins for continuous actions, as in RT-1 and Q-Transformer, rounding to the nearest centre."""

from __future__ import annotations

from typing import Any

import numpy as np

from qsft_robot.errors import CheckpointError, ConfigurationError, DataError

KINDS = ("uniform", "quantile")


class ActionTokenizer:
    """Maps actions (..., D) float to tokens (..., D) int64 in [0, bins) and back.

    A value goes to the nearest bin centre, so that the error is at most half the distance between neighbouring
    centres and has no bias; values outside the range of the data go to the outermost bin.

    Args:
        centres: (D, bins) float64, non-decreasing along each row. Where neighbours are equal (a dimension
            with few distinct values under `quantile`), the first of them is used and the others never are.
        kind: how the centres were chosen; kept for the record.
    """

    def __init__(self, centres: np.ndarray, kind: str = "uniform") -> None:
        centres = np.asarray(centres, dtype=np.float64)
        if centres.ndim != 2 or centres.shape[1] < 2:
            raise ConfigurationError(f"bin centres need shape (D, bins >= 2), got {centres.shape}")
        if not np.isfinite(centres).all() or (np.diff(centres, axis=1) < 0).any():
            raise DataError("bin centres must be finite and non-decreasing")
        self.centres = centres
        self.kind = kind
        self._boundaries = (centres[:, 1:] + centres[:, :-1]) / 2

    @classmethod
    def fit(cls, actions: np.ndarray, bins: int = 256, kind: str = "uniform") -> ActionTokenizer:
        """Choose the centres from logged actions (N, D).

        `uniform`: equally spaced from the smallest to the largest value of each dimension, both included.
        `quantile`: every bin holds about equally many of the data; the extremes keep a bin of their own.

        Raises:
            ConfigurationError: unknown kind, or fewer than two bins.
            DataError: no actions, a wrong shape, or values that are not finite.
        """
        if kind not in KINDS:
            raise ConfigurationError(f"tokenization.kind must be one of {', '.join(KINDS)}, got '{kind}'")
        if bins < 2:
            raise ConfigurationError(f"tokenization.bins must be at least 2, got {bins}")
        actions = np.asarray(actions, dtype=np.float64)
        if actions.ndim != 2 or len(actions) == 0:
            raise DataError(f"actions need shape (N, D) with N > 0, got {actions.shape}")
        if not np.isfinite(actions).all():
            raise DataError("actions hold NaN or infinity; run `python -m qsft_robot.dataset validate` on the store")
        if kind == "uniform":
            low, high = actions.min(axis=0), actions.max(axis=0)
            # A constant dimension still needs an increasing row of centres.
            high = np.where(high > low, high, low + 1e-6)
            centres = np.linspace(low, high, bins, axis=1)
        else:
            centres = np.quantile(actions, np.linspace(0.0, 1.0, bins), axis=0).T
        return cls(centres, kind)

    @property
    def dimensions(self) -> int:
        """Number of action dimensions D."""
        return int(self.centres.shape[0])

    @property
    def bins(self) -> int:
        """Number of tokens per dimension."""
        return int(self.centres.shape[1])

    def encode(self, actions: np.ndarray) -> np.ndarray:
        """Return the tokens (..., D) int64 of actions (..., D).

        Raises:
            DataError: the last axis is not D long, or a value is not finite.
        """
        actions = np.asarray(actions, dtype=np.float64)
        if actions.shape[-1] != self.dimensions:
            raise DataError(f"actions have {actions.shape[-1]} dimensions, this tokenizer has {self.dimensions}")
        if not np.isfinite(actions).all():
            raise DataError("actions hold NaN or infinity")
        tokens = np.empty(actions.shape, dtype=np.int64)
        for dimension, boundaries in enumerate(self._boundaries):
            tokens[..., dimension] = np.searchsorted(boundaries, actions[..., dimension], side="left")
        return tokens

    def decode(self, tokens: np.ndarray) -> np.ndarray:
        """Return the bin centres (..., D) float32 of tokens (..., D).

        Raises:
            DataError: a token is outside [0, bins).
        """
        tokens = np.asarray(tokens)
        if tokens.shape[-1] != self.dimensions or tokens.min() < 0 or tokens.max() >= self.bins:
            raise DataError(f"tokens must have {self.dimensions} dimensions and lie in [0, {self.bins})")
        return self.centres[np.arange(self.dimensions), tokens].astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description; `from_dict` restores it exactly."""
        return {"kind": self.kind, "centres": self.centres.tolist()}

    @classmethod
    def from_dict(cls, description: dict[str, Any]) -> ActionTokenizer:
        """Restore what `to_dict` described.

        Raises:
            CheckpointError: the description lacks a part.
        """
        try:
            return cls(np.asarray(description["centres"], dtype=np.float64), description["kind"])
        except KeyError as error:
            raise CheckpointError(f"the checkpoint's action tokenizer lacks {error}") from error
