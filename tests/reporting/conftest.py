"""Run folders made by hand: what training leaves, in milliseconds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from qsft_robot.config import TrainConfig, load, to_yaml
from qsft_robot.evaluation.statistics import wilson_interval

STEPS, DIMENSIONS = 20, 3


def write_frames(path: Path, codec: str = "vp09") -> None:
    """A video of STEPS frames and ten more of the last, each of another grey."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 10, (64, 64))
    assert writer.isOpened()
    for step in range(STEPS + 10):
        writer.write(np.full((64, 64, 3), 10 * min(step, STEPS - 1), np.uint8))
    writer.release()


def write_outcomes(folder: Path, name: str, success: list[bool]) -> dict[str, Any]:
    """evaluation/<name>.json, as playing a policy leaves it; returns the summary."""
    outcomes = [
        {"seed": 100 + index, "success": each, "episode_return": float(each), "length": STEPS}
        for index, each in enumerate(success)
    ]
    summary = {
        "episodes": len(success),
        "success_rate": sum(success) / len(success),
        "success_interval": wilson_interval(sum(success), len(success)),
        "return": sum(success) / len(success),
        "length": float(STEPS),
    }
    path = folder / "evaluation" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**summary, "outcomes": outcomes}))
    return summary


def diagnostics() -> dict[str, Any]:
    """Figures of which one is out of range."""
    q = [0.05 * index for index in range(10)]
    return {
        "transitions": 500, "behaviour_nll": 2.1, "behaviour_nll_training": 2.05, "marginal_nll": 3.2,
        "out_of_support": 0.05, "actions_out_of_support": 0.3, "q_mean": 0.2, "return_mean": 0.18,
        "calibration_error": 0.03, "calibration_bias": 0.02, "return_correlation": 0.7, "saturation": 0.6,
        "saturation_of_returns": 0.02, "advantage_spread": 0.01, "policy_divergence": 0.1,
        "calibration_curve": {"q": q, "return": [0.9 * each for each in q], "count": [50] * 10},
        "advice": {"saturation": "so many Q are at the top of the range: set algorithm.backup=soft"},
    }  # fmt: skip


@pytest.fixture
def make_run() -> Callable[..., Path]:
    """`make_run(folder, "algorithm=cql", action_names=[...])` writes a finished run into a new folder."""

    def make(folder: Path, *words: str, action_names: list[str] | None = None) -> Path:
        folder.mkdir(parents=True)
        config = load(TrainConfig, ["sim=pick_place", *words])
        (folder / "config.yaml").write_text(to_yaml(config))
        with (folder / "metrics.jsonl").open("w") as file:
            for stage in ("behaviour", config.algorithm.name):
                for step in range(50, 1050, 50):
                    record = {"loss": 10.0 / step, "q": 0.2, "gradient_norm": float("nan")}
                    file.write(json.dumps({"stage": stage, "step": step, **record}) + "\n")
            file.write('{"stage": "torn')
        scripted = write_outcomes(folder, "scripted", [True, False] * 10)
        learnt = write_outcomes(folder, f"{config.algorithm.name}_greedy", [True] * 18 + [False] * 2)
        generator = np.random.default_rng(0)
        for ending, seed in (("success", 100), ("failure", 119)):
            path = folder / "videos" / f"{config.algorithm.name}_greedy_{ending}_{seed}.mp4"
            write_frames(path)
            trace = {
                "frames_per_second": 10,
                "rewards": [0.0] * STEPS,
                "q_values": generator.uniform(0, 1, (STEPS, DIMENSIONS)).tolist(),
                "action_names": action_names,
            }
            path.with_suffix(".json").write_text(json.dumps(trace))
        result = {
            "run": str(folder),
            "dataset": {"paths": ["data.zarr"], "episodes": 3000, "success_rate": 0.4},
            "evaluation": {"scripted": scripted, config.algorithm.name: {**learnt, "decoding": "greedy"}},
            "diagnostics": diagnostics(),
            "seconds": {"total": 100.0},
        }
        (folder / "result.json").write_text(json.dumps(result))
        return folder

    return make
