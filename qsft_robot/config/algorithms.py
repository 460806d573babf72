"""Settings of the algorithms (group `algorithm`): one class each, registered by its kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from qsft_robot.config.fields import kind, setting, settings


@settings
class AlgorithmConfig:
    """What every algorithm has."""

    name: str = setting("", "name of the option, set from algorithm=...")
    kind: str = setting("", "which class of the configuration describes it")
    discount: float = setting(
        0.98, "discount per environment step; between the tokens of a step it is 1", minimum=0, maximum=1
    )


@kind(AlgorithmConfig, "qsft")
@settings
class QsftConfig(AlgorithmConfig):
    """Q-SFT (Hong, Dragan, Levine, ICLR 2025) and departures from it; docs/qsft.md has the effect of each."""

    variant: Literal["default", "paper"] = setting("default", "paper: Eq. 3 and Algorithm 1 as printed")
    leftover: Literal["dummy", "dummies", "uniform"] = setting(
        "dummies", "where probability 1 - w goes: one extra token, one for each token, or all others"
    )
    parameterisation: Literal["residual", "direct"] = setting(
        "residual", "log p = log pi_phi + log sigmoid f, or a softmax"
    )
    backup: Literal["soft", "max"] = setting(
        "soft", "expectation under the extracted policy, or the maximum in support"
    )
    backup_temperature: float = setting(
        1.0,
        "temperature of the policy whose value a soft backup takes; evaluation.temperature is that which plays",
        above=0,
    )
    monte_carlo_mixture: float = setting(0.3, "weight of the Monte-Carlo return in the target", minimum=0, maximum=1)
    extraction: Literal["ratio", "likelihood"] = setting("ratio", "pi * exp(beta * p/pi), or pi * exp(beta * p)")
    initialisation: Literal["behaviour", "random"] = setting("behaviour", "what theta starts from: pi_phi, or nothing")
    beta: float = setting(10.0, "inverse temperature of the extracted policy", minimum=0)
    beta_spread: float | None = setting(
        None, "in place of beta: this over the spread of Q among a state's tokens, as training finds it", above=0
    )
    support_threshold: float = setting(
        0.02, "a token is in support from this share of the likeliest one's", minimum=0, below=1
    )
    action_weights: bool = setting(
        True, "where lines list the actions (model.candidates), Q has weights for each action besides its line's score"
    )
    initial_value: float = setting(0.2, "value that every Q starts from", above=0, below=1)
    target_rate: float = setting(0.005, "share of the weights that moves into the target each step", above=0, maximum=1)

    def check(self) -> Iterator[str]:
        """Rules between the fields."""
        if self.variant == "paper":
            return
        if self.parameterisation == "residual" and self.leftover == "uniform":
            yield (
                "parameterisation=residual leaves probability to dummy tokens: choose leftover=dummies, or "
                "parameterisation=direct for the uniform leftover of Eq. 3"
            )
        if self.parameterisation == "direct" and self.leftover == "dummies":
            yield (
                "parameterisation=direct has one dummy token at most: choose leftover=dummy, or "
                "parameterisation=residual"
            )


@kind(AlgorithmConfig, "bc")
@settings
class BehaviourCloningConfig(AlgorithmConfig):
    """Behaviour cloning: the first stage of Q-SFT alone."""


@kind(AlgorithmConfig, "filtered_bc")
@settings
class FilteredBehaviourCloningConfig(AlgorithmConfig):
    """Behaviour cloning of the best episodes."""

    share: float = setting(0.1, "share of episodes to imitate, by return; ties are all kept", above=0, maximum=1)


@kind(AlgorithmConfig, "return_conditioned")
@settings
class ReturnConditionedConfig(AlgorithmConfig):
    """Imitation given the return; acting asks for a high one."""

    quantile: float = setting(0.95, "which quantile of the episodes' returns to ask for", minimum=0, maximum=1)


@kind(AlgorithmConfig, "cql")
@settings
class CqlConfig(AlgorithmConfig):
    """Conservative Q-learning over tokens (Kumar et al. 2020)."""

    conservative_weight: float = setting(0.3, "alpha, weight of the conservative penalty", minimum=0)
    temperature: float = setting(0.05, "T of the penalty and of the policy exp(Q / T)", above=0)
    initial_value: float = setting(0.2, "value that every Q starts from", minimum=0, maximum=1)
    target_rate: float = setting(0.005, "share of the weights that moves into the target each step", above=0, maximum=1)


@kind(AlgorithmConfig, "q_transformer")
@settings
class QTransformerConfig(AlgorithmConfig):
    """Q-Transformer (Chebotar et al. 2023)."""

    conservative_weight: float = setting(1.0, "alpha, weight of the push of other tokens' Q to zero", minimum=0)
    n_step: int = setting(1, "environment steps before bootstrapping, within a segment", minimum=1)
    monte_carlo_bound: bool = setting(True, "targets are never below the Monte-Carlo return")
    temperature: float = setting(0.05, "of the policy exp(Q / temperature) that sampling draws from", above=0)
    initial_value: float = setting(0.05, "value that every Q starts from", above=0, below=1)
    target_rate: float = setting(0.005, "share of the weights that moves into the target each step", above=0, maximum=1)


@kind(AlgorithmConfig, "ilql")
@settings
class IlqlConfig(AlgorithmConfig):
    """Implicit language Q-learning (Snell et al. 2023) over tokens."""

    expectile: float = setting(0.8, "tau of the value's expectile regression", above=0.5, below=1)
    conservative_weight: float = setting(0.01, "weight of the CQL term", minimum=0)
    beta: float = setting(20.0, "inverse temperature of the extracted policy", minimum=0)
    initial_value: float = setting(0.2, "value that every Q starts from", minimum=0, maximum=1)
    target_rate: float = setting(0.005, "share of the weights that moves into the target each step", above=0, maximum=1)


@kind(AlgorithmConfig, "monte_carlo")
@settings
class MonteCarloConfig(AlgorithmConfig):
    """Monte-Carlo returns: values of the behaviour policy, one step of improvement."""

    conservative_weight: float = setting(0.01, "weight of the CQL term", minimum=0)
    beta: float = setting(20.0, "inverse temperature of the extracted policy", minimum=0)
    initial_value: float = setting(0.2, "value that every Q starts from", minimum=0, maximum=1)


@kind(AlgorithmConfig, "archer")
@settings
class ArcherConfig(AlgorithmConfig):
    """Offline ArCHer (Zhou et al. 2024): a critic of whole actions, an actor of tokens."""

    expectile: float = setting(0.8, "tau of the value's expectile regression", above=0.5, below=1)
    temperature: float = setting(0.1, "of the weights exp(advantage / temperature) of the actor", above=0)
    largest_weight: float = setting(20.0, "cap of those weights", above=1)
    initial_value: float = setting(0.2, "value that every Q starts from", minimum=0, maximum=1)
    target_rate: float = setting(0.005, "share of the weights that moves into the target each step", above=0, maximum=1)
