"""Behaviour cloning, and the behaviour policy pi_phi that the value-based algorithms start from.

loss = - E_data [ sum_i log pi_phi(a_i | s, a_1..a_{i-1}) ] / D
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional

from qsft_robot.algorithms.base import Algorithm, TokenBatch, masked_mean


class BehaviourCloning(Algorithm):
    """Cross-entropy on the logged action tokens."""

    needs_behaviour_policy = False

    def outputs(self) -> dict[str, int]:
        return {"behaviour": self.shape.bins}

    def loss(self, batch: TokenBatch) -> dict[str, Tensor]:
        network = self.networks["behaviour"]
        observations, tokens = batch.current()
        logits = network(network.encode(observations), tokens).float()
        negative_log_likelihood = functional.cross_entropy(logits.flatten(0, 1), tokens.flatten(), reduction="none")
        return {"loss": masked_mean(negative_log_likelihood.view(*batch.valid.shape, -1), batch.valid)}

    def extract(self, logits: Mapping[str, Tensor]) -> Tensor:
        return logits["behaviour"]
