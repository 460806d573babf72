"""A robot description: everything that differs between two arms, in one YAML file.

The files in hardware/arms/ are examples and templates; a description of one's own may lie anywhere and is named by
its path. docs/deploy.md goes through every entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from qsft_robot.errors import ConfigurationError
from qsft_robot.hardware.kinematics import Kinematics
from qsft_robot.hardware.limits import JointLimits, SafetyLimits, as_number, check_limits, require_keys
from qsft_robot.hardware.safety import SafetyFilter

ARMS = Path(__file__).parent / "arms"
URDFS = Path(__file__).parent / "urdf"
COMMAND_KINDS = ("joint_trajectory", "position_array")
IMAGE_KINDS = ("raw", "compressed")


@dataclass(frozen=True)
class Gripper:
    """The gripper's joint: its own limits, and which position is open and which closed (rad or m)."""

    limits: JointLimits
    open: float
    closed: float


@dataclass(frozen=True)
class Camera:
    """The camera image that the policy sees: (height, width, 3) uint8 RGB under `key`."""

    key: str
    width: int
    height: int


@dataclass(frozen=True)
class ActionScale:
    """What an action means; the same as in the simulated countertop where a policy of that is to run.

    Attributes:
        translation: metres of tool translation for an action of 1.
        rotation: radians of tool rotation for an action of 1.
        workspace_lower: lowest tool position that a policy may ask for, m; also scales the observed position.
        workspace_upper: highest tool position that a policy may ask for, m.
        hand_down: (3, 3) rotation of the tool when the hand points down.
        tilt_limit: largest tilt from hand-down about x and y, rad.
        turn_limit: largest turn from hand-down about z, rad.
        joint_step: largest turn of a joint in one step, rad; all joints are shortened by the same factor.
    """

    translation: float
    rotation: float
    workspace_lower: tuple[float, float, float]
    workspace_upper: tuple[float, float, float]
    hand_down: np.ndarray
    tilt_limit: float
    turn_limit: float
    joint_step: float


@dataclass(frozen=True)
class Rates:
    """How often things happen, 1/s: decisions, commands, and what the arm is expected to publish."""

    policy: float
    command: float
    joint_states: float
    images: float


@dataclass(frozen=True)
class Ros2Names:
    """Topics and services of the arm's driver."""

    joint_states: str
    arm_command: str
    arm_command_kind: str
    gripper_command: str
    gripper_command_kind: str
    image: str
    image_kind: str
    services: str
    robot_description: str


@dataclass(frozen=True)
class RobotDescription:
    """An arm with its gripper, camera, limits, rates and topics; `load` reads and checks one."""

    name: str
    source: str
    urdf: Path
    base_link: str
    tool_link: str
    joints: tuple[JointLimits, ...]
    gripper: Gripper
    neutral: tuple[float, ...]
    reports_effort: bool
    camera: Camera | None
    action: ActionScale
    rates: Rates
    ros2: Ros2Names
    safety: SafetyLimits

    @classmethod
    def load(cls, name_or_path: str | Path) -> RobotDescription:
        """Read a description that comes with the package (`wx250s`, `ur5e`, `virtual`) or lies in a file.

        Raises:
            ConfigurationError: there is none, or an entry is missing, unknown or senseless.
        """
        known = sorted(path.stem for path in ARMS.glob("*.yaml"))
        path = ARMS / f"{name_or_path}.yaml" if str(name_or_path) in known else Path(name_or_path)
        if not path.is_file():
            raise ConfigurationError(
                f"no robot description '{name_or_path}': give the path of a YAML file, or one of {', '.join(known)}"
            )
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path} is no valid YAML: {error}") from error
        return cls.from_mapping(values, path)

    @classmethod
    def from_mapping(cls, values: Any, path: Path) -> RobotDescription:
        """Build a description from the content of its file.

        Raises:
            ConfigurationError: an entry is missing, unknown or senseless; the message names it and the file.
        """
        try:
            return cls._build(values, path)
        except ConfigurationError as error:
            raise ConfigurationError(f"{path}: {error}") from error

    @classmethod
    def _build(cls, values: Any, path: Path) -> RobotDescription:
        require_keys(values, {field.name for field in fields(cls)}, "the description")
        joints = tuple(_joint(entry, f"joints[{index}]") for index, entry in enumerate(values["joints"]))
        entry = values["gripper"]
        own = {field.name for field in fields(JointLimits)}
        require_keys(entry, own | {"open", "closed"}, "gripper")
        limits = _joint({key: entry[key] for key in own}, "gripper")
        gripper = Gripper(
            limits, as_number(entry["open"], "gripper.open"), as_number(entry["closed"], "gripper.closed")
        )
        for name in ("open", "closed"):
            if not limits.lower <= getattr(gripper, name) <= limits.upper or gripper.open == gripper.closed:
                raise ConfigurationError(f"gripper.{name} must lie in the gripper's range, open and closed apart")
        safety = SafetyLimits.from_mapping(values["safety"])
        check_limits((*joints, limits), safety)
        neutral = tuple(as_number(value, "neutral") for value in values["neutral"])
        if len(neutral) != len(joints):
            raise ConfigurationError(f"neutral has {len(neutral)} positions for {len(joints)} joints")
        if not isinstance(values["reports_effort"], bool):
            raise ConfigurationError("reports_effort must be true or false")
        urdf = Path(values["urdf"])
        for folder in (path.parent, URDFS):
            if (folder / urdf).is_file():
                urdf = folder / urdf
                break
        return cls(
            name=str(values["name"]),
            source=str(values["source"]),
            urdf=urdf,
            base_link=str(values["base_link"]),
            tool_link=str(values["tool_link"]),
            joints=joints,
            gripper=gripper,
            neutral=neutral,
            reports_effort=values["reports_effort"],
            camera=_camera(values["camera"]),
            action=_action(values["action"]),
            rates=_rates(values["rates"]),
            ros2=_ros2(values["ros2"]),
            safety=safety,
        )

    @property
    def limits(self) -> tuple[JointLimits, ...]:
        """The own limits of all commanded joints: the arm's, then the gripper's."""
        return (*self.joints, self.gripper.limits)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all commanded joints: the arm's, then the gripper's."""
        return tuple(joint.name for joint in self.limits)

    def kinematics(self) -> Kinematics:
        """The arm's kinematics from its URDF.

        Raises:
            ConfigurationError: the URDF does not fit the description.
        """
        return Kinematics(self.urdf, self.base_link, self.tool_link, [joint.name for joint in self.joints])

    def safety_filter(self, kinematics: Kinematics | None = None) -> SafetyFilter:
        """A fresh, disarmed filter with this description's limits."""
        kinematics = kinematics or self.kinematics()
        count = len(self.joints)
        return SafetyFilter(
            self.limits, self.safety, lambda positions: kinematics.position(positions[:count]), self.camera is not None
        )


def _joint(entry: Any, where: str) -> JointLimits:
    require_keys(entry, {field.name for field in fields(JointLimits)}, where)
    numbers = {key: as_number(value, f"{where}.{key}") for key, value in entry.items() if key != "name"}
    return JointLimits(name=str(entry["name"]), **numbers)


def _camera(entry: Any) -> Camera | None:
    if entry is None:
        return None
    require_keys(entry, {"key", "width", "height"}, "camera")
    sizes = [entry["width"], entry["height"]]
    if not all(isinstance(size, int) and not isinstance(size, bool) and size > 0 for size in sizes):
        raise ConfigurationError("camera.width and camera.height must be positive whole numbers of pixels")
    return Camera(str(entry["key"]), *sizes)


def _action(entry: Any) -> ActionScale:
    names = {"translation", "rotation", "workspace", "hand_down", "tilt_limit", "turn_limit", "joint_step"}
    require_keys(entry, names, "action")
    require_keys(entry["workspace"], {"lower", "upper"}, "action.workspace")
    numbers = {name: _positive(entry[name], f"action.{name}") for name in names - {"workspace", "hand_down"}}
    corners = np.array([entry["workspace"]["lower"], entry["workspace"]["upper"]], dtype=float)
    if corners.shape != (2, 3) or not np.isfinite(corners).all() or not (corners[0] < corners[1]).all():
        raise ConfigurationError("action.workspace needs two corners [x, y, z], `lower` below `upper`")
    rotation = np.array(entry["hand_down"], dtype=float)
    if rotation.shape != (3, 3) or not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-6):
        raise ConfigurationError("action.hand_down must be a rotation matrix, three rows of three numbers")
    if np.linalg.det(rotation) < 0:
        raise ConfigurationError("action.hand_down is a reflection: its determinant must be 1")
    return ActionScale(
        workspace_lower=tuple(corners[0]), workspace_upper=tuple(corners[1]), hand_down=rotation, **numbers
    )


def _rates(entry: Any) -> Rates:
    names = {field.name for field in fields(Rates)}
    require_keys(entry, names, "rates")
    rates = Rates(**{name: _positive(entry[name], f"rates.{name}") for name in names})
    if rates.command < rates.policy:
        raise ConfigurationError("rates.command must be at least rates.policy")
    return rates


def _ros2(entry: Any) -> Ros2Names:
    require_keys(entry, {field.name for field in fields(Ros2Names)}, "ros2")
    for name, allowed in (
        ("arm_command_kind", COMMAND_KINDS),
        ("gripper_command_kind", COMMAND_KINDS),
        ("image_kind", IMAGE_KINDS),
    ):
        if entry[name] not in allowed:
            raise ConfigurationError(f"ros2.{name} is '{entry[name]}': one of {', '.join(allowed)}")
    return Ros2Names(**{str(key): str(value) for key, value in dict[str, Any](entry).items()})


def _positive(value: Any, where: str) -> float:
    number = as_number(value, where)
    if not np.isfinite(number) or number <= 0:
        raise ConfigurationError(f"{where} is {value}: it must be a positive number")
    return number


def changed(description: RobotDescription, **changes: Any) -> RobotDescription:
    """A copy with some attributes replaced; mappings for `ros2` and `rates` replace single entries."""
    from dataclasses import replace

    flat: dict[str, Any] = {}
    for name, value in changes.items():
        old = getattr(description, name)
        flat[name] = replace(old, **value) if isinstance(value, Mapping) else value
    return replace(description, **flat)
