"""The log of a store: what was appended, and the single point at which an episode becomes part of it.

`journal/pending.bin` receives each new episode as one record: header, metadata, raw arrays, each covered by a
CRC-32. One write, and the episode outlives the process; one fsync, and it outlives a power cut (a writer may leave that
to the next one, for a moment). A process killed in the middle leaves a torn record at the end, which every reader
ignores and the next writer cuts off.

From time to time the writer moves the pending episodes into the zarr arrays (it "folds" them), and only then
adds their metadata, one line each, to `journal/episodes.jsonl`. The number of whole lines there is the number
of episodes in the arrays. Whatever the arrays hold beyond them was a fold that did not finish; the episodes
are still pending, and folding again writes the same bytes.
"""

from __future__ import annotations

import itertools
import json
import os
import struct
import time
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qsft_robot.datasets.episode import TEXT, Episode, text_array
from qsft_robot.datasets.layout import ArraySpec, StoreSpec

EPISODES_FILE = "episodes.jsonl"
PENDING_FILE = "pending.bin"
LOCK_FILE = "lock"

READING_ATTEMPTS = 200
"""How often a reader looks again at a journal that changes while it is read."""

_MAGIC = b"QSEP"
_HEADER = struct.Struct("<4sIQII")  # magic, metadata bytes, payload bytes, crc of both, crc of the header before it
_HEADER_CHECKED = _HEADER.size - 4


@dataclass(frozen=True)
class EpisodeRecord:
    """Metadata of one stored episode.

    Attributes:
        index: position in the store, from 0.
        start: first row of the episode in `data/*`.
        length: T, its number of steps.
        seed: seed that determines the episode.
        policy: name of what acted.
        success: the task was solved.
        terminated: the task ended the episode.
        truncated: a limit of time ended it.
        episode_return: undiscounted sum of rewards.
        code_version: version of qsft_robot that made it.
        checksum: CRC-32 over all arrays of the episode.
    """

    index: int
    start: int
    length: int
    seed: int
    policy: str
    success: bool
    terminated: bool
    truncated: bool
    episode_return: float
    code_version: str
    checksum: int

    @property
    def end(self) -> int:
        """Row after the last one of the episode."""
        return self.start + self.length

    def column(self, name: str) -> Any:
        """Return the value of this episode in `meta/<name>`."""
        return getattr(self, {"episode_ends": "end", "return": "episode_return"}.get(name, name))


@dataclass(frozen=True)
class Torn:
    """What is left of a record whose writer died: `size` bytes from `offset` that are no episode."""

    offset: int
    size: int


@dataclass(frozen=True)
class Broken:
    """A record or line that is damaged although others follow it (or its end is whole): storage failed."""

    index: int
    message: str


def crc32(data: bytes, value: int = 0) -> int:
    """Return the CRC-32 of `data`, continued from `value`."""
    return zlib.crc32(data, value)


def array_bytes(values: np.ndarray, array: ArraySpec) -> bytes:
    """Return one array as bytes; text as the length of each element in bytes (uint32), then all of them in UTF-8."""
    if not array.is_text:
        return np.ascontiguousarray(values, dtype=array.dtype).tobytes()
    texts = [str(text).encode() for text in np.atleast_1d(np.asarray(values, dtype=TEXT))]
    return np.array([len(text) for text in texts], dtype="<u4").tobytes() + b"".join(texts)


def _array_from_bytes(payload: bytes, offset: int, array: ArraySpec, lead: tuple[int, ...]) -> tuple[np.ndarray, int]:
    """Read what `array_bytes` returned; returns the array and where the next one begins."""
    shape = (*lead, *array.shape)
    count = int(np.prod(shape, dtype=np.int64))
    if not array.is_text:
        values = np.frombuffer(payload, array.dtype, count, offset).reshape(shape)
        return values, offset + count * array.dtype.itemsize
    ends = offset + 4 * count + np.cumsum(np.frombuffer(payload, "<u4", count, offset), dtype=np.int64)
    starts = [offset + 4 * count, *ends.tolist()]
    texts = [payload[start:end].decode() for start, end in itertools.pairwise(starts)]
    return text_array(texts).reshape(shape), starts[-1]


def episode_bytes(episode: Episode, spec: StoreSpec) -> bytes:
    """Return all arrays of an episode as one string: `data/*` then `final/*`, in the order of `spec`."""
    parts: list[bytes] = []
    for key, array in spec.data.items():
        values = {"action": episode.actions, "reward": episode.rewards}.get(key)
        parts.append(array_bytes(episode.observations[key] if values is None else values, array))
    for key, array in spec.final.items():
        parts.append(array_bytes(episode.final_observation[key], array))
    return b"".join(parts)


def episode_from_bytes(payload: bytes, record: EpisodeRecord, spec: StoreSpec) -> Episode:
    """Read what `episode_bytes` returned."""
    offset = 0
    data: dict[str, np.ndarray] = {}
    final: dict[str, np.ndarray] = {}
    for arrays, target, lead in ((spec.data, data, (record.length,)), (spec.final, final, ())):
        for key, array in arrays.items():
            target[key], offset = _array_from_bytes(payload, offset, array, lead)
    return make_episode(record, data, final)


def make_episode(record: EpisodeRecord, data: dict[str, np.ndarray], final: dict[str, np.ndarray]) -> Episode:
    """Put an episode together from its record and the rows of `data/*` and `final/*`."""
    observations = dict(data)
    actions, rewards = observations.pop("action"), observations.pop("reward")
    return Episode(
        observations=observations,
        actions=actions,
        rewards=rewards,
        final_observation=final,
        terminated=record.terminated,
        truncated=record.truncated,
        success=record.success,
        seed=record.seed,
        policy=record.policy,
    )


def pack(record: EpisodeRecord, payload: bytes) -> bytes:
    """Return the bytes of one record of the pending file."""
    metadata = json.dumps(asdict(record)).encode()
    checked = struct.pack("<4sIQI", _MAGIC, len(metadata), len(payload), crc32(payload, crc32(metadata)))
    return checked + struct.pack("<I", crc32(checked)) + metadata + payload


def read_pending(path: Path) -> tuple[list[tuple[EpisodeRecord, bytes]], Torn | None, list[Broken]]:
    """Read the pending file.

    Returns:
        The whole records as (metadata, payload); a torn record at the end, or None; the damaged records.
        A record is torn, not damaged, if the file ends within it or holds nothing but zeros where it would begin:
        that is what a killed process or a power cut leaves.
    """
    records: list[tuple[EpisodeRecord, bytes]] = []
    broken: list[Broken] = []
    if not path.exists():
        return records, None, [Broken(-1, f"{path.name} is missing")]
    size = path.stat().st_size
    with path.open("rb") as file:
        while (offset := file.tell()) < size:
            header = file.read(_HEADER.size)
            if len(header) < _HEADER.size:
                return records, Torn(offset, size - offset), broken
            magic, metadata_size, payload_size, body_crc, header_crc = _HEADER.unpack(header)
            if not any(header):
                # After a power cut a file can be longer than what the disk had taken of it.
                return records, Torn(offset, size - offset), broken
            if magic != _MAGIC or crc32(header[:_HEADER_CHECKED]) != header_crc:
                broken.append(Broken(-1, f"{path.name} is damaged at byte {offset}"))
                return records, None, broken
            if offset + _HEADER.size + metadata_size + payload_size > size:
                return records, Torn(offset, size - offset), broken
            metadata, payload = file.read(metadata_size), file.read(payload_size)
            if crc32(payload, crc32(metadata)) != body_crc:
                broken.append(Broken(-1, f"a record in {path.name} at byte {offset} does not match its checksum"))
                continue
            records.append((EpisodeRecord(**json.loads(metadata)), payload))
    return records, None, broken


def pack_line(record: EpisodeRecord) -> bytes:
    """Return the line of `episodes.jsonl` for one episode: CRC-32 in hexadecimal, a space, JSON."""
    text = json.dumps(asdict(record)).encode()
    return b"%08x %s\n" % (crc32(text), text)


def read_lines(path: Path) -> tuple[list[EpisodeRecord], Torn | None, list[Broken]]:
    """Read the metadata of the episodes that lie in the arrays.

    Returns:
        The records of all whole lines, the torn last line if there is one, and the damaged lines.
    """
    if not path.exists():
        return [], None, [Broken(-1, f"{path.name} is missing")]
    content = path.read_bytes()
    *lines, rest = content.split(b"\n")
    records: list[EpisodeRecord] = []
    broken: list[Broken] = []
    for number, line in enumerate(lines):
        record = _parse_line(line)
        if record is None or record.index != number:
            broken.append(Broken(number, f"line {number + 1} of {path.name} is damaged"))
        else:
            records.append(record)
    return records, Torn(len(content) - len(rest), len(rest)) if rest else None, broken


def _parse_line(line: bytes) -> EpisodeRecord | None:
    """Return the record of one line, or None if its checksum does not match."""
    checksum, _, text = line.partition(b" ")
    try:
        if int(checksum, 16) != crc32(text):
            return None
        return EpisodeRecord(**json.loads(text))
    except (ValueError, TypeError):
        return None


@dataclass(frozen=True)
class Content:
    """All that the two files of a journal hold; see `read_lines` and `read_pending`."""

    lines: list[EpisodeRecord]
    torn_line: Torn | None
    broken_lines: list[Broken]
    pending: list[tuple[EpisodeRecord, bytes]]
    torn_record: Torn | None
    broken_records: list[Broken]


def read(folder: Path) -> Content:
    """Read the journal in `folder` as it is at one moment, though another process may be writing to it."""
    for _ in range(READING_ATTEMPTS):
        before = state(folder)
        content = Content(*read_lines(folder / EPISODES_FILE), *read_pending(folder / PENDING_FILE))
        if state(folder) == before:
            break
        time.sleep(0.01)
    return content


def state(folder: Path) -> list[tuple[int, int] | None]:
    """Return what changes when the journal in `folder` is written: size and time of its files."""
    found: list[tuple[int, int] | None] = []
    for name in (EPISODES_FILE, PENDING_FILE):
        try:
            status = (folder / name).stat()
        except OSError:
            found.append(None)
        else:
            found.append((status.st_size, status.st_mtime_ns))
    return found


def append(descriptor: int, content: bytes, offset: int) -> None:
    """Write `content` at `offset`, the end; undo it if that fails."""
    try:
        written, view = 0, memoryview(content)
        while written < len(view):
            written += os.pwrite(descriptor, view[written:], offset + written)
    except OSError:
        os.ftruncate(descriptor, offset)
        raise
