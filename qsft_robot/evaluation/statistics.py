"""Intervals for success rates."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

Z_95 = 1.959963984540054
"""Two-sided 95% quantile of the standard normal distribution."""


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """95% interval of a success rate (Wilson 1927); (0, 1) where nothing was tried."""
    if trials == 0:
        return 0.0, 1.0
    rate = successes / trials
    denominator = 1.0 + Z_95**2 / trials
    centre = (rate + Z_95**2 / (2 * trials)) / denominator
    half = Z_95 * math.sqrt(rate * (1.0 - rate) / trials + Z_95**2 / (4 * trials**2)) / denominator
    # At the ends the interval reaches the rate itself, which rounding would miss.
    return (0.0 if successes == 0 else centre - half), (1.0 if successes == trials else centre + half)


def mean_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean and its 95% interval by the normal approximation."""
    mean = float(np.mean(values))
    half = Z_95 * float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.inf
    return mean, mean - half, mean + half


def paired_difference(first: np.ndarray, second: np.ndarray) -> tuple[float, float, float]:
    """Mean of first - second over the same seeds, and its 95% interval."""
    return mean_interval(np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64))


def by_task_type(episodes: Iterable[tuple[str, bool | int]]) -> dict[str, dict[str, Any]]:
    """Episodes, success rate and its Wilson 95% interval of each type of task, given types and successes."""
    played: dict[str, list[int]] = {}
    for kind, success in episodes:
        played.setdefault(kind, []).append(int(success))
    return {
        kind: {
            "episodes": len(each),
            "success_rate": sum(each) / len(each),
            "success_interval": wilson_interval(sum(each), len(each)),
        }
        for kind, each in sorted(played.items())
    }
