"""What is drawn, how often, and from where."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsft_robot.datasets import layout
from qsft_robot.datasets.sampler import SegmentSampler
from qsft_robot.errors import ConfigurationError, DataError

LENGTHS = [5, 1, 9, 3, 12, 2, 7, 4, 6, 8]


@pytest.fixture(scope="module")
def store(tmp_path_factory, make_store):
    return make_store(tmp_path_factory.mktemp("sampler") / "store.zarr", LENGTHS)


@pytest.fixture(scope="module")
def chunked(tmp_path_factory, make_store):
    """A store of many small chunks, so that a small budget gives many windows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "LARGEST_CHUNK_ROWS", 8)
        return make_store(tmp_path_factory.mktemp("sampler") / "chunked.zarr", LENGTHS * 6)


def budget(store, share: float) -> int:
    """A memory budget with room for `share` of the observations."""
    everything = SegmentSampler([store], batch_size=1)
    row_bytes = 4 * 5 * 3 + 8
    return everything.table.nbytes + int(share * len(everything) * row_bytes)


def assert_equal(one, other):
    for name, value in vars(one).items():
        if isinstance(value, dict):
            for key, array in value.items():
                np.testing.assert_array_equal(array, getattr(other, name)[key], strict=True)
        else:
            np.testing.assert_array_equal(value, getattr(other, name), strict=True)


def check_against_episodes(batch, store, history: int, discount: float, chosen=None):
    """Compare every number of a batch with the episodes it says it comes from."""
    chosen = range(len(store)) if chosen is None else chosen
    episodes = [store.episode(index) for index in chosen]
    places = [(e, t) for e, episode in enumerate(episodes) for t in range(len(episode) + 1)]
    segments, length = batch.actions.shape[:2]
    for s in range(segments):
        for j in range(length + 1):
            e, t = places[batch.row[s, j]]
            episode = episodes[e]
            for key in batch.observations:
                frames = np.concatenate([episode.observations[key], episode.final_observation[key][None]])
                expected = frames[np.maximum(np.arange(t - history + 1, t + 1), 0)]
                np.testing.assert_array_equal(batch.observations[key][s, j], expected, strict=True)
            if j == length:
                continue
            here = (s, j)
            assert places[batch.row[s, j + 1]] == (e, (t + 1) % (len(episode) + 1))
            assert batch.valid[here] == (t < len(episode))
            if t == len(episode):
                assert not batch.actions[here].any()
                assert batch.rewards[here] == batch.monte_carlo_return[here] == batch.episode_return[here] == 0
                assert not batch.terminal[here]
                assert not batch.truncated[here]
                continue
            last = t == len(episode) - 1
            np.testing.assert_array_equal(batch.actions[here], episode.actions[t])
            assert batch.rewards[here] == episode.rewards[t]
            assert batch.terminal[here] == (last and (episode.terminated or episode.truncated))
            assert batch.truncated[here] == (last and episode.truncated)
            rest = episode.rewards[t:].astype(np.float64)
            assert batch.monte_carlo_return[here] == pytest.approx(
                float((rest * discount ** np.arange(len(rest))).sum()), rel=1e-5
            )
            assert batch.episode_return[here] == pytest.approx(episode.episode_return, rel=1e-5)


@settings(max_examples=15, deadline=None)
@given(
    length=st.integers(1, 15),
    history=st.integers(1, 6),
    segments=st.integers(1, 9),
    seed=st.integers(0, 2**31),
    step=st.integers(0, 100),
    share=st.sampled_from([0.5, 2.0]),
)
def test_batches_hold_what_the_store_holds(chunked, length, history, segments, seed, step, share):
    sampler = SegmentSampler(
        [chunked],
        batch_size=segments * length,
        segment_length=length,
        history=history,
        seed=seed,
        discount=0.9,
        memory_budget_bytes=budget(chunked, share),
    )
    assert sampler.in_memory == (share > 1)
    batch = sampler.batch(step)
    assert batch.actions.shape == (segments, length, 3)
    assert batch.observations["image"].shape == (segments, length + 1, history, 4, 5, 3)
    assert batch.row.dtype == np.int64
    check_against_episodes(batch, chunked, history, 0.9)


@settings(max_examples=10, deadline=None)
@given(length=st.integers(1, 15), batch_size=st.integers(15, 60), seed=st.integers(0, 1000), windows=st.booleans())
def test_each_transition_is_drawn_equally_often(chunked, length, batch_size, seed, windows):
    """Over an epoch every observation starts one segment, so every real transition is drawn `length` times."""
    sampler = SegmentSampler(
        [chunked],
        batch_size=batch_size,
        segment_length=length,
        seed=seed,
        memory_budget_bytes=budget(chunked, 0.5 if windows else 2),
    )
    starts, drawn = np.zeros(len(sampler), int), np.zeros(len(sampler), int)
    rows = np.concatenate([sampler.batch(step).row for step in range(-(-len(sampler) // sampler.segments))])
    rows = rows[: len(sampler)]
    np.add.at(starts, rows[:, 0], 1)
    np.add.at(drawn, rows[:, :-1].ravel(), 1)
    assert (starts == 1).all()
    assert (drawn == length).all()


@pytest.mark.parametrize("share", [0.3, 0.6, 2.0])
def test_a_batch_depends_on_seed_and_step_alone(chunked, share):
    def make(seed: int) -> SegmentSampler:
        return SegmentSampler(
            [chunked],
            batch_size=24,
            segment_length=4,
            history=2,
            seed=seed,
            memory_budget_bytes=budget(chunked, share),
        )

    steps = 100
    sampler = make(3)
    in_order = [sampler.batch(step) for step in range(steps)]
    other = make(3)
    for step in np.random.default_rng(0).permutation(steps)[:25]:
        assert_equal(other.batch(int(step)), in_order[step])
    assert any((make(4).batch(step).row != in_order[step].row).any() for step in range(3))
    assert not np.array_equal(in_order[0].row, in_order[1].row)


def test_windows_are_mixed_and_change_from_epoch_to_epoch(chunked):
    sampler = SegmentSampler([chunked], batch_size=10, seed=0, memory_budget_bytes=budget(chunked, 0.5))
    steps = len(sampler) // 10
    first = np.concatenate([sampler.batch(step).row[:, 0] for step in range(steps)])
    second = np.concatenate([sampler.batch(step).row[:, 0] for step in range(steps, 2 * steps)])
    assert not np.array_equal(first, second)
    assert np.median(np.abs(np.diff(first))) > 20


def test_memory_of_windows_keeps_the_budget(chunked):
    share = budget(chunked, 0.5)
    sampler = SegmentSampler([chunked], batch_size=10, memory_budget_bytes=share)
    held = sum(array.nbytes for buffer in sampler._cache._buffers for array in buffer.values())
    assert held + sampler.table.nbytes <= share
    before = [id(array) for buffer in sampler._cache._buffers for array in buffer.values()]
    for step in range(150):
        sampler.batch(step)
    assert before == [id(array) for buffer in sampler._cache._buffers for array in buffer.values()]


def test_next_window_is_read_in_the_background(chunked, monkeypatch):
    sampler = SegmentSampler([chunked], batch_size=10, memory_budget_bytes=budget(chunked, 0.5))
    threads = set()
    original = sampler._reader.fill

    def fill(*arguments):
        threads.add(threading.current_thread().name)
        return original(*arguments)

    monkeypatch.setattr(sampler._reader, "fill", fill)
    for step in range(20):
        sampler.batch(step)
    assert threads
    assert all(name.startswith("window") for name in threads)


def test_chosen_episodes_of_several_stores(tmp_path, make_store, store):
    other = make_store(tmp_path / "other.zarr", [3, 8, 2], first=20)
    chosen = [np.array([4, 1, 7]), np.array([2, 1])]
    sampler = SegmentSampler([store, other], chosen, batch_size=40, segment_length=2, discount=0.5)
    expected = [(4, 12), (1, 1), (7, 4), (22, 2), (21, 8)]
    places = [(number, step) for number, length in expected for step in range(length + 1)]
    assert len(sampler) == len(places)
    for step in range(5):
        batch = sampler.batch(step)
        states = batch.observations["state"][:, :, 0]
        assert [tuple(state) for state in states.reshape(-1, 2)] == [places[row] for row in batch.row.ravel()]
    check_against_episodes(
        SegmentSampler([store], [np.array([4, 1, 7])], batch_size=40, segment_length=3, discount=0.5).batch(0),
        store,
        1,
        0.5,
        [4, 1, 7],
    )


def test_windows_over_several_stores_and_chosen_episodes(tmp_path, make_store, chunked):
    other = make_store(tmp_path / "other.zarr", LENGTHS, first=100)
    chosen = [np.arange(0, len(chunked), 2), np.array([3, 0, 9])]
    everything = SegmentSampler([chunked, other], chosen, batch_size=12, segment_length=3, history=2)
    small = everything.table.nbytes + len(everything) * 68 * 6 // 10
    sampler = SegmentSampler(
        [chunked, other], chosen, batch_size=12, segment_length=3, history=2, memory_budget_bytes=small
    )
    assert not sampler.in_memory
    image = np.concatenate([frames["image"] for _, frames, _ in everything.sequential(1000)])
    for step in range(150):
        batch = sampler.batch(step)
        np.testing.assert_array_equal(batch.observations["image"], image[batch.row])


@pytest.mark.parametrize("share", [0.5, 2.0])
@pytest.mark.parametrize("batch_size", [1, 7, 10_000])
def test_sequential_visits_each_observation_once(chunked, share, batch_size):
    sampler = SegmentSampler([chunked], batch_size=8, history=3, memory_budget_bytes=budget(chunked, share))
    visited = 0
    for rows, observations, actions in sampler.sequential(batch_size):
        assert len(rows) <= batch_size
        assert rows.tolist() == list(range(visited, visited + len(rows)))
        visited += len(rows)
        np.testing.assert_array_equal(actions, sampler.table.actions[rows])
        assert observations["image"].shape == (len(rows), 3, 4, 5, 3)
        numbers = sampler.table.episode_of_row[rows]
        steps = rows - sampler.table.first_rows[numbers]
        expected = np.maximum(steps[:, None] + np.arange(-2, 1), 0)
        np.testing.assert_array_equal(observations["state"][..., 1], expected)
        np.testing.assert_array_equal(observations["state"][..., 0], np.repeat(numbers[:, None], 3, axis=1))
    assert visited == len(sampler)


def test_observation_keys(store):
    batch = SegmentSampler([store], batch_size=4, observation_keys=["state"]).batch(0)
    assert list(batch.observations) == ["state"]
    with pytest.raises(DataError, match="no observation 'depth'"):
        SegmentSampler([store], batch_size=4, observation_keys=["depth"])


def test_what_is_refused(store, tmp_path, make_store):
    empty = make_store(tmp_path / "empty.zarr", [])
    for stores, episodes in [([], None), ([empty], None), ([store], [np.array([], int)])]:
        with pytest.raises(DataError):
            SegmentSampler(stores, episodes, batch_size=4)
    for episodes in ([np.array([10])], [np.array([-1])], [np.array([1, 1])], [np.array([0]), np.array([0])]):
        with pytest.raises(DataError):
            SegmentSampler([store], episodes, batch_size=4)
    for options in ({"segment_length": 0}, {"history": 0}, {"segment_length": 5}, {"discount": 1.5}):
        with pytest.raises(ConfigurationError):
            SegmentSampler([store], batch_size=4, **options)
    with pytest.raises(ConfigurationError, match=r"too small: .* MB are needed"):
        SegmentSampler([store], batch_size=4, memory_budget_bytes=1000)


def test_another_size_of_image_in_a_second_store(store, tmp_path, make_episode):
    from gymnasium import spaces

    from qsft_robot.datasets.store import TrajectoryStore

    space = {"image": spaces.Box(0, 255, (8, 8, 3), np.uint8), "state": spaces.Box(-1, 1, (2,), np.float32)}
    path = Path(tempfile.mkdtemp(dir=tmp_path)) / "other.zarr"
    episode = make_episode(0, 2)
    episode.observations["image"] = np.zeros((2, 8, 8, 3), np.uint8)
    episode.final_observation["image"] = np.zeros((8, 8, 3), np.uint8)
    with TrajectoryStore.create(path, observation_space=space, action_dimension=3, task="toy") as other:
        other.append(episode)
    with pytest.raises(DataError, match="differ"):
        SegmentSampler([store, TrajectoryStore.open(path)], batch_size=2)
    SegmentSampler([store, TrajectoryStore.open(path)], batch_size=2, observation_keys=["state"]).batch(0)
