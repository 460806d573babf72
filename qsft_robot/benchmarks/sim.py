"""Speed of the environments, one core: `python -m qsft_robot.benchmark suite=sim`.

Every task is driven by its scripted agent, whose own time is not counted. Milliseconds, median and 95th percentile:
of a whole `step` and a whole `reset` with a 48x48 picture, and of the parts of a step (inverse kinematics with motor
commands, ten physics steps, rendering). `state_step` is a step with `observation="state"`, which renders nothing.
What is measured of the household games: benchmarks/household.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from time import perf_counter
from typing import Any, cast

import numpy as np

import qsft_robot.sim
from qsft_robot.agents.scripted import make_scripted_agent
from qsft_robot.benchmarks.household import measure_household
from qsft_robot.config.commands import BenchmarkConfig
from qsft_robot.config.suites import SimSuiteConfig
from qsft_robot.errors import ConfigurationError
from qsft_robot.sim.countertop.environment import PHYSICS_RATE, PHYSICS_STEPS, CountertopEnv

WARM_UP_STEPS = 20


def run(config: BenchmarkConfig) -> dict[str, Any]:
    """Time all tasks; see the module's docstring for what the result holds."""
    suite = config.suite
    if not isinstance(suite, SimSuiteConfig):
        raise ConfigurationError(f"suite={suite.name} is not a suite of this module")
    steps, resets = suite.steps, suite.resets
    tasks = {"pick_place": qsft_robot.sim.PICK_PLACE, "drawer_grasp": qsft_robot.sim.DRAWER_GRASP}
    return {
        "steps": steps,
        "resets": resets,
        "physics_steps_per_action": PHYSICS_STEPS,
        "physics_rate_hz": PHYSICS_RATE,
        "image_size": 48,
        "unit": "ms",
        **{name: measure(environment, steps, resets) for name, environment in tasks.items()},
        "household": measure_household(steps),
    }


def measure(environment: str, steps: int, resets: int) -> dict[str, dict[str, float]]:
    """Milliseconds of the parts of an environment's step and of its reset, as `{part: {median, p95}}`."""
    env = qsft_robot.sim.make(environment)
    scene = cast(CountertopEnv, env.unwrapped)
    _time_steps(scene, WARM_UP_STEPS)
    parts = _time_steps(scene, steps)
    times: dict[str, Iterable[float]] = {"step": parts.pop("step"), **parts, "reset": _time_resets(scene, resets)}
    env.close()
    state_env = qsft_robot.sim.make(environment, observation="state")
    state_scene = cast(CountertopEnv, state_env.unwrapped)
    times["state_step"] = _time_steps(state_scene, steps)["step"]
    state_env.close()
    return {part: _summary(values) for part, values in times.items()}


def _time_steps(scene: CountertopEnv, steps: int) -> dict[str, list[float]]:
    """Seconds of each of `steps` steps, whole and by part."""
    agent = make_scripted_agent(scene)
    times: dict[str, list[float]] = {"step": [], **{part: [] for part in scene.seconds}}
    seed = 0
    ended = True
    observation: dict[str, np.ndarray] = {}
    for _ in range(steps):
        if ended:
            observation, _ = scene.reset(seed=seed)
            agent.reset(seed)
            seed += 1
        action = agent.act(observation)
        before = dict(scene.seconds)
        started = perf_counter()
        observation, _, terminated, truncated, _ = scene.step(action)
        times["step"].append(perf_counter() - started)
        for part, total in scene.seconds.items():
            times[part].append(total - before[part])
        ended = terminated or truncated
    return times


def _time_resets(scene: CountertopEnv, resets: int) -> list[float]:
    """Seconds of each of `resets` resets."""
    times = []
    for seed in range(resets):
        started = perf_counter()
        scene.reset(seed=seed)
        times.append(perf_counter() - started)
    return times


def _summary(seconds: Iterable[float]) -> dict[str, float]:
    """Median and 95th percentile in ms."""
    values = 1e3 * np.array(list(seconds))
    return {"median": round(float(np.median(values)), 4), "p95": round(float(np.percentile(values, 95)), 4)}
