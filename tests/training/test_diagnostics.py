"""The diagnostics against closed forms, and advice that names keys which exist."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from qsft_robot.algorithms import ALGORITHMS, Algorithm, TokenBatch, ValueRange, make_algorithm
from qsft_robot.config import TrainConfig, load
from qsft_robot.training.advice import advice_on
from qsft_robot.training.diagnostics import calibration, diagnose, write_tensorboard
from tests.algorithms import tabular

PI = torch.tensor([[0.8, 0.2], [0.995, 0.005]])
Q = torch.tensor([[0.9, 0.1], [0.5, 0.97]])
VALUE_BASED = ("cql", "ilql", "monte_carlo", "q_transformer", "qsft")


def make(kind: str, *options: str) -> Algorithm:
    torch.manual_seed(0)
    config = load(TrainConfig, ["sim=pick_place", f"algorithm={kind}", *options])
    return make_algorithm(tabular.SHAPE, config.algorithm, ValueRange())


def with_outputs(algorithm: Algorithm, **outputs: torch.Tensor) -> Algorithm:
    """Let each network give the same (D, outputs) logits in every state."""
    with torch.no_grad():
        for name, values in outputs.items():
            network = algorithm.network(name)
            network.head_weight.zero_()
            network.head_bias.copy_(values)
    return algorithm


def batch(returns: float = 0.0) -> TokenBatch:
    """Every state and action once; each token equally often."""
    data = tabular.all_transitions()
    filled = torch.full_like(data.rewards, returns)
    return dataclasses.replace(data, monte_carlo_return=filled, episode_return=filled, behaviour_logits=None)


def known_qsft() -> Algorithm:
    return with_outputs(make("qsft", "algorithm.beta=2"), behaviour=PI.log(), likelihood=torch.logit(Q))


def test_figures_of_a_network_with_known_outputs() -> None:
    figures = diagnose(known_qsft(), [batch(0.4)], [batch(0.4)])
    assert figures["transitions"] == tabular.STATES * 4
    nll = -float(PI.log().mean())
    assert figures["behaviour_nll"] == pytest.approx(nll) == figures["behaviour_nll_training"]
    assert figures["marginal_nll"] == pytest.approx(math.log(2))
    # Of dimension 1, token 1 has 0.5% of the likeliest one's probability; the threshold is 10%.
    assert figures["out_of_support"] == 0.25 and figures["actions_out_of_support"] == 0.5
    assert figures["q_mean"] == pytest.approx(float(Q.mean())) and figures["return_mean"] == pytest.approx(0.4)
    assert figures["calibration_error"] == pytest.approx(float((Q - 0.4).abs().mean()))
    assert figures["calibration_curve"]["q"] == pytest.approx(sorted(Q.flatten().tolist()))
    assert figures["saturation"] == 0.25 and figures["saturation_of_returns"] == 0.0
    mean = (PI * Q).sum(dim=1, keepdim=True)
    spread = (PI * (Q - mean) ** 2).sum(dim=1).sqrt().mean()
    assert figures["advantage_spread"] == pytest.approx(float(spread))
    # Dimension 1 keeps one token in support; dimension 0 is tilted by exp(2 Q).
    policy = (PI[0].log() + 2 * Q[0]).softmax(dim=0)
    divergence = (float((policy * (policy / PI[0]).log()).sum()) - math.log(0.995)) / 2
    assert figures["policy_divergence"] == pytest.approx(divergence, rel=1e-5)
    assert {"behaviour_nll", "out_of_support", "calibration_error", "saturation"} <= set(figures["advice"])
    assert figures["return_correlation"] is None


def test_figures_are_in_units_of_the_range_of_returns() -> None:
    plain = diagnose(known_qsft(), [batch(0.4)], [batch()])
    algorithm = known_qsft()
    algorithm.value_range = ValueRange(-10.0, 30.0)
    wide = diagnose(algorithm, [batch(0.4 * 40 - 10)], [batch()])
    assert wide.keys() == plain.keys() and wide["advice"].keys() == plain["advice"].keys()
    for name, value in plain.items():
        if isinstance(value, float):
            assert wide[name] == pytest.approx(value, rel=1e-5), name


def test_what_is_not_valid_does_not_count() -> None:
    data = batch(0.4)
    valid = data.valid.clone()
    valid[::2] = False
    first = dataclasses.replace(data, valid=valid)
    changed = torch.where(valid.unsqueeze(-1), data.tokens[:, :1], 1 - data.tokens[:, :1])
    other = dataclasses.replace(first, tokens=torch.cat([changed, data.tokens[:, 1:]], dim=1))
    algorithm = known_qsft()
    assert diagnose(algorithm, [first], [first]) == diagnose(algorithm, [other], [other])


@pytest.mark.parametrize("kind", sorted(ALGORITHMS))
def test_every_algorithm_gets_what_applies_to_it(kind: str, tmp_path: Path) -> None:
    algorithm = make(kind)
    algorithm.observe_returns(np.array([0.0, 1.0]))
    algorithm.train()
    figures = diagnose(algorithm, [batch(1.0)], [batch(1.0)])
    assert algorithm.training
    assert ("behaviour_nll" in figures) == ("behaviour" in algorithm.networks)
    assert ("calibration_error" in figures) == (kind in VALUE_BASED)
    assert ("advantage_spread" in figures) == (kind in ("ilql", "monte_carlo", "qsft"))
    assert all(math.isfinite(value) for value in figures.values() if isinstance(value, float))
    write_tensorboard(tmp_path, figures, step=7)
    assert len(list((tmp_path / "tensorboard" / "diagnostics").glob("events*"))) == 1


def test_filtered_cloning_is_judged_by_what_it_imitates() -> None:
    algorithm = make("filtered_bc")
    algorithm.observe_returns(np.array([0.0, 1.0]))
    data = batch(0.0)
    success = (data.tokens[:, 0] == 1).all(dim=1, keepdim=True).float()
    with_outputs(algorithm, behaviour=PI.log())
    figures = diagnose(algorithm, [dataclasses.replace(data, episode_return=success)], [batch(0.0)])
    assert figures["behaviour_nll"] == pytest.approx(-(math.log(0.2) + math.log(0.005)) / 2)
    assert "behaviour_nll_training" not in figures  # none of those episodes is imitated


def test_calibration() -> None:
    generator = np.random.default_rng(0)
    q = generator.uniform(0.0, 1.0, 20000)
    returns = (generator.uniform(0.0, 1.0, 20000) < q).astype(float)
    good = calibration(q, returns)
    assert good["calibration_error"] < 0.02 and abs(good["calibration_bias"]) < 0.02
    assert good["calibration_curve"]["count"] == [2000] * 10
    assert good["calibration_curve"]["q"] == pytest.approx(good["calibration_curve"]["return"], abs=0.05)
    assert good["return_correlation"] == pytest.approx(1 / math.sqrt(3), abs=0.02)
    assert calibration(q + 0.3, returns)["calibration_error"] == pytest.approx(0.3, abs=0.02)
    few = calibration(np.repeat([0.1, 0.7], 50), np.repeat([0.0, 1.0], 50))
    assert few["calibration_curve"]["q"] == pytest.approx([0.1, 0.7])
    assert few["calibration_curve"]["return"] == [0.0, 1.0] and few["calibration_curve"]["count"] == [50, 50]
    assert calibration(np.full(5, 0.3), np.arange(5.0))["return_correlation"] is None


GOOD: dict[str, Any] = {
    "behaviour_nll": 2.0, "behaviour_nll_training": 1.95, "marginal_nll": 3.0, "out_of_support": 0.05,
    "calibration_error": 0.05, "calibration_bias": 0.04, "return_correlation": 0.6, "saturation": 0.03,
    "saturation_of_returns": 0.02, "advantage_spread": 0.02, "policy_divergence": 0.1,
}  # fmt: skip
BAD: list[tuple[str, dict[str, float]]] = [
    ("behaviour_nll", {"behaviour_nll_training": 1.5}),
    ("behaviour_nll", {"marginal_nll": 2.01}),
    ("out_of_support", {"out_of_support": 0.4}),
    ("calibration_error", {"calibration_error": 0.3, "calibration_bias": 0.3}),
    ("calibration_error", {"calibration_error": 0.3, "calibration_bias": -0.3}),
    ("return_correlation", {"return_correlation": 0.0}),
    ("saturation", {"saturation": 0.8}),
    ("advantage_spread", {"advantage_spread": 0.4}),
    ("policy_divergence", {"policy_divergence": 0.0}),
]


@pytest.mark.parametrize("kind", sorted(ALGORITHMS))
def test_advice_names_keys_that_this_algorithm_has(kind: str) -> None:
    variants = [["algorithm.variant=paper"], ["algorithm.backup=max"]] if kind == "qsft" else []
    for words in [[], *variants]:
        settings = make(kind, *words).settings
        assert advice_on(GOOD, settings, 256) == {}
        for name, change in BAD:
            (sentence,) = (found := advice_on({**GOOD, **change}, settings, 256)).values()
            assert set(found) == {name} and not sentence.endswith(".")
            for key in re.findall(r"(?:algorithm|training|tokenization)\.\w+", sentence):
                section, _, field = key.partition(".")
                config = load(TrainConfig, ["sim=pick_place", f"algorithm={kind}", *words])
                assert hasattr(getattr(config, section), field), sentence


def test_figures_that_are_absent_are_not_judged() -> None:
    assert advice_on({"return_correlation": None}, SimpleNamespace(), 16) == {}
