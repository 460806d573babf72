"""Validate and repair a trajectory store. Neither ever changes data in place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from qsft_robot.datasets.inspection import Inspection, Report
from qsft_robot.datasets.store import TrajectoryStore
from qsft_robot.datasets.writer import StoreWriter, create_store, take_lock
from qsft_robot.errors import StoreError

Progress = Callable[[int, int], None]
"""Called with (episodes looked at, episodes there are)."""


@dataclass(frozen=True)
class Repair:
    """What `repair` did.

    Attributes:
        report: what was found before.
        recovered: how many episodes the repaired store holds.
        path: the repaired store.
        backup: the damaged one, as it was; None if the store was sound and stayed where it is.
    """

    report: Report
    recovered: int
    path: Path
    backup: Path | None


def validate(path: str | Path, progress: Progress | None = None) -> Report:
    """Read the whole store and report every damage, with the episodes it concerns.

    A record that was being written when a process was killed is a note, not a problem.

    Raises:
        StoreError: there is no store, its schema is newer, or nothing in it tells what it holds.
    """
    with Inspection(Path(path)) as inspection:
        for record, _ in inspection.episodes():
            if progress is not None:
                progress(record.index + 1, inspection.report.episodes)
        return inspection.report


def repair(path: str | Path, output: str | Path | None = None, progress: Progress | None = None) -> Repair:
    """Recover every episode that is whole into a new, sound store.

    The new store is written beside the old one. Without `output` it then takes its place, and the old one is
    kept under `<path>.damaged`. A sound store stays as it is, except that a torn record at its end is removed.

    Args:
        path: the store.
        output: where the repaired store goes; by default in the place of the old one.
        progress: called after each episode.

    Raises:
        StoreError: nothing can be recovered, `output` exists, the store is being written, or the disk is full.
    """
    path = Path(path)
    if output is not None and Path(output).exists():
        raise StoreError(f"{output} exists already: choose another path")
    report = validate(path, progress)
    if report.sound and output is None:
        with TrajectoryStore.open(path, "r+") as store:  # folds the journal, removes what was torn
            return Repair(report, len(store), path, None)
    target = path if output is None else Path(output)
    lock = take_lock(path)
    try:
        repaired = _write_repaired(path, target, progress)
        recovered = len(TrajectoryStore.open(repaired))
        if output is not None:
            os.rename(repaired, target)
            return Repair(report, recovered, target, path)
        backup = _free_path(path)
        os.rename(path, backup)
        os.rename(repaired, path)
        return Repair(report, recovered, path, backup)
    finally:
        os.close(lock)


def _write_repaired(path: Path, target: Path, progress: Progress | None) -> Path:
    """Write all whole episodes of the store at `path` to a new store beside `target`, and return its path."""
    temporary = target.with_name(f".{target.name}.repairing")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with Inspection(path) as inspection:
            create_store(temporary, inspection.header)
            writer = StoreWriter(temporary, inspection.header.spec)
            try:
                for record, episode in inspection.episodes():
                    writer.append(episode, record.code_version)
                    if progress is not None:
                        progress(record.index + 1, inspection.report.episodes)
            finally:
                writer.close()
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return temporary


def _free_path(path: Path) -> Path:
    """Return the first of `<path>.damaged`, `<path>.damaged-2`, ... that does not exist."""
    candidate = path.with_name(f"{path.name}.damaged")
    number = 2
    while candidate.exists():
        candidate = path.with_name(f"{path.name}.damaged-{number}")
        number += 1
    return candidate
