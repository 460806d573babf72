"""Small made-up episodes and stores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

from qsft_robot.datasets.episode import Episode
from qsft_robot.datasets.store import TrajectoryStore

SPACE = spaces.Dict(
    {
        "image": spaces.Box(0, 255, (4, 5, 3), np.uint8),
        "state": spaces.Box(-10, 10, (2,), np.float32),
    }
)


def build_episode(number: int, length: int, ended_by: str = "task", action_dimension: int = 3) -> Episode:
    """An episode whose every number tells where it stands: state is (number, step), images repeat step + number."""
    random = np.random.default_rng([number, length])
    steps = np.arange(length + 1)
    state = np.stack([np.full(length + 1, number), steps], axis=1).astype(np.float32)
    image = np.broadcast_to(((steps * 7 + number) % 256)[:, None, None, None], (length + 1, 4, 5, 3)).astype(np.uint8)
    return Episode(
        observations={"image": image[:-1], "state": state[:-1]},
        actions=random.uniform(-1, 1, (length, action_dimension)).astype(np.float32),
        rewards=random.uniform(0, 1, length).astype(np.float32),
        final_observation={"image": image[-1], "state": state[-1]},
        terminated=ended_by == "task",
        truncated=ended_by == "time",
        success=number % 2 == 0,
        seed=1000 + number,
        policy="left" if number % 3 else "right",
    )


@pytest.fixture(scope="session")
def make_episode() -> Callable[..., Episode]:
    return build_episode


@pytest.fixture(scope="session")
def observation_space() -> spaces.Dict:
    return SPACE


@pytest.fixture(scope="session")
def make_store() -> Callable[[Path, Sequence[int]], TrajectoryStore]:
    """`make_store(path, lengths)` writes one episode of each length and opens the store for reading."""

    def make(path: Path, lengths: Sequence[int], first: int = 0) -> TrajectoryStore:
        with TrajectoryStore.create(path, observation_space=SPACE, action_dimension=3, task="toy") as store:
            for number, length in enumerate(lengths, start=first):
                store.append(build_episode(number, length, "time" if number % 4 == 1 else "task"))
        return TrajectoryStore.open(path)

    return make


@pytest.fixture(scope="session")
def assert_same() -> Callable[[Episode, Episode], None]:
    def check(one: Episode, other: Episode) -> None:
        assert set(one.observations) == set(other.observations)
        for key in one.observations:
            np.testing.assert_array_equal(one.observations[key], other.observations[key], strict=True)
            np.testing.assert_array_equal(one.final_observation[key], other.final_observation[key], strict=True)
        np.testing.assert_array_equal(one.actions, other.actions, strict=True)
        np.testing.assert_array_equal(one.rewards, other.rewards, strict=True)
        for name in ("terminated", "truncated", "success", "seed", "policy"):
            assert getattr(one, name) == getattr(other, name)

    return check
