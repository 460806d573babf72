"""What a trajectory store looks like on disk: names, columns, chunks, codecs.

The layout is the one of diffusion_policy's replay buffer, in zarr v3:

    zarr.json               group; attributes: format, schema_version, task, attributes,
                            observations, action_dimension (null: text), chunk_rows
    data/<observation key>  (steps, ...)  what the agent saw before each action, episodes one after another
    data/action             (steps, D) float32, raw actions; (steps,) where they are text
    data/reward             (steps,) float32
    final/<observation key> (episodes, ...)  what was seen after the last action of each episode
    meta/episode_ends       (episodes,) int64; episode i: rows episode_ends[i - 1] up to episode_ends[i]
    meta/<column>           (episodes,) seed, policy, success, return, terminated, truncated,
                            code_version, checksum
    journal/                the log that makes appending atomic, see journal.py

Chunks hold about 1 MiB of pictures: large enough to compress and to read in one go, small enough that a
window of a few dozen of them shuffles well. Each chunk ends in a CRC-32C, so a damaged one is noticed when it
is read. Text is stored as UTF-8 of variable length (zarr's `string`). A store that holds text has schema version 2,
one without has version 1, so that what was written before and what reads it stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from qsft_robot.datasets.episode import TEXT
from qsft_robot.errors import DataError, StoreError

FORMAT = "qsft_robot.trajectory_store"
SCHEMA_VERSION = 2
"""The newest that can be read: 1 has numbers only, 2 has text too."""

CHUNK_BYTES = 1 << 20
LARGEST_CHUNK_ROWS = 1024
COLUMN_CHUNK_ROWS = 4096
RESERVED_KEYS = ("action", "reward")
TEXT_BYTES = 1024
"""What one text counts for where sizes have to be estimated."""

COLUMNS: Mapping[str, Any] = {
    "episode_ends": np.dtype("int64"),
    "seed": np.dtype("int64"),
    "policy": str,
    "success": np.dtype("bool"),
    "return": np.dtype("float64"),
    "terminated": np.dtype("bool"),
    "truncated": np.dtype("bool"),
    "code_version": str,
    "checksum": np.dtype("uint32"),
}


@dataclass(frozen=True)
class ArraySpec:
    """Shape of one row (without the time axis) and dtype of one array."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def is_text(self) -> bool:
        """One row is one text."""
        return self.dtype == TEXT

    @property
    def row_bytes(self) -> int:
        """Size of one row in bytes, uncompressed; an estimate for text."""
        return int(np.prod(self.shape, dtype=np.int64)) * (TEXT_BYTES if self.is_text else self.dtype.itemsize)

    @property
    def chunk_rows(self) -> int:
        """Rows in one chunk: a power of two, about `CHUNK_BYTES` together, at most `LARGEST_CHUNK_ROWS`."""
        rows = max(1, CHUNK_BYTES // max(1, self.row_bytes))
        return int(min(LARGEST_CHUNK_ROWS, 1 << (rows.bit_length() - 1)))

    def to_json(self) -> dict[str, Any]:
        """Return the form in which it stands in the attributes of the store."""
        return {"shape": list(self.shape), "dtype": "text" if self.is_text else self.dtype.str}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ArraySpec:
        """Read what `to_json` returned."""
        dtype = TEXT if value["dtype"] == "text" else np.dtype(value["dtype"])
        return cls(tuple(int(size) for size in value["shape"]), dtype)


@dataclass(frozen=True)
class StoreSpec:
    """Everything the arrays of a store have in common: what one step looks like.

    Attributes:
        observations: observation key -> specification of one observation.
        action: specification of one action: (D,) float32, or a text.
    """

    observations: Mapping[str, ArraySpec]
    action: ArraySpec

    @property
    def action_dimension(self) -> int:
        """D, numbers in one action.

        Raises:
            DataError: actions are text.
        """
        if self.action.is_text:
            raise DataError("the actions of this store are text and have no dimension: take a model of text")
        return self.action.shape[0]

    @property
    def schema_version(self) -> int:
        """The oldest schema that has all this."""
        return 2 if any(array.is_text for array in self.data.values()) else 1

    @property
    def data(self) -> dict[str, ArraySpec]:
        """Arrays below `data/`, in the order in which they are stored: one row per step."""
        return {
            **{key: self.observations[key] for key in sorted(self.observations)},
            "action": self.action,
            "reward": ArraySpec((), np.dtype("float32")),
        }

    @property
    def final(self) -> dict[str, ArraySpec]:
        """Arrays below `final/`: one row per episode."""
        return {key: self.observations[key] for key in sorted(self.observations)}

    @classmethod
    def from_space(cls, observation_space: Any, action_dimension: int | None) -> StoreSpec:
        """Build from a Gymnasium Dict space, or any mapping of key -> object with `.shape` and `.dtype`.

        A Gymnasium Text space stands for the key "text"; `action_dimension` is None where actions are text.

        Raises:
            StoreError: there is no key, a key has a reserved name, or a dtype cannot be stored.
        """
        spaces = {"text": observation_space} if _is_text(observation_space) else observation_space
        spaces = getattr(spaces, "spaces", spaces)
        if not isinstance(spaces, Mapping) or not spaces:
            raise StoreError(f"a store needs at least one observation key, got {observation_space!r}")
        observations = {}
        for key, space in spaces.items():
            if key in RESERVED_KEYS or "/" in key or not key:
                raise StoreError(f"an observation cannot be stored under the name '{key}': choose another key")
            if _is_text(space):
                observations[key] = ArraySpec((), TEXT)
                continue
            dtype = None if getattr(space, "dtype", None) is None else np.dtype(space.dtype)
            if dtype is None or dtype.kind not in "biuf" or space.shape is None:
                raise StoreError(f"observation '{key}' of type {type(space).__name__} is no text or array of numbers")
            observations[key] = ArraySpec(tuple(int(size) for size in space.shape), dtype)
        return cls(observations, action_spec(action_dimension))


def action_spec(dimension: int | None) -> ArraySpec:
    """Return the specification of an action of `dimension` numbers, or of a text for None.

    Raises:
        StoreError: the dimension is not positive.
    """
    if dimension is None:
        return ArraySpec((), TEXT)
    if dimension < 1:
        raise StoreError(f"an action needs at least one number, got action_dimension={dimension}")
    return ArraySpec((int(dimension),), np.dtype("float32"))


def _is_text(space: Any) -> bool:
    """Whether this is a Gymnasium Text space; its dtype is that of numpy's own strings."""
    dtype = getattr(space, "dtype", None)
    return dtype is not None and np.dtype(dtype).kind == "U"


def array_names(spec: StoreSpec) -> list[str]:
    """Return the path of every array of a store below its root."""
    return [
        *(f"data/{key}" for key in spec.data),
        *(f"final/{key}" for key in spec.final),
        *(f"meta/{key}" for key in COLUMNS),
    ]


def chunk_rows(spec: StoreSpec) -> dict[str, int]:
    """Return for every array of a new store how many rows one of its chunks holds."""
    arrays = {"data": spec.data, "final": spec.final}
    rows = {}
    for name in array_names(spec):
        folder, key = name.split("/")
        rows[name] = COLUMN_CHUNK_ROWS if folder == "meta" else arrays[folder][key].chunk_rows
    return rows


def create_array(root: zarr.Group, name: str, spec: StoreSpec, rows: int) -> None:
    """Create the empty array `name` ("data/image", "meta/seed", ...) in a new store, with `rows` per chunk."""
    folder, key = name.split("/", 1)
    if folder == "meta":
        dtype: Any = COLUMNS[key]
        shape: tuple[int, ...] = ()
    else:
        array = (spec.data if folder == "data" else spec.final)[key]
        dtype, shape = str if array.is_text else array.dtype, array.shape
    root.create_array(
        name,
        shape=(0, *shape),
        chunks=(rows, *shape),
        dtype=dtype,
        compressors=(compressor(1 if dtype is str else np.dtype(dtype).itemsize), Crc32cCodec()),
        chunk_key_encoding={"name": "default", "separator": "."},
    )


def compressor(item_size: int) -> BloscCodec:
    """Return the codec for elements of `item_size` bytes (figures: docs/datasets.md)."""
    shuffle: Any = "noshuffle" if item_size == 1 else "shuffle"
    return BloscCodec(typesize=item_size, cname="zstd", clevel=3, shuffle=shuffle)
