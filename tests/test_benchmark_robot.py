"""The robot benchmark: which cells it makes, what each is trained with, and what the table says."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from qsft_robot.benchmarks.cells import Cell
from qsft_robot.benchmarks.robot import cells_of, experiment_of, run
from qsft_robot.benchmarks.robot_tables import draw, table, tabulate
from qsft_robot.config import load
from qsft_robot.config.commands import BenchmarkConfig
from qsft_robot.config.suites import RobotSuiteConfig
from qsft_robot.errors import ConfigurationError


def configured(*words: str) -> tuple[BenchmarkConfig, RobotSuiteConfig]:
    config = load(BenchmarkConfig, ["suite=robot", *words])
    assert isinstance(config.suite, RobotSuiteConfig)
    return config, config.suite


def test_every_method_is_met_once_before_any_is_repeated() -> None:
    config, suite = configured('suite.methods=["bc","cql","qsft"]', 'suite.repeated=["qsft"]', "suite.seeds=3")
    assert [(cell.method, cell.seed) for cell in cells_of(config, suite)] == [
        ("bc", 0), ("cql", 0), ("qsft", 0), ("qsft", 1), ("qsft", 2),
    ]  # fmt: skip


def test_only_a_repetition_that_was_asked_for_has_to_be_of_a_method_that_is_compared() -> None:
    config, suite = configured('suite.methods=["cql","qsft"]')
    assert [(cell.method, cell.seed) for cell in cells_of(config, suite)] == [
        ("cql", 0), ("qsft", 0), ("qsft", 1), ("qsft", 2),
    ]  # fmt: skip
    config, suite = configured('suite.methods=["cql","qsft"]', 'suite.repeated=["bc"]')
    with pytest.raises(ConfigurationError, match="repeated names 'bc'"):
        list(cells_of(config, suite))


def test_a_cell_takes_the_shared_settings_and_then_its_own_words(tmp_path: Path) -> None:
    config, _ = configured("training.steps=77", "tokenization.bins=32", "sim.options.observation=state")
    plain = experiment_of(config, Cell("bc", 0, 50), tmp_path)
    changed = experiment_of(config, Cell("qsft algorithm.beta=5 tokenization.bins=16", 2, 50), tmp_path)
    for cell in (plain, changed):
        assert cell.training.steps == 77
        assert cell.sim.options.observation == "state"  # type: ignore[attr-defined]
        assert cell.evaluation.decoding == "all"
    assert plain.tokenization.bins == 32 and changed.tokenization.bins == 16
    assert changed.algorithm.beta == 5  # type: ignore[attr-defined]
    assert plain.dataset == changed.dataset
    assert plain.run != changed.run


@pytest.mark.parametrize("method", ["qsfft", "qsft algorithm.betta=5", "bc algorithm.beta=5", "qsft nonsense"])
def test_a_method_that_makes_no_sense_is_named_before_anything_runs(method: str, tmp_path: Path) -> None:
    config, _ = configured()
    with pytest.raises(ConfigurationError, match=method.split()[0]):
        experiment_of(config, Cell(method, 0, None), tmp_path)


def test_every_variant_of_the_ablation_makes_a_configuration(tmp_path: Path) -> None:
    config = load(BenchmarkConfig, ["suite=ablation", "sim.options.observation=state"])
    assert isinstance(config.suite, RobotSuiteConfig)
    cells = list(cells_of(config, config.suite))
    assert len(cells) == 3 * len(config.suite.methods)
    assert len({str(experiment_of(config, cell, tmp_path).run) for cell in cells}) == len(cells)


def made_up(method: str, seed: int, successes: list[int]) -> dict[str, Any]:
    return {
        "task_types": [""] * len(successes),
        "method": method, "size": None, "training_seed": seed, "successes": successes, "decoding": "greedy",
        "by_decoding": {"greedy": float(np.mean(successes)), "sample": 0.125 * seed},
        "returns": [float(success) for success in successes],
        "evaluation_seeds": list(range(len(successes))), "seconds": {"total": 60.0},
    }  # fmt: skip


def test_rows_pool_the_seeds_and_pair_the_episodes(tmp_path: Path) -> None:
    cells = [made_up("qsft", 0, [1, 1, 1, 0]), made_up("qsft", 1, [1, 1, 0, 1]), made_up("bc", 0, [0, 1, 0, 0])]
    rows = {row["method"]: row for row in tabulate(cells, "qsft")}
    assert rows["qsft"]["success_rate"] == 0.75 and rows["qsft"]["episodes"] == 8
    assert rows["qsft"]["by_training_seed"] == [0.75, 0.75]
    assert rows["qsft"]["difference"] is None
    mean, low, high = rows["bc"]["difference"]
    pairs = np.array([1, 1, 0.5, 0.5]) - np.array([0, 1, 0, 0])
    assert mean == pytest.approx(pairs.mean()) and low < mean < high
    data = {"success_rate": 0.4, "success_interval": (0.3, 0.5), "return": 0.4}
    text = table("pick_place", list(rows.values()), data)
    assert "| bc |" in text and "+0.500" in text
    assert "| success, decoded by | greedy | sample |" in text and "| qsft | 0.750 | 0.062 |" in text
    draw(list(rows.values()), data, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 1000


def test_a_table_of_the_types_of_task(tmp_path: Path) -> None:
    cells = [made_up("qsft", 0, [1, 1, 0, 0]), made_up("bc", 0, [0, 1, 0, 0])]
    for cell in cells:
        cell["task_types"] = ["clean", "heat", "clean", "heat"]
    rows = tabulate(cells, "qsft")
    assert rows[0]["by_task_type"]["clean"]["success_rate"] == 0.5
    text = table("alfworld", rows, {"success_rate": 0.4, "success_interval": (0.3, 0.5), "return": 0.4})
    assert "| method | clean | heat |" in text and "| bc | 0.00 (" in text


SMALL = [
    "preset=smoke", "sim.options.observation=state", "training.steps=2", "training.behaviour_steps=2",
    "evaluation.episodes=2", "evaluation.environments=2", "evaluation.videos=0", "evaluation.workers=0",
    "suite.sizes=[6]", "suite.seeds=1", "suite.repeated=[]", "workers=1", "model.width=16",
]  # fmt: skip


def test_cells_are_made_several_at_a_time(tmp_path: Path) -> None:
    methods = 'suite.methods=["bc","cql","qsft"]'
    words = [*SMALL, methods, f"run={tmp_path}"]
    result = run(configured(*words, "suite.processes=2")[0])
    assert [row["method"] for row in result["rows"]] == ["bc", "cql", "qsft"], "in the order of suite.methods"
    assert len(list(tmp_path.rglob("policy.json"))) == 1, "bc and qsft share their pi_phi, which was trained once"
    assert json.dumps(run(configured(*words)[0])["rows"]) == json.dumps(result["rows"]), "as one process finds them"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_benchmark_that_is_stopped_leaves_no_process_behind(tmp_path: Path, number: signal.Signals) -> None:
    endless = {"training.steps": "100000", "training.behaviour_steps": "100000"}
    words = ["=".join([key, endless.get(key, value)]) for key, value in (word.split("=", 1) for word in SMALL)]
    words += ["training.early_stopping=false", 'suite.methods=["bc","cql","filtered_bc","return_conditioned"]']
    command = [sys.executable, "-m", "qsft_robot.benchmark", "suite=robot", "sim=pick_place", *words]
    benchmark = psutil.Popen(
        [*command, "suite.processes=2", f"run={tmp_path}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    processes = []
    try:
        while benchmark.poll() is None and len(list(tmp_path.rglob("metrics.jsonl"))) < 2:
            time.sleep(0.2)
        processes = benchmark.children(recursive=True)
        assert len(processes) >= 2, "two cells at a time"
        benchmark.send_signal(number)
        _, alive = psutil.wait_procs([benchmark, *processes], timeout=60)
        assert not alive
    finally:
        for process in [benchmark, *processes]:
            if process.is_running():
                process.kill()


def test_a_finished_cell_is_not_made_again(tmp_path: Path) -> None:
    words = [
        *SMALL, 'suite.methods=["bc","qsft","qsft sim.evaluation.object_set=held_out"]', f"run={tmp_path / 'results'}",
    ]  # fmt: skip
    config, _ = configured(*words)
    first = run(config)
    cells = sorted((tmp_path / "results" / "cells").rglob("cell.json"))
    times = [cell.stat().st_mtime_ns for cell in cells]
    assert len(cells) == 3 and first["cells_finished"] == 3
    assert [row["method"] for row in first["rows"]] == ["bc", "qsft", "qsft sim.evaluation.object_set=held_out"]
    logs = sorted((tmp_path / "results" / "cells").rglob("metrics.jsonl"))
    assert len(logs) == 2, "the same policy in another place is not trained again"
    kept = {path.parent.parent.name for path in (tmp_path / "results" / "cells").rglob("policy.json")}
    assert kept == {"behaviour"}, "policies are not kept unless asked for; pi_phi serves methods that are added later"
    again = run(config)
    assert [cell.stat().st_mtime_ns for cell in cells] == times
    assert json.dumps(again["rows"]) == json.dumps(first["rows"])
    written = json.loads((tmp_path / "results" / "pick_place.json").read_text())
    assert len(written["cells"]) == 3
    other, _ = configured(*words, "evaluation.episodes=3")
    with pytest.raises(ConfigurationError, match=r"bc_seed0_6 was made with .* \(evaluation.episodes: 2, now 3\)"):
        run(other)
    (tmp_path / "results").rename(tmp_path / "moved")
    moved, _ = configured(*words, f"run={tmp_path / 'moved'}", "evaluation.videos=1")
    assert json.dumps(run(moved)["rows"]) == json.dumps(first["rows"])
