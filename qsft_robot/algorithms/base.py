"""What every algorithm offers: a loss to train on, and logits of the next action token to act by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from qsft_robot.algorithms.value_range import ValueRange
from qsft_robot.models.robotics_transformer import RoboticsTransformer, TransformerShape


@dataclass(frozen=True)
class TokenBatch:
    """Segments of L consecutive transitions as tensors.

    Attributes:
        observations: key -> (S, L + 1, H, ...).
        tokens: (S, L + 1, D) int64; the row after the last transition is only there to fill the shape.
        rewards, monte_carlo_return, episode_return: (S, L) float32.
        terminal, valid: (S, L) bool.
        behaviour_log_probabilities: (S, L + 1, D, bins) float32, log pi_phi of every token given the logged
            earlier ones; None while pi_phi itself is being trained.
    """

    observations: Mapping[str, Tensor]
    tokens: Tensor
    rewards: Tensor
    terminal: Tensor
    valid: Tensor
    monte_carlo_return: Tensor
    episode_return: Tensor
    behaviour_log_probabilities: Tensor | None = None

    def current(self) -> tuple[dict[str, Tensor], Tensor]:
        """Observations (S * L, H, ...) and tokens (S * L, D) of the transitions."""
        observations = {key: value[:, :-1].flatten(0, 1) for key, value in self.observations.items()}
        return observations, self.tokens[:, :-1].flatten(0, 1)

    def everything(self) -> tuple[dict[str, Tensor], Tensor]:
        """Observations and tokens of the transitions and of the observations after them, flattened."""
        return {key: value.flatten(0, 1) for key, value in self.observations.items()}, self.tokens.flatten(0, 1)


class Algorithm(nn.Module, ABC):
    """Networks, a loss, and a rule that turns the networks' logits into logits of the action to take.

    `networks` is what acts and what a checkpoint holds. Targets and other train-only parts are made by
    `prepare_training` and live beside it.
    """

    needs_behaviour_policy = True
    """Whether a behaviour policy pi_phi is trained first and its log-probabilities come with each batch."""

    def __init__(self, shape: TransformerShape, settings: Any, value_range: ValueRange) -> None:
        super().__init__()
        self.shape = shape
        self.settings = settings
        self.value_range = value_range
        self.networks = nn.ModuleDict(
            {name: RoboticsTransformer(replace(shape, outputs=outputs)) for name, outputs in self.outputs().items()}
        )

    @abstractmethod
    def outputs(self) -> dict[str, int]:
        """Name of each network -> logits per action token."""

    @abstractmethod
    def loss(self, batch: TokenBatch) -> dict[str, Tensor]:
        """Named scalar terms; "loss" is the one to minimise, the others are logged."""

    @abstractmethod
    def extract(self, logits: Mapping[str, Tensor]) -> Tensor:
        """Logits (..., bins) of the policy, from each network's logits (..., outputs)."""

    def values(self, logits: Mapping[str, Tensor]) -> Tensor | None:
        """Q (..., bins) of every token in the units of the return, or None where there is no such thing."""
        return None

    def score(self, observation: Mapping[str, Tensor], prefix: Tensor) -> Tensor:
        """Policy logits (N, bins) of the next token after `prefix` (N, i < D) int64; no cache, for reference.

        `observation` holds (N, H, ...) tensors.
        """
        position = prefix.shape[1]
        tokens = torch.nn.functional.pad(prefix, (0, self.shape.dimensions - position))
        return self.extract(
            {name: network(network.encode(observation), tokens)[:, position] for name, network in self.networks.items()}
        )

    def prepare_training(self, behaviour: RoboticsTransformer | None) -> None:
        """Make train-only parts; `behaviour` is the trained pi_phi where one is needed."""

    def trained_parameters(self) -> list[nn.Parameter]:
        """The parameters that the optimiser moves."""
        return [parameter for parameter in self.networks.parameters() if parameter.requires_grad]

    def after_step(self) -> None:
        """Called after each optimiser step, for example to move a target network."""


def masked_mean(values: Tensor, valid: Tensor) -> Tensor:
    """Mean of values (S, L, ...) over the transitions where valid (S, L)."""
    per_transition = values.flatten(2).mean(dim=2) if values.ndim > 2 else values
    return (per_transition * valid).sum() / valid.sum().clamp_min(1)
