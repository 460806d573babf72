"""Pick up the object and place it in the tray."""

from __future__ import annotations

from math import pi

from qsft_robot.sim.countertop.environment import CountertopEnv

EPISODE_STEPS = 40
"""Actions until an episode is truncated."""

OBJECT_LOWER = (0.25, -0.165)
OBJECT_UPPER = (0.37, 0.025)
"""Region of the object's start, m."""

TRAY_CENTRE = (0.30, 0.145)
TRAY_HALF_WIDTH = 0.065
"""Half the width inside the walls, m."""

TRAY_WALL = 0.004
TRAY_WALL_HEIGHT = 0.03
TRAY_COLOUR = (0.16, 0.38, 0.78, 1.0)
TRAY_FLOOR_COLOUR = (0.40, 0.62, 0.92, 1.0)
TRAY_FLOOR = 0.006

REST_SPEED = 0.10
"""An object slower than this lies still, m/s."""


class PickPlaceEnv(CountertopEnv):
    """One object on the counter, a tray beside it. Solved when the object lies in the tray, released.

    Keywords: see `CountertopEnv`. `observation="state"` appends the object's position (3, scaled like the tool's)
    and quaternion (4, w not negative) to `state`: 14 numbers.
    """

    def _build_scene(self) -> list[tuple[int, int]]:
        x, y = TRAY_CENTRE
        outer = TRAY_HALF_WIDTH + TRAY_WALL
        self._add_box((outer, outer, TRAY_FLOOR / 2), (x, y, TRAY_FLOOR / 2), TRAY_FLOOR_COLOUR)
        middle, half = TRAY_HALF_WIDTH + TRAY_WALL / 2, TRAY_WALL / 2
        height = TRAY_WALL_HEIGHT / 2
        for sign in (-1.0, 1.0):
            self._add_box((half, outer, height), (x + sign * middle, y, height), TRAY_COLOUR)
            self._add_box((outer, half, height), (x, y + sign * middle, height), TRAY_COLOUR)
        return []

    def _default_episode_steps(self) -> int:
        return EPISODE_STEPS

    def _start_episode(self) -> None:
        index = self._choose_object()
        x, y = self.np_random.uniform(OBJECT_LOWER, OBJECT_UPPER)
        self._place(index, float(x), float(y), 0.0, float(self.np_random.uniform(-pi, pi)))
        self.object_shape, self.object_body = self._shapes[index], self._bodies[index]

    def _succeeded(self) -> bool:
        (x, y, z), _ = self.object_pose()
        inside = max(abs(x - TRAY_CENTRE[0]), abs(y - TRAY_CENTRE[1])) < TRAY_HALF_WIDTH
        low = z < TRAY_FLOOR + self.object_shape.height
        return inside and low and self.object_speed() < REST_SPEED and not self.arm.touches(self.object_body)
