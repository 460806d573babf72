"""Collecting: the same data whatever the workers, and after any `kill -9`."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import zarr

from qsft_robot.datasets.collection import collect
from qsft_robot.datasets.maintenance import validate
from qsft_robot.datasets.seeds import FIRST_EVALUATION_SEED, collection_seed, evaluation_seed
from qsft_robot.datasets.store import TrajectoryStore
from qsft_robot.errors import ConfigurationError, QsftRobotError, StoreError

TOY = """
import os, sys, time
import gymnasium
import numpy as np
from gymnasium import spaces
from qsft_robot.agents.base import Agent as Base
from qsft_robot.errors import DataError

class Environment(gymnasium.Env):
    observation_space = spaces.Dict({"image": spaces.Box(0, 255, (16, 16, 3), np.uint8)})
    action_space = spaces.Box(-1, 1, (2,), np.float32)

    def _observe(self):
        return {"image": self.np_random.integers(0, 256, (16, 16, 3), dtype=np.uint8)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = int(self.np_random.integers(3, 12))
        return self._observe(), {"success": False}

    def step(self, action):
        self.left -= 1
        time.sleep(0.0005)
        done = self.left == 0
        return self._observe(), float(done), done, False, {"success": done}

class Agent(Base):
    name = "toy"
    trouble = None

    def reset(self, seed):
        self.random = np.random.default_rng(seed)
        if self.trouble is not None and seed % 1_000_000 == 7:
            self.trouble()

    def act(self, observation):
        return self.random.uniform(-1, 1, 2).astype(np.float32)

def make():
    return Environment(), Agent()

def die():
    os.kill(os.getpid(), 9)

def fail():
    raise ValueError("something odd")

def complain():
    raise DataError("a clear message")

def make_dying():
    Agent.trouble = staticmethod(die)
    return make()

def make_failing():
    Agent.trouble = staticmethod(fail)
    return make()

def make_complaining():
    Agent.trouble = staticmethod(complain)
    return make()

def make_nothing():
    raise RuntimeError("no environment here")

if __name__ == "__main__":
    from qsft_robot.datasets.collection import collect
    import toy_collection
    path, episodes, workers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    collect(path, make=toy_collection.make, task="toy", attributes={}, episodes=episodes, seed=5, workers=workers)
"""


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A module with a small environment, importable here and in worker processes."""
    folder = tmp_path_factory.mktemp("toy")
    (folder / "toy_collection.py").write_text(textwrap.dedent(TOY))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        import toy_collection  # type: ignore[import-not-found]

        yield toy_collection


def arrays(path: Path) -> dict[str, np.ndarray]:
    root = zarr.open_group(path, mode="r")
    return {
        f"{folder}/{name}": array[:]
        for folder in ("data", "final", "meta")
        for name, array in sorted(root[folder].arrays())
    }


def assert_same_arrays(one: Path, other: Path) -> None:
    first, second = arrays(one), arrays(other)
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], strict=True, err_msg=name)


def run_toy(toy, path: Path, episodes: int, workers: int) -> subprocess.Popen:
    """Start collecting in a process group of its own."""
    root = Path(__file__).resolve().parent.parent
    return subprocess.Popen(
        [sys.executable, toy.__file__, str(path), str(episodes), str(workers)],
        env={**os.environ, "PYTHONPATH": f"{root}:{Path(toy.__file__).parent}"},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def finished_ahead(path: Path) -> int:
    return len(list((path / "journal").glob("ahead-*")))


@pytest.fixture(scope="module")
def expected(toy, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("expected") / "store.zarr"
    summary = collect(path, make=toy.make, task="toy", attributes={}, episodes=60, seed=5, workers=1)
    assert (summary["episodes"], summary["collected"], summary["success_rate"]) == (60, 60, 1.0)
    assert validate(path).sound
    return path


def test_workers_do_not_change_the_data(toy, expected, tmp_path):
    path = tmp_path / "store.zarr"
    collect(path, make=toy.make, task="toy", attributes={}, episodes=60, seed=5, workers=3)
    assert_same_arrays(expected, path)
    assert TrajectoryStore.open(path).seeds.tolist() == [5_000_000 + index for index in range(60)]
    assert not finished_ahead(path)


def test_going_on_and_extending(toy, expected, tmp_path):
    path = tmp_path / "store.zarr"
    for episodes, collected in ((10, 10), (10, 0), (60, 50)):
        summary = collect(path, make=toy.make, task="toy", attributes={}, episodes=episodes, seed=5, workers=2)
        assert (summary["episodes"], summary["collected"]) == (episodes, collected)
    assert_same_arrays(expected, path)


@pytest.mark.slow
def test_kill_and_resume(toy, expected, tmp_path):
    """Killed again and again, the collection never damages the store, and ends with the very same data."""
    path = tmp_path / "store.zarr"
    generator = random.Random(0)
    kills = most = 0
    while kills < 60:
        process = run_toy(toy, path, 60, 2)
        begun = time.monotonic()
        while process.poll() is None and not (path.exists() and len(TrajectoryStore.open(path)) > most):
            if time.monotonic() - begun > 120:
                pytest.fail("nothing was collected")
            time.sleep(0.01)
        time.sleep(generator.uniform(0, 0.03))
        if process.poll() is not None:
            break
        os.killpg(process.pid, signal.SIGKILL) if kills % 2 else process.kill()
        process.wait()
        kills += 1
        report = validate(path)
        assert report.sound, report.problems
        assert report.episodes >= most
        most = report.episodes
    assert process.wait() == 0
    assert kills >= 3
    assert_same_arrays(expected, path)


def test_a_worker_that_dies_is_reported(toy, expected, tmp_path):
    path = tmp_path / "store.zarr"
    with pytest.raises(QsftRobotError, match=r"died in episode 7 \(seed 5000007\) with signal SIGKILL"):
        collect(path, make=toy.make_dying, task="toy", attributes={}, episodes=60, seed=5, workers=2)
    assert len(TrajectoryStore.open(path)) + finished_ahead(path) >= 6  # the other worker may hold one more
    collect(path, make=toy.make, task="toy", attributes={}, episodes=60, seed=5, workers=2)
    assert_same_arrays(expected, path)


@pytest.mark.parametrize(
    ("maker", "message"),
    [
        ("make_failing", r"failed in episode 7: ValueError: something odd"),
        ("make_complaining", "a clear message"),
        ("make_nothing", r"failed while it started: RuntimeError: no environment here"),
    ],
)
def test_a_worker_that_fails_is_reported(toy, tmp_path, maker, message):
    with pytest.raises(QsftRobotError, match=message):
        collect(
            tmp_path / "store.zarr",
            make=getattr(toy, maker),
            task="toy",
            attributes={},
            episodes=20,
            seed=5,
            workers=1,
        )


def test_other_settings_are_refused(toy, tmp_path):
    path = tmp_path / "store.zarr"
    options = {"options": {"image_size": 16, "cameras": ["front"]}}
    common = {"make": toy.make, "episodes": 4, "workers": 1}
    collect(path, task="toy", attributes=options, seed=5, **common)
    changes = [
        ({"task": "toy", "attributes": {"options": {"image_size": 32}}, "seed": 5}, r"options.image_size: 16, now 32"),
        ({"task": "toy", "attributes": options, "seed": 6}, "seed: 5, now 6"),
    ]
    for change, message in changes:
        with pytest.raises(ConfigurationError, match=message):
            collect(path, **common, **change)
    with pytest.raises(StoreError, match="task 'toy', not for 'other'"):
        collect(path, task="other", attributes=options, seed=5, **common)
    with pytest.raises(ConfigurationError, match="holds 4 episodes already"):
        collect(path, make=toy.make, task="toy", attributes=options, seed=5, episodes=3, workers=1)
    assert len(TrajectoryStore.open(path)) == 4


def test_a_store_with_gaps_is_not_gone_on_with(toy, tmp_path):
    path = tmp_path / "store.zarr"
    common = {"make": toy.make, "task": "toy", "attributes": {}, "workers": 1, "seed": 5}
    collect(path, episodes=2, **common)
    with TrajectoryStore.open(path, "r+") as store:
        store.append(store.episode(0))
    with pytest.raises(ConfigurationError, match=r"episode 2 .* played with seed 5000000, not 5000002"):
        collect(path, episodes=5, **common)


def test_seeds_of_collection_and_evaluation_never_meet():
    assert collection_seed(0, 0) == 0
    assert collection_seed(3, 17) == 3_000_017
    assert collection_seed(2146, 999_999) < FIRST_EVALUATION_SEED <= evaluation_seed(0, 0)
    assert evaluation_seed(2146, 999_999) < 2**32
    for base, index in ((-1, 0), (2147, 0), (0, -1), (0, 1_000_000)):
        with pytest.raises(ConfigurationError):
            collection_seed(base, index)


@pytest.mark.slow
def test_the_command_with_the_real_task(command, tmp_path):
    """One and two workers write the same arrays, and a killed run goes on."""
    words = ["sim=pick_place", "episodes=6", "seed=3"]
    for workers in (1, 2):
        result = command("collect", *words, f"workers={workers}", f"dataset={workers}.zarr")
        assert result.returncode == 0, result.stderr
        summary = json.loads(result.stdout.splitlines()[-1])
        assert (summary["episodes"], summary["dataset"]) == (6, f"{workers}.zarr")
        assert "success" in result.stderr
    assert_same_arrays(tmp_path / "1.zarr", tmp_path / "2.zarr")
    again = command("collect", *words, "workers=2", "dataset=2.zarr")
    assert json.loads(again.stdout.splitlines()[-1])["collected"] == 0
    refused = command("collect", *words, "sim.options.image_size=32", "dataset=2.zarr")
    assert refused.returncode == 2
    assert "error: 2.zarr was collected with other settings (options.image_size: 48, now 32)" in refused.stderr


def test_the_command_with_a_text_game(command, tmp_path):
    """Text goes the same way: the same data by one and two workers, and `dataset` looks after them."""
    words = ["sim=wordle", "episodes=12", "seed=3"]
    for workers in (1, 2):
        result = command("collect", *words, f"workers={workers}", f"dataset={workers}.zarr")
        assert result.returncode == 0, result.stderr
    assert_same_arrays(tmp_path / "1.zarr", tmp_path / "2.zarr")
    assert json.loads(command("dataset", "validate", "2.zarr").stdout.splitlines()[-1])["sound"]
    info = json.loads(command("dataset", "info", "2.zarr").stdout.splitlines()[-1])
    assert info["observations"] == {"text": {"shape": [], "dtype": "text"}}
    assert (info["action_dimension"], info["bytes_uncompressed"]) == (None, None)
    for kind, beginning in (("sheet", b"\x89PNG"), ("mp4", b"\x00\x00\x00")):
        done = command("dataset", "play", "2.zarr", "episode=3", f"format={kind}")
        assert done.returncode == 0, done.stderr
        played = json.loads(done.stdout.splitlines()[-1])
        assert (tmp_path / played["output"]).read_bytes().startswith(beginning)
    first, *_, last = played["turns"]
    assert first["observation"] == "Wordle:\n"
    assert first["action"] in last["observation"]
    assert len(played["turns"]) == played["steps"] + 1
