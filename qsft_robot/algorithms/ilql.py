"""Implicit language Q-learning (Snell et al. 2023), over action tokens: twin Q, expectile V, a CQL term.

    L_V = E_data [ |tau - 1(u < 0)| u^2 ],  u = min(Q1_target, Q2_target)(s, a) - V(s)                  (Eq. 3)
    L_Q = sum_k E_data [ 1/2 (Q_k(s, a) - y)^2 ],  y = r + discount * V(s'), or V after the token       (Eq. 2)
    L_C = - sum_k E_data [ log softmax(Q_k)(a) ]                                                        (Eq. 5)

The policy is pi_phi(a|s) exp(beta (min(Q1, Q2)(s, a) - V(s))). The maximum is over actions that the data hold, so no
action outside them is ever asked for its value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from qsft_robot.algorithms.base import (
    Algorithm,
    TokenBatch,
    copy_trunk,
    cross_entropy,
    frozen_copy,
    move_towards,
    token_targets,
)


class ILQL(Algorithm):
    """`settings` is an IlqlConfig. One network holds both Q heads and V: outputs are [Q1 | Q2 | V]."""

    needs_behaviour_policy = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.network("behaviour").requires_grad_(False)
        self.target: Any | None = None

    def outputs(self) -> dict[str, int]:
        """pi_phi over the bins; two Q of every bin and one V."""
        return {"behaviour": self.shape.bins, "value": 2 * self.shape.bins + 1}

    def prepare_training(self, behaviour: nn.Module | None) -> None:
        """Copy pi_phi, start from its trunk with every value at `initial_value`, and make the target."""
        value = self.network("value")
        if behaviour is not None:
            self.network("behaviour").load_state_dict(behaviour.state_dict())
            copy_trunk(behaviour, value)
        with torch.no_grad():
            # Small random weights: two heads that start equal and see the same data would stay twins.
            value.head_weight.mul_(0.1)
            value.head_bias.fill_(self.settings.initial_value)
        self.target = frozen_copy(value)

    def after_step(self) -> None:
        """Move the target."""
        if self.target is not None:
            move_towards(self.target, self.network("value"), self.settings.target_rate)

    def loss(self, batch: TokenBatch) -> dict[str, Tensor]:
        """The three terms of the module's docstring."""
        if self.target is None:
            raise RuntimeError("prepare_training() comes before the first loss")
        observations, tokens = batch.everything()
        network = self.network("value")
        shape = (*batch.valid.shape, self.shape.dimensions)
        with torch.no_grad():
            lagged = self.target(self.target.encode(observations), tokens).float()
            targets = token_targets(
                batch,
                lagged[..., -1].view(len(batch.valid), -1, self.shape.dimensions),
                self.value_range,
                self.settings.discount,
            )
            lagged_chosen = self._chosen(lagged, tokens).amin(dim=0)
            lagged_chosen = lagged_chosen.view(len(batch.valid), -1, self.shape.dimensions)[:, :-1]
        observations, tokens = batch.current()
        outputs = network(network.encode(observations), tokens).float()
        chosen = self._chosen(outputs, tokens).view(2, *shape)
        difference = lagged_chosen - outputs[..., -1].view(shape)
        expectile = self.settings.expectile
        weight = torch.where(difference > 0, expectile, 1.0 - expectile)
        value_loss = batch.mean(weight * difference**2)
        q_loss = batch.mean((0.5 * (chosen - targets) ** 2).sum(dim=0))
        bins = self.shape.bins
        conservative = cross_entropy(outputs[..., :bins], batch, batch.valid) + cross_entropy(
            outputs[..., bins : 2 * bins], batch, batch.valid
        )
        return {
            "loss": value_loss + q_loss + self.settings.conservative_weight * conservative,
            "value_loss": value_loss,
            "temporal_difference": q_loss,
            "conservative": conservative,
            "q": batch.mean(chosen[0].detach()),
        }

    def extract(self, logits: Mapping[str, Tensor]) -> Tensor:
        """Log pi_phi + beta * (Q - V)."""
        advantage = self._q(logits["value"]) - logits["value"][..., -1:]
        return logits["behaviour"].log_softmax(dim=-1) + self.settings.beta * advantage

    def extract_whole(self, logits: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """The same with Q of whole actions; V is the same for all of them."""
        return logits["behaviour"].log_softmax(dim=-1), self.settings.beta * self._q(logits["value"])

    def values(self, logits: Mapping[str, Tensor]) -> Tensor:
        """The smaller Q of every token in the units of the return."""
        return self.value_range.original(self._q(logits["value"]))

    def _q(self, outputs: Tensor) -> Tensor:
        bins = self.shape.bins
        return torch.minimum(outputs[..., :bins], outputs[..., bins : 2 * bins])

    def _chosen(self, outputs: Tensor, tokens: Tensor) -> Tensor:
        """Both Q (2, N, D) of the logged tokens."""
        bins, index = self.shape.bins, tokens.unsqueeze(-1)
        heads = (outputs[..., :bins], outputs[..., bins : 2 * bins])
        return torch.stack([head.gather(-1, index).squeeze(-1) for head in heads])
