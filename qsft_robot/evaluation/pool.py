"""Environments in worker processes, played in lockstep so that one process can decode for all of them at once."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

import gymnasium
import numpy as np

from qsft_robot.agents.base import as_observation
from qsft_robot.errors import QsftRobotError


@dataclass(frozen=True)
class StepResult:
    """What a slot's environment answered; `reward` and the flags are those of a reset where one was asked for."""

    observation: Mapping[str, np.ndarray]
    reward: float
    done: bool
    success: bool
    info: Mapping[str, Any]
    """What it says about actions and the task, if anything."""


def make_environment(env_id: str, options: Mapping[str, Any]) -> gymnasium.Env[Any, Any]:
    """Make a registered environment of this project with these constructor keywords."""
    from qsft_robot import sim

    return sim.make(env_id, **options)


def _answer(environment: gymnasium.Env, request: tuple[str, Any]) -> StepResult:
    kind, value = request
    if kind == "reset":
        observation, info = environment.reset(seed=value)
        return StepResult(as_observation(observation), 0.0, False, bool(info["success"]), _part(info))
    observation, reward, terminated, truncated, info = environment.step(value)
    done = bool(terminated or truncated)
    return StepResult(as_observation(observation), float(reward), done, bool(info["success"]), _part(info))


def _part(info: Mapping[str, Any]) -> dict[str, Any]:
    """The part of `info` that is worth sending between processes."""
    return {key: value for key, value in info.items() if key in ("legal_actions", "valid", "task_type")}


def _work(connection: Connection, make: Callable[[], gymnasium.Env], slots: Sequence[int]) -> None:
    environments = {slot: make() for slot in slots}
    try:
        while True:
            requests = connection.recv()
            if requests is None:
                return
            connection.send({slot: _answer(environments[slot], request) for slot, request in requests.items()})
    except (EOFError, KeyboardInterrupt):
        pass
    except Exception:
        with contextlib.suppress(OSError):
            connection.send(traceback.format_exc())
    finally:
        for environment in environments.values():
            environment.close()


class EnvironmentPool:
    """`slots` environments spread over `workers` processes (0: all in this one).

    Args:
        make: makes one environment; has to be picklable.
        slots: how many environments.
        workers: how many processes.
    """

    def __init__(self, make: Callable[[], gymnasium.Env], slots: int, workers: int) -> None:
        self.local: dict[int, gymnasium.Env] = {}
        self.owner: dict[int, Connection] = {}
        self.processes: list[Any] = []
        workers = min(workers, slots)
        if workers == 0:
            self.local = {slot: make() for slot in range(slots)}
            return
        context = multiprocessing.get_context("spawn")
        with _single_threaded():
            for worker in range(workers):
                here, there = context.Pipe()
                owned = list(range(worker, slots, workers))
                process = context.Process(target=_work, args=(there, make, owned), daemon=True)
                process.start()
                there.close()
                self.processes.append(process)
                self.owner |= dict.fromkeys(owned, here)

    def reset(self, seeds: Mapping[int, int]) -> dict[int, StepResult]:
        """Reset each slot in `seeds` with its seed."""
        return self._ask({slot: ("reset", seed) for slot, seed in seeds.items()})

    def step(self, actions: Mapping[int, Any]) -> dict[int, StepResult]:
        """Step each slot in `actions`."""
        return self._ask({slot: ("step", action) for slot, action in actions.items()})

    def close(self) -> None:
        """Close the environments and end the processes."""
        for environment in self.local.values():
            environment.close()
        for connection in set(self.owner.values()):
            with contextlib.suppress(OSError):
                connection.send(None)
        for process in self.processes:
            process.join(timeout=5)
            if process.is_alive():
                process.terminate()
        self.local, self.owner, self.processes = {}, {}, []

    def __enter__(self) -> EnvironmentPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, requests: Mapping[int, tuple[str, Any]]) -> dict[int, StepResult]:
        if self.local:
            return {slot: _answer(self.local[slot], request) for slot, request in requests.items()}
        by_worker: dict[Connection, dict[int, tuple[str, Any]]] = {}
        for slot, request in requests.items():
            by_worker.setdefault(self.owner[slot], {})[slot] = request
        for connection, share in by_worker.items():
            connection.send(share)
        answers: dict[int, StepResult] = {}
        for connection in by_worker:
            try:
                answer = connection.recv()
            except EOFError:
                raise QsftRobotError("a worker process that simulates ended unexpectedly (out of memory?)") from None
            if isinstance(answer, str):
                raise RuntimeError(f"an environment failed in its worker process:\n{answer}")
            answers |= answer
        return answers


@contextlib.contextmanager
def _single_threaded() -> Any:
    """Worker processes started inside use one thread each: they share the cores with the decoding process."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
