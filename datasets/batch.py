"""What a sampler hands to an algorithm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Batch:
    """S segments of L consecutive transitions each.

    An episode of T transitions is a ring of T + 1 observations, its final one included. A segment takes L + 1
    neighbours on that ring; the transition from the final observation back to the first is not real (`valid`
    is False there, and its action, reward and returns are zero).

    Attributes:
        observations: key -> (S, L + 1, H, ...), H frames of history, oldest first; before the start of an
            episode its first observation is repeated.
        actions: (S, L, D) float32, raw actions.
        rewards: (S, L) float32.
        terminal: (S, L) bool, the transition ended its episode (terminated or truncated): nothing to
            bootstrap from.
        truncated: (S, L) bool, the transition ended its episode by the limit of time.
        valid: (S, L) bool, the transition is real.
        monte_carlo_return: (S, L) float32, discounted rewards from that transition to the end of the episode.
        episode_return: (S, L) float32, undiscounted rewards of the whole episode.
        row: (S, L + 1) int64, number of each observation among all the sampler draws from: T + 1 per episode,
            in the order of stores and episodes. What is computed once per observation can be kept under it.
    """

    observations: dict[str, np.ndarray]
    actions: np.ndarray
    rewards: np.ndarray
    terminal: np.ndarray
    truncated: np.ndarray
    valid: np.ndarray
    monte_carlo_return: np.ndarray
    episode_return: np.ndarray
    row: np.ndarray

    def __len__(self) -> int:
        return len(self.actions)
