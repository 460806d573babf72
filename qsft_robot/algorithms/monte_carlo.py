"""Monte-Carlo returns: the value of what was done is the return that followed; one step of policy improvement.

    L_Q = E_data [ 1/2 (Q(s, a) - R)^2 + 1/2 (V(s) - R)^2 ],  R the discounted return from s on,
    L_C = - E_data [ log softmax(Q)(a) ]

per token. The policy is pi_phi(a|s) exp(beta (Q(s, a) - V(s))), as in LMRL-Gym (Abdulhai et al. 2023, "MC returns").
Nothing is bootstrapped: values are those of the behaviour policy, and parts of different episodes are not combined.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from qsft_robot.algorithms.base import Algorithm, TokenBatch, copy_trunk, cross_entropy


class MonteCarloReturns(Algorithm):
    """`settings` is a MonteCarloConfig. One network holds Q of every token and V: outputs are [Q | V]."""

    needs_behaviour_policy = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.network("behaviour").requires_grad_(False)

    def outputs(self) -> dict[str, int]:
        """pi_phi over the bins; Q of every bin and one V."""
        return {"behaviour": self.shape.bins, "value": self.shape.bins + 1}

    def prepare_training(self, behaviour: nn.Module | None) -> None:
        """Copy pi_phi, and start from its trunk with every value at `initial_value`."""
        value = self.network("value")
        if behaviour is not None:
            self.network("behaviour").load_state_dict(behaviour.state_dict())
            copy_trunk(behaviour, value)
        with torch.no_grad():
            value.head_weight.zero_()
            value.head_bias.fill_(self.settings.initial_value)

    def loss(self, batch: TokenBatch) -> dict[str, Tensor]:
        """The terms of the module's docstring."""
        network = self.network("value")
        observations, tokens = batch.current()
        outputs = network(network.encode(observations), tokens).float()
        q = outputs[..., :-1].gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
        returns = self.value_range.value(batch.monte_carlo_return).flatten().unsqueeze(-1)
        q_loss = batch.mean(0.5 * (q - returns) ** 2)
        value_loss = batch.mean(0.5 * (outputs[..., -1] - returns) ** 2)
        conservative = cross_entropy(outputs[..., :-1], batch, batch.valid)
        return {
            "loss": q_loss + value_loss + self.settings.conservative_weight * conservative,
            "q_loss": q_loss,
            "value_loss": value_loss,
            "conservative": conservative,
            "q": batch.mean(q.detach()),
        }

    def extract(self, logits: Mapping[str, Tensor]) -> Tensor:
        """Log pi_phi + beta * (Q - V)."""
        advantage = logits["value"][..., :-1] - logits["value"][..., -1:]
        return logits["behaviour"].log_softmax(dim=-1) + self.settings.beta * advantage

    def extract_whole(self, logits: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """The same with Q of whole actions; V is the same for all of them."""
        return logits["behaviour"].log_softmax(dim=-1), self.settings.beta * logits["value"][..., :-1]

    def values(self, logits: Mapping[str, Tensor]) -> Tensor:
        """Q of every token in the units of the return."""
        return self.value_range.original(logits["value"][..., :-1])
