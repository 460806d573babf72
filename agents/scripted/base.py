"""What scripted agents share: waypoints, seeded noise, feedback towards a tool pose."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from qsft_robot.agents.base import Agent, Observation
from qsft_robot.sim.countertop.environment import ROTATION_SCALE, TRANSLATION_SCALE, CountertopEnv

GRIPPER_VALUE = 0.9
"""Gripper action for open (+) and close (-), before noise."""

LARGEST_MOVE = 0.8
"""Largest component of a planned translation or rotation, in action units, before noise. Planned at the limit itself,
all faster moves would end in the same outermost bin: a policy that takes the likeliest bin then rushes past its
goal, however small the share of those moves is."""

STREAM = 7919
"""Separates the agent's random numbers from the environment's, which is reset with the same seed."""

Step = tuple[np.ndarray, float]
"""Where the tool should go (3, m) and the gripper's action."""


class ScriptedAgent(Agent):
    """Follows a plan drawn per episode, reading the privileged scene from the environment.

    Args:
        env: a countertop environment, or a wrapper around one.
        action_noise: standard deviation of the noise on every action dimension, in action units.
    """

    def __init__(self, env: Any, action_noise: float) -> None:
        self._scene: CountertopEnv = env.unwrapped
        self._noise = action_noise
        self._random = np.random.default_rng(0)
        self._plan: Iterator[Step] = iter(())

    def reset(self, seed: int) -> None:
        """Draw this episode's plan; call it after the environment's reset."""
        self._random = np.random.default_rng([STREAM, seed])
        self._plan = self._make_plan()

    def act(self, observation: Observation) -> np.ndarray:
        """The next action, (7,) float32 in [-1, 1]; the observation is not used."""
        goal, gripper = next(self._plan)
        move = (goal - np.array(self._scene.tool_position)) / TRANSLATION_SCALE
        turn = -np.array(self._scene.tool_tilt) / ROTATION_SCALE
        action = np.concatenate([_limited(move), _limited(turn), [gripper]])
        action += self._random.normal(0.0, self._noise, 7)
        return np.clip(action, -1.0, 1.0).astype(np.float32)

    def _make_plan(self) -> Iterator[Step]:
        """Yield a goal and gripper action for each step, for ever; runs once per step, so it may look at the scene."""
        raise NotImplementedError

    def _distance(self, goal: np.ndarray) -> float:
        return float(np.linalg.norm(goal - np.array(self._scene.tool_position)))

    def _move(self, goal: np.ndarray, gripper: float, tolerance: float, limit: int) -> Iterator[Step]:
        """Go to `goal` until within `tolerance` m, or for `limit` steps."""
        for _ in range(limit):
            if self._distance(goal) < tolerance:
                return
            yield goal, gripper

    def _stay(self, goal: np.ndarray, gripper: float, steps: int) -> Iterator[Step]:
        """Hold a goal for a number of steps."""
        for _ in range(steps):
            yield goal, gripper


def _limited(move: np.ndarray) -> np.ndarray:
    """Shorten `move` (3,) without turning it until no component is above `LARGEST_MOVE`."""
    shortened: np.ndarray = move * min(1.0, LARGEST_MOVE / max(float(np.abs(move).max()), LARGEST_MOVE))
    return shortened
