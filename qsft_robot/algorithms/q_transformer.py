"""Q-Transformer (Chebotar et al. 2023): autoregressive Q per bin, pushed to zero where the data are silent.

    loss = 1/2 (Q(s, a) - y)^2 + alpha / 2 * mean over a' != a of Q(s, a')^2                          (Eq. 2)
    y    = max(Monte-Carlo return, n-step return and discount^n * max_a' Q_target(s_n, a'))         (Sec. 4.3, 4.4)

with max over the next dimension's Q as the target of every dimension but the last (Eq. 1). Where the behaviour policy
takes a token with probability pi, the loss is least at

    Q = pi y / (pi + alpha (1 - pi) / (bins - 1)),

so that a token that is taken once in 64 times loses half of its target at alpha = 1, and the token before it backs up
what is left.

The Monte-Carlo bound undoes that along an episode that succeeded. A success that no single episode holds has the chain
of backups alone: the longer it is and the wider the data scatter, the less arrives at its beginning. There a lower
`conservative_weight` is better, as long as it still holds Q down (docs/benchmark.md, the drawer: 1, 0.1 and 0.01).

Q = sigmoid(output), since returns lie in [0, 1] (ValueRange). The reward enters at the last dimension only, terminal
steps bootstrap nothing, decoding takes no random actions and uses the very logits that training fits: each of these is
a known defect of a public implementation, and has a regression test here.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from qsft_robot.algorithms.base import TokenBatch, token_targets
from qsft_robot.algorithms.token_q_learning import TokenQLearning


class QTransformer(TokenQLearning):
    """`settings` is a QTransformerConfig."""

    def prepare_training(self, behaviour: object) -> None:
        """Start every Q at `initial_value`, and make the target."""
        network = self.network("value")
        with torch.no_grad():
            network.head_weight.zero_()
            network.head_bias.fill_(math.log(self.settings.initial_value / (1.0 - self.settings.initial_value)))
        super().prepare_training(None)

    def q(self, outputs: Tensor) -> Tensor:
        """Sigmoid of the outputs."""
        return outputs.sigmoid()

    def conservative_loss(self, q: Tensor, chosen: Tensor) -> Tensor:
        """Half the mean square of the Q of all other tokens."""
        squares = q**2
        return 0.5 * (squares.sum(dim=-1) - squares.gather(-1, chosen).squeeze(-1)) / (self.shape.bins - 1)

    def targets(self, batch: TokenBatch, values: Tensor) -> Tensor:
        """n-step targets, never below the Monte-Carlo return where `monte_carlo_bound` is set."""
        targets = token_targets(batch, values, self.value_range, self.settings.discount, self.settings.n_step)
        if self.settings.monte_carlo_bound:
            targets = torch.maximum(targets, self.value_range.value(batch.monte_carlo_return).unsqueeze(-1))
        return targets
