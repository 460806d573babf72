"""Conservative Q-learning over action tokens (Kumar et al. 2020, Eq. 4 with the CQL(H) regulariser).

    loss = 1/2 (Q(s, a) - y)^2 + alpha * (log sum_a' exp Q(s, a') - Q(s, a)),
    y = r + discount * max_a' Q_target(s', a')

per token: between the tokens of one step the discount is 1 and the reward 0 (Q-SFT, Sec. 5, runs it the same way).
"""

from __future__ import annotations

import torch
from torch import Tensor

from qsft_robot.algorithms.token_q_learning import TokenQLearning


class CQL(TokenQLearning):
    """`settings` is a CqlConfig."""

    def prepare_training(self, behaviour: object) -> None:
        """Start every Q at `initial_value`, and make the target."""
        network = self.network("value")
        with torch.no_grad():
            network.head_weight.zero_()
            network.head_bias.fill_(self.settings.initial_value)
        super().prepare_training(None)

    def q(self, outputs: Tensor) -> Tensor:
        """The outputs themselves."""
        return outputs

    def conservative_loss(self, q: Tensor, chosen: Tensor) -> Tensor:
        """Log sum exp Q - Q(a)."""
        return q.logsumexp(dim=-1) - q.gather(-1, chosen).squeeze(-1)
