"""The command `dataset`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

from qsft_robot.command import run
from qsft_robot.config.commands import DatasetConfig
from qsft_robot.dataset import main
from qsft_robot.datasets.episode import Episode
from qsft_robot.datasets.store import TrajectoryStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    space = spaces.Dict({"image": spaces.Box(0, 255, (8, 8, 3), np.uint8)})
    path = tmp_path / "store.zarr"
    with TrajectoryStore.create(path, observation_space=space, action_dimension=7, task="toy") as store:
        for number in range(3):
            image = np.full((5, 8, 8, 3), 40 * number, np.uint8)
            store.append(
                Episode(
                    {"image": image[:-1]},
                    np.zeros((4, 7), np.float32),
                    np.array([0, 0, 0, number == 1], np.float32),
                    {"image": image[-1]},
                    terminated=number == 1,
                    truncated=number != 1,
                    success=number == 1,
                    seed=number,
                    policy="someone",
                )
            )
    return path


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, dict, str]]:
    def run_command(*words: str) -> tuple[int, dict, str]:
        code = run(DatasetConfig, main, words, positional=("action", "dataset"))
        captured = capsys.readouterr()
        result = json.loads(captured.out.splitlines()[-1]) if captured.out.strip() else {}
        return code, result, captured.err

    return run_command


def test_info(path, call):
    code, result, _ = call("info", str(path))
    assert code == 0
    assert (result["episodes"], result["steps"], result["task"]) == (3, 12, "toy")
    assert result["success_rate"] == pytest.approx(1 / 3)
    assert result["return"]["interval"] == pytest.approx([1 / 3 - 0.6533, 1 / 3 + 0.6533], abs=1e-4)
    assert result["observations"] == {"image": {"shape": [8, 8, 3], "dtype": "uint8"}}
    assert result["policies"] == {"someone": 3}


def test_validate_and_repair(path, call):
    assert call("validate", str(path))[1]["sound"]
    (path / "final/image/c.0.0.0.0").unlink()
    code, result, message = call("validate", f"dataset={path}")
    assert (code, result) == (2, {})
    assert "chunk 0 of final/image is missing (episodes 0, 1, 2)" in message
    assert f"dataset repair {path}" in message
    code, result, _ = call("repair", str(path))
    assert code == 0
    assert result["lost_episodes"] == [0, 1, 2]
    assert Path(result["damaged_store"]).is_dir()


def test_play(path, call, tmp_path):
    code, result, _ = call("play", str(path), "episode=1")
    assert code == 0
    assert Path(result["output"]).name == "store.zarr.episode-1.mp4"
    assert Path(result["output"]).stat().st_size > 0
    code, result, _ = call("play", str(path), "format=sheet", f"output={tmp_path / 'sheet.png'}")
    assert code == 0
    assert Path(result["output"]).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["info", "absent.zarr"], "no trajectory store at absent.zarr"),
        (["play", "{path}", "episode=3"], "no episode 3"),
        (["play", "{path}", "output=x.gif"], r".mp4"),
        (["play", "{path}", "checkpoint=absent"], "absent"),
    ],
)
def test_mistakes(path, call, words, message):
    code, _, error = call(*[word.format(path=path) for word in words])
    assert code == 2
    assert error.count("error: ") == 1
    assert message in error
