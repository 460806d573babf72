"""Offline ArCHer (Zhou et al. 2024, Sec. 4): a critic of whole actions, an actor of tokens.

    L_V = E_data [ |tau - 1(u < 0)| u^2 ],  u = min(Q1_target, Q2_target)(s, a) - V(s)         implicit Q-learning
    L_Q = sum_k E_data [ 1/2 (Q_k(s, a) - r - discount * V_target(s'))^2 ]
    L_pi = - E_data [ min(exp(A / temperature), cap) * sum_i log pi(a_i | s, a_1..a_{i-1}) ],  A = min Q - V

V(s) is read before an action's first token, Q(s, a) at its last; between them there is nothing to credit, which is the
difference to learning values of tokens. The actor starts from pi_phi. The online method samples actions and uses a
policy gradient; offline, the Q-SFT paper's comparison, the actor is fitted to the logged ones by their advantage.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from qsft_robot.algorithms.base import Algorithm, TokenBatch, copy_trunk, frozen_copy, move_towards


class OfflineArcher(Algorithm):
    """`settings` is an ArcherConfig. The critic's outputs are [Q1 | Q2 | V], of which whole actions use a part."""

    needs_behaviour_policy = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.target: Any | None = None

    def outputs(self) -> dict[str, int]:
        """The actor over the bins; two Q of every last token and one V."""
        return {"actor": self.shape.bins, "critic": 2 * self.shape.bins + 1}

    def prepare_training(self, behaviour: nn.Module | None) -> None:
        """Start the actor from pi_phi, the critic from its trunk with every value at `initial_value`."""
        critic = self.network("critic")
        if behaviour is not None:
            self.network("actor").load_state_dict(behaviour.state_dict())
            copy_trunk(behaviour, critic)
        with torch.no_grad():
            critic.head_weight.mul_(0.1)  # small, but not zero: two heads that start equal would stay twins
            critic.head_bias.fill_(self.settings.initial_value)
        self.target = frozen_copy(critic)

    def after_step(self) -> None:
        """Move the critic's target."""
        if self.target is not None:
            move_towards(self.target, self.network("critic"), self.settings.target_rate)

    def loss(self, batch: TokenBatch) -> dict[str, Tensor]:
        """The three terms of the module's docstring."""
        if self.target is None:
            raise RuntimeError("prepare_training() comes before the first loss")
        segments, length = batch.valid.shape
        with torch.no_grad():
            observations, tokens = batch.everything()
            lagged = self.target(self.target.encode(observations), tokens).float()
            lagged = lagged.view(segments, length + 1, *lagged.shape[1:])
            following = lagged[:, 1:, 0, -1]
            rewards = self.value_range.reward(batch.rewards, self.settings.discount)
            terminal = torch.full_like(rewards, self.value_range.terminal_value)
            targets = rewards + self.settings.discount * torch.where(batch.terminal, terminal, following)
            lagged_q = self._q(lagged[:, :-1], batch).amin(dim=0)
        observations, tokens = batch.current()
        critic = self.network("critic")
        outputs = critic(critic.encode(observations), tokens).float().view(segments, length, -1, lagged.shape[-1])
        q, value = self._q(outputs, batch), outputs[:, :, 0, -1]
        difference = lagged_q - value
        expectile = self.settings.expectile
        weight = torch.where(difference > 0, expectile, 1.0 - expectile)
        value_loss = batch.mean(weight * difference**2)
        q_loss = batch.mean(0.5 * ((q - targets) ** 2).sum(dim=0))
        advantage = (lagged_q - value.detach()) / self.settings.temperature
        actor_weight = advantage.exp().clamp_max(self.settings.largest_weight)
        actor = self.network("actor")
        logits = actor(actor.encode(observations), tokens).float()
        losses = functional.cross_entropy(logits.flatten(0, 1), tokens.flatten(), reduction="none")
        actor_loss = batch.mean(losses.view(segments, length, -1) * actor_weight.unsqueeze(-1))
        return {
            "loss": value_loss + q_loss + actor_loss,
            "value_loss": value_loss,
            "temporal_difference": q_loss,
            "actor": actor_loss,
            "actor_weight": batch.mean(actor_weight),
            "q": batch.mean(q[0].detach()),
        }

    def extract(self, logits: Mapping[str, Tensor]) -> Tensor:
        """The actor's logits: the critic does not act."""
        return logits["actor"]

    def _q(self, outputs: Tensor, batch: TokenBatch) -> Tensor:
        """Both Q (2, S, L) of the logged actions, read at their last tokens, from outputs (S, L, D, 2 bins + 1)."""
        bins, tokens = self.shape.bins, batch.tokens[:, :-1]
        last = torch.full_like(tokens[..., 0], tokens.shape[-1] - 1)
        if batch.token_counts is not None:
            last = (batch.token_counts - 1).clamp_min(0)
        place = last.unsqueeze(-1)
        chosen = tokens.gather(-1, place).unsqueeze(-1)
        heads = (outputs[..., :bins], outputs[..., bins : 2 * bins])
        at_last = [head.gather(2, place.unsqueeze(-1).expand(-1, -1, 1, bins)) for head in heads]
        return torch.stack([each.gather(-1, chosen).flatten(2).squeeze(-1) for each in at_last])
