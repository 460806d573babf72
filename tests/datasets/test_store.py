"""Appending, reading, and what a store refuses."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import zarr
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

import qsft_robot
from qsft_robot.datasets import writer
from qsft_robot.datasets.journal import PENDING_FILE
from qsft_robot.datasets.maintenance import validate
from qsft_robot.datasets.store import TrajectoryStore
from qsft_robot.errors import DataError, StoreError


@settings(max_examples=8, deadline=None)
@given(lengths=st.lists(st.integers(1, 40), max_size=12), close_after=st.integers(0, 12), pending=st.integers(1, 4000))
def test_what_is_appended_is_read(make_episode, assert_same, observation_space, lengths, close_after, pending):
    """However appending is divided among writers and folds, each episode comes back as it was."""
    episodes = [make_episode(number, length) for number, length in enumerate(lengths)]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "PENDING_BYTES", pending)
        path = Path(folder) / "store.zarr"
        store = TrajectoryStore.create(path, observation_space=observation_space, action_dimension=3, task="toy")
        for number, episode in enumerate(episodes):
            if number == close_after:
                store.close()
                store = TrajectoryStore.open(path, "r+")
            assert store.append(episode) == number
            assert_same(store.episode(number), episode)
        with_journal = TrajectoryStore.open(path)
        store.close()
        for each in (with_journal, store, TrajectoryStore.open(path)):
            assert len(each) == len(episodes)
            assert each.number_of_steps == sum(lengths)
            for number, episode in enumerate(episodes):
                assert_same(each.episode(number), episode)


def test_rows_across_folded_and_pending_episodes(tmp_path, make_store, make_episode):
    path = tmp_path / "store.zarr"
    make_store(path, [5, 3])
    with TrajectoryStore.open(path, "r+") as store:
        store.append(make_episode(2, 4))
        expected = np.concatenate([make_episode(n, t).observations["state"] for n, t in enumerate([5, 3, 4])])
        for start in range(12):
            for stop in range(start, 13):
                np.testing.assert_array_equal(store.read("state", start, stop), expected[start:stop], strict=True)
        finals = np.stack([make_episode(n, t).final_observation["state"] for n, t in enumerate([5, 3, 4])])
        np.testing.assert_array_equal(store.read_final("state", 1, 3), finals[1:], strict=True)


def test_columns(tmp_path, make_store, make_episode):
    store = make_store(tmp_path / "store.zarr", [5, 3, 4])
    episodes = list(store)
    assert store.episode_lengths.tolist() == [5, 3, 4]
    assert store.episode_ends.tolist() == [5, 8, 12]
    assert store.seeds.tolist() == [1000, 1001, 1002]
    assert store.policies == ["right", "left", "left"]
    assert store.success.tolist() == [True, False, True]
    assert store.truncated.tolist() == [False, True, False]
    assert store.terminated.tolist() == [True, False, True]
    np.testing.assert_array_equal(store.episode_returns, [each.episode_return for each in episodes])
    assert store.keys == ["image", "state"]
    assert [store.episode_of_row(row) for row in (0, 4, 5, 11)] == [0, 0, 1, 2]


def test_layout_is_plain_zarr(tmp_path, make_store, make_episode):
    """Anyone can read a closed store with zarr alone, in the layout of diffusion_policy."""
    path = tmp_path / "store.zarr"
    make_store(path, [5, 3])
    root = zarr.open_group(path, mode="r")
    assert root.metadata.zarr_format == 3
    assert root.attrs["schema_version"] == 1
    ends = root["meta/episode_ends"][:]
    assert ends.tolist() == [5, 8]
    second = make_episode(1, 3)
    np.testing.assert_array_equal(root["data/image"][ends[0] : ends[1]], second.observations["image"])
    np.testing.assert_array_equal(root["data/action"][ends[0] : ends[1]], second.actions)
    np.testing.assert_array_equal(root["final/state"][1], second.final_observation["state"])
    assert root["data/reward"].shape == (8,)
    assert root["meta/policy"][:].tolist() == ["right", "left"]
    assert root["meta/code_version"][:].tolist() == [qsft_robot.__version__] * 2
    codecs = [codec["name"] for codec in root["data/image"].metadata.to_dict()["codecs"]]
    assert codecs[-1] == "crc32c"


def test_same_episodes_give_same_files(tmp_path, make_episode, observation_space):
    """How often the journal was folded leaves no trace."""
    contents = []
    for pending in (1, 10**9):
        path = tmp_path / f"{pending}.zarr"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(writer, "PENDING_BYTES", pending)
            with TrajectoryStore.create(
                path, observation_space=observation_space, action_dimension=3, task="toy"
            ) as store:
                for number in range(20):
                    store.append(make_episode(number, 1 + number % 7))
        contents.append({file.relative_to(path): file.read_bytes() for file in path.rglob("*") if file.is_file()})
    assert contents[0] == contents[1]


def test_attributes_and_task(tmp_path, observation_space):
    path = tmp_path / "deep" / "store.zarr"
    options = {"image_size": 48, "cameras": ["front"]}
    TrajectoryStore.create(
        path, observation_space=observation_space, action_dimension=3, task="toy", attributes=options
    ).close()
    store = TrajectoryStore.open(path, task="toy")
    assert store.attributes == options
    assert len(store) == 0
    assert store.read("action", 0, 0).shape == (0, 3)
    with pytest.raises(StoreError, match="made for the task 'toy', not for 'chess'"):
        TrajectoryStore.open(path, task="chess")


def test_missing_and_foreign_paths(tmp_path):
    with pytest.raises(StoreError, match=r"no trajectory store at .*absent.*collect"):
        TrajectoryStore.open(tmp_path / "absent.zarr")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match=r"no zarr\.json"):
        TrajectoryStore.open(tmp_path / "folder")
    zarr.create_group(tmp_path / "other.zarr")
    with pytest.raises(StoreError, match="no trajectory store of qsft_robot"):
        TrajectoryStore.open(tmp_path / "other.zarr")


def test_newer_schema(tmp_path, make_store):
    path = tmp_path / "store.zarr"
    make_store(path, [2])
    metadata = json.loads((path / "zarr.json").read_text())
    metadata["attributes"]["schema_version"] = 3
    (path / "zarr.json").write_text(json.dumps(metadata))
    with pytest.raises(StoreError, match=r"schema version 3.*update qsft_robot"):
        TrajectoryStore.open(path)


def test_create_over_something(tmp_path, make_store, observation_space):
    path = tmp_path / "store.zarr"
    make_store(path, [2])
    with pytest.raises(StoreError, match="exists already"):
        TrajectoryStore.create(path, observation_space=observation_space, action_dimension=3, task="toy")
    assert len(TrajectoryStore.open(path)) == 1


@pytest.mark.parametrize(
    "space",
    [
        {},
        {"action": spaces.Box(0, 1, (2,))},
        {"a/b": spaces.Box(0, 1, (2,))},
        {"graph": spaces.Graph(spaces.Discrete(2), None)},
    ],
)
def test_spaces_that_cannot_be_stored(tmp_path, space):
    with pytest.raises(StoreError):
        TrajectoryStore.create(tmp_path / "store.zarr", observation_space=space, action_dimension=3, task="toy")
    assert not list(tmp_path.iterdir())


def test_one_writer_at_a_time(tmp_path, make_store, make_episode):
    path = tmp_path / "store.zarr"
    make_store(path, [2])
    with TrajectoryStore.open(path, "r+") as store:
        with pytest.raises(StoreError, match="another process is writing"):
            TrajectoryStore.open(path, "r+")
        store.append(make_episode(1, 3))
        assert len(TrajectoryStore.open(path)) == 2
    with pytest.raises(StoreError, match="open for reading"):
        TrajectoryStore.open(path).append(make_episode(2, 3))
    TrajectoryStore.open(path, "r+").close()


def test_unknown_episode_key_and_mode(tmp_path, make_store):
    store = make_store(tmp_path / "store.zarr", [2])
    for index in (-1, 1):
        with pytest.raises(StoreError, match="it holds 1"):
            store.episode(index)
    with pytest.raises(StoreError, match="no array data/depth"):
        store.read("depth", 0, 1)
    with pytest.raises(StoreError, match="mode 'w'"):
        TrajectoryStore.open(store.path, "w")


def test_episodes_that_do_not_fit(tmp_path, make_store, make_episode):
    path = tmp_path / "store.zarr"
    make_store(path, [2])
    good = make_episode(1, 3)
    wrong_action = make_episode(1, 3, action_dimension=4)
    wrong_key = make_episode(1, 3)
    wrong_key.observations["depth"] = wrong_key.observations.pop("image")
    wrong_key.final_observation["depth"] = wrong_key.final_observation.pop("image")
    wrong_dtype = make_episode(1, 3)
    wrong_dtype.observations["image"] = wrong_dtype.observations["image"].astype(np.float32)
    not_finite = make_episode(1, 3)
    not_finite.final_observation["state"] = np.array([np.nan, 0], np.float32)
    with TrajectoryStore.open(path, "r+") as store:
        for episode in (wrong_action, wrong_key, wrong_dtype, not_finite):
            with pytest.raises(DataError):
                store.append(episode)
        store.append(good)
    assert len(TrajectoryStore.open(path)) == 2


def test_full_disk_while_appending(tmp_path, make_store, make_episode, assert_same, monkeypatch):
    """The episode is refused with a clear message; the ones before it and the next one are safe."""
    path = tmp_path / "store.zarr"
    make_store(path, [2])
    real = os.pwrite

    def full(descriptor: int, content: bytes, offset: int) -> int:
        if len(content) > 100:
            return real(descriptor, content[:100], offset)
        raise OSError(errno.ENOSPC, "No space left on device")

    with TrajectoryStore.open(path, "r+") as store:
        store.append(make_episode(1, 3))
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", full)
            with pytest.raises(StoreError, match=r"disk is full.*episode 2 was not stored, the 2 before it are safe"):
                store.append(make_episode(2, 4))
        assert len(TrajectoryStore.open(path)) == 2
        assert store.append(make_episode(2, 5)) == 2
    store = TrajectoryStore.open(path)
    assert_same(store.episode(2), make_episode(2, 5))


def test_full_disk_while_folding(tmp_path, make_store, make_episode, assert_same, monkeypatch):
    """Nothing is lost: the episodes stay in the journal until there is room."""
    path = tmp_path / "store.zarr"
    make_store(path, [2])
    store = TrajectoryStore.open(path, "r+")
    store.append(make_episode(1, 3))
    original = writer.StoreWriter._write

    def full(self: writer.StoreWriter, name: str, start: int, values: np.ndarray) -> None:
        if name == "final/image":
            raise OSError(errno.ENOSPC, "No space left on device")
        original(self, name, start, values)

    with monkeypatch.context() as patch:
        patch.setattr(writer.StoreWriter, "_write", full)
        with pytest.raises(StoreError, match=r"disk is full.*safe in the journal"):
            store.close()
    assert (path / "journal" / PENDING_FILE).stat().st_size > 0
    assert_same(TrajectoryStore.open(path).episode(1), make_episode(1, 3))
    TrajectoryStore.open(path, "r+").close()
    assert (path / "journal" / PENDING_FILE).stat().st_size == 0
    assert_same(TrajectoryStore.open(path).episode(1), make_episode(1, 3))


def test_reading_while_another_process_writes(tmp_path, observation_space, make_episode, assert_same, monkeypatch):
    """Readers always see a number of whole episodes, however often the writer folds."""
    monkeypatch.setattr(writer, "PENDING_BYTES", 2000)
    path = tmp_path / "store.zarr"
    store = TrajectoryStore.create(path, observation_space=observation_space, action_dimension=3, task="toy")
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    failures = context.Queue()
    with store:
        process = context.Process(target=read_again_and_again, args=(path, stop, failures))
        process.start()
        for number in range(60):
            store.append(make_episode(number, 1 + number % 5))
        stop.set()
        process.join(60)
    assert process.exitcode == 0, failures.get(timeout=5)


def read_again_and_again(path: Path, stop, failures) -> None:
    """Open, read and validate the store until told to stop."""
    try:
        reads = 0
        while not stop.is_set() or reads < 2:
            reads += 1
            store = TrajectoryStore.open(path)
            if len(store):
                last = store.episode(len(store) - 1)
                if last.seed != 1000 + len(store) - 1:
                    raise AssertionError(last.seed)
            if reads % 5 == 0 and not (report := validate(path)).sound:
                raise AssertionError(report.problems)
    except BaseException as error:
        failures.put(repr(error))
        raise SystemExit(1) from error
