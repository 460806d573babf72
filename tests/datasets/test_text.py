"""Text observations and text actions lie in the same store, with the same guarantees."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import zarr
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from qsft_robot.datasets import writer
from qsft_robot.datasets.episode import TEXT, Episode, text_array
from qsft_robot.datasets.maintenance import repair, validate
from qsft_robot.datasets.sampler import SegmentSampler
from qsft_robot.datasets.store import TrajectoryStore
from qsft_robot.errors import DataError

SPACE = spaces.Text(1000)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
talks = st.lists(st.tuples(texts, texts), min_size=1, max_size=6)


def make_episode(turns: Sequence[tuple[str, str]], final: str = "the end", seed: int = 0) -> Episode:
    return Episode(
        observations={"text": text_array([seen for seen, _ in turns])},
        actions=text_array([said for _, said in turns]),
        rewards=-np.ones(len(turns), np.float32),
        final_observation={"text": np.array(final, dtype=TEXT)},
        terminated=True,
        truncated=False,
        success=False,
        seed=seed,
        policy="talker",
    )


def make_store(path: Path, episodes: Sequence[Episode]) -> TrajectoryStore:
    with TrajectoryStore.create(path, observation_space=SPACE, action_dimension=None, task="talk") as store:
        for episode in episodes:
            store.append(episode)
    return TrajectoryStore.open(path)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(talks, texts), min_size=1, max_size=5), st.integers(1, 400))
def test_any_text_comes_back(assert_same, episodes, pending):
    made = [make_episode(turns, final, seed) for seed, (turns, final) in enumerate(episodes)]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "PENDING_BYTES", pending)
        path = Path(folder) / "store.zarr"
        store = TrajectoryStore.create(path, observation_space=SPACE, action_dimension=None, task="talk")
        for episode in made:
            store.append(episode)
        readable_while_pending = TrajectoryStore.open(path)
        store.close()
        for each in (readable_while_pending, TrajectoryStore.open(path)):
            for number, episode in enumerate(made):
                assert_same(each.episode(number), episode)
        assert validate(path).sound


EPISODES = [
    make_episode([("Question 1", "Is it alive?"), ("No.", "çé\0\n")], "ende", 0),
    make_episode([("", "")], "", 1),
]


def test_anything_that_reads_zarr_can_read_it(tmp_path):
    make_store(tmp_path / "store.zarr", EPISODES)
    root = zarr.open_group(tmp_path / "store.zarr", mode="r")
    assert root.attrs["schema_version"] == 2
    assert root["data/action"][:].tolist() == ["Is it alive?", "çé\0\n", ""]
    assert root["final/text"][:].tolist() == ["ende", ""]
    assert root["meta/episode_ends"][:].tolist() == [2, 3]


def test_a_changed_letter_is_noticed_and_the_other_episodes_are_recovered(tmp_path, assert_same):
    path = tmp_path / "store.zarr"
    make_store(path, EPISODES)
    root = zarr.open_group(path, mode="r+")
    root["data/action"][0] = "Is it alive!"
    (problem,) = validate(path).problems
    assert (problem.kind, problem.episodes) == ("checksum", (0,))
    assert repair(path).recovered == 1
    assert_same(TrajectoryStore.open(path).episode(0), EPISODES[1])


def test_numbers_and_text_are_not_mixed(tmp_path):
    with (
        TrajectoryStore.create(tmp_path / "arm.zarr", observation_space=SPACE, action_dimension=2, task="arm") as store,
        pytest.raises(DataError, match="actions of 2 numbers"),
    ):
        store.append(EPISODES[0])
    store = make_store(tmp_path / "talk.zarr", EPISODES)
    with pytest.raises(DataError, match="are text and have no dimension"):
        _ = store.spec.action_dimension
    numbers = np.zeros((2, 3), np.float32)
    bad = Episode(EPISODES[0].observations, numbers, EPISODES[0].rewards, {"text": text_array(["x"])[0]},
                  True, False, False, 0, "arm")  # fmt: skip
    with TrajectoryStore.open(tmp_path / "talk.zarr", "r+") as store, pytest.raises(DataError, match="actions of text"):
        store.append(bad)
    with pytest.raises(DataError, match="T > 0"):
        make_episode([])


@pytest.mark.parametrize("budget", [1 << 30, 1 << 16])
def test_minibatches_of_text(tmp_path, budget):
    episodes = [make_episode([(f"{n} {t}", f"do {n} {t}") for t in range(3)], f"{n} 3", n) for n in range(20)]
    store = make_store(tmp_path / "store.zarr", episodes)
    sampler = SegmentSampler([store], batch_size=8, segment_length=2, memory_budget_bytes=budget * 4)
    for step in range(20):
        batch = sampler.batch(step)
        assert batch.observations["text"].shape == (4, 3, 1)
        for row in zip(batch.observations["text"][:, :-1, 0].flat, batch.actions.flat, batch.valid.flat, strict=True):
            seen, said, valid = row
            assert said == (f"do {seen}" if valid else "")
