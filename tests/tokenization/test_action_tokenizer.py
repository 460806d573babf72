"""Bins: error at most half a bin, no bias, exact round trips of centres, clear refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsft_robot.errors import ConfigurationError, DataError
from qsft_robot.tokenization import ActionTokenizer


@given(
    seed=st.integers(0, 2**31),
    bins=st.integers(2, 300),
    scale=st.floats(1e-3, 1e3),
    kind=st.sampled_from(["uniform", "quantile"]),
)
def test_error_is_at_most_half_the_distance_to_the_neighbouring_centres(
    seed: int, bins: int, scale: float, kind: str
) -> None:
    actions = scale * np.random.default_rng(seed).normal(size=(500, 3))
    tokenizer = ActionTokenizer.fit(actions, bins, kind)
    tokens = tokenizer.encode(actions)
    for dimension in range(3):
        centres = tokenizer.centres[dimension]
        nearest = np.abs(actions[:, dimension, None] - centres).min(axis=1)
        error = np.abs(actions[:, dimension] - centres[tokens[:, dimension]])
        np.testing.assert_allclose(error, nearest, atol=1e-12 * scale)


def test_uniform_bins_keep_the_extremes_and_have_no_bias() -> None:
    actions = np.random.default_rng(0).uniform(-1, 1, size=(200_000, 2))
    actions[0], actions[1] = -1, 1
    tokenizer = ActionTokenizer.fit(actions, 256)
    decoded = tokenizer.decode(tokenizer.encode(actions))
    width = 2 / 255
    assert np.abs(decoded - actions).max() <= width / 2 + 1e-6
    assert np.abs((decoded - actions).mean(axis=0)).max() < 0.01 * width
    np.testing.assert_array_equal(decoded[:2], [[-1, -1], [1, 1]])


def test_quantile_bins_hold_equally_many_of_the_data() -> None:
    actions = np.random.default_rng(0).exponential(size=(100_000, 1))
    tokens = ActionTokenizer.fit(actions, 32, "quantile").encode(actions)
    counts = np.bincount(tokens[:, 0], minlength=32)
    assert counts[2:-2].min() > 0.8 * counts[2:-2].max()


@pytest.mark.parametrize("kind", ["uniform", "quantile"])
def test_centres_survive_encoding_and_json(kind: str) -> None:
    actions = np.random.default_rng(1).choice([-0.9, 0.0, 0.9], size=(300, 2)).astype(np.float32)
    tokenizer = ActionTokenizer.fit(actions, 16, kind)
    restored = ActionTokenizer.from_dict(tokenizer.to_dict())
    np.testing.assert_array_equal(restored.centres, tokenizer.centres)
    np.testing.assert_array_equal(restored.encode(actions), tokenizer.encode(actions))
    tokens = tokenizer.encode(actions)
    np.testing.assert_array_equal(tokenizer.encode(tokenizer.decode(tokens)), tokens)


def test_values_outside_the_data_go_to_the_outermost_bins() -> None:
    tokenizer = ActionTokenizer.fit(np.array([[-1.0], [1.0]]), 8)
    np.testing.assert_array_equal(tokenizer.encode(np.array([[-9.0], [9.0]])), [[0], [7]])


def test_a_constant_dimension_is_kept() -> None:
    tokenizer = ActionTokenizer.fit(np.full((10, 1), 0.25), 8)
    np.testing.assert_allclose(tokenizer.decode(tokenizer.encode(np.full((1, 1), 0.25))), 0.25)


def test_bad_input_is_refused_in_words() -> None:
    with pytest.raises(DataError, match="NaN"):
        ActionTokenizer.fit(np.array([[np.nan]]), 8)
    with pytest.raises(ConfigurationError, match="uniform, quantile"):
        ActionTokenizer.fit(np.zeros((3, 1)), 8, "log")
    with pytest.raises(ConfigurationError, match="at least 2"):
        ActionTokenizer.fit(np.zeros((3, 1)), 1)
    tokenizer = ActionTokenizer.fit(np.array([[-1.0], [1.0]]), 8)
    with pytest.raises(DataError, match="dimensions"):
        tokenizer.encode(np.zeros((3, 2)))
    with pytest.raises(DataError):
        tokenizer.decode(np.array([[8]]))
