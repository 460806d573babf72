"""Everything about the chosen episodes but their observations: one row per observation, in memory.

Rows: T + 1 per episode (its final observation is the last), in the order of stores and of chosen episodes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qsft_robot.datasets.store import TrajectoryStore
from qsft_robot.errors import DataError


class TransitionTable:
    """Actions, rewards, ends and returns by row, and which rows make up which episode.

    Attributes (N rows, E episodes):
        store_of_episode: (E,) int64, which of the stores.
        index_in_store: (E,) int64, which episode of that store.
        lengths: (E,) int64, T.
        first_rows: (E,) int64, row of the first observation.
        episode_of_row: (N,) int32.
        actions: (N, D) float32, zeros at final observations; (N,) text, empty at final observations.
        rewards: (N,) float32, zero at final observations.
        terminal: (N,) bool, terminated or truncated by the transition that starts at this row.
        truncated: (N,) bool.
        valid: (N,) bool, False at final observations: no transition starts there.
        monte_carlo_return: (N,) float32, discounted, to the end of the episode; zero at final observations.
        episode_return: (N,) float32, undiscounted; zero at final observations.
    """

    def __init__(
        self, stores: Sequence[TrajectoryStore], episodes: Sequence[np.ndarray] | None, discount: float
    ) -> None:
        """Read what is small from the stores.

        Args:
            stores: where the episodes lie.
            episodes: for each store the indices of the episodes to use, in any order; None for all.
            discount: gamma of the Monte-Carlo return, per environment step.

        Raises:
            DataError: no episodes, an index out of range or twice, or stores whose actions differ in length.
        """
        chosen = _check_choice(stores, episodes)
        self.store_of_episode = np.concatenate([np.full(len(each), number) for number, each in enumerate(chosen)])
        self.index_in_store = np.concatenate(chosen)
        self.lengths = np.concatenate([store.episode_lengths[each] for store, each in zip(stores, chosen, strict=True)])
        sizes = self.lengths + 1
        self.first_rows = np.cumsum(sizes) - sizes
        count = int(sizes.sum())
        self.episode_of_row = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
        final_rows = self.first_rows + self.lengths
        self.valid = np.ones(count, dtype=np.bool_)
        self.valid[final_rows] = False
        action = stores[0].spec.action
        self.actions = np.zeros((count, *action.shape), dtype=action.dtype)
        self.rewards = np.zeros(count, dtype=np.float32)
        self._read_steps(stores)
        ends = [(store.terminated[each], store.truncated[each]) for store, each in zip(stores, chosen, strict=True)]
        self.truncated = np.zeros(count, dtype=np.bool_)
        self.truncated[final_rows - 1] = np.concatenate([truncated for _, truncated in ends])
        self.terminal = self.truncated.copy()
        self.terminal[final_rows - 1] |= np.concatenate([terminated for terminated, _ in ends])
        self.monte_carlo_return = self._discounted_returns(final_rows, discount)
        totals = np.add.reduceat(self.rewards, self.first_rows)
        self.episode_return = np.where(self.valid, totals[self.episode_of_row], np.float32(0))

    def __len__(self) -> int:
        return len(self.valid)

    @property
    def nbytes(self) -> int:
        """Memory the table takes, in bytes."""
        return sum(each.nbytes for each in vars(self).values() if isinstance(each, np.ndarray))

    def _read_steps(self, stores: Sequence[TrajectoryStore]) -> None:
        """Fill in actions and rewards, store by store."""
        for number, store in enumerate(stores):
            actions = store.read("action", 0, store.number_of_steps)
            rewards = store.read("reward", 0, store.number_of_steps)
            starts = store.episode_ends - store.episode_lengths
            for episode in np.flatnonzero(self.store_of_episode == number):
                start, length = starts[self.index_in_store[episode]], self.lengths[episode]
                first = self.first_rows[episode]
                self.actions[first : first + length] = actions[start : start + length]
                self.rewards[first : first + length] = rewards[start : start + length]
        for name, values in (("action", self.actions), ("reward", self.rewards)):
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise DataError(f"'{name}' of {', '.join(str(store.path) for store in stores)} holds NaN or infinity")

    def _discounted_returns(self, final_rows: np.ndarray, discount: float) -> np.ndarray:
        """Sum the rewards backwards, all episodes side by side."""
        returns = np.zeros(len(self), dtype=np.float64)
        for back in range(1, int(self.lengths.max()) + 1):
            rows = final_rows[self.lengths >= back] - back
            returns[rows] = self.rewards[rows] + discount * returns[rows + 1]
        return returns.astype(np.float32)


def _check_choice(stores: Sequence[TrajectoryStore], episodes: Sequence[np.ndarray] | None) -> list[np.ndarray]:
    """Return for each store the chosen episode indices as int64 array."""
    if not stores:
        raise DataError("a sampler needs at least one store")
    if episodes is None:
        episodes = [np.arange(len(store)) for store in stores]
    if len(episodes) != len(stores):
        raise DataError(f"{len(stores)} stores, but episodes are chosen for {len(episodes)}: give one array for each")
    chosen = [np.asarray(each, dtype=np.int64).reshape(-1) for each in episodes]
    for store, each in zip(stores, chosen, strict=True):
        if each.size and (each.min() < 0 or each.max() >= len(store)):
            raise DataError(f"{store.path} holds {len(store)} episodes, but {each.min()} to {each.max()} are asked for")
        if len(np.unique(each)) != len(each):
            raise DataError(f"an episode of {store.path} is chosen twice")
        if store.spec.action != stores[0].spec.action:
            raise DataError(f"{store.path} has actions of another kind or length than {stores[0].path}")
    if not sum(each.size for each in chosen):
        raise DataError(f"no episode to draw from in {', '.join(str(store.path) for store in stores)}")
    return chosen
