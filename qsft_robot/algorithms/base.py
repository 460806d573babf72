"""What every algorithm offers: a loss to train on, and logits of the next action token to act by."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import ItemsView, Mapping, ValuesView
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from qsft_robot.algorithms.value_range import ValueRange
from qsft_robot.models import NetworkShape


@dataclass(frozen=True)
class TokenBatch:
    """Segments of L consecutive transitions as tensors.

    Attributes:
        observations: key -> (S, L + 1, H, ...).
        tokens: (S, L + 1, D) int64; the row after the last transition is only there to fill the shape.
        rewards, monte_carlo_return, episode_return: (S, L) float32.
        terminal, valid: (S, L) bool.
        behaviour_logits: (S, L + 1, D, bins) float32, pi_phi's logits of every token given the logged earlier
            ones; None while pi_phi itself is being trained.
        token_counts: (S, L) int64, tokens of each action where that varies, as for text; None: all D.
    """

    observations: Mapping[str, Tensor]
    tokens: Tensor
    rewards: Tensor
    terminal: Tensor
    valid: Tensor
    monte_carlo_return: Tensor
    episode_return: Tensor
    behaviour_logits: Tensor | None = None
    token_counts: Tensor | None = None

    def current(self) -> tuple[dict[str, Tensor], Tensor]:
        """Observations (S * L, H, ...) and tokens (S * L, D) of the transitions."""
        observations = {key: value[:, :-1].flatten(0, 1) for key, value in self.observations.items()}
        return observations, self.tokens[:, :-1].flatten(0, 1)

    def everything(self) -> tuple[dict[str, Tensor], Tensor]:
        """Observations and tokens of the transitions and of the observations after them, flattened."""
        return {key: value.flatten(0, 1) for key, value in self.observations.items()}, self.tokens.flatten(0, 1)

    def mean(self, values: Tensor, valid: Tensor | None = None) -> Tensor:
        """Mean of `values` over the real transitions, or those where `valid` (S, L).

        Values of tokens, (S * L, D) or (S, L, D), count for each token that an action has; others are (S, L).
        """
        valid = self.valid if valid is None else valid
        if values.shape == valid.shape:
            return (values * valid).sum() / valid.sum().clamp_min(1)
        values = values.view(*valid.shape, -1)
        if self.token_counts is None:
            return (values.mean(dim=2) * valid).sum() / valid.sum().clamp_min(1)
        kept = self.is_token() & valid.unsqueeze(-1)
        return values.masked_fill(~kept, 0.0).sum() / kept.sum().clamp_min(1)

    def is_token(self) -> Tensor:
        """(S, L, D) bool: which places of an action hold a token."""
        tokens = self.tokens[:, :-1]
        if self.token_counts is None:
            return torch.ones_like(tokens, dtype=torch.bool)
        return torch.arange(tokens.shape[-1], device=tokens.device) < self.token_counts.unsqueeze(-1)


class Networks(nn.ModuleDict):
    """The networks of an algorithm by name; a ModuleDict that tells type checkers what it holds."""

    if TYPE_CHECKING:

        def __getitem__(self, key: str) -> Any: ...

        def items(self) -> ItemsView[str, Any]: ...

        def values(self) -> ValuesView[Any]: ...


class Algorithm(nn.Module, ABC):
    """Networks, a loss, and a rule that turns the networks' logits into logits of the action to take.

    `networks` is what acts and what a checkpoint holds. Targets and other train-only parts are made by
    `prepare_training` and live beside it.
    """

    needs_behaviour_policy = False
    """Whether a behaviour policy pi_phi is trained first and its log-probabilities come with each batch."""
    early_stopping = False
    """Whether the weights of the best held-out loss are kept; for losses that measure what one wants of a policy."""

    def __init__(self, shape: NetworkShape, settings: Any, value_range: ValueRange) -> None:
        super().__init__()
        self.shape = shape
        self.settings = settings
        self.value_range = value_range
        inputs = self.input_shape()
        self.networks = Networks(
            {name: replace(inputs, outputs=count).network() for name, count in self.outputs().items()}
        )

    def network(self, name: str) -> Any:
        """The network called `name`."""
        return self.networks[name]

    @abstractmethod
    def outputs(self) -> dict[str, int]:
        """Name of each network -> logits per action token."""

    def input_shape(self) -> NetworkShape:
        """Shape of the networks, where it differs from that of the data."""
        return self.shape

    @abstractmethod
    def loss(self, batch: TokenBatch) -> dict[str, Tensor]:
        """Named scalar terms; "loss" is the one to minimise, beside `caption_loss`; the others are logged."""

    @abstractmethod
    def extract(self, logits: Mapping[str, Tensor]) -> Tensor:
        """Logits (..., bins) of the policy, from each network's logits (..., outputs)."""

    def extract_whole(self, logits: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """The policy where actions are compared as wholes: logits of their tokens, and what a last token adds.

        Where the policy is pi exp(beta Q), the second is beta Q at an action's last token: that is Q of the action. The
        values before it are guesses at the same with less to go by, and their errors would add up.

        Returns:
            Logits (..., bins), and (..., bins) to add to the log-probability of the actions that end with each, or
            None.
        """
        return self.extract(logits), None

    def caption_loss(self, batch: TokenBatch) -> Tensor | None:
        """Sum () over the trained networks of how badly they name what pictures show; None without captions.

        The training loop adds a share of it to the loss.
        """
        losses = []
        for network in self.networks.values():
            loss_of = getattr(network, "caption_loss", None)
            if loss_of is not None and any(each.requires_grad for each in network.parameters()):
                losses.append(loss_of(batch.observations))
        found = [each for each in losses if each is not None]
        return sum(found[1:], found[0]) if found else None

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
            {name: logits[:, position] for name, logits in self.all_logits(observation, tokens).items()}
        )

    def all_logits(self, observation: Mapping[str, Tensor], tokens: Tensor) -> dict[str, Tensor]:
        """Logits (N, D, outputs) of each network, given observations (N, H, ...) and tokens (N, D)."""
        observation = self.condition(observation)
        return {name: network(network.encode(observation), tokens) for name, network in self.networks.items()}

    def condition(self, observation: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """What the networks are shown while acting; an algorithm may add to the observation, for example a goal."""
        return observation

    def observe_returns(self, episode_returns: np.ndarray) -> None:
        """Called once before training with the return of each training episode."""

    def prepare_training(self, behaviour: nn.Module | None) -> None:
        """Make train-only parts; `behaviour` is the trained pi_phi where one is needed."""

    def trained_parameters(self) -> list[nn.Parameter]:
        """The parameters that the optimiser moves."""
        return [parameter for parameter in self.networks.parameters() if parameter.requires_grad]

    def after_step(self) -> None:
        """Called after each optimiser step, for example to move a target network."""

    def finish_training(self) -> None:
        """Called once after the last step, for example to settle what training measured."""


def standard_deviation(values: Tensor, probabilities: Tensor) -> Tensor:
    """(...) standard deviation of `values` (..., bins) of tokens drawn by `probabilities` (..., bins)."""
    mean = (probabilities * values).sum(dim=-1, keepdim=True)
    return (probabilities * (values - mean) ** 2).sum(dim=-1).sqrt()


def cross_entropy(logits: Tensor, batch: TokenBatch, valid: Tensor) -> Tensor:
    """Mean over the transitions where `valid` (S, L), and over tokens, of - log softmax(logits)[token]."""
    tokens = batch.current()[1]
    losses = functional.cross_entropy(logits.float().flatten(0, 1), tokens.flatten(), reduction="none")
    return batch.mean(losses.view(tokens.shape), valid)


def token_targets(
    batch: TokenBatch, values: Tensor, value_range: ValueRange, discount: float, steps: int = 1
) -> Tensor:
    """Targets (S, L, D) of Q of each token in the per-token decision process.

    Within an environment step the reward is 0 and the discount 1: the target of token i is the value after it.
    The last token's is reward + discount * value of the next observation, or that over several `steps`
    (fewer where the segment or the episode ends): sum of discount^k r_(t+k), then discount^n V.

    Args:
        batch: the transitions; only rewards and flags are read.
        values: (S, L + 1, D), value before token i of each observation, in the units of `value_range`.
        value_range: maps the rewards.
        discount: per environment step.
        steps: environment steps n before bootstrapping.
    """
    rewards = value_range.reward(batch.rewards, discount)
    terminal_value = torch.full_like(rewards, value_range.terminal_value)
    last = rewards + discount * torch.where(batch.terminal, terminal_value, values[:, 1:, 0])
    for _ in range(steps - 1):
        # One step more: the n-step target of the following transition, where there is one in the segment.
        following = torch.cat([last[:, 1:], values[:, -1:, 0]], dim=1)
        known = torch.cat([batch.valid[:, 1:], torch.ones_like(batch.valid[:, :1])], dim=1)
        following = torch.where(known, following, values[:, 1:, 0])
        last = rewards + discount * torch.where(batch.terminal, terminal_value, following)
    targets = torch.cat([values[:, :-1, 1:], last.unsqueeze(-1)], dim=-1)
    if batch.token_counts is None:
        return targets
    is_last = torch.arange(targets.shape[-1], device=targets.device) == batch.token_counts.unsqueeze(-1) - 1
    return torch.where(is_last, last.unsqueeze(-1), targets)


def frozen_copy(network: nn.Module) -> Any:
    """A target: a network of its own with the same weights, which no optimiser moves."""
    own = getattr(network, "frozen_copy", None)
    return copy.deepcopy(network).requires_grad_(False) if own is None else own()


def copy_trunk(source: nn.Module, target: nn.Module) -> None:
    """Give `target` the weights of `source` but for the head, whose outputs may differ."""
    trunk = {key: value for key, value in source.state_dict().items() if not key.startswith("head_")}
    target.load_state_dict(trunk, strict=False)


def move_towards(target: nn.Module, source: nn.Module, rate: float) -> None:
    """Target <- target + rate * (source - target), parameter by parameter."""
    with torch.no_grad():
        torch._foreach_lerp_(list(target.parameters()), list(source.parameters()), rate)
