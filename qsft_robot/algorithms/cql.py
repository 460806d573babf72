"""Conservative Q-learning over action tokens (Kumar et al. 2020, Eq. 4 with the CQL(H) regulariser).

    loss = 1/2 (Q(s, a) - y)^2 + alpha * (T log sum_a' exp(Q(s, a') / T) - Q(s, a)),
    y = r + discount * max_a' Q_target(s', a'), kept in [0, 1]

per token: between the tokens of one step the discount is 1 and the reward 0 (Q-SFT, Sec. 5, runs it the same way).

Two things differ from a Q per whole action with returns in the hundreds. Returns lie in [0, 1] (ValueRange), where a
penalty with T = 1 hardly tells tokens apart: T is the temperature of the policy exp(Q / T), as the regulariser has
it where the entropy of its distribution is weighed by T. And the maximum over noisy Q is taken once per token, seven
times in an arm's step, while alpha lifts a logged token above its target: without the bound on y values ran out of
the range of returns, with a large alpha as with a small one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qsft_robot.algorithms.base import TokenBatch
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

    def targets(self, batch: TokenBatch, values: Tensor) -> Tensor:
        """Targets in the range of returns."""
        return super().targets(batch, values).clamp(0.0, 1.0)

    def conservative_loss(self, q: Tensor, chosen: Tensor) -> Tensor:
        """T log sum exp(Q / T) - Q(a)."""
        temperature = self.settings.temperature
        return temperature * (q / temperature).logsumexp(dim=-1) - q.gather(-1, chosen).squeeze(-1)
