"""A whole run, its resumption after a kill, and what it refuses."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from qsft_robot.algorithms import TokenBatch
from qsft_robot.algorithms.bc import BehaviourCloning
from qsft_robot.config import TrainConfig
from qsft_robot.errors import CheckpointError, ConfigurationError, StoreError, TrainingError
from qsft_robot.reporting.contents import read_run
from qsft_robot.reporting.page import render
from qsft_robot.training.experiment import Experiment
from qsft_robot.training.metrics import read_metrics

Configure = Callable[..., TrainConfig]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "policy" / "policy.safetensors")


def assert_equal_weights(first: Path, second: Path) -> None:
    expected, found = weights(first), weights(second)
    assert expected.keys() == found.keys()
    for key in expected:
        assert torch.equal(expected[key], found[key]), key


def test_a_run_leaves_everything_a_user_looks_for(configure: Configure, tmp_path: Path) -> None:
    result = Experiment(configure("evaluation.videos=1")).run()
    folder = tmp_path / "run"
    assert set(result["evaluation"]) == {"scripted", "behaviour_clone", "qsft"}
    for summary in result["evaluation"].values():
        low, high = summary["success_interval"]
        assert low <= summary["success_rate"] <= high and summary["episodes"] == 3
    saved = json.loads((folder / "result.json").read_text())
    assert saved["run"] == str(folder)
    assert saved["diagnostics"]["transitions"] > 0 and saved["diagnostics"]["calibration_error"] >= 0
    assert list((folder / "tensorboard" / "diagnostics").glob("events*"))
    assert {record["stage"] for record in read_metrics(folder)} == {"behaviour", "qsft"}
    assert all(np.isfinite(record["loss"]) for record in read_metrics(folder))
    assert list((folder / "tensorboard").rglob("events*"))
    assert [path.stat().st_size > 1000 for path in (folder / "videos").glob("*.mp4")]
    page = render([read_run(folder)])
    assert "data:video/mp4;base64," in page and "Calibration error" in page and "gripper" in page
    outcomes = json.loads((folder / "evaluation" / "qsft_mode.json").read_text())["outcomes"]
    assert len({outcome["seed"] for outcome in outcomes}) == 3
    assert not list(folder.rglob("*.pkl")) and not list(folder.rglob("*.npy"))


@pytest.mark.parametrize("early", [True, False])
def test_early_stopping_keeps_the_weights_of_the_lowest_held_out_loss(
    configure: Configure, tmp_path: Path, early: bool
) -> None:
    # Nine episodes and so large a learning rate are soon learned by heart.
    words = ("algorithm=bc", "training.behaviour_steps=400", "training.learning_rate=0.01", "evaluation.compare=false")
    result = Experiment(configure(*words, f"training.early_stopping={str(early).lower()}", "training.patience=2")).run()
    records = [each for each in read_metrics(tmp_path / "run") if "held_out_loss" in each]
    losses = [record["held_out_loss"] for record in records]
    assert min(losses) < losses[-1]
    assert (records[-1]["step"] == 400) is not early
    kept = result["diagnostics"]["behaviour_nll"]
    assert kept == pytest.approx(min(losses) if early else losses[-1], rel=0.05)


def test_killed_and_resumed_runs_end_with_the_same_weights(
    configure: Configure, dataset: Path, tmp_path: Path, root: Path
) -> None:
    from tests.training.conftest import QUICK

    longer = ["training.behaviour_steps=40", "training.steps=40", "training.checkpoint_period=4"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    command = [sys.executable, "-m", "qsft_robot.train", "sim=pick_place", f"dataset={dataset}", *QUICK, *longer]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    subprocess.run([*command, f"run={whole}"], check=True, capture_output=True, env=environment)
    for stage, words in (("behaviour", []), ("qsft", ["resume=true"])):
        process = subprocess.Popen(
            [*command, f"run={killed}", *words], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while not list((killed / "training" / stage).glob("step_*")):
            assert process.poll() is None, "the run ended before it could be killed"
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run([*command, f"run={killed}", "resume=true"], check=True, capture_output=True, env=environment)
    assert_equal_weights(whole, killed)
    steps = [(record["stage"], record["step"]) for record in read_metrics(killed)]
    assert steps == [(record["stage"], record["step"]) for record in read_metrics(whole)]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(configure: Configure, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        Experiment(configure(f"run={tmp_path / name}", f"seed={seed}", "evaluation.episodes=1")).run()
    assert_equal_weights(tmp_path / "a", tmp_path / "b")
    first, other = weights(tmp_path / "a"), weights(tmp_path / "c")
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_a_finished_run_is_not_overwritten(configure: Configure, tmp_path: Path) -> None:
    Experiment(configure("evaluation.episodes=1")).run()
    with pytest.raises(ConfigurationError, match="resume=true"):
        Experiment(configure()).run()
    with pytest.raises(ConfigurationError, match="training"):
        Experiment(configure("resume=true", "training.steps=13")).run()
    with pytest.raises(ConfigurationError, match="no run to resume"):
        Experiment(configure("resume=true", f"run={tmp_path / 'nothing'}")).run()


def test_behaviour_cloning_is_an_algorithm_of_its_own_and_can_be_started_from(
    configure: Configure, tmp_path: Path
) -> None:
    result = Experiment(configure("algorithm=bc", "evaluation.episodes=1")).run()
    assert set(result["evaluation"]) == {"scripted", "behaviour_clone"}
    again = configure(f"run={tmp_path / 'again'}", f"initialise_from={tmp_path / 'run'}", "evaluation.episodes=1")
    Experiment(again).run()
    other = configure(f"run={tmp_path / 'other'}", f"initialise_from={tmp_path / 'run'}", "tokenization.bins=8")
    with pytest.raises(CheckpointError, match="another model"):
        Experiment(other).run()


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_its_state(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = BehaviourCloning.loss

    calls = itertools.count()

    def loss(algorithm: BehaviourCloning, batch: TokenBatch) -> dict[str, torch.Tensor]:
        return {"loss": whole(algorithm, batch)["loss"] * (torch.nan if next(calls) > 7 else 1.0)}

    monkeypatch.setattr(BehaviourCloning, "loss", loss)
    with pytest.raises(TrainingError, match="learning_rate"):
        Experiment(configure()).run()
    assert (tmp_path / "run" / "training" / "behaviour" / "step_00000005").exists()


def test_a_missing_store_is_named_and_no_folder_is_left(configure: Configure, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="missing"):
        Experiment(configure(f"dataset={tmp_path / 'missing.zarr'}")).run()
    assert not (tmp_path / "run").exists()
