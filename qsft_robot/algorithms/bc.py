"""Behaviour cloning, and the behaviour policy pi_phi that the value-based algorithms start from.

loss = - E_data [ sum_i log pi_phi(a_i | s, a_1..a_{i-1}) ] / D
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from qsft_robot.algorithms.base import Algorithm, TokenBatch, cross_entropy


class BehaviourCloning(Algorithm):
    """Cross-entropy on the logged action tokens."""

    early_stopping = True

    def outputs(self) -> dict[str, int]:
        """One network, over the bins."""
        return {"behaviour": self.shape.bins}

    def loss(self, batch: TokenBatch) -> dict[str, Tensor]:
        """Negative log-likelihood per token."""
        return {"loss": cross_entropy(self.logits(batch), batch, batch.valid)}

    def logits(self, batch: TokenBatch) -> Tensor:
        """Logits (S * L, D, bins) of the logged actions' tokens."""
        network = self.network("behaviour")
        observations, tokens = batch.current()
        return network(network.encode(observations), tokens)

    def extract(self, logits: Mapping[str, Tensor]) -> Tensor:
        """The logits themselves."""
        return logits["behaviour"]
