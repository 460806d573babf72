"""Intervals against published values and their own properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsft_robot.evaluation.statistics import mean_interval, paired_difference, wilson_interval


def test_wilson_interval_of_known_cases() -> None:
    # Newcombe 1998, Table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    cases = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0.0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    for (successes, trials), interval in cases.items():
        assert wilson_interval(successes, trials) == pytest.approx(interval, abs=1e-4)


@given(trials=st.integers(1, 500), data=st.data())
def test_wilson_interval_holds_the_rate_and_is_symmetric(trials: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, trials))
    low, high = wilson_interval(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1
    assert wilson_interval(trials - successes, trials) == pytest.approx((1 - high, 1 - low))


def test_paired_differences_are_narrower_where_outcomes_agree() -> None:
    generator = np.random.default_rng(0)
    first = generator.random(500) < 0.5
    second = np.where(generator.random(500) < 0.95, first, ~first)
    mean, low, high = paired_difference(first, second)
    _, first_low, first_high = mean_interval(first)
    assert low <= mean <= high and high - low < 0.6 * (first_high - first_low)
