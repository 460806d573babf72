"""What the countertop tasks share: physics client, arm, objects, action, observation, reset, rendering.

Action: (7,) float32 in [-1, 1]: translation of the tool along x, y, z of the arm's base frame (times
`TRANSLATION_SCALE` m), rotation about those axes (times `ROTATION_SCALE` rad), gripper (above 0 opens, below 0 closes,
exactly 0 leaves the last command). The target is taken from the measured pose, clipped to the workspace and to
the allowed tilt, and reached by closed-form inverse kinematics under the published joint limits.

Observation: a Dict of `state` and, unless `observation="state"`, one picture per camera. `state` starts with 7 numbers:
tool position (3, the workspace mapped to [-1, 1]), rotation vector from the hand-down pose (3, rad), gripper opening
(1, closed -1, open 1). With `observation="state"`, which is privileged, the task appends the object's pose.

An episode follows from `reset(seed=...)` alone: the scene is put back by restoring a saved state of the physics, all
object shapes were loaded once and those not in play fall out of sight below the counter.
Setting after Singh et al. 2020 (COG), written anew.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from time import perf_counter, sleep
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pybullet

from qsft_robot.errors import ConfigurationError, DataError
from qsft_robot.sim.countertop import kinematics
from qsft_robot.sim.countertop.arm import COLLIDING_LINKS, FINGER_CLOSED, FINGER_OPEN, Arm
from qsft_robot.sim.countertop.camera import (
    FIXED_CAMERAS,
    FixedCamera,
    Renderer,
    aim_window,
    check_cameras,
    display_available,
    image_key,
)
from qsft_robot.sim.countertop.kinematics import HAND_DOWN, Vector
from qsft_robot.sim.countertop.shapes import FRICTION_RANGE, Shape, draw_colour, load_shape, shapes_of

PHYSICS_RATE = 240
PHYSICS_STEPS = 10
CONTROL_RATE = PHYSICS_RATE / PHYSICS_STEPS
"""Actions per second of simulated time."""

SOLVER_ITERATIONS = 50
SETTLING_STEPS = 10
GRAVITY = -9.81

TRANSLATION_SCALE = 0.04
"""Metres of tool translation for an action of 1."""

ROTATION_SCALE = 0.2
"""Radians of tool rotation for an action of 1. (The joints' speed limit allows about 0.13 rad a step: see `Arm`.)"""

WORKSPACE_LOWER: Vector = (0.19, -0.26, 0.016)
WORKSPACE_UPPER: Vector = (0.43, 0.26, 0.20)
"""Where the tool point may be sent, m."""

TILT_LIMIT = 0.4
TURN_LIMIT = 1.4
"""Largest rotation-vector components from hand-down, about x and y, and about z, rad."""

PARKED_HEIGHT = -20.0
PRIVILEGED_LIMIT = 5.0
COUNTER_COLOUR = (0.90, 0.86, 0.78, 1.0)
FLOOR_COLOUR = (0.55, 0.58, 0.60, 1.0)
PICTURE_SIZE = 384
"""Pixels per side of `render()`."""


class CountertopEnv(gymnasium.Env[dict[str, Any], np.ndarray]):
    """Base of the countertop tasks.

    Args:
        observation: `image` (pictures, tool pose and gripper) or `state` (privileged: the object's pose; no picture).
        image_size: pixels per side of an observed picture.
        cameras: `front`, `side`, `wrist`; the first one's key is `image`, a further one's `image_<name>`.
        object_set: `train` or `held_out` object kinds.
        max_episode_steps: actions until the episode is truncated; None for the task's own limit. (That keyword of
            `gymnasium.make` never gets here and can only shorten episodes; `qsft_robot.sim.make` passes it on.)
        render_mode: None, `rgb_array` or `human` (a window).

    Raises:
        ConfigurationError: an option has an impossible value.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        "render_modes": ["rgb_array", "human"] if display_available() else ["rgb_array"],
        "render_fps": int(CONTROL_RATE),
    }
    action_names: ClassVar[tuple[str, ...]] = ("x", "y", "z", "turn x", "turn y", "turn z", "gripper")
    privileged_size: ClassVar[int] = 7
    fixed_cameras: ClassVar[dict[str, FixedCamera]] = FIXED_CAMERAS

    def __init__(
        self,
        *,
        observation: str = "image",
        image_size: int = 48,
        cameras: tuple[str, ...] | list[str] = ("front",),
        object_set: str = "train",
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        self._client = -1
        if observation not in ("image", "state"):
            raise ConfigurationError(f"observation is '{observation}', expected image or state")
        if not isinstance(image_size, int) or image_size < 1:
            raise ConfigurationError(f"image_size is {image_size!r}, expected a positive number of pixels")
        if max_episode_steps is not None and max_episode_steps < 1:
            raise ConfigurationError(f"max_episode_steps is {max_episode_steps}, expected at least 1")
        if render_mode not in (None, "rgb_array", "human"):
            raise ConfigurationError(f"render_mode is '{render_mode}', expected rgb_array, human or None")
        self._shapes = shapes_of(object_set)
        self._cameras = tuple(cameras) if observation == "image" else ()
        if observation == "image":
            check_cameras(self._cameras)
        self.observation_mode = observation
        self.render_mode = render_mode
        self.max_episode_steps = self._default_episode_steps() if max_episode_steps is None else max_episode_steps
        self.seconds = {"inverse_kinematics": 0.0, "physics": 0.0, "rendering": 0.0}
        """Wall time spent so far on each part of stepping."""

        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (7,), np.float32)
        size = 7 + (self.privileged_size if observation == "state" else 0)
        spaces: dict[str, gymnasium.Space[Any]] = {
            image_key(self._cameras, i): gymnasium.spaces.Box(0, 255, (image_size, image_size, 3), np.uint8)
            for i in range(len(self._cameras))
        }
        spaces["state"] = gymnasium.spaces.Box(-PRIVILEGED_LIMIT, PRIVILEGED_LIMIT, (size,), np.float32)
        self.observation_space: gymnasium.spaces.Dict = gymnasium.spaces.Dict(spaces)

        self._client = _connect(render_mode == "human")
        if render_mode == "human":
            aim_window(self._client)
        self._renderer = Renderer(self._client, image_size, self.fixed_cameras)
        self._pictures = Renderer(self._client, PICTURE_SIZE, self.fixed_cameras)
        pybullet.setPhysicsEngineParameter(
            fixedTimeStep=1.0 / PHYSICS_RATE,
            numSolverIterations=SOLVER_ITERATIONS,
            deterministicOverlappingPairs=1,
            # An early end of the solver's iterations would hang on all bodies that it happens to solve together.
            solverResidualThreshold=0.0,
            physicsClientId=self._client,
        )
        pybullet.setGravity(0.0, 0.0, GRAVITY, physicsClientId=self._client)
        self._add_box((0.30, 0.45, 0.02), (0.32, 0.0, -0.02), COUNTER_COLOUR, friction=1.0)
        self._add_box((2.5, 2.5, 0.01), (0.0, 0.0, -0.6), FLOOR_COLOUR, collides=False)
        self.arm = Arm(self._client, PHYSICS_STEPS / PHYSICS_RATE)
        furniture = self._build_scene()
        self._bodies = [
            load_shape(shape, self._client, (0.3 * i, 0.0, PARKED_HEIGHT)) for i, shape in enumerate(self._shapes)
        ]
        self._moving_parts = [(self.arm.body, link) for link in COLLIDING_LINKS] + furniture
        self._moving_parts += [(body, -1) for body in self._bodies]
        self._saved_state = pybullet.saveState(physicsClientId=self._client)
        self.object_shape: Shape = self._shapes[0]
        self.object_body: int = self._bodies[0]
        self._steps = 0
        self._ended = True
        self._next_frame = 0.0
        self._joints: list[float] = []
        self._finger_gap = 0.0
        self.tool_position: Vector = (0.0, 0.0, 0.0)
        self.tool_rotation = HAND_DOWN

    # What a task defines.

    @abstractmethod
    def _build_scene(self) -> list[tuple[int, int]]:
        """Add the task's furniture, once, and return the (body, link) that can move."""

    @abstractmethod
    def _default_episode_steps(self) -> int:
        """Actions until an episode is truncated."""

    @abstractmethod
    def _start_episode(self) -> None:
        """Draw the episode from `self.np_random` and place the bodies."""

    @abstractmethod
    def _succeeded(self) -> bool:
        """Whether the task is solved now."""

    def _privileged_state(self) -> list[float]:
        """What `observation="state"` appends: object position (3, scaled like the tool's) and quaternion (4)."""
        position, quaternion = self.object_pose()
        sign = -1.0 if quaternion[3] < 0 else 1.0
        return [*scale_position(position), *(sign * q for q in quaternion)]

    # Gymnasium's interface.

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode; with a seed it is the same one, bit for bit, whatever ran before."""
        self._require_open()
        super().reset(seed=seed)
        self._restore()
        self._start_episode()
        self._advance(SETTLING_STEPS)
        self._steps = 0
        self._ended = False
        if self.render_mode == "human":
            self.render()
        return self._observe(), {"success": False, "object": self.object_shape.name}

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Carry out one action for 1/24 s of simulated time.

        Returns:
            Observation, reward (1.0 on success, else 0.0), terminated (success), truncated (time limit), info.

        Raises:
            DataError: the action has the wrong shape or holds NaN or infinity.
        """
        self._require_open()
        values = np.asarray(action, dtype=np.float64)
        if values.shape != (7,) or not np.isfinite(values).all():
            raise DataError(f"an action is 7 finite numbers in [-1, 1], got shape {values.shape}: {action!r}")
        if self._ended:
            raise DataError("step() was called after the end of an episode: call reset() first")
        started = perf_counter()
        self._command(np.clip(values, -1.0, 1.0).tolist())
        self.seconds["inverse_kinematics"] += perf_counter() - started
        self._forget_near_misses()
        self._advance(PHYSICS_STEPS)
        self._steps += 1
        terminated = self._succeeded()
        truncated = not terminated and self._steps >= self.max_episode_steps
        self._ended = terminated or truncated
        if self.render_mode == "human":
            self.render()
        info = {"success": terminated, "object": self.object_shape.name}
        return self._observe(), float(terminated), terminated, truncated, info

    def render(self) -> np.ndarray | None:
        """With `rgb_array`, a (384, 384, 3) uint8 picture of the whole arm; with `human`, None."""
        self._require_open()
        if self.render_mode == "rgb_array":
            return self._pictures.picture("overview", self.tool_position, self.tool_rotation, shadow=True)
        if self.render_mode == "human":
            # The window draws itself; what is left to do is to keep the pace of the arm.
            sleep(max(0.0, self._next_frame - perf_counter()))
            self._next_frame = perf_counter() + 1.0 / CONTROL_RATE
        return None

    def close(self) -> None:
        """Release the physics client."""
        if self._client >= 0:
            pybullet.disconnect(physicsClientId=self._client)
            self._client = -1

    def __del__(self) -> None:
        if getattr(self, "_client", -1) >= 0 and pybullet is not None:
            self.close()

    # What scripted agents and tests may look at.

    @property
    def tool_tilt(self) -> Vector:
        """Rotation vector of the tool from the hand-down pose, rad."""
        return self._tilt(self.tool_rotation)

    def object_pose(self) -> tuple[Vector, tuple[float, float, float, float]]:
        """Position (m) and quaternion (x, y, z, w) of the object in the world frame."""
        position, quaternion = pybullet.getBasePositionAndOrientation(self.object_body, physicsClientId=self._client)
        return position, quaternion

    def object_speed(self) -> float:
        """Speed of the object, m/s."""
        velocity, _ = pybullet.getBaseVelocity(self.object_body, physicsClientId=self._client)
        return math.hypot(*velocity)

    # Parts.

    def _restore(self) -> None:
        """Put the physics back to the saved state, with nothing left of what ran before."""
        pybullet.restoreState(stateId=self._saved_state, physicsClientId=self._client)
        self.arm.command_neutral()
        # Bodies that touched keep a collision algorithm, which remembers its last separating axis; a restore does not
        # put that back, and it shifts later contacts in the last bits. Setting a filter (to what it is) drops them.
        for body, link in self._moving_parts:
            pybullet.setCollisionFilterGroupMask(body, link, 1, -1, physicsClientId=self._client)

    def _forget_near_misses(self) -> None:
        """While the arm touches nothing, drop the pairs of bodies it came near.

        How long the search for pairs that came apart keeps one depends on the process's past, and what is kept
        shifts the next contact in the last bits.
        """
        if not pybullet.getContactPoints(bodyA=self.arm.body, physicsClientId=self._client):
            for link in COLLIDING_LINKS:
                pybullet.setCollisionFilterGroupMask(self.arm.body, link, 1, -1, physicsClientId=self._client)

    def _command(self, action: list[float]) -> None:
        """Turn an action into motor targets."""
        position: Vector = tuple(  # type: ignore[assignment]
            min(high, max(low, now + TRANSLATION_SCALE * move))
            for now, move, low, high in zip(
                self.tool_position, action[:3], WORKSPACE_LOWER, WORKSPACE_UPPER, strict=True
            )
        )
        turn = kinematics.from_rotation_vector([ROTATION_SCALE * angle for angle in action[3:6]])
        tilt_x, tilt_y, yaw = self._tilt(kinematics.multiply(turn, self.tool_rotation))
        offset = (_limit(tilt_x, TILT_LIMIT), _limit(tilt_y, TILT_LIMIT), _limit(yaw, TURN_LIMIT))
        rotation = kinematics.multiply(kinematics.from_rotation_vector(offset), HAND_DOWN)
        self.arm.command_pose(position, rotation, self._joints)
        if action[6] != 0.0:
            self.arm.command_gripper(opened=action[6] > 0.0)

    def _advance(self, steps: int) -> None:
        """Run the physics, then read the arm."""
        started = perf_counter()
        for _ in range(steps):
            pybullet.stepSimulation(physicsClientId=self._client)
        self.seconds["physics"] += perf_counter() - started
        self._joints, self._finger_gap = self.arm.read()
        self.tool_position, self.tool_rotation = kinematics.forward(self._joints)

    def _observe(self) -> dict[str, np.ndarray]:
        opening = (self._finger_gap - 2 * FINGER_CLOSED) / (FINGER_OPEN - FINGER_CLOSED) - 1.0
        state = [*scale_position(self.tool_position), *self._tilt(self.tool_rotation), opening]
        if self.observation_mode == "state":
            state += self._privileged_state()
        observation: dict[str, np.ndarray] = {}
        started = perf_counter()
        for i, camera in enumerate(self._cameras):
            key = image_key(self._cameras, i)
            observation[key] = self._renderer.picture(camera, self.tool_position, self.tool_rotation)
        self.seconds["rendering"] += perf_counter() - started
        observation["state"] = np.clip(np.array(state, np.float32), -PRIVILEGED_LIMIT, PRIVILEGED_LIMIT)
        return observation

    @staticmethod
    def _tilt(rotation: kinematics.Rotation) -> Vector:
        """Rotation vector from the hand-down pose, rad."""
        return kinematics.to_rotation_vector(kinematics.multiply(rotation, kinematics.transpose(HAND_DOWN)))

    def _choose_object(self, others: tuple[int, ...] = ()) -> int:
        """Draw a kind not in `others` with a colour and friction; returns its index."""
        random = self.np_random
        index = int(random.choice([i for i in range(len(self._shapes)) if i not in others]))
        body = self._bodies[index]
        pybullet.changeVisualShape(body, -1, rgbaColor=draw_colour(random), physicsClientId=self._client)
        friction = float(random.uniform(*FRICTION_RANGE))
        pybullet.changeDynamics(body, -1, lateralFriction=friction, physicsClientId=self._client)
        return index

    def _place(self, index: int, x: float, y: float, surface: float, yaw: float) -> None:
        """Stand a shape on a surface at height `surface`."""
        position = (x, y, surface + self._shapes[index].rest_height + 0.0005)
        quaternion = (0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2))
        pybullet.resetBasePositionAndOrientation(
            self._bodies[index], position, quaternion, physicsClientId=self._client
        )

    def _add_box(
        self,
        half_extents: Vector,
        position: Vector,
        colour: tuple[float, float, float, float],
        friction: float = 0.8,
        collides: bool = True,
    ) -> int:
        """Add a fixed box and return its body id."""
        visual = pybullet.createVisualShape(
            pybullet.GEOM_BOX, halfExtents=half_extents, rgbaColor=colour, physicsClientId=self._client
        )
        collision = -1
        if collides:
            collision = pybullet.createCollisionShape(
                pybullet.GEOM_BOX, halfExtents=half_extents, physicsClientId=self._client
            )
        body: int = pybullet.createMultiBody(0.0, collision, visual, position, physicsClientId=self._client)
        pybullet.changeDynamics(body, -1, lateralFriction=friction, physicsClientId=self._client)
        return body

    def _require_open(self) -> None:
        if self._client < 0:
            raise DataError("the environment was closed: make a new one")


def scale_position(position: Vector) -> list[float]:
    """A position with the workspace mapped to [-1, 1] on each axis."""
    return [
        (2 * value - low - high) / (high - low)
        for value, low, high in zip(position, WORKSPACE_LOWER, WORKSPACE_UPPER, strict=True)
    ]


def _limit(value: float, limit: float) -> float:
    return min(limit, max(-limit, value))


def _connect(window: bool) -> int:
    if window and not display_available():
        raise ConfigurationError("render_mode=human needs a display and finds none: set DISPLAY, or use rgb_array")
    client: int = pybullet.connect(pybullet.GUI if window else pybullet.DIRECT)
    if client < 0:
        raise ConfigurationError("pybullet could not start a simulation: too many environments may be open")
    return client
