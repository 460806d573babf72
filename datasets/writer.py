"""Appending to a trajectory store so that a process killed at any moment loses at most one episode."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import zarr
from zarr.storage import LocalStore

from qsft_robot.datasets import journal, layout, reader
from qsft_robot.datasets.episode import TEXT, Episode
from qsft_robot.datasets.journal import EpisodeRecord
from qsft_robot.datasets.layout import StoreSpec
from qsft_robot.errors import DataError, StoreError

PENDING_BYTES = 32 << 20
"""Pending episodes are folded into the arrays once they take this many bytes (150 episodes of 48x48)."""


def create_store(path: Path, header: reader.StoreHeader) -> None:
    """Create an empty store at `path`; it appears there by one rename, complete.

    Raises:
        StoreError: something is there already, or the folder cannot be written.
    """
    if path.exists():
        raise StoreError(f"{path} exists already: choose another path, or remove it first")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.creating-", dir=path.parent))
        temporary.chmod(0o755)
        try:
            root = zarr.create_group(LocalStore(temporary), attributes=header.to_json())
            for name in layout.array_names(header.spec):
                layout.create_array(root, name, header.spec, header.chunk_rows[name])
            root.create_group("journal", attributes=header.to_json())  # a second copy, for repair
            (temporary / "journal" / journal.EPISODES_FILE).touch()
            (temporary / "journal" / journal.PENDING_FILE).touch()
            for file in temporary.rglob("*"):
                _sync(file)
            os.rename(temporary, path)
            _sync(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise StoreError(f"the trajectory store {path} cannot be created: {error.strerror or error}") from error


def make_record(episode: Episode, payload: bytes, index: int, start: int, code_version: str) -> EpisodeRecord:
    """Return the metadata of `episode` as episode `index` of a store, beginning at row `start`."""
    return EpisodeRecord(
        index=index,
        start=start,
        length=len(episode),
        seed=int(episode.seed),
        policy=episode.policy,
        success=bool(episode.success),
        terminated=bool(episode.terminated),
        truncated=bool(episode.truncated),
        episode_return=episode.episode_return,
        code_version=code_version,
        checksum=journal.crc32(payload),
    )


def check_episode(episode: Episode, spec: StoreSpec) -> None:
    """Check that `episode` fits the arrays of the store.

    Raises:
        DataError: a key, a shape or a dtype differs, or a final observation is not finite.
    """
    if set(episode.observations) != set(spec.observations):
        raise DataError(f"the store has the keys {sorted(spec.observations)}, got {sorted(episode.observations)}")
    shape = episode.actions.shape[1:]
    if shape != spec.action.shape or (episode.actions.dtype == TEXT) != spec.action.is_text:
        wanted = "text" if spec.action.is_text else f"{spec.action_dimension} numbers"
        raise DataError(f"the store has actions of {wanted}, got {episode.actions.dtype}{shape}")
    for key, array in spec.observations.items():
        final = np.asarray(episode.final_observation[key])
        for values, shape in (
            (episode.observations[key], (len(episode), *array.shape)),
            (final, array.shape),
        ):
            if values.shape != shape or values.dtype != array.dtype:
                message = f"observation '{key}' is {values.dtype}{values.shape}, expected {array.dtype}{shape}"
                raise DataError(message)
        if final.dtype.kind == "f" and not np.isfinite(final).all():
            raise DataError(f"final observation '{key}' of seed {episode.seed} holds NaN or infinity")


class StoreWriter:
    """The writing side of a store that exists: holds its lock, appends to its journal, folds the journal.

    Attributes:
        records: metadata of the episodes that lie in the arrays.
        pending: (metadata, arrays as bytes) of the episodes that still lie in the journal.
        arrays: name ("data/image") -> open zarr array.
        descriptors: the open files, the lock among them.
    """

    def __init__(self, path: Path, spec: StoreSpec) -> None:
        """Take the lock of the store, cut off what a killed writer left, and fold what it had appended.

        Raises:
            StoreError: another process writes to the store, or it is damaged.
        """
        self._path = path
        self._spec = spec
        self._lock = take_lock(path)
        try:
            state = reader.read_journal(path)
            folder = path / "journal"
            self._lines = os.open(folder / journal.EPISODES_FILE, os.O_RDWR)
            self._pending_file = os.open(folder / journal.PENDING_FILE, os.O_RDWR)
            self.descriptors = [self._lock, self._lines, self._pending_file]
            if state.torn_line is not None:
                os.ftruncate(self._lines, state.torn_line.offset)
            if state.torn_record is not None:
                os.ftruncate(self._pending_file, state.torn_record.offset)
            self.records = state.folded
            self.pending = state.pending
            self._synced = len(self.pending), os.fstat(self._pending_file).st_size
            """Pending episodes that the disk has, and the size of their file."""
            self.arrays = {name: reader.open_array(path, name, "r+") for name in layout.array_names(spec)}
            if state.pending or os.fstat(self._pending_file).st_size:
                _remove_partial_files(path)
                self.fold()
        except BaseException:
            os.close(self._lock)
            raise

    def append(self, episode: Episode, code_version: str, sync: bool = True) -> EpisodeRecord:
        """Append one episode; when this returns, it outlives the process, and with `sync` a power cut.

        Raises:
            DataError: the episode does not fit.
            StoreError: the disk is full or failed; the store is as it was before the call.
        """
        check_episode(episode, self._spec)
        payload = journal.episode_bytes(episode, self._spec)
        last = self.pending[-1][0] if self.pending else self.records[-1] if self.records else None
        index, start = (0, 0) if last is None else (last.index + 1, last.end)
        record = make_record(episode, payload, index, start, code_version)
        size = os.fstat(self._pending_file).st_size
        with self._explain(f"episode {index} was not stored, the {index} before it are safe"):
            journal.append(self._pending_file, journal.pack(record, payload), size)
        self.pending.append((record, payload))
        if sync:
            self.sync()
        if size + len(payload) > PENDING_BYTES:
            self.fold()
        return record

    def sync(self) -> None:
        """Wait until the disk has all that was appended.

        Raises:
            StoreError: the disk failed; what was appended since the last time is not stored.
        """
        count, size = self._synced
        if len(self.pending) == count:
            return
        first, last = self.pending[count][0].index, self.pending[-1][0].index
        lost = f"episode {first} was" if first == last else f"episodes {first} to {last} were"
        with self._explain(f"{lost} not stored, the {first} before are safe"):
            try:
                os.fsync(self._pending_file)
            except OSError:
                # What the disk did not take it may still show: cut it off.
                os.ftruncate(self._pending_file, size)
                del self.pending[count:]
                raise
        self._synced = len(self.pending), os.fstat(self._pending_file).st_size

    def fold(self) -> None:
        """Move the pending episodes into the arrays and empty the journal.

        Safe at every moment: rows are written beyond the ones that count, then the lines that make them
        count.

        Raises:
            StoreError: the disk is full or failed; nothing is lost, the episodes stay pending.
        """
        with self._explain("the episodes are safe in the journal; free some space and open the store again"):
            if self.pending:
                self._write_arrays()
                lines = b"".join(journal.pack_line(record) for record, _ in self.pending)
                journal.append(self._lines, lines, os.fstat(self._lines).st_size)
                os.fsync(self._lines)
                self.records.extend(record for record, _ in self.pending)
                self.pending.clear()
            os.ftruncate(self._pending_file, 0)
            os.fsync(self._pending_file)
            self._synced = 0, 0

    def close(self) -> None:
        """Fold what is pending and release the store."""
        try:
            self.fold()
        finally:
            for descriptor in self.descriptors:
                os.close(descriptor)

    def _write_arrays(self) -> None:
        """Write all pending episodes to the end of every array, and wait until the disk has them."""
        records = [record for record, _ in self.pending]
        episodes = [journal.episode_from_bytes(payload, record, self._spec) for record, payload in self.pending]
        first_row, first_episode = records[0].start, records[0].index
        for key in self._spec.data:
            if key in self._spec.observations:
                rows = [each.observations[key] for each in episodes]
            else:
                rows = [each.actions if key == "action" else each.rewards for each in episodes]
            self._write(f"data/{key}", first_row, np.concatenate(rows))
        for key in self._spec.final:
            self._write(f"final/{key}", first_episode, np.stack([each.final_observation[key] for each in episodes]))
        for key, dtype in layout.COLUMNS.items():
            values = [record.column(key) for record in records]
            column = np.array(values, dtype=object if dtype is str else dtype)
            self._write(f"meta/{key}", first_episode, column)

    def _write(self, name: str, start: int, values: np.ndarray) -> None:
        """Write `values` from row `start` of one array, which then ends with them; wait for the disk."""
        array = self.arrays[name]
        stop = start + len(values)
        if array.shape[0] != stop:
            array.resize((stop, *array.shape[1:]))
        array[start:stop] = values
        rest = ".0" * (array.ndim - 1)
        for chunk in range(start // array.chunks[0], -(-stop // array.chunks[0])):
            _sync(self._path / name / f"c.{chunk}{rest}")
        _sync(self._path / name / "zarr.json")
        _sync(self._path / name)

    @contextmanager
    def _explain(self, consequence: str) -> Iterator[None]:
        """Turn an error of the disk into a StoreError that says what it means for the data."""
        try:
            yield
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            cause = "the disk is full" if full else f"writing failed ({error.strerror or error})"
            raise StoreError(f"{cause} at {self._path}: {consequence}") from error


def take_lock(path: Path) -> int:
    """Lock the store for one writer; the system releases the lock when the process ends, however it ends."""
    try:
        descriptor = os.open(path / "journal" / journal.LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StoreError(f"the trajectory store {path} cannot be written: {error.strerror or error}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StoreError(f"another process is writing to the trajectory store {path}: wait until it ends") from error
    return descriptor


def _remove_partial_files(path: Path) -> None:
    """Remove the temporary files that a killed writer left behind."""
    for file in path.glob("*/*/*.partial"):
        file.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Wait until the disk has this file or folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
