"""Q-SFT: Q-learning via supervised fine-tuning (Hong, Dragan, Levine, ICLR 2025), over action tokens.

Behaviour policy pi_phi by cross-entropy (bc.py). Likelihood p_theta by weighted cross-entropy (Sec. 4, Eq. 3):

    L(theta) = - E_data [ w log p_theta(a | s) + (1 - w) * leftover ]
    leftover = mean over a' != a of log p_theta(a' | s)      `uniform`, Eq. 3
             = log p_theta(a_d | s)                          `dummy`, one extra token a_d (Sec. 4.1)
             = log p_theta(d_a | s)                          `dummies`, an extra token d_a for each token a
    w = r + discount * V(s'),   clipped to [0, 1]

whose minimiser satisfies p = pi * Q (with dummies exactly; `uniform`, with a bias of (1 - Q)/(|A| - 1)), so that
Q(s, a) = p_theta(a | s) / pi_phi(a | s). Each action is D tokens: between the tokens of one environment step the
discount is 1 and the reward 0; the last token leads to the first token of the next step.

`parameterisation=residual` writes log p_theta(a|s) = log pi_phi(a|s) + log sigmoid f_theta(s, a), with the dummy
token's mass 1 - sum_a pi_phi(a|s) sigmoid f_theta(s, a), or pi_phi(a|s) (1 - sigmoid f_theta(s, a)) for each: the same
loss and fixed point, but Q = sigmoid f is read off and never divided. docs/qsft.md has why that matters for continuous
actions, and the measured effect of each option.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from qsft_robot.algorithms.base import (
    Algorithm,
    TokenBatch,
    copy_trunk,
    frozen_copy,
    move_towards,
    standard_deviation,
    token_targets,
)
from qsft_robot.config.fields import messages
from qsft_robot.errors import ConfigurationError
from qsft_robot.models.language_model import LanguageModelShape
from qsft_robot.models.line_transformer import LineTransformerShape

SMALLEST_PROBABILITY = 1e-6
"""Floor of the dummy token's mass: its logarithm must stay finite."""
SMALLEST_SPREAD = 1e-5
"""Floor of the spread of Q that `beta_spread` is divided by: before training every Q is the same."""
SPREAD_RATE = 0.01
"""Share of a batch's spread of Q in its running mean."""

PAPER = {
    "leftover": "uniform",
    "parameterisation": "direct",
    "backup": "max",
    "monte_carlo_mixture": 0.0,
    "extraction": "likelihood",
    "support_threshold": 0.0,
}
"""The options that make Eq. 3 and Algorithm 1 as printed: `variant=paper`."""


class QSFT(Algorithm):
    """See the module's docstring; `settings` is a QsftConfig."""

    needs_behaviour_policy = True
    spread: Tensor
    """Running mean of the standard deviation of Q among the tokens of a state, with `beta_spread`."""

    def __init__(self, *arguments: Any) -> None:
        shape, settings, value_range = arguments
        if settings.variant == "paper":
            settings = dataclasses.replace(settings, **PAPER)
        super().__init__(shape, settings, value_range)
        for message in messages(self.settings):
            raise ConfigurationError(f"algorithm: {message}")
        if isinstance(shape, LanguageModelShape) and self.outputs()["likelihood"] != shape.bins:
            raise ConfigurationError(
                "algorithm.parameterisation=direct with a dummy token gives a pretrained model a new head: choose "
                "algorithm.parameterisation=residual, or algorithm.leftover=uniform"
            )
        self.network("behaviour").requires_grad_(False)
        self.target: Any | None = None
        if self.settings.beta_spread is not None:
            self.register_buffer("spread", torch.zeros(()))

    def outputs(self) -> dict[str, int]:
        """pi_phi over the bins; theta over the bins and, where it is a softmax with a dummy, that."""
        dummy = self.settings.parameterisation == "direct" and self.settings.leftover == "dummy"
        return {"behaviour": self.shape.bins, "likelihood": self.shape.bins + int(dummy)}

    def prepare_training(self, behaviour: nn.Module | None) -> None:
        """Copy pi_phi, start theta from its weights with every Q at `initial_value`, and make the target."""
        likelihood = self.network("likelihood")
        if behaviour is not None:
            self.network("behaviour").load_state_dict(behaviour.state_dict())
        if self.settings.initialisation == "random":
            behaviour = None
        if behaviour is not None:
            copy_trunk(behaviour, likelihood)
        odds = self._initial_odds()
        if isinstance(self.shape, LanguageModelShape):
            self.target = frozen_copy(likelihood)
            return
        with torch.no_grad():
            if self.settings.parameterisation == "residual":
                likelihood.head_weight.zero_()
                likelihood.head_bias.fill_(odds)
                candidates = isinstance(self.shape, LineTransformerShape) and self.shape.candidates
                if candidates and not self.settings.action_weights:
                    # Only its own outcomes move the weights of an action: where it was taken a few times, they learn
                    # those by heart.
                    for head in (likelihood.head_weight, likelihood.head_bias):
                        head.requires_grad_(False)
            elif behaviour is not None:
                # p = initial_value * pi_phi on the actions, the rest on the dummy where there is one; about so, as
                # far as the exponentials of pi_phi's logits add up to their number.
                for name, parameter in behaviour.named_parameters():
                    if name.startswith("head_") and name not in ("head_weight", "head_bias"):
                        likelihood.get_parameter(name)[: len(parameter)] = parameter
                likelihood.head_weight[..., : self.shape.bins] = behaviour.head_weight
                likelihood.head_bias[..., : self.shape.bins] = behaviour.head_bias
                likelihood.head_bias[..., self.shape.bins :] = math.log(self.shape.bins) - odds
        self.target = frozen_copy(likelihood)

    def after_step(self) -> None:
        """Move the target network."""
        if self.target is None:
            raise RuntimeError("prepare_training() comes before the first step")
        move_towards(self.target, self.network("likelihood"), self.settings.target_rate)

    def loss(self, batch: TokenBatch) -> dict[str, Tensor]:
        """The weighted cross-entropy, with Q, w and the return of the logged tokens as further terms."""
        if batch.behaviour_logits is None:
            raise RuntimeError("Q-SFT needs pi_phi's logits with each batch")
        weights = self.weights(batch)
        network = self.network("likelihood")
        observations, tokens = batch.current()
        behaviour = batch.behaviour_logits[:, :-1].flatten(0, 1)
        logits = self.relative(network(network.encode(observations), tokens).float(), behaviour)
        log_pi = behaviour.log_softmax(dim=-1)
        log_p, log_leftover, q = self.likelihood(logits, log_pi)
        chosen = tokens.unsqueeze(-1)
        log_p_chosen = log_p.gather(-1, chosen).squeeze(-1)
        if log_leftover is not None and self.settings.leftover == "dummies":
            log_leftover = log_leftover.gather(-1, chosen).squeeze(-1)
        elif log_leftover is None:
            log_leftover = (log_p.sum(dim=-1) - log_p_chosen) / (self.shape.bins - 1)
        flat_weights = weights.flatten(0, 1)
        loss = -(flat_weights * log_p_chosen + (1.0 - flat_weights) * log_leftover)
        q_chosen = q.gather(-1, chosen).squeeze(-1).detach()
        returns = self.value_range.value(batch.monte_carlo_return)
        return {
            "loss": batch.mean(loss),
            "q": batch.mean(q_chosen),
            "weight": batch.mean(weights),
            "monte_carlo_return": batch.mean(returns),
            "saturated": batch.mean((q_chosen > 0.95).float()),
        }

    @torch.no_grad()
    def weights(self, batch: TokenBatch) -> Tensor:
        """The target w (S, L, D) of every token: next token's value, or reward and the next step's value."""
        if self.target is None or batch.behaviour_logits is None:
            raise RuntimeError("prepare_training() comes before the first loss")
        segments, length = batch.valid.shape
        observations, tokens = batch.everything()
        behaviour = batch.behaviour_logits.flatten(0, 1)
        logits = self.relative(self.target(self.target.encode(observations), tokens).float(), behaviour)
        log_pi = behaviour.log_softmax(dim=-1)
        if self.settings.beta_spread is not None and self.training:
            self._measure_spread(logits, log_pi, batch)
        values = self.state_value(logits, log_pi).view(segments, length + 1, -1)
        weights = token_targets(batch, values, self.value_range, self.settings.discount)
        mixture = self.settings.monte_carlo_mixture
        returns = self.value_range.value(batch.monte_carlo_return).unsqueeze(-1)
        return ((1.0 - mixture) * weights + mixture * returns).clamp(0.0, 1.0)

    def _measure_spread(self, logits: Tensor, log_pi: Tensor, batch: TokenBatch) -> None:
        """Take the batch's mean standard deviation of Q under pi_phi into the running one."""
        deviations = standard_deviation(self.likelihood(logits, log_pi)[2], log_pi.exp())
        segments, length = batch.valid.shape
        spread = batch.mean(deviations.view(segments, length + 1, -1)[:, :-1])
        self.spread = torch.where(self.spread == 0, spread, self.spread.lerp(spread, SPREAD_RATE))

    def beta(self) -> Tensor | float:
        """The inverse temperature: that of the settings, or the one that follows from the spread of Q."""
        if self.settings.beta_spread is None:
            return float(self.settings.beta)
        return self.settings.beta_spread / self.spread.clamp_min(SMALLEST_SPREAD)

    def finish_training(self) -> None:
        """Settle on the beta that the spread of Q came to."""
        if self.settings.beta_spread is not None:
            self.settings = dataclasses.replace(self.settings, beta=float(self.beta()), beta_spread=None)

    @property
    def difference(self) -> bool:
        """Whether f is the difference of theta's logits and pi_phi's: a pretrained model gets no new head."""
        return isinstance(self.shape, LanguageModelShape) and self.settings.parameterisation == "residual"

    def relative(self, logits: Tensor, behaviour: Tensor) -> Tensor:
        """What `likelihood` takes, from theta's logits and pi_phi's (..., bins).

        For a pretrained model f = theta's logits - pi_phi's + the log odds of `initial_value`, so that a theta that
        equals pi_phi has every Q at `initial_value`.
        """
        return logits - behaviour + self._initial_odds() if self.difference else logits

    def _initial_odds(self) -> float:
        return math.log(self.settings.initial_value / (1.0 - self.settings.initial_value))

    def likelihood(self, logits: Tensor, log_pi: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """From theta's logits (..., outputs) and log pi_phi (..., bins).

        Returns:
            log p_theta of each token (..., bins), log p_theta of the dummy token (...), or of every token's own
            (..., bins), or None where there is none, and Q = p_theta / pi_phi (..., bins) in [0, 1].
        """
        if self.settings.parameterisation == "residual":
            log_q = functional.logsigmoid(logits)
            if self.settings.leftover == "dummies":
                return log_pi + log_q, log_pi + functional.logsigmoid(-logits), log_q.exp()
            q = log_q.exp()
            rest = 1.0 - (log_pi.exp() * q).sum(dim=-1)
            return log_pi + log_q, rest.clamp_min(SMALLEST_PROBABILITY).log(), q
        log_p = logits.log_softmax(dim=-1)
        dummy = log_p[..., self.shape.bins] if logits.shape[-1] > self.shape.bins else None
        log_p = log_p[..., : self.shape.bins]
        return log_p, dummy, (log_p - log_pi).clamp_max(0.0).exp()

    def state_value(self, logits: Tensor, log_pi: Tensor) -> Tensor:
        """V (...) over the tokens in support: the largest Q, or its mean under the policy at `backup_temperature`."""
        log_p, _, q = self.likelihood(logits, log_pi)
        if self.settings.backup == "max":
            return q.masked_fill(~self.in_support(log_pi), 0.0).amax(dim=-1)
        policy = self._policy(log_pi, log_p, q) / self.settings.backup_temperature
        return (policy.softmax(dim=-1) * q).sum(dim=-1)

    def in_support(self, log_pi: Tensor) -> Tensor:
        """Which tokens (..., bins) have at least `support_threshold` of the likeliest one's probability."""
        if self.settings.support_threshold == 0.0:
            return torch.ones_like(log_pi, dtype=torch.bool)
        return log_pi >= log_pi.amax(dim=-1, keepdim=True) + math.log(self.settings.support_threshold)

    def extract(self, logits: Mapping[str, Tensor]) -> Tensor:
        """The policy of Algorithm 1, or its ratio form."""
        return self._policy(*self._read(logits))

    def extract_whole(self, logits: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """The ratio form, with Q of whole actions."""
        if self.settings.extraction != "ratio":
            return super().extract_whole(logits)
        log_pi, _, q = self._read(logits)
        return log_pi.masked_fill(~self.in_support(log_pi), -torch.inf), self.beta() * q

    def values(self, logits: Mapping[str, Tensor]) -> Tensor:
        """Q of every token."""
        return self.value_range.original(self._read(logits)[2])

    def _read(self, logits: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Log pi_phi, log p_theta and Q (..., bins), from both networks' logits."""
        log_pi = logits["behaviour"].log_softmax(dim=-1)
        log_p, _, q = self.likelihood(self.relative(logits["likelihood"], logits["behaviour"]), log_pi)
        return log_pi, log_p, q

    def _policy(self, log_pi: Tensor, log_p: Tensor, q: Tensor) -> Tensor:
        """Unnormalised log pi * exp(beta * p) (Algorithm 1) or log pi * exp(beta * Q), in support."""
        advantage = log_p.exp() if self.settings.extraction == "likelihood" else q
        policy = log_pi + self.beta() * advantage
        return policy.masked_fill(~self.in_support(log_pi), -torch.inf)
