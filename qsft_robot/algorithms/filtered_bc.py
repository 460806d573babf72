"""Filtered behaviour cloning: imitate only the best episodes.

    loss = - E_{episodes with return >= the (1 - rho) quantile} [ sum_i log pi(a_i | s, a_1..a_{i-1}) ] / D

The threshold is a return, so that with a sparse reward of 0 or 1 and rho below the share of successes all the
successes are kept. "%BC" in Chen et al. 2021 (Decision Transformer), "filtered BC" in the Q-SFT paper's tables.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from qsft_robot.algorithms.base import TokenBatch, cross_entropy
from qsft_robot.algorithms.bc import BehaviourCloning


class FilteredBehaviourCloning(BehaviourCloning):
    """Cross-entropy on the best episodes; `settings` is a FilteredBehaviourCloningConfig."""

    threshold = -np.inf

    def observe_returns(self, episode_returns: np.ndarray) -> None:
        """Choose the return that an episode needs to be imitated."""
        self.threshold = float(np.quantile(episode_returns, 1.0 - self.settings.share, method="higher"))

    def loss(self, batch: TokenBatch) -> dict[str, Tensor]:
        """Negative log-likelihood per token of the kept episodes, and the share of transitions that are."""
        kept = batch.valid & (batch.episode_return >= self.threshold)
        return {
            "loss": cross_entropy(self.logits(batch), batch, kept),
            "kept": kept.sum() / batch.valid.sum().clamp_min(1),
        }
