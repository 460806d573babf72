"""What all commands share: the result on standard output, messages, exit codes."""

from __future__ import annotations

import errno
import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qsft_robot.command import run, to_json
from qsft_robot.config import BenchmarkConfig, CollectConfig, DatasetConfig
from qsft_robot.errors import MissingExtraError, StoreError


def test_result_is_the_only_line_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    def main(config: DatasetConfig) -> dict[str, Any]:
        print("a remark")
        return {
            "action": config.action,
            "dataset": config.dataset,
            "rate": np.float32(0.5),
            "none": float("nan"),
        }

    assert run(DatasetConfig, main, ["info", "x.zarr"], positional=("action", "dataset")) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"action": "info", "dataset": "x.zarr", "rate": 0.5, "none": None}
    assert captured.out.count("\n") == 1
    assert "a remark" in captured.err


def test_native_output_does_not_follow_the_result(root: Path) -> None:
    code = textwrap.dedent(
        """
        import ctypes, logging
        from qsft_robot.command import run
        from qsft_robot.config import CollectConfig

        def main(config):
            ctypes.CDLL(None).puts(b"held in a buffer until the end")
            logging.getLogger("qsft_robot.test").info("a log line")
            return {"episodes": config.episodes}

        raise SystemExit(run(CollectConfig, main, ["episodes=3"]))
        """
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == '{"episodes": 3}\n'
    assert "held in a buffer" in done.stderr
    assert "a log line" in done.stderr


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (StoreError("x.zarr is damaged: run repair"), 2, "error: x.zarr is damaged: run repair"),
        (KeyboardInterrupt(), 130, "interrupted; what was finished is kept, resume=true goes on with it"),
        (OSError(errno.ENOSPC, "No space left on device", "x.zarr"), 2, "error: the disk is full (x.zarr)"),
        (ValueError("unexpected"), 1, "ValueError: unexpected"),
        (SystemExit(7), 7, ""),
    ],
)
def test_errors_become_exit_codes(
    error: BaseException, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def main(config: CollectConfig) -> dict[str, Any]:
        raise error

    assert run(CollectConfig, main, []) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err


def test_mistake_ends_before_the_work(capsys: pytest.CaptureFixture[str]) -> None:
    def main(config: CollectConfig) -> dict[str, Any]:
        raise AssertionError("must not be called")

    assert run(CollectConfig, main, ["episods=3", "sim=pick_plac"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "did you mean 'episodes'?" in error
    assert "did you mean 'pick_place'?" in error


def test_a_missing_extra_is_told_from_a_worker_process_too() -> None:
    error = MissingExtraError("language", "chess")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is MissingExtraError and str(again) == str(error) and again.extra == "language"


def test_termination_unwinds_the_stack() -> None:
    cleaned = []

    def main(config: CollectConfig) -> dict[str, Any]:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        finally:
            cleaned.append(True)
        return {}

    assert run(CollectConfig, main, []) == 143
    assert cleaned == [True]


@pytest.mark.parametrize("config_class", [CollectConfig, DatasetConfig, BenchmarkConfig])
def test_help_names_every_key(config_class: type, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(config_class, lambda config: {}, ["--help"]) == 0
    text = capsys.readouterr().out
    assert "usage: " in text
    for key in config_class.__dataclass_fields__:  # type: ignore[attr-defined]
        assert key in text


def test_help_follows_the_choice_of_groups(capsys: pytest.CaptureFixture[str]) -> None:
    run(CollectConfig, lambda config: {}, ["--help", "sim=drawer_grasp", "episodes=77"])
    text = capsys.readouterr().out
    assert "sim.options.drawer=" in text
    assert "episodes=77" in text


def test_resolved_configuration_can_be_shown(capsys: pytest.CaptureFixture[str]) -> None:
    import yaml

    assert run(CollectConfig, lambda config: {}, ["--print-config", "episodes=77"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["episodes"] == 77


def test_json_knows_paths_arrays_and_configurations() -> None:
    text = to_json({"path": Path("a") / "b", "array": np.arange(2), "nested": [{"x": np.inf}], "flag": np.bool_(True)})
    assert json.loads(text) == {"path": "a/b", "array": [0, 1], "nested": [{"x": None}], "flag": True}
    with pytest.raises(TypeError, match="object"):
        to_json({"x": object()})


def test_unknown_suite_is_refused(command: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = command("benchmark", "suite=contrl")
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown suite 'contrl'; did you mean 'control'?")
    assert done.stdout == ""
