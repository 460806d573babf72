"""Reads the observations of the chosen episodes: all at once, or window by window within a memory budget."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from qsft_robot.datasets.layout import ArraySpec
from qsft_robot.datasets.store import TrajectoryStore
from qsft_robot.datasets.transitions import TransitionTable
from qsft_robot.errors import DataError

LARGEST_BLOCK_CHUNKS = 4
WINDOW_BLOCKS = 16
"""A window should mix at least this many blocks, so blocks get smaller where the budget is small."""


@dataclass(frozen=True)
class Block:
    """Chosen episodes that lie next to each other in one store and begin within the same few chunks.

    Attributes:
        first_episode: number of the first of them in the table.
        last_episode: number after the last.
        first_row: first of their rows.
        rows: how many rows (observations) they have.
    """

    first_episode: int
    last_episode: int
    first_row: int
    rows: int


@dataclass(frozen=True)
class Window:
    """Blocks that are in memory together. `number` tells windows of all epochs apart."""

    number: tuple[int, int]
    blocks: tuple[int, ...]
    rows: int


class FrameReader:
    """Reads blocks of observations from stores; knows how rows of the table map to rows of the stores."""

    def __init__(self, stores: Sequence[TrajectoryStore], table: TransitionTable, keys: Sequence[str] | None) -> None:
        """Check that the stores agree on the observations.

        Args:
            stores: where the episodes lie.
            table: the chosen episodes.
            keys: observation keys to read, None for all.

        Raises:
            DataError: a key is missing in a store, or has another shape or dtype there.
        """
        self._stores = stores
        self.table = table
        chosen = stores[0].keys if keys is None else list(keys)
        self.specs: Mapping[str, ArraySpec] = {}
        for store in stores:
            for key in chosen:
                if key not in store.spec.observations:
                    raise DataError(f"{store.path} has no observation '{key}', only {store.keys}")
            specs = {key: store.spec.observations[key] for key in chosen}
            if self.specs and specs != self.specs:
                raise DataError(f"the observations of {store.path} differ from those of {stores[0].path}")
            self.specs = specs
        self.row_bytes = sum(spec.row_bytes for spec in self.specs.values())
        self._starts = [store.episode_ends - store.episode_lengths for store in stores]

    def allocate(self, rows: int) -> dict[str, np.ndarray]:
        """Return uninitialised arrays for `rows` observations."""
        return {key: np.empty((rows, *spec.shape), spec.dtype) for key, spec in self.specs.items()}

    def blocks(self, chunks: int) -> list[Block]:
        """Cut the chosen episodes into blocks that begin within the same `chunks` chunks of one store."""
        table = self.table
        rows = chunks * min(store.chunk_rows(key) for store in self._stores for key in self.specs)
        starts = np.array(
            [
                self._starts[store][index]
                for store, index in zip(table.store_of_episode, table.index_in_store, strict=True)
            ]
        )
        changes = (np.diff(table.store_of_episode) != 0) | (np.diff(starts // rows) != 0)
        edges = [0, *(np.flatnonzero(changes) + 1).tolist(), len(starts)]
        row_edges = [*table.first_rows.tolist(), len(table)]
        return [
            Block(first, last, row_edges[first], row_edges[last] - row_edges[first])
            for first, last in itertools.pairwise(edges)
        ]

    def fill(self, block: Block, target: Mapping[str, np.ndarray], offset: int) -> None:
        """Read the observations of `block` into `target` from row `offset`.

        Raises:
            StoreError: a chunk is damaged.
            DataError: an observation is not finite.
        """
        table = self.table
        episodes = range(block.first_episode, block.last_episode)
        number = int(table.store_of_episode[block.first_episode])
        store = self._stores[number]
        indices = table.index_in_store[block.first_episode : block.last_episode]
        starts = self._starts[number][indices]
        start = int(starts.min())
        stop = int((starts + table.lengths[block.first_episode : block.last_episode]).max())
        first_final, last_final = int(indices.min()), int(indices.max())
        for key, spec in self.specs.items():
            rows = store.read(key, start, stop)
            final = store.read_final(key, first_final, last_final + 1)
            for episode, index, source in zip(episodes, indices, starts, strict=True):
                length = int(table.lengths[episode])
                here = offset + int(table.first_rows[episode]) - block.first_row
                target[key][here : here + length] = rows[source - start : source - start + length]
                target[key][here + length] = final[index - first_final]
            filled = target[key][offset : offset + block.rows]
            if spec.dtype.kind == "f" and not np.isfinite(filled).all():
                raise DataError(
                    f"'{key}' holds NaN or infinity among the episodes {first_final} to {last_final} "
                    f"of {store.path}: find them with `dataset validate`"
                )


class WindowCache:
    """Two windows in memory: the one being drawn from, and the next, read by a thread in the background."""

    def __init__(self, reader: FrameReader, blocks: Sequence[Block], capacity: int) -> None:
        """Reserve the memory.

        Args:
            reader: reads the blocks.
            blocks: all blocks.
            capacity: rows of the largest window.
        """
        self._reader = reader
        self._blocks = blocks
        self._buffers = [reader.allocate(capacity), reader.allocate(capacity)]
        self._held: dict[tuple[int, int], tuple[int, Future[np.ndarray]]] = {}
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="window")

    def get(self, window: Window, keep: Window | None = None) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Return the arrays of `window` and, for each block, its row there minus its row in the table."""
        self.prefetch(window, keep)
        slot, future = self._held[window.number]
        return self._buffers[slot], future.result()

    def prefetch(self, window: Window, keep: Window | None = None) -> None:
        """Start reading `window`, in the place of a window other than `keep`, unless it is there already."""
        if window.number in self._held:
            return
        if len(self._held) == len(self._buffers):
            oldest = next(number for number in self._held if keep is None or number != keep.number)
            slot, future = self._held.pop(oldest)
            future.exception()  # let it end before its place is used again
        else:
            slot = len(self._held) and 1 - next(iter(self._held.values()))[0]
        self._held[window.number] = (slot, self._executor.submit(self._load, window, slot))

    def _load(self, window: Window, slot: int) -> np.ndarray:
        """Read all blocks of `window` into one of the two places."""
        shifts = np.zeros(len(self._blocks), dtype=np.int64)
        offset = 0
        for number in window.blocks:
            block = self._blocks[number]
            self._reader.fill(block, self._buffers[slot], offset)
            shifts[number] = offset - block.first_row
            offset += block.rows
        return shifts
