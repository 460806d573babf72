"""A writer that stops at any of its steps on the disk leaves a sound store."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
from pathlib import Path

import pytest

from qsft_robot.datasets import writer
from qsft_robot.datasets.maintenance import validate
from qsft_robot.datasets.store import TrajectoryStore
from qsft_robot.errors import StoreError

LENGTHS = [5, 9, 3]


class Crash(BaseException):
    """The process ends here."""


class Countdown:
    """Lets a number of steps on the disk pass, and then ends the process for good."""

    def __init__(self, patch: pytest.MonkeyPatch, steps: int) -> None:
        self.passed = 0
        self._steps = steps
        for target, name in ((os, "pwrite"), (os, "fsync"), (os, "ftruncate"), (Path, "replace")):
            patch.setattr(target, name, self._counted(getattr(target, name)))

    def _counted(self, function):
        def call(*arguments):
            if self.passed == self._steps:
                raise Crash
            self.passed += 1
            return function(*arguments)

        return call


def write(path: Path, make_episode, done: list[int]) -> None:
    """Append episodes, folding after each second one; `done` gets the number of each that is safe."""
    store = TrajectoryStore.open(path, "r+")
    descriptors = store._writer.descriptors
    try:
        for number, length in enumerate(LENGTHS):
            store.append(make_episode(number, length))
            done.append(number)
        store.close()
    except Crash:
        for descriptor in descriptors:
            with contextlib.suppress(OSError):
                os.close(descriptor)  # as the system does when a process ends
        raise


@pytest.fixture(scope="module")
def empty(tmp_path_factory, observation_space) -> Path:
    path = tmp_path_factory.mktemp("empty") / "store.zarr"
    TrajectoryStore.create(path, observation_space=observation_space, action_dimension=3, task="toy").close()
    return path


def test_crash_at_every_kind_of_step(tmp_path, empty, make_episode, assert_same, monkeypatch):
    monkeypatch.setattr(writer, "PENDING_BYTES", 700)
    whole = tmp_path / "whole.zarr"
    shutil.copytree(empty, whole)
    with pytest.MonkeyPatch.context() as patch:
        total = Countdown(patch, 10**9)
        write(whole, make_episode, [])
    files = {file.relative_to(whole): file.read_bytes() for file in whole.rglob("*") if file.is_file()}
    assert total.passed > 100

    steps = sorted({0, 1, 2, 3, total.passed - 1, *random.Random(0).sample(range(total.passed), 20)})
    for count in steps:
        path = tmp_path / f"{count}.zarr"
        shutil.copytree(empty, path)
        done: list[int] = []
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Crash):
            Countdown(patch, count)
            write(path, make_episode, done)
        assert validate(path).sound, count
        store = TrajectoryStore.open(path)
        assert len(store) - len(done) in (0, 1), count  # the record may be whole although append did not return
        for index in range(len(store)):
            assert_same(store.episode(index), make_episode(index, LENGTHS[index]))
        with TrajectoryStore.open(path, "r+") as store:
            for index in range(len(store), len(LENGTHS)):
                store.append(make_episode(index, LENGTHS[index]))
        assert {file.relative_to(path): file.read_bytes() for file in path.rglob("*") if file.is_file()} == files, count


def test_a_disk_that_fails_costs_what_it_had_not_taken(tmp_path, empty, make_episode, monkeypatch):
    path = tmp_path / "store.zarr"
    shutil.copytree(empty, path)
    store = TrajectoryStore.open(path, "r+")
    store.append(make_episode(0, 5))
    store.append(make_episode(1, 9), sync=False)
    store.append(make_episode(2, 3), sync=False)

    def fail(descriptor):
        raise OSError(errno.ENOSPC, "no space left")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(StoreError, match=r"the disk is full .*episodes 1 to 2 were not stored, the 1 before"):
            store.sync()
    store.append(make_episode(1, 9))
    store.close()
    assert TrajectoryStore.open(path).episode_lengths.tolist() == [5, 9]


@pytest.mark.parametrize("zeros", [3, 400])
def test_zeros_where_the_next_record_would_begin_are_torn(tmp_path, empty, make_episode, assert_same, zeros):
    path = tmp_path / "store.zarr"
    shutil.copytree(empty, path)
    store = TrajectoryStore.open(path, "r+")
    store.append(make_episode(0, 5), sync=False)
    for descriptor in store._writer.descriptors:
        os.close(descriptor)  # the process ends here
    with (path / "journal" / "pending.bin").open("ab") as file:
        file.write(bytes(zeros))
    assert validate(path).sound
    with TrajectoryStore.open(path, "r+") as store:
        assert_same(store.episode(0), make_episode(0, 5))
        store.append(make_episode(1, 9))
    assert len(TrajectoryStore.open(path)) == 2
