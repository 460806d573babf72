"""Draws minibatches of segments from trajectory stores.

`batch(step)` depends on (seed, step) alone, so a training run that is resumed sees exactly the data that an
uninterrupted one would have seen. Within an epoch every observation is the start of exactly one segment;
because segments run around the ring of their episode, every real transition is drawn equally often.

Where the observations fit the memory budget they are read once and kept. Where they do not, an epoch visits
windows: blocks of neighbouring chunks in random order, as many as fit half the budget, shuffled together;
while one window is drawn from, the next is read in the background. Memory stays flat however large the store
is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from qsft_robot.datasets.batch import Batch
from qsft_robot.datasets.frames import (
    LARGEST_BLOCK_CHUNKS,
    WINDOW_BLOCKS,
    Block,
    FrameReader,
    Window,
    WindowCache,
)
from qsft_robot.datasets.store import TrajectoryStore
from qsft_robot.datasets.transitions import TransitionTable
from qsft_robot.errors import ConfigurationError

DEFAULT_MEMORY_BUDGET = 4 << 30


class SegmentSampler:
    """Minibatches of segments, by step number.

    Attributes:
        table: everything but the observations, by row.
        segments: S, segments in one batch.
        in_memory: the observations are all kept in memory.
    """

    def __init__(
        self,
        stores: Sequence[TrajectoryStore],
        episodes: Sequence[np.ndarray] | None = None,
        *,
        batch_size: int,
        segment_length: int = 1,
        history: int = 1,
        seed: int = 0,
        memory_budget_bytes: int = DEFAULT_MEMORY_BUDGET,
        discount: float = 1.0,
        observation_keys: Sequence[str] | None = None,
        whole_episodes: bool = False,
    ) -> None:
        """Read what is kept in memory.

        Args:
            stores: where the episodes lie.
            episodes: for each store the indices of the episodes to draw from; None for all of all stores.
            batch_size: transitions in one batch; it holds `batch_size // segment_length` segments.
            segment_length: L, transitions in one segment.
            history: H, frames in one observation.
            seed: determines, with the step, what is drawn.
            memory_budget_bytes: what the sampler may take for itself.
            discount: gamma of the Monte-Carlo return, per environment step.
            observation_keys: keys to read; None for all.
            whole_episodes: every segment is one episode from its beginning, and nothing beyond its end is valid; for
                text that grows, of which a stream then holds nothing twice. Wants episodes of at most
                `segment_length` transitions, and observations that fit the memory budget.

        Raises:
            ConfigurationError: a number is out of range, or the budget is too small for any window.
            DataError: nothing to draw from, or the stores do not fit each other.
            StoreError: a store is damaged.
        """
        for name, value in (("segment_length", segment_length), ("history", history)):
            if value < 1:
                raise ConfigurationError(f"{name}={value} must be at least 1")
        if batch_size < segment_length:
            raise ConfigurationError(f"batch_size={batch_size} is less than segment_length={segment_length}")
        if not 0 <= discount <= 1:
            raise ConfigurationError(f"discount={discount} must lie between 0 and 1")
        self.segments = batch_size // segment_length
        self._length, self._history, self._seed = segment_length, history, seed
        self.table = TransitionTable(stores, episodes, discount)
        self._reader = FrameReader(stores, self.table, observation_keys)
        available = memory_budget_bytes - self.table.nbytes
        self.in_memory = len(self.table) * self._reader.row_bytes <= available
        self._frames: dict[str, np.ndarray] = {}
        self._whole = whole_episodes
        if whole_episodes and not (self.in_memory and int(self.table.lengths.max()) <= segment_length):
            raise ConfigurationError(
                f"whole episodes need segment_length={segment_length} to be at least their {self.table.lengths.max()} "
                "transitions, and a memory budget that they fit"
            )
        self._starts = len(self.table.lengths) if whole_episodes else len(self.table)
        self._cache: WindowCache | None = None
        self._windows: tuple[int, list[Window], np.ndarray] | None = None
        self._order: tuple[tuple[int, int], np.ndarray] | None = None
        if self.in_memory:
            self._blocks = self._reader.blocks(LARGEST_BLOCK_CHUNKS)
            self._frames = self._reader.allocate(len(self.table))
            for block in self._blocks:
                self._reader.fill(block, self._frames, block.first_row)
        else:
            self._blocks, self._capacity = self._plan_windows(available)
            self._cache = WindowCache(self._reader, self._blocks, self._capacity)
        self._block_of_episode = np.repeat(
            np.arange(len(self._blocks)), [block.last_episode - block.first_episode for block in self._blocks]
        )

    def __len__(self) -> int:
        """Return the number of observations (rows) it draws from."""
        return len(self.table)

    def batch(self, step: int) -> Batch:
        """Return the minibatch of `step` (from 0); it depends on the seed and on `step` alone.

        Raises:
            StoreError: a chunk that had to be read is damaged.
        """
        first = step * self.segments
        starts, parts = self._draw(first, first + self.segments)
        episode = self.table.episode_of_row[starts]
        begin, size = self.table.first_rows[episode], self.table.lengths[episode] + 1
        ring = (starts - begin)[:, None] + np.arange(self._length + 1)
        row = begin[:, None] + ring % size[:, None]
        table, here = self.table, row[:, :-1]
        valid = table.valid[here]
        if self._whole:
            valid &= ring[:, :-1] < size[:, None]
        return Batch(
            observations=self._observations(row, begin[:, None], episode, parts),
            actions=table.actions[here],
            rewards=table.rewards[here],
            terminal=table.terminal[here],
            truncated=table.truncated[here],
            valid=valid,
            monte_carlo_return=table.monte_carlo_return[here],
            episode_return=table.episode_return[here],
            row=row,
        )

    def sequential(self, batch_size: int) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]]:
        """Go once through all observations in the order of their rows.

        Args:
            batch_size: observations at a time, at most (less at the end, and at the edges of what is read at
                once).

        Yields:
            rows (n,) int64; observations key -> (n, H, ...); actions (n, D) float32, zeros at final
            observations.
        """
        blocks = [Block(0, len(self.table.lengths), 0, len(self.table))] if self.in_memory else self._blocks
        for block in blocks:
            frames = self._frames
            shift = 0
            if not self.in_memory:
                frames, shift = self._reader.allocate(block.rows), -block.first_row
                self._reader.fill(block, frames, 0)
            for first in range(block.first_row, block.first_row + block.rows, batch_size):
                rows = np.arange(first, min(first + batch_size, block.first_row + block.rows))
                begin = self.table.first_rows[self.table.episode_of_row[rows]]
                history = self._with_history(rows, begin) + shift
                yield rows, {key: values[history] for key, values in frames.items()}, self.table.actions[rows]

    def _with_history(self, row: np.ndarray, begin: np.ndarray) -> np.ndarray:
        """Return (..., H) rows: `row` and the ones before it, oldest first, none before `begin`."""
        return np.maximum(row[..., None] - np.arange(self._history - 1, -1, -1), begin[..., None])

    def _observations(
        self,
        row: np.ndarray,
        begin: np.ndarray,
        episode: np.ndarray,
        parts: Sequence[tuple[Window, int, int]],
    ) -> dict[str, np.ndarray]:
        """Gather the frames of a batch from memory or from the windows they lie in."""
        rows = self._with_history(row, begin)
        if self._cache is None:
            return {key: _take(values, rows) for key, values in self._frames.items()}
        gathered = []
        for number, (window, first, last) in enumerate(parts):
            frames, shifts = self._cache.get(window, keep=parts[number - 1][0] if number else None)
            shift = shifts[self._block_of_episode[episode[first:last]]]
            local = rows[first:last] + shift[:, None, None]
            gathered.append({key: _take(values, local) for key, values in frames.items()})
        last_window = parts[-1][0]
        self._cache.prefetch(self._window_after(last_window), keep=last_window)
        if len(gathered) == 1:
            return gathered[0]
        return {key: np.concatenate([each[key] for each in gathered]) for key in self._reader.specs}

    def _draw(self, first: int, last: int) -> tuple[np.ndarray, list[tuple[Window, int, int]]]:
        """Return the starts number `first` to `last` of all, and which windows they lie in."""
        starts = np.empty(last - first, dtype=np.int64)
        parts: list[tuple[Window, int, int]] = []
        done = 0
        while done < len(starts):
            epoch, position = divmod(first + done, self._starts)
            windows, ends = self._windows_of(epoch)
            number = int(np.searchsorted(ends, position, side="right"))
            window = windows[number]
            inside = position - int(ends[number]) + window.rows
            count = min(window.rows - inside, len(starts) - done)
            starts[done : done + count] = self._order_of(window)[inside : inside + count]
            parts.append((window, done, done + count))
            done += count
        return starts, parts

    def _order_of(self, window: Window) -> np.ndarray:
        """Return all rows of `window` in the random order in which they are starts."""
        if self._order is None or self._order[0] != window.number:
            rows = np.concatenate(
                [np.arange(block.first_row, block.first_row + block.rows) for block in self._blocks_of(window)]
            )
            if self._whole:
                rows = self.table.first_rows
            generator = np.random.default_rng([self._seed, 1, *window.number])
            self._order = (window.number, generator.permutation(rows))
        return self._order[1]

    def _blocks_of(self, window: Window) -> list[Block]:
        return [self._blocks[number] for number in window.blocks]

    def _windows_of(self, epoch: int) -> tuple[list[Window], np.ndarray]:
        """Return the windows of an epoch, in order, and the running total of their rows."""
        if self._windows is None or self._windows[0] != epoch:
            if self.in_memory:
                windows = [Window((epoch, 0), tuple(range(len(self._blocks))), self._starts)]
            else:
                windows = self._fill_windows(epoch)
            self._windows = (epoch, windows, np.cumsum([window.rows for window in windows]))
        return self._windows[1], self._windows[2]

    def _fill_windows(self, epoch: int) -> list[Window]:
        """Put the blocks of an epoch, in random order, into windows that fit the capacity."""
        groups: list[list[int]] = [[]]
        rows = 0
        for number in np.random.default_rng([self._seed, 0, epoch]).permutation(len(self._blocks)).tolist():
            size = self._blocks[number].rows
            if rows + size > self._capacity:
                groups.append([])
                rows = 0
            groups[-1].append(number)
            rows += size
        return [
            Window((epoch, index), tuple(group), sum(self._blocks[number].rows for number in group))
            for index, group in enumerate(groups)
        ]

    def _window_after(self, window: Window) -> Window:
        epoch, number = window.number
        windows, _ = self._windows_of(epoch)
        return windows[number + 1] if number + 1 < len(windows) else self._windows_of(epoch + 1)[0][0]

    def _plan_windows(self, available: int) -> tuple[list[Block], int]:
        """Choose blocks and the capacity of a window (in rows) for the memory that is available.

        Raises:
            ConfigurationError: two windows of one block each do not fit.
        """
        for chunks in range(LARGEST_BLOCK_CHUNKS, 0, -1):
            blocks = self._reader.blocks(chunks)
            largest = max(block.rows for block in blocks)
            capacity = (available // self._reader.row_bytes - largest) // 2  # one block is read at a time
            if capacity >= WINDOW_BLOCKS * largest:
                return blocks, capacity
        if capacity < largest:
            needed = self.table.nbytes + 3 * largest * self._reader.row_bytes
            raise ConfigurationError(f"the memory budget is too small: {needed / 1e6:.1f} MB are needed at least")
        return blocks, capacity


def _take(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return `values[rows]`, without the cost of general indexing."""
    return values.take(rows, axis=0)
