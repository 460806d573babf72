"""Looks through a store for damage of any kind, and finds everything in it that is still whole.

What is known twice survives the loss of one copy: the metadata of an episode stands in the journal and in the
columns below `meta/`, the attributes of the store in its group and in the journal's; the metadata of an array
follows from those. Rows of observations, actions and rewards are stored once; an episode is whole if all its
chunks can be read and its checksum is right.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from zarr.storage import LocalStore

from qsft_robot.datasets import journal, layout, reader
from qsft_robot.datasets.episode import Episode
from qsft_robot.datasets.journal import EpisodeRecord
from qsft_robot.errors import DataError, StoreError

Kind = Literal[
    "metadata", "journal", "missing chunk", "corrupt chunk", "checksum", "not finite", "episode ends", "column"
]

BLOCK_BYTES = 32 << 20
"""Rows are read in blocks of about this size."""


@dataclass(frozen=True)
class Problem:
    """One kind of damage at one place.

    Attributes:
        kind: what sort of damage.
        message: what and where.
        episodes: indices of the episodes it concerns.
        recoverable: a second copy exists, so that `repair` loses nothing by it.
    """

    kind: Kind
    message: str
    episodes: tuple[int, ...] = ()
    recoverable: bool = False


@dataclass
class Report:
    """What an inspection found.

    Attributes:
        path: the store.
        episodes: how many episodes it holds, or held.
        steps: their transitions.
        problems: damage.
        notes: what is no damage but worth knowing, such as a torn record at the end.
    """

    path: Path
    episodes: int = 0
    steps: int = 0
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """No damage was found."""
        return not self.problems

    @property
    def lost(self) -> list[int]:
        """Indices of the episodes that cannot be recovered."""
        hit = {index for problem in self.problems if not problem.recoverable for index in problem.episodes}
        return sorted(hit)

    def add(self, kind: Kind, message: str, episodes: Any = (), recoverable: bool = False) -> None:
        """Note a problem."""
        self.problems.append(Problem(kind, message, tuple(int(each) for each in episodes), recoverable))


class Inspection:
    """Reads a store however damaged it is. Use as a context manager, and exhaust `episodes()`.

    Attributes:
        header: attributes of the store.
        records: metadata by index, of every episode for which it could be found.
        report: what has been found up to now.
    """

    def __init__(self, path: Path) -> None:
        """Read what is known about the episodes.

        Raises:
            StoreError: there is no store, it has a newer schema, or nothing tells what it holds.
        """
        self._path = path
        for _ in range(journal.READING_ATTEMPTS):
            before = journal.state(path / "journal")
            self.report = Report(path)
            self._scratch = tempfile.TemporaryDirectory(prefix="qsft_robot-inspection-")
            try:
                self.header = self._read_header()
                self.records, self._payloads = self._read_journal()
                self._arrays = {name: self._open(name) for name in layout.array_names(self.header.spec)}
                self._complete_records()
            except BaseException:
                self._scratch.cleanup()
                raise
            if journal.state(path / "journal") == before:
                break  # otherwise a writer was at work meanwhile: look again
            self._scratch.cleanup()

    def __enter__(self) -> Inspection:
        return self

    def __exit__(self, *_: object) -> None:
        self._scratch.cleanup()

    def episodes(self) -> Iterator[tuple[EpisodeRecord, Episode]]:
        """Go through the store and yield each episode that is whole; the report gathers what is not."""
        block: list[EpisodeRecord] = []
        row_bytes = sum(array.row_bytes for array in self.header.spec.data.values())
        for index in sorted(self.records):
            record = self.records[index]
            if record.index in self._payloads:
                yield from self._check(record, self._payloads[record.index])
                continue
            gap = block and (block[-1].end != record.start or block[-1].index + 1 != record.index)
            if gap or (block and (record.end - block[0].start) * row_bytes > BLOCK_BYTES):
                yield from self._read_block(block)
                block = []
            block.append(record)
        if block:
            yield from self._read_block(block)
        self._check_columns()

    def _read_header(self) -> reader.StoreHeader:
        """Read the attributes from the group, or from their copy."""
        try:
            return reader.read_header(self._path)
        except StoreError as error:
            if not (self._path / "journal").is_dir():
                raise
            header = reader.read_header(self._path, copy=True)
            if "schema version" in str(error):
                raise
            self.report.add("metadata", str(error).split(";")[0], recoverable=True)
            return header

    def _read_journal(self) -> tuple[dict[int, EpisodeRecord], dict[int, bytes]]:
        """Return the metadata of all episodes in the journal, and the arrays of those still pending."""
        content = journal.read(self._path / "journal")
        lines, torn_line, broken_lines = content.lines, content.torn_line, content.broken_lines
        pending, torn_record, broken_records = content.pending, content.torn_record, content.broken_records
        records = {record.index: record for record in lines}
        self._lines = len(lines) + len([each for each in broken_lines if each.index >= 0])
        for broken in broken_lines:
            episodes = (broken.index,) if broken.index >= 0 else ()
            self.report.add("journal", broken.message, episodes, recoverable=True)
        payloads = {record.index: payload for record, payload in pending if record.index not in records}
        records.update({record.index: record for record, _ in pending if record.index in payloads})
        expected = max(records, default=-1) + 1
        for broken in broken_records:
            lost = [index for index in range(self._lines, expected) if index not in records] or [expected]
            is_missing = "missing" in broken.message
            self.report.add("journal", broken.message, () if is_missing else lost, recoverable=is_missing)
        if torn_record is not None:
            self.report.notes.append(
                f"episode {expected} was being written when the process stopped: its {torn_record.size} bytes are "
                "ignored, and removed when the store is written next"
            )
        elif torn_line is not None:
            self.report.notes.append("the journal ends in an unfinished line, which the next writer removes")
        if payloads:
            self.report.notes.append(f"{len(payloads)} episodes still lie in the journal (safe, and readable)")
        return records, payloads

    def _open(self, name: str) -> zarr.Array:
        """Open an array; where its metadata is damaged, give its chunks new metadata in a scratch folder."""
        folder, key = name.split("/")
        spec = self.header.spec
        folded = [record for record in self.records.values() if record.index not in self._payloads]
        steps = max((record.end for record in folded), default=0)
        rows = steps if folder == "data" else len(folded)
        try:
            array = reader.open_array(self._path, name)
            if folder != "meta":
                reader.check_spec(self._path, name, array, (spec.data if folder == "data" else spec.final)[key])
            if array.shape[0] < rows:
                raise StoreError(f"{name} has {array.shape[0]} rows, but the episodes need {rows}")
            return array
        except StoreError as error:
            message = str(error).split(" is damaged: ")[-1].split("; run ")[0]
            self.report.add("metadata", message, sorted(self.records), recoverable=True)
        root = zarr.open_group(LocalStore(self._scratch.name), mode="a")
        layout.create_array(root, name, spec, self.header.chunk_rows[name])
        array = zarr.open_array(LocalStore(self._scratch.name), path=name, mode="r+")
        (self._path / name).mkdir(exist_ok=True)
        chunks = [file for file in (self._path / name).iterdir() if file.name.startswith("c.")]
        numbers = [int(file.name.split(".")[1]) for file in chunks if not file.name.endswith(".partial")]
        rows = max(rows, (max(numbers, default=-1) + 1) * array.chunks[0] if not folded else 0)
        array.resize((rows, *array.shape[1:]))
        for file in chunks:
            (Path(self._scratch.name) / name / file.name).symlink_to(file.resolve())
        return array

    def _complete_records(self) -> None:
        """Find, in the columns, the metadata of episodes that the journal has lost."""
        ends = self._arrays["meta/episode_ends"]
        expected = max(max(self.records, default=-1) + 1, ends.shape[0])  # lines follow rows, never lead
        missing = [index for index in range(expected) if index not in self.records]
        self.report.episodes = expected
        if missing:
            if not any(problem.kind == "journal" for problem in self.report.problems):
                self.report.add("journal", "the last lines of the journal are missing", missing, recoverable=True)
            columns = {key: self._read_rows(f"meta/{key}", 0, expected) for key in layout.COLUMNS}
            for index in missing:
                if any(index >= len(values) or bad[index] for values, bad in columns.values()):
                    self.report.add("journal", f"nothing tells what episode {index} was", (index,))
                    continue
                start = int(columns["episode_ends"][0][index - 1]) if index else 0
                names = {"episode_ends": "end", "return": "episode_return"}
                values = {names.get(key, key): column[index] for key, (column, _) in columns.items()}
                length = int(values.pop("end")) - start
                plain = {key: value.item() if hasattr(value, "item") else value for key, value in values.items()}
                self.records[index] = EpisodeRecord(index=index, start=start, length=length, **plain)
        end = 0
        for index in sorted(self.records):
            record = self.records[index]
            gap = index > 0 and index - 1 not in self.records
            if record.length < 1 or (record.start != end and not gap):
                message = f"episode {index} is said to hold rows {record.start} to {record.end - 1}"
                self.report.add("episode ends", f"{message}, but the one before it ends at {end}", (index,))
                del self.records[index]
            end = record.end
        self.report.steps = sum(record.length for record in self.records.values())

    def _read_rows(self, name: str, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Read rows of an array; returns them, and which of them could not be read."""
        array = self._arrays[name]
        stop = min(stop, array.shape[0])
        size = array.chunks[0]
        bad = np.zeros(max(0, stop - start), dtype=np.bool_)
        missing = set(reader.missing_chunks(self._path, name, stop, size))
        damaged = {chunk: "missing chunk" for chunk in range(start // size, -(-stop // size)) if chunk in missing}
        try:
            values = np.asarray(array[start:stop])
        except Exception:  # each codec has errors of its own; look which chunk it is
            values = np.zeros((stop - start, *array.shape[1:]), array.dtype)
            for chunk in range(start // size, -(-stop // size)):
                first, last = max(start, chunk * size), min(stop, (chunk + 1) * size)
                try:
                    values[first - start : last - start] = array[first:last]
                except Exception as error:
                    damaged.setdefault(chunk, f"{type(error).__name__}: {error}")
        for chunk, message in damaged.items():
            first, last = max(start, chunk * size), min(stop, (chunk + 1) * size)
            bad[first - start : last - start] = True
            self._note_chunk(name, chunk, message)
        return values, bad

    def _note_chunk(self, name: str, chunk: int, message: str) -> None:
        """Note a chunk that cannot be read, and name the episodes it holds, once."""
        size = self._arrays[name].chunks[0]
        first, last = chunk * size, (chunk + 1) * size
        folded = [record for record in self.records.values() if record.index not in self._payloads]
        if name.startswith("data/"):
            episodes = [record.index for record in folded if record.start < last and record.end > first]
        else:
            episodes = [record.index for record in folded if first <= record.index < last]
        kind: Kind = "missing chunk" if message == "missing chunk" else "corrupt chunk"
        text = f"chunk {chunk} of {name} " + ("is missing" if kind == "missing chunk" else f"is corrupt ({message})")
        recoverable = name.startswith("meta/")
        if not any(problem.message == text for problem in self.report.problems):
            self.report.add(kind, text, sorted(episodes), recoverable)

    def _read_block(self, block: list[EpisodeRecord]) -> Iterator[tuple[EpisodeRecord, Episode]]:
        """Read neighbouring episodes and yield those that are whole."""
        spec = self.header.spec
        start, stop = block[0].start, block[-1].end
        data = {key: self._read_rows(f"data/{key}", start, stop) for key in spec.data}
        first, last = block[0].index, block[-1].index + 1
        final = {key: self._read_rows(f"final/{key}", first, last) for key in spec.final}
        for record in block:
            rows = slice(record.start - start, record.end - start)
            place = record.index - first
            if any(bad[rows].any() or len(values) < rows.stop for values, bad in data.values()):
                continue
            if any(place >= len(values) or bad[place] for values, bad in final.values()):
                continue
            parts = [journal.array_bytes(values[rows], spec.data[key]) for key, (values, _) in data.items()]
            parts += [journal.array_bytes(values[place], spec.final[key]) for key, (values, _) in final.items()]
            yield from self._check(record, b"".join(parts))

    def _check(self, record: EpisodeRecord, payload: bytes) -> Iterator[tuple[EpisodeRecord, Episode]]:
        """Yield the episode if its numbers are finite and its checksum is right."""
        index = (record.index,)
        try:
            episode = journal.episode_from_bytes(payload, record, self.header.spec)
            for key, values in episode.final_observation.items():
                if values.dtype.kind == "f" and not np.isfinite(values).all():
                    raise DataError(f"final observation '{key}' holds NaN or infinity")
        except DataError as error:
            self.report.add("not finite", f"episode {record.index}: {error}", index)
            return
        if journal.crc32(payload) != record.checksum:
            self.report.add("checksum", f"the content of episode {record.index} does not match its checksum", index)
            return
        yield record, episode

    def _check_columns(self) -> None:
        """Compare the columns below `meta/` with the journal."""
        folded = [each for each in self.records.values() if each.index not in self._payloads]
        folded.sort(key=lambda record: record.index)
        rows = folded[-1].index + 1 if folded else 0
        for key in layout.COLUMNS:
            values, bad = self._read_rows(f"meta/{key}", 0, rows)
            wrong = [
                record.index
                for record in folded
                if record.index >= len(values) or (not bad[record.index] and values[record.index] != record.column(key))
            ]
            if wrong:
                self.report.add("column", f"meta/{key} differs from the journal", wrong, recoverable=True)
        if "meta/episode_ends" in self._arrays:
            ends, bad = self._read_rows("meta/episode_ends", 0, rows)
            steps = np.diff(ends, prepend=0)
            if (backwards := np.flatnonzero((steps < 1) & ~bad)).size:
                message = f"meta/episode_ends does not increase at episode {backwards[0]}"
                self.report.add("episode ends", message, backwards, recoverable=True)
