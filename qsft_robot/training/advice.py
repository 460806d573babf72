"""What to do about a diagnostic figure that is out of range: the limits with their reasons, and one sentence each.

Figures are those of training/diagnostics.py, with Q and returns in [0, 1] units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

SATURATED = 0.95
"""Q above this is saturated: with a discount of 0.95 only the last action before success earns more."""
LARGEST_EXTRA_SATURATION = 0.1
"""Share of saturated tokens beyond those whose own return is that high: more, and good actions look like the best."""
LARGEST_CALIBRATION_ERROR = 0.2
"""Q is the value of a policy better than the data, so it may lie above the returns; by a fifth of the range of
returns it no longer tells a failing episode from a succeeding one."""
LEAST_CORRELATION = 0.2
"""Correlation of Q with the return below which Q explains less than 4% of what makes episodes differ."""
LARGEST_OUT_OF_SUPPORT = 0.15
"""Tokens with normal noise fall below a tenth of the peak's probability in 3% of draws, with Laplace noise in 10%."""
LEAST_DIVERGENCE = 0.01
"""Nats per token between the policy and pi: below, seven tokens together change an action's odds by less than 7%."""
LARGEST_SPREAD = 0.25
"""Half of the largest spread that values in [0, 1] can have: one token of one action rarely decides that much."""
LARGEST_NLL_GAP = 0.15
"""Nats per token between held-out and training episodes: pi, which every ratio divides by, is 15% off on new states."""
LEAST_NLL_GAIN = 0.1
"""Nats per token that looking at the observation must win over guessing each token by its frequency."""

NOT_AS_PRINTED = "the recipe as printed does this where many tokens are likely; set algorithm.variant=default"


def advice_on(figures: Mapping[str, Any], settings: Any, bins: int) -> dict[str, str]:
    """One sentence for each figure out of range.

    Args:
        figures: of `diagnose`; those that are absent or null are not judged.
        settings: the algorithm's, to name the keys that it has and their present values.
        bins: tokens per action dimension.
    """
    found = {}
    for name, judge in _JUDGES.items():
        if figures.get(name) is not None:
            sentence = judge(figures, settings, bins)
            if sentence is not None:
                found[name] = sentence
    return found


def _behaviour_nll(figures: Mapping[str, Any], settings: Any, bins: int) -> str | None:
    gap = figures["behaviour_nll"] - figures.get("behaviour_nll_training", figures["behaviour_nll"])
    if gap > LARGEST_NLL_GAP:
        return (
            f"logged actions of new episodes are {gap:.2f} nats per token less likely than those trained on: the "
            "network has learnt its episodes by heart; collect more of them, lower training.behaviour_steps, or set "
            "training.image_shift=2 for pictures"
        )
    if figures["behaviour_nll"] > figures.get("marginal_nll", float("inf")) - LEAST_NLL_GAIN:
        return (
            f"hardly better than guessing by frequency ({figures['marginal_nll']:.2f}): the network does not use "
            "what it sees; raise training.behaviour_steps (or training.steps), and look at the observations with "
            "`python -m qsft_robot.dataset play`"
        )
    return None


def _out_of_support(figures: Mapping[str, Any], settings: Any, bins: int) -> str | None:
    if figures["out_of_support"] <= LARGEST_OUT_OF_SUPPORT:
        return None
    lower = ""
    if getattr(settings, "support_threshold", 0.0):
        lower = f"lower algorithm.support_threshold (now {settings.support_threshold:g}), or "
    return (
        "so many logged tokens are ones that the policy would never take, good ones among them: "
        f"{lower}train the behaviour policy longer, with fewer bins if there are few episodes (now {bins})"
    )


def _calibration_error(figures: Mapping[str, Any], settings: Any, bins: int) -> str | None:
    if figures["calibration_error"] <= LARGEST_CALIBRATION_ERROR:
        return None
    if figures["calibration_bias"] > 0:
        if getattr(settings, "variant", "") == "paper":
            return f"Q promises more than the data ever returned: {NOT_AS_PRINTED}"
        remedies = ["lower algorithm.discount"]
        if hasattr(settings, "monte_carlo_mixture"):
            remedies.insert(0, f"raise algorithm.monte_carlo_mixture (now {settings.monte_carlo_mixture:g})")
        if getattr(settings, "backup", "") == "max":
            remedies.insert(0, "set algorithm.backup=soft")
        if hasattr(settings, "conservative_weight"):
            remedies.insert(0, _less_value(settings))
        return f"Q promises more than the data ever returned: {', or '.join(remedies)}"
    lower = ""
    if settings.kind == "q_transformer":
        lower = f", or lower algorithm.conservative_weight (now {settings.conservative_weight:g})"
    return f"Q lies below what the data returned, as if reward had not yet come back to it: raise training.steps{lower}"


def _return_correlation(figures: Mapping[str, Any], settings: Any, bins: int) -> str | None:
    if figures["return_correlation"] >= LEAST_CORRELATION:
        return None
    mixture = " or algorithm.monte_carlo_mixture" if hasattr(settings, "monte_carlo_mixture") else ""
    return (
        "Q hardly tells episodes that went well from those that did not: raise training.steps"
        f"{mixture}, and check that the data hold both successes and failures (`python -m qsft_robot.dataset info`)"
    )


def _saturation(figures: Mapping[str, Any], settings: Any, bins: int) -> str | None:
    if figures["saturation"] - figures.get("saturation_of_returns", 0.0) <= LARGEST_EXTRA_SATURATION:
        return None
    if getattr(settings, "variant", "") == "paper":
        remedy = NOT_AS_PRINTED
    elif getattr(settings, "leftover", "") == "uniform":
        remedy = "set algorithm.leftover=dummies and algorithm.parameterisation=residual"
    elif getattr(settings, "backup", "") == "max":
        remedy = "set algorithm.backup=soft"
    elif hasattr(settings, "monte_carlo_mixture"):
        remedy = f"raise algorithm.monte_carlo_mixture (now {settings.monte_carlo_mixture:g})"
    elif hasattr(settings, "conservative_weight"):
        remedy = _less_value(settings)
    else:
        remedy = "lower algorithm.discount"
    return f"so many Q are at the top of the range that the best action cannot be told from a good one: {remedy}"


def _less_value(settings: Any) -> str:
    """Which way to move the weight of pessimism for lower values of logged tokens.

    Q-Transformer's pushes other tokens to zero, CQL's and its kin's push the logged ones up as well.
    """
    direction = "raise" if settings.kind == "q_transformer" else "lower"
    return f"{direction} algorithm.conservative_weight (now {settings.conservative_weight:g})"


def _advantage_spread(figures: Mapping[str, Any], settings: Any, bins: int) -> str | None:
    if figures["advantage_spread"] <= LARGEST_SPREAD:
        return None
    return (
        "Q differs between neighbouring actions by more than one action can decide, which is noise that the policy "
        "will follow: collect more episodes, lower training.steps, or use fewer bins "
        f"(tokenization.bins, now {bins})"
    )


def _policy_divergence(figures: Mapping[str, Any], settings: Any, bins: int) -> str | None:
    if figures["policy_divergence"] >= LEAST_DIVERGENCE:
        return None
    beta = f"raise algorithm.beta (now {settings.beta:g}), or " if hasattr(settings, "beta") else ""
    return f"the policy is the behaviour policy in all but name, Q being the same for all actions: {beta}train longer"


_JUDGES: dict[str, Callable[[Mapping[str, Any], Any, int], str | None]] = {
    "behaviour_nll": _behaviour_nll,
    "out_of_support": _out_of_support,
    "calibration_error": _calibration_error,
    "return_correlation": _return_correlation,
    "saturation": _saturation,
    "advantage_spread": _advantage_spread,
    "policy_divergence": _policy_divergence,
}
