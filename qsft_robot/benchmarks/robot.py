"""All algorithms on equal terms: `python -m qsft_robot.benchmark suite=robot sim=pick_place run=results/robot`.

`suite=language sim=wordle`, `suite=alfworld sim=alfworld` and `suite=ablation` are the same with other methods.

A cell is one method, one dataset size and one training seed: an `Experiment` with the same network, batches, steps and
evaluation episodes as every other cell, played by every decoding, of which the best counts. Every result file is
written anew after each cell: `<sim>.json`, `<sim>.md` (the table) and `<sim>.png`.

A method is written as on the command line: `qsft`, or `qsft algorithm.beta=5 tokenization.bins=256`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from qsft_robot.benchmarks.cells import Cell, Workplace, make_cells
from qsft_robot.benchmarks.robot_tables import draw, table, tabulate
from qsft_robot.config import TrainConfig, differing_settings, from_dict, load, read_yaml, to_dict
from qsft_robot.config.commands import BenchmarkConfig
from qsft_robot.config.suites import RobotSuiteConfig
from qsft_robot.errors import ConfigurationError
from qsft_robot.surroundings import surroundings

SHARED_SECTIONS = ("sim", "model", "tokenization", "training", "evaluation")
"""What a method takes from the benchmark's own configuration, before its own words."""
NO_OTHER_CELL = ("run", "resume", "workers", "evaluation.workers", "evaluation.environments", "evaluation.videos")
"""Settings that make no other figures."""


def run(config: BenchmarkConfig) -> dict[str, Any]:
    """Make every cell that is missing; return the result that also lies in `<run>/<sim>.json`."""
    suite = config.suite
    if not isinstance(suite, RobotSuiteConfig):
        raise ConfigurationError(f"suite={suite.name} is not a suite of this module")
    folder = Path(config.run or Path("results") / suite.name)
    cells = list(cells_of(config, suite))
    experiments = {cell: experiment_of(config, cell, folder) for cell in cells}
    for experiment in experiments.values():
        _refuse_other_settings(experiment)
    done: dict[Cell, dict[str, Any]] = {}
    result: dict[str, Any] = {}
    place = Workplace(folder, config.seed, suite.keep_checkpoints)
    for cell, record in make_cells(experiments, place, suite.processes):
        done[cell] = record
        result = _write(folder, config, suite, [done[each] for each in cells if each in done], len(cells))
    if not suite.keep_checkpoints:
        shutil.rmtree(folder / "cells" / config.sim.name / "policy", ignore_errors=True)
    return result


def cells_of(config: BenchmarkConfig, suite: RobotSuiteConfig) -> Iterator[Cell]:
    """The cells, seed by seed, so that a benchmark that is stopped early has compared every method once."""
    if config.dataset is not None and suite.sizes:
        raise ConfigurationError("suite.sizes says how many episodes to collect; it does not go with dataset=")
    repeated = suite.methods if suite.repeated is None else suite.repeated
    unknown = [name for name in repeated if name not in suite.methods]
    # Who chooses other methods need not know which of the suite's own are repeated.
    if unknown and repeated != load(BenchmarkConfig, [f"suite={suite.name}"]).suite.repeated:  # type: ignore[attr-defined]
        raise ConfigurationError(
            f"suite.repeated names '{unknown[0]}', which is not in suite.methods={suite.methods}: say which of those "
            "get several training seeds, for example suite.repeated=[], or null for all of them"
        )
    sizes: Sequence[int | None] = [None] if config.dataset is not None else suite.sizes or [None]
    for seed in range(suite.seeds):
        for size in sizes:
            for method in suite.methods:
                if seed == 0 or method in repeated:
                    yield Cell(method, seed, size)


def experiment_of(config: BenchmarkConfig, cell: Cell, folder: Path) -> TrainConfig:
    """The configuration of a cell's training run, in a folder of its own below `folder`.

    Raises:
        ConfigurationError: the method's words do not make one.
    """
    algorithm, *words = cell.method.split()
    choices = [f"sim={config.sim.name}", f"model={config.model.name}", f"preset={config.preset}"]
    try:
        # The same words twice: once to compose, once over what the benchmark's own configuration says.
        plain = to_dict(load(TrainConfig, [*choices, f"algorithm={algorithm}"]))
        worded = to_dict(load(TrainConfig, [*choices, f"algorithm={algorithm}", *words]))
        plain.update({name: to_dict(getattr(config, name)) for name in SHARED_SECTIONS})
        for word in words:
            _copy(word.partition("=")[0], worded, plain)
        plain["evaluation"].update(decoding="all", compare=False)
        run_folder = folder / "cells" / config.sim.name / cell.name
        plain.update(seed=cell.seed, dataset=config.dataset, workers=config.workers, run=str(run_folder))
        if cell.size is not None:
            plain["episodes"] = cell.size
        if config.dataset is None:
            # One dataset for all methods and training seeds.
            plain["dataset"] = str(folder / "data" / f"{config.sim.name}-{plain['episodes']}-{config.seed}.zarr")
        return from_dict(TrainConfig, plain)
    except ConfigurationError as error:
        raise ConfigurationError(f"suite.methods: '{cell.method}': {error}") from None


def _copy(key: str, source: Mapping[str, Any], destination: dict[str, Any]) -> None:
    *path, last = key.split(".")
    for name in path:
        source, destination = source[name], destination[name]
    destination[last] = source[last]


def _refuse_other_settings(experiment: TrainConfig) -> None:
    """A cell that is kept, finished or not, has to be one that this command would make.

    Raises:
        ConfigurationError: it was made with other settings.
    """
    folder = Path(str(experiment.run))
    saved = folder / "config.yaml"
    if not saved.exists():
        return
    before, now = to_dict(read_yaml(TrainConfig, saved)), to_dict(experiment)
    for described in (before, now):
        # A benchmark's own data are below its folder, which may have another name now.
        own = Path(described["run"]).parents[2] / "data"
        if isinstance(described["dataset"], str) and Path(described["dataset"]).parent == own:
            described["dataset"] = Path(described["dataset"]).name
    differ = differing_settings(before, now, NO_OTHER_CELL)
    if differ:
        raise ConfigurationError(
            f"{folder} was made with other settings ({'; '.join(differ)}): repeat the command that began this "
            "benchmark, choose another run=, or remove that folder to make its cell anew"
        )


def _write(
    folder: Path, config: BenchmarkConfig, suite: RobotSuiteConfig, done: list[dict[str, Any]], planned: int
) -> dict[str, Any]:
    rows = tabulate(done, suite.reference)
    data = done[0]["dataset"]
    result = {
        **surroundings(),
        "sim": config.sim.name,
        "configuration": to_dict(config),
        "cells_finished": len(done),
        "cells_planned": planned,
        "dataset": data,
        "rows": rows,
        "cells": done,
    }
    folder.mkdir(parents=True, exist_ok=True)
    name = folder / config.sim.name
    name.with_suffix(".json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    name.with_suffix(".md").write_text(table(config.sim.name, rows, data), encoding="utf-8")
    draw(rows, data, name.with_suffix(".png"))
    return {key: value for key, value in result.items() if key not in ("cells", "configuration")} | {
        "results": [str(name.with_suffix(suffix)) for suffix in (".json", ".md", ".png")]
    }
