"""Fills a trajectory store with episodes played in worker processes.

The parent hands out episode numbers and appends what comes back in the order of the numbers; episodes that come
early wait in a spool on disk. A worker holds one episode at a time, so that is what a `kill -9` can cost.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from qsft_robot.datasets.episode import Episode
from qsft_robot.datasets.seeds import collection_seed
from qsft_robot.datasets.spool import Spool
from qsft_robot.datasets.store import TrajectoryStore
from qsft_robot.errors import ConfigurationError, QsftRobotError

LOOKAHEAD = 4
"""Episodes that may be begun before the next one in turn is finished, per worker."""
SYNC_PERIOD = 0.05
"""Seconds between two waits for the disk: a game of text takes a millisecond to play, and a wait three."""

logger = logging.getLogger(__name__)

Make = Callable[[], tuple[Any, Any]]
"""Makes (environment, agent) in a worker; has to be picklable."""


def make_scripted(env_id: str, options: Mapping[str, Any], imperfections: Mapping[str, float]) -> tuple[Any, Any]:
    """Make a registered environment and the scripted agent of its task."""
    from qsft_robot import sim
    from qsft_robot.agents.scripted import make_scripted_agent

    env = sim.make(env_id, **options)
    return env, make_scripted_agent(env, **imperfections)


def make_policy(
    env_id: str, options: Mapping[str, Any], checkpoint: str, decoding: str, temperature: float | None = None
) -> tuple[Any, Any]:
    """Make a registered environment and the agent of a checkpoint, which acts as its training's evaluation let it.

    Raises:
        CheckpointError: the checkpoint is missing or damaged, or does not fit the environment.
    """
    import torch

    from qsft_robot import sim
    from qsft_robot.agents.token_agent import TokenAgent
    from qsft_robot.training.policy_files import load_policy

    torch.set_num_threads(1)  # a worker is one of several, and decides for one episode at a time
    policy = load_policy(checkpoint)
    acting = policy.config.get("evaluation", {})
    agent = TokenAgent(
        policy,
        decoding,
        legal_only=bool(acting.get("legal_only")),
        temperature=temperature,
        repetition_penalty=acting.get("repetition_penalty") or 0.0,
    )
    env = sim.make(env_id, **options)
    agent.check_environment(env)
    return env, agent


def collect(
    path: str | Path,
    *,
    make: Make,
    task: str,
    attributes: Mapping[str, Any],
    episodes: int,
    seed: int = 0,
    workers: int = 1,
) -> dict[str, Any]:
    """Play episodes until the store at `path` holds `episodes` of them; goes on with a store that has fewer.

    Args:
        path: the store; made if it is not there.
        make: makes (environment, agent) in each worker.
        task: name of the task.
        attributes: JSON values that determine the data, with the seed; a store with others is not touched.
        episodes: how many the store shall hold.
        seed: base seed; episode i is played with `collection_seed(seed, i)`.
        workers: processes that play.

    Returns:
        Summary: dataset, episodes, collected (now), steps, success_rate, return_mean, length_mean, seconds,
        episodes_per_second, bytes.

    Raises:
        ConfigurationError: the store was made with other settings, or holds more episodes.
        StoreError: the store is damaged or being written, or the disk is full; what was finished is kept.
        QsftRobotError: a worker failed or died; what was finished is kept.
    """
    path = Path(path)
    collection_seed(seed, episodes - 1)
    settings = json.loads(json.dumps({**attributes, "seed": seed}))
    store = _open(path, task, settings, seed, episodes) if path.exists() else None
    started = time.monotonic()
    before = 0 if store is None else len(store)
    try:
        if before < episodes:
            with _Workers(make, min(workers, episodes - before), seed) as team:
                if store is None:
                    space, dimension = team.spaces()
                    store = TrajectoryStore.create(
                        path, observation_space=space, action_dimension=dimension, task=task, attributes=settings
                    )
                _fill(store, team, episodes, before, workers)
    finally:
        if store is not None:
            store.close()
    return _summary(TrajectoryStore.open(path), before, time.monotonic() - started)


def _open(path: Path, task: str, settings: dict[str, Any], seed: int, episodes: int) -> TrajectoryStore:
    """Open a store to go on with, after checking that it was made with the same settings."""
    store = TrajectoryStore.open(path, "r+", task=task)
    try:
        if differences := list(_differences(store.attributes, settings)):
            raise ConfigurationError(
                f"{path} was collected with other settings ({'; '.join(differences)}): give another dataset=, "
                "or remove it"
            )
        if len(store) > episodes:
            raise ConfigurationError(
                f"{path} holds {len(store)} episodes already, more than episodes={episodes}: give another dataset="
            )
        expected = [collection_seed(seed, index) for index in range(len(store))]
        if wrong := [index for index, found in enumerate(store.seeds.tolist()) if found != expected[index]]:
            raise ConfigurationError(
                f"episode {wrong[0]} of {path} was played with seed {store.seeds[wrong[0]]}, not "
                f"{expected[wrong[0]]}: episodes were lost or added, so the collection cannot go on with it; "
                "it can be trained on as it is, or give another dataset="
            )
    except BaseException:
        store.close()
        raise
    return store


def _differences(found: Any, wanted: Any, name: str = "") -> Any:
    """Yield `name: found, now wanted` for each value that differs."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in sorted({*found, *wanted}):
            inner = f"{name}.{key}" if name else key
            yield from _differences(found.get(key, "nothing"), wanted.get(key, "nothing"), inner)
    elif found != wanted:
        yield f"{name}: {found}, now {wanted}"


def _fill(store: TrajectoryStore, team: _Workers, episodes: int, before: int, workers: int) -> None:
    """Hand out episode numbers and append what comes back, in order."""
    spool = Spool(store.path, store.spec, before)
    successes = int(store.success.sum())
    first = upcoming = before
    with tqdm(
        total=episodes,
        initial=before,
        unit="episode",
        desc="collect",
        file=sys.stderr,
        mininterval=0.2 if sys.stderr.isatty() else 10.0,
        dynamic_ncols=True,
    ) as bar:
        synced, waiting = time.monotonic(), False
        while first < episodes:
            while team.idle and upcoming < min(episodes, first + LOOKAHEAD * workers):
                if upcoming not in spool:
                    team.play(upcoming)
                upcoming += 1
            before_this = first
            if first not in spool:
                for index, episode in team.finished(SYNC_PERIOD if waiting else None):
                    if index == first:
                        store.append(episode, sync=False)
                        successes += episode.success
                        first += 1
                        bar.update()
                    else:
                        spool.put(index, episode)
            while first in spool:
                store.append(spool.get(first), sync=False)
                successes += spool.get(first).success
                spool.drop(first)
                first += 1
                bar.update()
            waiting = waiting or first > before_this
            if waiting and time.monotonic() - synced >= SYNC_PERIOD:
                store.sync()
                synced, waiting = time.monotonic(), False
            bar.set_postfix_str(f"success {successes / max(1, first):.0%}", refresh=False)


def _summary(store: TrajectoryStore, before: int, seconds: float) -> dict[str, Any]:
    """Return what the command prints as its result."""
    collected = len(store) - before
    return {
        "dataset": str(store.path),
        "episodes": len(store),
        "collected": collected,
        "steps": store.number_of_steps,
        "success_rate": float(np.mean(store.success)),
        "return_mean": float(np.mean(store.episode_returns)),
        "length_mean": float(np.mean(store.episode_lengths)),
        "seconds": round(seconds, 3),
        "episodes_per_second": round(collected / seconds, 3) if seconds > 0 else 0.0,
        "bytes": sum(file.stat().st_size for file in store.path.rglob("*") if file.is_file()),
    }


class _Workers:
    """Processes that play episodes, one at a time each."""

    def __init__(self, make: Make, count: int, seed: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._seed = seed
        self._processes: dict[Connection, Any] = {}
        self._playing: dict[Connection, int] = {}
        self._spaces: tuple[Any, int | None] | None = None
        self._failure: QsftRobotError | None = None
        try:
            for number in range(count):
                here, there = context.Pipe()
                process = context.Process(target=_work, args=(make, there), name=f"collect-{number}", daemon=True)
                process.start()
                there.close()
                self._processes[here] = process
        except BaseException:
            self.close()
            raise
        self.idle: list[Connection] = []

    def __enter__(self) -> _Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all processes; what they were playing is dropped."""
        for connection, process in self._processes.items():
            connection.close()
            process.terminate()
        for process in self._processes.values():
            process.join()

    def spaces(self) -> tuple[Any, int | None]:
        """Wait for the first worker; return its observation space and the dimension of its actions (None: text)."""
        while self._spaces is None:
            list(self.finished())
        return self._spaces

    def play(self, index: int) -> None:
        """Let an idle worker play episode number `index`."""
        connection = self.idle.pop(0)
        self._playing[connection] = index
        try:
            connection.send((index, collection_seed(self._seed, index)))
        except (BrokenPipeError, ConnectionError) as error:
            raise self._died(connection) from error

    def finished(self, timeout: float | None = None) -> list[tuple[int, Episode]]:
        """Wait for news, at most `timeout` seconds, and return the episodes that are finished, with their numbers.

        Raises:
            QsftRobotError: a worker failed or died.
        """
        episodes = []
        for connection in [] if self._failure else wait([*self._processes], timeout):
            assert isinstance(connection, Connection)
            try:
                kind, content = connection.recv()
            except (EOFError, ConnectionError):
                self._failure = self._died(connection)
                continue
            if kind == "mistake":
                self._failure = QsftRobotError(content)
            elif kind == "defect":
                self._failure = self._failed(connection, content)
            elif kind == "ready":
                self._spaces = content
                self.idle.append(connection)
            else:
                episodes.append((self._playing.pop(connection), content))
                self.idle.append(connection)
        if self._failure is not None and not episodes:
            raise self._failure  # otherwise what was finished is stored first
        return episodes

    def _failed(self, connection: Connection, trace: str) -> QsftRobotError:
        """Return the error for a worker that met an exception."""
        logger.error("%s", trace)
        index = self._playing.get(connection)
        where = "while it started" if index is None else f"in episode {index}"
        return QsftRobotError(
            f"a worker failed {where}: {trace.strip().splitlines()[-1]} (traceback above); what was finished is kept"
        )

    def _died(self, connection: Connection) -> QsftRobotError:
        """Return the error for a worker that is gone."""
        process = self._processes[connection]
        process.join(timeout=10)
        code = process.exitcode
        how = f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"
        index = self._playing.get(connection)
        where = (
            "while it started" if index is None else (f"in episode {index} (seed {collection_seed(self._seed, index)})")
        )
        return QsftRobotError(
            f"a worker process died {where} with {how}; what was finished is kept, the same command goes on with it"
        )


def _work(make: Make, connection: Connection) -> None:
    """Play episodes as the parent asks, until it closes the connection or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends this process
    try:
        from gymnasium.spaces import Text

        from qsft_robot.agents.rollout import rollout

        env, agent = make()
        dimension = None if isinstance(env.action_space, Text) else int(env.action_space.shape[0])
        connection.send(("ready", (env.observation_space, dimension)))
        while True:
            _, seed = connection.recv()
            connection.send(("episode", rollout(agent, env, seed)))
    except (EOFError, BrokenPipeError, ConnectionError):
        return
    except QsftRobotError as error:
        connection.send(("mistake", str(error)))
    except Exception:
        connection.send(("defect", traceback.format_exc()))
