"""What CQL and Q-Transformer share: one network whose outputs are Q of every bin, and a target of it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from qsft_robot.algorithms.base import Algorithm, TokenBatch, frozen_copy, move_towards, token_targets
from qsft_robot.models import NetworkShape
from qsft_robot.models.language_model import LanguageModelShape


class TokenQLearning(Algorithm):
    """Q-learning over action tokens: the value before a token is the largest Q of any token."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.target: Any | None = None

    def outputs(self) -> dict[str, int]:
        """Q of every bin."""
        return {"value": self.shape.bins}

    def input_shape(self) -> NetworkShape:
        """A pretrained model needs a new head: its own gives the logarithms of probabilities."""
        return replace(self.shape, new_head=True) if isinstance(self.shape, LanguageModelShape) else self.shape

    def prepare_training(self, behaviour: nn.Module | None) -> None:
        """Make the target."""
        self.target = frozen_copy(self.network("value"))

    def after_step(self) -> None:
        """Move the target."""
        if self.target is not None:
            move_towards(self.target, self.network("value"), self.settings.target_rate)

    @abstractmethod
    def q(self, outputs: Tensor) -> Tensor:
        """Q in [0, 1] units (ValueRange) from the network's outputs."""

    @abstractmethod
    def conservative_loss(self, q: Tensor, chosen: Tensor) -> Tensor:
        """Penalty (N, D) on the Q (N, D, bins) of tokens that the data do not hold; `chosen` is (N, D, 1)."""

    def targets(self, batch: TokenBatch, values: Tensor) -> Tensor:
        """Targets (S, L, D) from the target network's values (S, L + 1, D)."""
        return token_targets(batch, values, self.value_range, self.settings.discount)

    def loss(self, batch: TokenBatch) -> dict[str, Tensor]:
        """Half the squared temporal-difference error, and the conservative penalty."""
        if self.target is None:
            raise RuntimeError("prepare_training() comes before the first loss")
        with torch.no_grad():
            observations, tokens = batch.everything()
            following = self.q(self.target(self.target.encode(observations), tokens).float())
            values = following.amax(dim=-1).view(len(batch.valid), -1, self.shape.dimensions)
            targets = self.targets(batch, values).flatten(0, 1)
        network = self.network("value")
        observations, tokens = batch.current()
        q = self.q(network(network.encode(observations), tokens).float())
        chosen = tokens.unsqueeze(-1)
        q_chosen = q.gather(-1, chosen).squeeze(-1)
        temporal_difference = batch.mean(0.5 * (q_chosen - targets) ** 2)
        conservative = batch.mean(self.conservative_loss(q, chosen))
        return {
            "loss": temporal_difference + self.settings.conservative_weight * conservative,
            "temporal_difference": temporal_difference,
            "conservative": conservative,
            "q": batch.mean(q_chosen.detach()),
        }

    def extract(self, logits: Mapping[str, Tensor]) -> Tensor:
        """Greedy by Q; sampling draws from exp(Q / temperature)."""
        return self.q(logits["value"]) / self.settings.temperature

    def values(self, logits: Mapping[str, Tensor]) -> Tensor:
        """Q of every token in the units of the return."""
        return self.value_range.original(self.q(logits["value"]))
