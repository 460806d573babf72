"""What each diagnostic figure means and where it should lie, in words for the report's table."""

from __future__ import annotations

from dataclasses import dataclass

from qsft_robot.training import advice


@dataclass(frozen=True)
class Figure:
    """A row of the table: key in the diagnostics, name, meaning, wanted range, and whether it is a share."""

    key: str
    name: str
    meaning: str
    wanted: str = ""
    share: bool = False


FIGURES = (
    Figure(
        "behaviour_nll",
        "Surprise on held-out actions",
        "negative log-likelihood of the logged tokens under the behaviour policy, nats per token",
        f"at most {advice.LARGEST_NLL_GAP} above training, at least {advice.LEAST_NLL_GAIN} below guessing",
    ),
    Figure("behaviour_nll_training", "... on training actions", "the same on episodes that were trained on"),
    Figure("marginal_nll", "... of guessing by frequency", "the same without looking at the observation"),
    Figure(
        "out_of_support",
        "Tokens out of support",
        "logged tokens that the policy would never take",
        f"at most {advice.LARGEST_OUT_OF_SUPPORT:.0%}",
        share=True,
    ),
    Figure(
        "actions_out_of_support", "Actions out of support", "logged actions with at least one such token", share=True
    ),
    Figure(
        "calibration_error",
        "Calibration error",
        "mean distance between Q and the discounted return that followed, on the curve",
        f"at most {advice.LARGEST_CALIBRATION_ERROR}",
    ),
    Figure("calibration_bias", "Calibration bias", "mean of Q less the return; above 0, Q promises more"),
    Figure(
        "return_correlation",
        "Correlation of Q and return",
        "whether Q tells episodes that go well from others",
        f"at least {advice.LEAST_CORRELATION}",
    ),
    Figure(
        "saturation",
        "Saturation",
        f"logged tokens with Q above {advice.SATURATED}",
        f"at most {advice.LARGEST_EXTRA_SATURATION:.0%} above that of the returns",
        share=True,
    ),
    Figure(
        "saturation_of_returns",
        "... of the returns",
        f"logged tokens with a return above {advice.SATURATED}",
        share=True,
    ),
    Figure(
        "advantage_spread",
        "Advantage spread",
        "standard deviation of Q over the behaviour policy's tokens, mean over states",
        f"at most {advice.LARGEST_SPREAD}",
    ),
    Figure(
        "policy_divergence",
        "Distance from the behaviour policy",
        "KL divergence of the policy that acts from the behaviour policy, nats per token",
        f"at least {advice.LEAST_DIVERGENCE}",
    ),
)
