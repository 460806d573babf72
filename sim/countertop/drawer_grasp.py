"""Grasp the object that lies in a drawer, which may have to be opened, or freed and opened, first."""

from __future__ import annotations

from math import pi
from pathlib import Path
from typing import Any, ClassVar

import pybullet

from qsft_robot.errors import ConfigurationError
from qsft_robot.sim.countertop.arm import ARM_JOINTS, NEUTRAL_POSITION
from qsft_robot.sim.countertop.camera import FixedCamera
from qsft_robot.sim.countertop.environment import CountertopEnv, scale_position
from qsft_robot.sim.countertop.kinematics import Vector

DRAWER_URDF = Path(__file__).parent / "assets" / "drawer.urdf"
DRAWER_STARTS = ("open", "closed", "blocked", "mixed")

EPISODE_STEPS = 45
BLOCKED_EPISODE_STEPS = 60
"""Actions until an episode is truncated."""

DRAWER_X = 0.255
"""Where the closed drawer's front panel begins, m."""

DRAWER_TRAVEL = 0.12
DRAWER_FLOOR = 0.012
DRAWER_RIM = 0.047
DRAWER_LINK = 0
DRAWER_FRICTION = 1.5
"""Force that holds the drawer where it is, N."""

CLOSED_RANGE = (0.0, 0.006)
"""Opening of a closed drawer at the start of an episode, m."""

OPEN_RANGE = (0.105, 0.135)
"""How far somebody who opened the drawer meant to, m: every other one to its stop, where pushing it open ends too."""

START_SPREAD = 0.03
"""How far from the neutral position along each axis the tool may be when an episode starts, m. Were it always at the
very same place, a policy would know an episode's first observation by that alone, and what it learned from there would
not hold for a hand that has opened the drawer and come back."""

OBJECT_BEHIND_FRONT = (0.040, 0.060)
OBJECT_BEHIND_OPEN_FRONT = (0.025, 0.065)
"""Region of the object behind the front of a closed and of an open drawer, m: when one is opened, things slide in it.
A policy that could tell a drawer that was open from one that it opened would not carry over what it learned from one
to the other."""

OBJECT_SIDEWAYS = (-0.035, 0.035)
"""Region of the object across the drawer, m."""

LIFT = 0.03
"""How far the object's lower end must be above the drawer's rim, m (with the object upright)."""

POST_X = 0.300
POST_Y = 0.120
POST_HALF_EXTENTS: Vector = (0.006, 0.008, 0.020)
POST_COLOUR = (0.25, 0.25, 0.28, 1.0)

BAR_X = 0.278
BAR_HALF_EXTENTS: Vector = (0.0085, 0.135, 0.016)
KNOB_HALF_EXTENTS: Vector = (0.010, 0.016, 0.016)
BAR_COLOUR = (0.45, 0.27, 0.10, 1.0)
BAR_MASS = 0.08
BAR_PARKED: Vector = (-2.0, 0.0, -20.0)


class DrawerGraspEnv(CountertopEnv):
    """An object in a drawer. Solved when both fingers hold it above the drawer.

    The tool starts within `START_SPREAD` of the neutral position, hand down.

    Keywords: those of `CountertopEnv`, and `drawer`, the start of an episode:

    - `open`, `closed`;
    - `blocked`: closed, with a bar between the drawer's front and two posts, to be lifted out by its knob;
    - `mixed`: open or closed as the seed draws, each half of the time.

    `observation="state"` appends to `state` the object's position (3, scaled like the tool's) and quaternion (4, w not
    negative), the drawer's opening (1, closed -1, open 1) and the bar's position (3; -5 where there is none):
    18 numbers.

    Raises:
        ConfigurationError: `drawer` or another option has an impossible value.
    """

    privileged_size: ClassVar[int] = 11
    fixed_cameras: ClassVar[dict[str, FixedCamera]] = {
        "front": FixedCamera((0.275, 0.0, 0.075), 0.70, 90.0, -55.0, 28.0),
        "side": FixedCamera((0.28, 0.0, 0.08), 0.75, 0.0, -30.0, 36.0),
    }

    def __init__(self, *, drawer: str = "mixed", **options: Any) -> None:
        if drawer not in DRAWER_STARTS:
            raise ConfigurationError(f"drawer is '{drawer}', expected one of {', '.join(DRAWER_STARTS)}")
        self.drawer = drawer
        super().__init__(**options)

    def _build_scene(self) -> list[tuple[int, int]]:
        self._drawer_body: int = pybullet.loadURDF(
            str(DRAWER_URDF),
            (DRAWER_X, 0.0, 0.0),
            useFixedBase=True,
            flags=pybullet.URDF_USE_INERTIA_FROM_FILE,
            physicsClientId=self._client,
        )
        for link in (-1, DRAWER_LINK):
            pybullet.changeDynamics(self._drawer_body, link, lateralFriction=0.8, physicsClientId=self._client)
        for side in (-1.0, 1.0):
            self._add_box(POST_HALF_EXTENTS, (POST_X, side * POST_Y, POST_HALF_EXTENTS[2]), POST_COLOUR)
        self._tie_to_arm()
        self._bar_body = self._load_bar()
        self.bar_in_play = False
        return [(self._drawer_body, DRAWER_LINK), (self._bar_body, -1)]

    def _default_episode_steps(self) -> int:
        return BLOCKED_EPISODE_STEPS if self.drawer == "blocked" else EPISODE_STEPS

    def _start_episode(self) -> None:
        random = self.np_random
        start = self.drawer
        if start == "mixed":
            start = ("open", "closed")[int(random.integers(2))]
        self.bar_in_play = start == "blocked"
        opened = start == "open"
        opening = float(random.uniform(*(OPEN_RANGE if opened else CLOSED_RANGE)))
        self._set_drawer(0.0 if self.bar_in_play else min(opening, DRAWER_TRAVEL))
        index = self._choose_object()
        behind = float(random.uniform(*(OBJECT_BEHIND_OPEN_FRONT if opened else OBJECT_BEHIND_FRONT)))
        sideways = float(random.uniform(*OBJECT_SIDEWAYS))
        yaw = float(random.uniform(-pi, pi))
        self._place(index, DRAWER_X + self.drawer_opening() - behind, sideways, DRAWER_FLOOR, yaw)
        self.object_shape, self.object_body = self._shapes[index], self._bodies[index]
        if self.bar_in_play:
            place = (BAR_X, float(random.uniform(-0.01, 0.01)), BAR_HALF_EXTENTS[2] + 0.0005)
            pybullet.resetBasePositionAndOrientation(
                self._bar_body, place, (0.0, 0.0, 0.0, 1.0), physicsClientId=self._client
            )
        x, y, z = (value + float(random.uniform(-START_SPREAD, START_SPREAD)) for value in NEUTRAL_POSITION)
        self.arm.start_at((x, y, z))

    def _succeeded(self) -> bool:
        (_, _, z), _ = self.object_pose()
        high = z > DRAWER_RIM + LIFT + self.object_shape.height / 2
        return high and self.arm.holds(self.object_body)

    def _privileged_state(self) -> list[float]:
        opening = 2.0 * self.drawer_opening() / DRAWER_TRAVEL - 1.0
        bar = scale_position(self.bar_position()) if self.bar_in_play else [-5.0] * 3
        return [*super()._privileged_state(), opening, *bar]

    def drawer_opening(self) -> float:
        """How far the drawer is open, m (0 to 0.12)."""
        opening: float = pybullet.getJointState(self._drawer_body, DRAWER_LINK, physicsClientId=self._client)[0]
        return opening

    def bar_position(self) -> Vector:
        """Where the bar is, m; far below the counter where there is none."""
        position: Vector = pybullet.getBasePositionAndOrientation(self._bar_body, physicsClientId=self._client)[0]
        return position

    def _set_drawer(self, opening: float) -> None:
        pybullet.resetJointState(self._drawer_body, DRAWER_LINK, opening, 0.0, physicsClientId=self._client)
        pybullet.setJointMotorControl2(
            self._drawer_body,
            DRAWER_LINK,
            pybullet.VELOCITY_CONTROL,
            targetVelocity=0.0,
            force=DRAWER_FRICTION,
            physicsClientId=self._client,
        )

    def _tie_to_arm(self) -> None:
        """Have the solver take arm and drawer together always, by a gear between them that transmits no force.

        Left alone it does so while they are near each other, in its memory of what was near, and the order in which it
        goes through the joints, with it the last bits, would depend on what ran before the episode.
        """
        gear = pybullet.createConstraint(
            self.arm.body,
            ARM_JOINTS[0],
            self._drawer_body,
            DRAWER_LINK,
            pybullet.JOINT_GEAR,
            (0.0, 0.0, 1.0),
            (0.0, 0.0, 0.0),
            (0.0, 0.0, 0.0),
            physicsClientId=self._client,
        )
        pybullet.changeConstraint(gear, maxForce=0.0, gearRatio=1.0, physicsClientId=self._client)

    def _load_bar(self) -> int:
        """A bar with a knob on it, as one body."""
        lift = BAR_HALF_EXTENTS[2] + KNOB_HALF_EXTENTS[2]
        shapes = {
            "shapeTypes": [pybullet.GEOM_BOX, pybullet.GEOM_BOX],
            "halfExtents": [BAR_HALF_EXTENTS, KNOB_HALF_EXTENTS],
        }
        places = [(0.0, 0.0, 0.0), (0.0, 0.0, lift)]
        visual = pybullet.createVisualShapeArray(
            **shapes, rgbaColors=[BAR_COLOUR] * 2, visualFramePositions=places, physicsClientId=self._client
        )
        collision = pybullet.createCollisionShapeArray(
            **shapes, collisionFramePositions=places, physicsClientId=self._client
        )
        body: int = pybullet.createMultiBody(BAR_MASS, collision, visual, BAR_PARKED, physicsClientId=self._client)
        pybullet.changeDynamics(body, -1, lateralFriction=1.0, physicsClientId=self._client)
        pybullet.changeVisualShape(body, -1, rgbaColor=BAR_COLOUR, physicsClientId=self._client)
        return body
