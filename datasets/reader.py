"""Opening a trajectory store and reading rows of it; every kind of damage becomes a clear message."""

from __future__ import annotations

import asyncio
import bisect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.core.sync import sync
from zarr.storage import LocalStore

from qsft_robot.datasets import journal, layout
from qsft_robot.datasets.journal import EpisodeRecord, Torn
from qsft_robot.datasets.layout import ArraySpec, StoreSpec
from qsft_robot.errors import StoreError

REPAIR_HINT = "run `python -m qsft_robot.dataset repair dataset={path}` to recover the episodes that are whole"


@dataclass(frozen=True)
class StoreHeader:
    """What the attributes of a store say.

    Attributes:
        task: name of the task, for example "pick_place".
        attributes: options of the environment and of the collection, as JSON values.
        spec: keys, shapes and dtypes of one step.
        chunk_rows: array name ("data/image") -> rows in one of its chunks.
    """

    task: str
    attributes: dict[str, Any]
    spec: StoreSpec
    chunk_rows: dict[str, int]

    @classmethod
    def new(cls, task: str, attributes: Mapping[str, Any], spec: StoreSpec) -> StoreHeader:
        """Return the header of a new store."""
        return cls(task, dict(attributes), spec, layout.chunk_rows(spec))

    def to_json(self) -> dict[str, Any]:
        """Return the attributes of the zarr group."""
        return {
            "format": layout.FORMAT,
            "schema_version": self.spec.schema_version,
            "task": self.task,
            "attributes": self.attributes,
            "observations": {key: array.to_json() for key, array in self.spec.observations.items()},
            "action_dimension": None if self.spec.action.is_text else self.spec.action_dimension,
            "chunk_rows": self.chunk_rows,
        }


@dataclass(frozen=True)
class JournalState:
    """What the journal says: episodes in the arrays, episodes still pending, and a torn rest."""

    folded: list[EpisodeRecord]
    pending: list[tuple[EpisodeRecord, bytes]]
    torn_line: Torn | None
    torn_record: Torn | None


def damaged(path: Path, message: str) -> StoreError:
    """Return the error for a damaged store, with what to do about it."""
    return StoreError(f"the trajectory store {path} is damaged: {message}; {REPAIR_HINT.format(path=path)}")


def read_header(path: Path, copy: bool = False) -> StoreHeader:
    """Read the attributes of the store at `path`, or their copy in the journal.

    Raises:
        StoreError: there is no store, it is something else, its schema is newer, or its metadata is damaged.
    """
    if not path.exists():
        raise StoreError(
            f"there is no trajectory store at {path}: check the path, or make one with "
            f"`python -m qsft_robot.collect dataset={path}`"
        )
    name = "journal/zarr.json" if copy else "zarr.json"
    if not (path / name).is_file():
        if (path / "data").is_dir() and (path / "journal").is_dir():
            raise damaged(path, f"{name} is missing")
        raise StoreError(f"{path} is no trajectory store: it has no {name}")
    try:
        attributes = json.loads((path / name).read_bytes())["attributes"]
        found = attributes.get("format")
        version = int(attributes["schema_version"]) if found == layout.FORMAT else 0
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(path, f"{name} cannot be read ({type(error).__name__}: {error})") from error
    if found != layout.FORMAT:
        raise StoreError(f"{path} is a zarr group, but no trajectory store of qsft_robot")
    if version > layout.SCHEMA_VERSION:
        raise StoreError(
            f"the trajectory store {path} has schema version {version}, this program reads up to "
            f"{layout.SCHEMA_VERSION}: update qsft_robot"
        )
    try:
        observations = {key: ArraySpec.from_json(each) for key, each in attributes["observations"].items()}
        spec = StoreSpec(observations, layout.action_spec(attributes["action_dimension"]))
        stored = attributes.get("chunk_rows", layout.chunk_rows(spec))  # absent in the first stores of this schema
        rows = {name: int(stored[name]) for name in layout.array_names(spec)}
        return StoreHeader(str(attributes["task"]), dict(attributes["attributes"]), spec, rows)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(path, f"{name} cannot be read ({type(error).__name__}: {error})") from error


def read_journal(path: Path) -> JournalState:
    """Read the journal of the store at `path`: the truth about which episodes there are.

    Raises:
        StoreError: a line or a record is damaged (a torn one at the end is no damage).
    """
    content = journal.read(path / "journal")
    folded = content.lines
    for broken in (*content.broken_lines, *content.broken_records):
        raise damaged(path, f"journal: {broken.message}")
    start = 0
    for record in folded:
        if record.start != start:
            raise damaged(path, f"journal: episode {record.index} starts at row {record.start}, expected {start}")
        start = record.end
    pending = [each for each in content.pending if each[0].index >= len(folded)]
    for number, (record, _) in enumerate(pending, start=len(folded)):
        if record.index != number or record.start != start:
            raise damaged(path, f"journal: expected episode {number} among the pending ones, found {record.index}")
        start = record.end
    return JournalState(folded, pending, content.torn_line, content.torn_record)


def open_array(path: Path, name: str, mode: str = "r") -> zarr.Array:
    """Open the array `name` ("data/image") of the store at `path`.

    Raises:
        StoreError: its metadata is missing or damaged.
    """
    try:
        with zarr.config.set({"array.write_empty_chunks": True}):  # so that a missing chunk always is damage
            return zarr.open_array(LocalStore(path, read_only=mode == "r"), path=name, mode=mode, zarr_format=3)
    except Exception as error:  # zarr raises many kinds
        raise damaged(path, f"{name}/zarr.json cannot be read ({type(error).__name__}: {error})") from error


def missing_chunks(path: Path, name: str, rows: int, chunk_rows: int) -> list[int]:
    """Return the numbers of the chunks of `name` that should hold the first `rows` rows but do not exist."""
    present = set()
    for file in (path / name).iterdir():
        parts = file.name.split(".")
        if parts[0] == "c" and len(parts) > 1 and parts[-1] != "partial":
            present.add(int(parts[1]))
    return [chunk for chunk in range(-(-rows // chunk_rows)) if chunk not in present]


def check_array(path: Path, name: str, array: zarr.Array, rows: int) -> None:
    """Check that `array` holds at least `rows` rows and that no chunk of them is missing.

    Raises:
        StoreError: it does not.
    """
    if array.shape[0] < rows:
        raise damaged(path, f"{name} has {array.shape[0]} rows, but the episodes need {rows}")
    if missing := missing_chunks(path, name, rows, array.chunks[0]):
        first = missing[0] * array.chunks[0]
        raise damaged(
            path,
            f"{len(missing)} of the chunks of {name} are missing, the first one from row {first}",
        )


def check_spec(path: Path, name: str, array: zarr.Array, spec: ArraySpec) -> None:
    """Check that shape and dtype of `array` are what the attributes of the store say.

    Raises:
        StoreError: they are not.
    """
    if array.shape[1:] != spec.shape or array.dtype != spec.dtype:
        raise damaged(path, f"{name} holds {array.dtype}{array.shape[1:]}, expected {spec.dtype}{spec.shape}")


def read_rows(path: Path, name: str, array: zarr.Array, start: int, stop: int, ends: Sequence[int]) -> np.ndarray:
    """Read rows `start` to `stop` of one array.

    Args:
        path: the store, for messages.
        name: the array, for messages.
        array: the open array.
        start: first row.
        stop: row after the last.
        ends: row after the last one of each episode, to name the episodes that are hit by damage.

    Raises:
        StoreError: a chunk is damaged or missing.
    """
    try:
        return np.asarray(array[start:stop])
    except Exception as error:  # each codec has errors of its own
        _cancel_other_reads()
        first, last = bisect.bisect_right(ends, start), bisect.bisect_left(ends, stop)
        episodes = f"episode {first}" if first == last else f"one of the episodes {first} to {last}"
        message = f"{name} cannot be read in rows {start} to {stop - 1} ({episodes}): {error}"
        raise damaged(path, message) from error


def _cancel_other_reads() -> None:
    """End the reads of the other chunks, which zarr leaves pending: they would complain when the program ends."""

    async def cancel() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    sync(cancel())
