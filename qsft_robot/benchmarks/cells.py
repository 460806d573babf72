"""The cells of a comparison: one method, one dataset size and one training seed each, an `Experiment` of its own.

A finished cell leaves `cells/<sim>/<name>/cell.json` and is not made again, so a stopped benchmark goes on where it
was.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from qsft_robot.config import TrainConfig, from_dict, to_dict

logger = logging.getLogger(__name__)

TERMINATED = 143
"""Exit code of a process that SIGTERM ended."""


@dataclass(frozen=True)
class Cell:
    """One training run: `size` is the number of collected episodes, or None for a dataset of the user's."""

    method: str
    seed: int
    size: int | None

    @property
    def name(self) -> str:
        """Name of its folder."""
        words = re.sub(r"[^A-Za-z0-9.]+", "-", self.method)
        return f"{words}_seed{self.seed}" + ("" if self.size is None else f"_{self.size}")


@dataclass(frozen=True)
class Workplace:
    """What the cells of one benchmark have in common.

    Attributes:
        folder: of the benchmark.
        collection_seed: of the datasets that are collected below it.
        keep_checkpoints: whether the networks stay.
    """

    folder: Path
    collection_seed: int
    keep_checkpoints: bool


def make_cells(
    experiments: Mapping[Cell, TrainConfig], place: Workplace, processes: int
) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Make every cell that is missing, so many at a time; yields each with its record, the first in one process first.

    With several processes the machine's cores are shared out among them, and cells with the same pi_phi are made one
    after the other.
    """
    missing = [each for each in experiments.values() if not _record_path(each).exists()]
    for experiment in {str(each.dataset): each for each in missing}.values():
        _collect(experiment, place)
    if processes == 1:
        for index, (cell, experiment) in enumerate(experiments.items()):
            logger.info("cell %d of %d: %s", index + 1, len(experiments), cell.name)
            yield cell, make_cell(cell, experiment, place)
        return
    chains: dict[str, list[Cell]] = {}
    for cell, experiment in experiments.items():
        chains.setdefault(_chain(experiment, place.folder), []).append(cell)
    threads = max(1, (os.cpu_count() or 1) // processes)
    spawn = get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=spawn, initializer=_begin, initargs=(threads,)) as executor:
        futures = {
            executor.submit(_make_chain, [(cell, experiments[cell]) for cell in chain], place): chain
            for chain in chains.values()
        }
        logger.info(
            "%d cells in %d processes; how far one is: %s/cells/*/*/metrics.jsonl",
            len(experiments), processes, place.folder,
        )  # fmt: skip
        try:
            for future in as_completed(futures):
                for cell, record in zip(futures[future], future.result(), strict=True):
                    logger.info("%s: success %.3f", cell.name, record["success_rate"])
                    yield cell, record
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            for process in active_children():
                process.terminate()
            raise


def _record_path(experiment: TrainConfig) -> Path:
    return Path(str(experiment.run)) / "cell.json"


def _begin(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    # As an exception, so that what the process has started ends with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A benchmark that was killed takes nothing with it; nobody would want what its processes go on with."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


def _make_chain(chain: Sequence[tuple[Cell, TrainConfig]], place: Workplace) -> list[dict[str, Any]]:
    try:
        return [make_cell(cell, experiment, place) for cell, experiment in chain]
    except (SystemExit, KeyboardInterrupt):
        # The executor would hand it back as a failure and begin with the next chain.
        os._exit(TERMINATED)


def _chain(experiment: TrainConfig, folder: Path) -> str:
    """Equal for cells that share a network."""
    from qsft_robot.algorithms import ALGORITHMS

    kind = experiment.algorithm.kind
    shared = "behaviour" if kind == "bc" or ALGORITHMS[kind].needs_behaviour_policy else "policy"
    return str(_trained_folders(experiment, folder)[shared])


def _collect(experiment: TrainConfig, place: Workplace) -> None:
    """Collect a cell's data, where they are the benchmark's own."""
    from qsft_robot.collect import collect_as_configured

    if isinstance(experiment.dataset, str) and experiment.dataset.startswith(str(place.folder / "data")):
        collect_as_configured(from_dict(TrainConfig, {**to_dict(experiment), "seed": place.collection_seed}))


def make_cell(cell: Cell, experiment: TrainConfig, place: Workplace) -> dict[str, Any]:
    """Train and play the cell, unless that is done; return its record."""
    from qsft_robot.training.experiment import Experiment

    path = _record_path(experiment)
    run_folder = path.parent
    if path.exists():
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return record
    resumed = (run_folder / "config.yaml").exists()
    trained = _trained_folders(experiment, place.folder)
    for part, kept in trained.items():
        if kept.exists() and not resumed:
            shutil.copytree(kept, run_folder / part, dirs_exist_ok=True)
    result = Experiment(from_dict(TrainConfig, {**to_dict(experiment), "resume": resumed})).run()
    for part, kept in trained.items():
        if (run_folder / part).exists() and not kept.exists():
            shutil.copytree(run_folder / part, kept)
    # Behaviour cloning is played under the name that the clone has in every run with a pi_phi.
    own = result["evaluation"].get(experiment.algorithm.name, result["evaluation"].get("behaviour_clone"))
    outcomes = json.loads(Path(own["outcomes"]).read_text(encoding="utf-8"))["outcomes"]
    record = {
        "method": cell.method,
        "training_seed": cell.seed,
        "size": cell.size,
        "dataset": result["dataset"],
        "success_rate": own["success_rate"],
        "success_interval": own["success_interval"],
        "decoding": own["decoding"],
        "by_decoding": own["by_decoding"],
        "successes": [int(outcome["success"]) for outcome in outcomes],
        "returns": [outcome["episode_return"] for outcome in outcomes],
        "evaluation_seeds": [outcome["seed"] for outcome in outcomes],
        "task_types": [outcome["task_type"] for outcome in outcomes],
        "seconds": result["seconds"],
    }
    path.write_text(json.dumps(record), encoding="utf-8")
    if not place.keep_checkpoints:
        for part in ("training", "behaviour", "policy"):
            shutil.rmtree(run_folder / part, ignore_errors=True)
    return record


def _trained_folders(experiment: TrainConfig, folder: Path) -> dict[str, Path]:
    """Where `behaviour` and `policy` lie that every cell with these settings would train, bit for bit: once is enough.

    How a policy is played makes no other policy: one serves rooms seen and unseen.
    """
    ignored = ("evaluation", "run", "resume", "workers")
    described = {key: value for key, value in to_dict(experiment).items() if key not in ignored}
    del described["sim"]["evaluation"]
    digests = {"policy": _digest(described)}
    described["discount"] = described.pop("algorithm")["discount"]
    del described["training"]["steps"]
    digests["behaviour"] = _digest(described)
    return {part: folder / "cells" / experiment.sim.name / part / digest for part, digest in digests.items()}


def _digest(described: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]
