"""Scripted agent for `PickPlaceEnv`, with the mistakes of a hurried demonstrator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from qsft_robot.agents.scripted.base import GRIPPER_VALUE, ScriptedAgent, Step
from qsft_robot.sim.countertop.pick_place import TRAY_CENTRE, PickPlaceEnv

OPEN, CLOSE = GRIPPER_VALUE, -GRIPPER_VALUE
APPROACH_HEIGHT = 0.095
CARRY_HEIGHT = 0.12
RELEASE_HEIGHT = 0.075
LOWEST_GRASP = 0.018


@dataclass(frozen=True)
class PickPlaceImperfections:
    """What goes wrong in `pick_place`; all zero makes the agent succeed nearly always.

    Attributes:
        action_noise: standard deviation of the noise on every action dimension, in action units.
        grasp_noise: standard deviation of the grasp point along x and y, m.
        grasp_height_noise: standard deviation of the grasp height, m.
        release_noise: standard deviation of the release point along x and y, m.
        early_release: probability of letting go on the way to the tray.
        late_release: probability of carrying on past the tray before letting go.
        dropped_phase: probability of leaving out closing the gripper, or lifting.
    """

    action_noise: float = 0.1
    grasp_noise: float = 0.015
    grasp_height_noise: float = 0.006
    release_noise: float = 0.04
    early_release: float = 0.08
    late_release: float = 0.08
    dropped_phase: float = 0.06


class ScriptedPickPlace(ScriptedAgent):
    """Goes above the object, down, closes, lifts, carries to the tray, opens.

    Args:
        env: a `PickPlaceEnv`, or a wrapper around one.
        imperfections: what goes wrong.
    """

    name = "scripted_pick_place"

    def __init__(self, env: Any, imperfections: PickPlaceImperfections | None = None) -> None:
        self._imperfections = PickPlaceImperfections() if imperfections is None else imperfections
        super().__init__(env, self._imperfections.action_noise)
        self._scene: PickPlaceEnv

    def _make_plan(self) -> Iterator[Step]:
        random, wrong = self._random, self._imperfections
        (x, y, _), _ = self._scene.object_pose()
        height = max(LOWEST_GRASP, self._scene.object_shape.height * 0.45)
        grasp = np.array([x, y, height])
        grasp[:2] += random.normal(0.0, 1.0, 2) * wrong.grasp_noise
        grasp[2] += abs(random.normal()) * wrong.grasp_height_noise
        release = np.array([*TRAY_CENTRE, RELEASE_HEIGHT])
        release[:2] += random.normal(0.0, 1.0, 2) * wrong.release_noise
        mistake = random.uniform()
        early = mistake < wrong.early_release
        late = not early and mistake < wrong.early_release + wrong.late_release
        dropped = random.uniform() < wrong.dropped_phase
        drops_close = dropped and random.uniform() < 0.5
        share = random.uniform(0.2, 0.7)

        above = np.array([grasp[0], grasp[1], APPROACH_HEIGHT])
        lifted = np.array([grasp[0], grasp[1], CARRY_HEIGHT])
        carried = np.array([release[0], release[1], CARRY_HEIGHT])
        if early:
            release = lifted + share * (carried - lifted)
            carried = release
        elif late:
            release[1] += random.uniform(0.09, 0.12)
            carried = np.array([release[0], release[1], CARRY_HEIGHT])

        yield from self._move(above, OPEN, tolerance=0.018, limit=14)
        yield from self._move(grasp, OPEN, tolerance=0.008, limit=6)
        if not drops_close:
            yield from self._stay(grasp, CLOSE, 3)
        hold = OPEN if drops_close else CLOSE
        if not dropped or drops_close:
            yield from self._move(lifted, hold, tolerance=0.03, limit=5)
        yield from self._move(carried, hold, tolerance=0.02, limit=12)
        if not early:
            yield from self._move(release, hold, tolerance=0.02, limit=4)
        yield from self._stay(release, OPEN, 2)
        while True:
            yield carried, OPEN
