"""The trajectory store: episodes of experience on disk, in zarr v3.

    with TrajectoryStore.create(path, observation_space=env.observation_space, action_dimension=7,
                                task="pick_place", attributes={"image_size": 48}) as store:
        store.append(episode)

    store = TrajectoryStore.open(path)
    store.episode(0).observations["image"]        # (T, 48, 48, 3) uint8

Appending is durable and atomic (journal.py); the layout on disk is described in layout.py.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np

import qsft_robot
from qsft_robot.datasets import journal, layout, reader
from qsft_robot.datasets.episode import Episode
from qsft_robot.datasets.journal import EpisodeRecord
from qsft_robot.datasets.layout import StoreSpec
from qsft_robot.datasets.writer import StoreWriter, create_store
from qsft_robot.errors import StoreError


class TrajectoryStore:
    """Episodes on disk. Make one with `create` or `open`; a context manager closes it.

    Attributes:
        path: the folder of the store.
        task: name of the task it was collected for.
        attributes: options of the environment and of the collection.
        spec: observation keys with their shapes and dtypes, and those of an action.
    """

    def __init__(self, path: Path, mode: Literal["r", "r+"]) -> None:
        """Use `open` or `create`."""
        self.path = path
        header = reader.read_header(path)
        self.task, self.attributes, self.spec = header.task, header.attributes, header.spec
        self._writer = StoreWriter(path, self.spec) if mode == "r+" else None
        self._load()

    @classmethod
    def create(
        cls,
        path: str | Path,
        *,
        observation_space: Any,
        action_dimension: int | None,
        task: str,
        attributes: Mapping[str, Any] | None = None,
    ) -> TrajectoryStore:
        """Create an empty store and open it for appending.

        Args:
            path: folder to create, usually ending in .zarr.
            observation_space: Gymnasium Dict space, or mapping of key -> object with `.shape` and `.dtype`; a Text
                space stands for the key "text".
            action_dimension: D, numbers in one action; None where actions are text.
            task: name of the task.
            attributes: JSON values to keep with it, for example the options of the environment.

        Raises:
            StoreError: something is at `path` already, or an observation cannot be stored.
        """
        spec = StoreSpec.from_space(observation_space, action_dimension)
        create_store(Path(path), reader.StoreHeader.new(task, attributes or {}, spec))
        return cls(Path(path), "r+")

    @classmethod
    def open(cls, path: str | Path, mode: str = "r", *, task: str | None = None) -> TrajectoryStore:
        """Open a store.

        Args:
            path: its folder.
            mode: "r" to read, "r+" to append as well (one process at a time).
            task: if given, the task that the store must have been made for.

        Raises:
            StoreError: it is missing, damaged, of a newer schema, made for another task, or being written.
        """
        if mode not in ("r", "r+"):
            raise StoreError(f"mode '{mode}' is unknown: open a store with mode 'r' or 'r+'")
        if task is not None and (found := reader.read_header(Path(path)).task) != task:
            raise StoreError(f"the trajectory store {path} was made for the task '{found}', not for '{task}'")
        return cls(Path(path), "r+" if mode == "r+" else "r")

    def append(self, episode: Episode, *, code_version: str | None = None, sync: bool = True) -> int:
        """Append an episode and return its index; when this returns, the episode is safe on disk.

        Args:
            episode: what to append.
            code_version: version of the code that made it, the running one by default.
            sync: wait for the disk. Without it the episode outlives the process, and a power cut after `sync()`.

        Raises:
            DataError: the episode does not fit the store.
            StoreError: the store is open for reading only, or the disk is full (nothing is lost then).
        """
        if self._writer is None:
            raise StoreError(f"{self.path} is open for reading: open it with mode 'r+' to append")
        record = self._writer.append(episode, code_version or qsft_robot.__version__, sync)
        self.__dict__.pop("_ends", None)
        return record.index

    def sync(self) -> None:
        """Wait until the disk has all that was appended.

        Raises:
            StoreError: the disk failed; what was appended since the last time is not stored.
        """
        if self._writer is not None:
            self._writer.sync()

    def close(self) -> None:
        """Write what is still in the journal to the arrays and release the store."""
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.close()
            self._load()

    def __enter__(self) -> TrajectoryStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._records) + len(self._pending)

    def record(self, index: int) -> EpisodeRecord:
        """Return the metadata of episode `index`.

        Raises:
            StoreError: there is no such episode.
        """
        if not 0 <= index < len(self):
            raise StoreError(f"{self.path} has no episode {index}: it holds {len(self)}, counted from 0")
        folded = len(self._records)
        return self._records[index] if index < folded else self._pending[index - folded][0]

    def episode(self, index: int) -> Episode:
        """Read episode `index`.

        Raises:
            StoreError: there is no such episode, or it is damaged.
        """
        record = self.record(index)
        data = {key: self.read(key, record.start, record.end) for key in self.spec.data}
        final = {
            key: np.asarray(self.read_final(key, index, index + 1)[0], dtype=array.dtype)  # one text of many is a str
            for key, array in self.spec.final.items()
        }
        return journal.make_episode(record, data, final)

    def __iter__(self) -> Iterator[Episode]:
        return (self.episode(index) for index in range(len(self)))

    def read(self, key: str, start: int, stop: int) -> np.ndarray:
        """Read rows `start` to `stop` of `data/<key>`, across episodes.

        Args:
            key: an observation key, "action" or "reward".
            start: first row.
            stop: row after the last.

        Raises:
            StoreError: a chunk is damaged.
        """
        boundary = self._records[-1].end if self._records else 0
        parts = []
        if start < boundary:
            array = self._array(f"data/{key}")
            parts.append(reader.read_rows(self.path, f"data/{key}", array, start, min(stop, boundary), self._ends))
        for record, payload in self._pending:
            if record.start < stop and record.end > start:
                episode = journal.episode_from_bytes(payload, record, self.spec)
                values = {"action": episode.actions, "reward": episode.rewards}.get(key)
                rows = episode.observations[key] if values is None else values
                parts.append(rows[max(0, start - record.start) : stop - record.start])
        if len(parts) == 1:
            return parts[0]
        array_spec = self.spec.data[key]
        return np.concatenate(parts) if parts else np.empty((0, *array_spec.shape), array_spec.dtype)

    def read_final(self, key: str, start: int, stop: int) -> np.ndarray:
        """Read the final observations `key` of the episodes `start` to `stop`; errors as in `read`."""
        folded = len(self._records)
        parts = []
        if start < folded:
            array, name = self._array(f"final/{key}"), f"final/{key}"
            ends = range(1, folded + 1)
            parts.append(reader.read_rows(self.path, name, array, start, min(stop, folded), ends))
        for record, payload in self._pending[max(0, start - folded) : max(0, stop - folded)]:
            parts.append(journal.episode_from_bytes(payload, record, self.spec).final_observation[key][None])
        if len(parts) == 1:
            return parts[0]
        array_spec = self.spec.final[key]
        return np.concatenate(parts) if parts else np.empty((0, *array_spec.shape), array_spec.dtype)

    def chunk_rows(self, key: str) -> int:
        """Return how many rows of `data/<key>` lie in one chunk."""
        return int(self._array(f"data/{key}").chunks[0])

    @property
    def keys(self) -> list[str]:
        """Observation keys, sorted."""
        return sorted(self.spec.observations)

    @property
    def number_of_steps(self) -> int:
        """Transitions in all episodes together."""
        return self.record(len(self) - 1).end if len(self) else 0

    @cached_property
    def _ends(self) -> list[int]:
        return [self.record(index).end for index in range(len(self))]

    @property
    def episode_ends(self) -> np.ndarray:
        """(episodes,) int64, row after the last one of each episode."""
        return np.asarray(self._ends, dtype=np.int64)

    @property
    def episode_lengths(self) -> np.ndarray:
        """(episodes,) int64, number of steps."""
        return np.diff(self.episode_ends, prepend=0)

    def episode_of_row(self, row: int) -> int:
        """Return the episode that row `row` of `data/*` belongs to."""
        return bisect.bisect_right(self._ends, row)

    def _column(self, name: str, dtype: Any) -> np.ndarray:
        return np.array([self.record(index).column(name) for index in range(len(self))], dtype=dtype)

    @property
    def episode_returns(self) -> np.ndarray:
        """(episodes,) float64, undiscounted."""
        return self._column("return", np.float64)

    @property
    def success(self) -> np.ndarray:
        """(episodes,) bool."""
        return self._column("success", np.bool_)

    @property
    def terminated(self) -> np.ndarray:
        """(episodes,) bool."""
        return self._column("terminated", np.bool_)

    @property
    def truncated(self) -> np.ndarray:
        """(episodes,) bool."""
        return self._column("truncated", np.bool_)

    @property
    def seeds(self) -> np.ndarray:
        """(episodes,) int64."""
        return self._column("seed", np.int64)

    @property
    def policies(self) -> list[str]:
        """Name of what acted, per episode."""
        return [self.record(index).policy for index in range(len(self))]

    def _array(self, name: str) -> Any:
        if name not in self._arrays:
            raise StoreError(f"{self.path} has no array {name}: its observations are {self.keys}")
        return self._arrays[name]

    def _load(self) -> None:
        """Read the journal, open the arrays, and check that they can hold its episodes."""
        if self._writer is not None:
            self._records, self._pending = self._writer.records, self._writer.pending
            self._arrays = self._writer.arrays
            self._check_arrays()
            return
        while True:
            state = reader.read_journal(self.path)
            self._records, self._pending = state.folded, state.pending
            self._arrays = {name: reader.open_array(self.path, name) for name in layout.array_names(self.spec)}
            extra = self._arrays["meta/episode_ends"].shape[0] - len(self)
            if extra <= 0:
                break
            if reader.read_journal(self.path) == state:  # otherwise a writer appended in between: look again
                raise reader.damaged(self.path, f"the journal has lost the last {extra} episodes of the arrays")
        self._check_arrays()

    def _check_arrays(self) -> None:
        """Check shapes and dtypes of the arrays and that no chunk is missing."""
        steps = self._records[-1].end if self._records else 0
        for name, array in self._arrays.items():
            folder, key = name.split("/", 1)
            if folder != "meta":
                specs = self.spec.data if folder == "data" else self.spec.final
                reader.check_spec(self.path, name, array, specs[key])
            reader.check_array(self.path, name, array, steps if folder == "data" else len(self._records))
