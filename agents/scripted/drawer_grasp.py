"""Scripted agent for `DrawerGraspEnv`: grasps from an open drawer, and only opens a closed one.

Opening and grasping are thus seen in separate episodes; a policy has to stitch them. After opening, the arm goes back
to where an episode might begin, and wanders about above the drawer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from qsft_robot.agents.scripted.base import GRIPPER_VALUE, ScriptedAgent, Step
from qsft_robot.sim.countertop.arm import NEUTRAL_POSITION
from qsft_robot.sim.countertop.drawer_grasp import (
    BAR_HALF_EXTENTS,
    DRAWER_FLOOR,
    DRAWER_TRAVEL,
    DRAWER_X,
    START_SPREAD,
    DrawerGraspEnv,
)

OPEN, CLOSE = GRIPPER_VALUE, -GRIPPER_VALUE
APPROACH_HEIGHT = 0.115
LIFT_HEIGHT = 0.16
PUSH_HEIGHT = 0.091
PUSH_BEHIND = 0.045
"""How far behind the drawer's front the hand goes down, m."""

OPENED = 0.10
"""A drawer that is open this far counts as open, m."""

BAR_AWAY_X = 0.42


@dataclass(frozen=True)
class DrawerGraspImperfections:
    """What goes wrong in `drawer_grasp`; all zero makes the agent open and grasp, and succeed nearly always.

    Attributes:
        action_noise: standard deviation of the noise on every action dimension, in action units.
        grasp_noise: standard deviation of the grasp point along x and y, m.
        grasp_height_noise: standard deviation of the grasp height, m (upwards only).
        dropped_phase: probability of leaving out closing the gripper.
        push_noise: standard deviation of the place where the hand goes down behind the drawer's front, m.
        opening_only: probability of not grasping after having opened the drawer. Below 1 some episodes show the whole
            task, which imitating the best episodes can copy.
        gives_up: probability of not trying again after a grasp that failed.
    """

    action_noise: float = 0.1
    grasp_noise: float = 0.010
    grasp_height_noise: float = 0.005
    dropped_phase: float = 0.04
    push_noise: float = 0.012
    opening_only: float = 1.0
    gives_up: float = 0.5


class ScriptedDrawerGrasp(ScriptedAgent):
    """Lifts a blocking bar away, pushes a closed drawer open, grasps the object and lifts it.

    Args:
        env: a `DrawerGraspEnv`, or a wrapper around one.
        imperfections: what goes wrong.
    """

    name = "scripted_drawer_grasp"

    def __init__(self, env: Any, imperfections: DrawerGraspImperfections | None = None) -> None:
        self._imperfections = DrawerGraspImperfections() if imperfections is None else imperfections
        super().__init__(env, self._imperfections.action_noise)
        self._scene: DrawerGraspEnv

    def _make_plan(self) -> Iterator[Step]:
        wrong = self._imperfections
        stops_after_opening = self._random.uniform() < wrong.opening_only
        neutral = np.array(NEUTRAL_POSITION)
        if self._scene.bar_in_play:
            yield from self._lift_bar()
        if self._scene.drawer_opening() < OPENED:
            yield from self._open_drawer()
            start = neutral + self._random.uniform(-START_SPREAD, START_SPREAD, 3)
            yield from self._move(start, OPEN, tolerance=0.01, limit=8)
            if stops_after_opening:
                yield from self._wander()
        yield from self._grasp()
        # The episode would have ended with the object lifted.
        while self._random.uniform() >= wrong.gives_up:
            x, y, _ = self._scene.tool_position
            yield from self._stay(np.array([x, y, LIFT_HEIGHT]), OPEN, 2)
            yield from self._grasp()
        while True:
            yield neutral, CLOSE

    def _lift_bar(self) -> Iterator[Step]:
        x, y, z = self._scene.bar_position()
        knob = np.array([x, y, z + BAR_HALF_EXTENTS[2] + 0.012])
        above = knob + np.array([0.0, 0.0, 0.07])
        away = np.array([BAR_AWAY_X, y, above[2]])
        yield from self._move(above, OPEN, tolerance=0.015, limit=8)
        yield from self._move(knob, OPEN, tolerance=0.008, limit=6)
        yield from self._stay(knob, CLOSE, 3)
        yield from self._move(above, CLOSE, tolerance=0.02, limit=6)
        yield from self._move(away, CLOSE, tolerance=0.015, limit=8)
        yield from self._stay(away, OPEN, 2)

    def _open_drawer(self) -> Iterator[Step]:
        random, wrong = self._random, self._imperfections
        start = DRAWER_X + self._scene.drawer_opening() - PUSH_BEHIND
        behind = np.array([start, 0.0, PUSH_HEIGHT])
        behind[:2] += random.normal(0.0, 1.0, 2) * wrong.push_noise
        above = behind + np.array([0.0, 0.0, 0.045])
        pushed = np.array([DRAWER_X + DRAWER_TRAVEL, behind[1], PUSH_HEIGHT])
        yield from self._move(above, OPEN, tolerance=0.02, limit=8)
        yield from self._move(behind, OPEN, tolerance=0.01, limit=6)
        for _ in range(10):
            if self._scene.drawer_opening() > DRAWER_TRAVEL - 0.012:
                break
            yield pushed, OPEN
        x, y, _ = self._scene.tool_position
        yield from self._move(np.array([x - 0.02, y, 0.16]), OPEN, tolerance=0.03, limit=5)

    def _wander(self) -> Iterator[Step]:
        while True:
            place = self._random.uniform((0.24, -0.06, 0.13), (0.35, 0.06, 0.18))
            yield from self._move(place, OPEN, tolerance=0.02, limit=5)
            yield place, OPEN

    def _grasp(self) -> Iterator[Step]:
        random, wrong = self._random, self._imperfections
        (x, y, _), _ = self._scene.object_pose()
        grasp = np.array([x, y, DRAWER_FLOOR + max(0.018, self._scene.object_shape.height * 0.5)])
        grasp[:2] += random.normal(0.0, 1.0, 2) * wrong.grasp_noise
        grasp[2] += abs(random.normal()) * wrong.grasp_height_noise
        drops_close = random.uniform() < wrong.dropped_phase
        yield from self._move(np.array([grasp[0], grasp[1], APPROACH_HEIGHT]), OPEN, tolerance=0.018, limit=10)
        yield from self._move(grasp, OPEN, tolerance=0.008, limit=6)
        hold = OPEN if drops_close else CLOSE
        yield from self._stay(grasp, hold, 3)
        yield from self._move(np.array([grasp[0], grasp[1], LIFT_HEIGHT]), hold, tolerance=0.015, limit=8)
