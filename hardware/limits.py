"""The limits of an arm, and the limits we keep: checked once, at the start, before anything can move."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from qsft_robot.errors import ConfigurationError


@dataclass(frozen=True)
class JointLimits:
    """What one joint of the arm can do by its maker's figures.

    Attributes:
        name: the joint's name in the driver's joint states.
        lower: smallest position, rad (m for a sliding joint).
        upper: largest position, rad (m).
        velocity: highest speed, rad/s (m/s).
        effort: highest effort, in the unit that the driver reports (N m or N by ROS convention).
    """

    name: str
    lower: float
    upper: float
    velocity: float
    effort: float


@dataclass(frozen=True)
class JointSafety:
    """What we allow one joint, inside the arm's own limits.

    Attributes:
        margin: kept free at both ends of the range, rad (m).
        velocity: highest commanded speed, rad/s (m/s).
        acceleration: highest commanded acceleration, rad/s^2 (m/s^2).
        jump: largest accepted distance from the last sent position to a new target, rad (m).
        following_error: largest accepted distance between sent and measured position, rad (m).
        effort: highest accepted effort, in the driver's unit.
    """

    margin: float
    velocity: float
    acceleration: float
    jump: float
    following_error: float
    effort: float


@dataclass(frozen=True)
class SafetyLimits:
    """All limits that the safety filter keeps.

    Attributes:
        joints: joint name -> its limits; every joint of the arm has an entry.
        workspace_lower: (x, y, z) of the box's lowest corner in the base frame, m.
        workspace_upper: (x, y, z) of the box's highest corner in the base frame, m.
        joint_state_age: oldest accepted joint state, s.
        image_age: oldest accepted camera image, s (not checked for an arm without camera).
        policy_age: oldest accepted decision of the policy, s.
        future_tolerance: how far ahead of the clock a stamp may be, s.
        fault_seconds: how long effort or following error may exceed its limit before the arm is stopped, s.
        slow_start_seconds: how long motion stays slow after arming or a hold, s.
        slow_start_speed: fraction of the speed limit during that time, in (0, 1].
        episode_seconds: longest time of motion in one episode, s.
        longest_period: longest step that one command may make up for, s.
    """

    joints: Mapping[str, JointSafety]
    workspace_lower: tuple[float, float, float]
    workspace_upper: tuple[float, float, float]
    joint_state_age: float
    image_age: float
    policy_age: float
    future_tolerance: float
    fault_seconds: float
    slow_start_seconds: float
    slow_start_speed: float
    episode_seconds: float
    longest_period: float

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str = "safety") -> SafetyLimits:
        """Read limits as a robot description holds them.

        Args:
            values: one entry for each attribute; `joints` maps names to mappings, `workspace` has `lower` and
                `upper`.
            where: named in messages.

        Raises:
            ConfigurationError: an entry is missing, unknown or no number.
        """
        names = {field.name for field in fields(cls)} - {"workspace_lower", "workspace_upper"} | {"workspace"}
        require_keys(values, names, where)
        joints: dict[str, JointSafety] = {}
        joint_names = {field.name for field in fields(JointSafety)}
        for joint, entry in dict(values["joints"]).items():
            require_keys(entry, joint_names, f"{where}.joints.{joint}")
            joints[str(joint)] = JointSafety(
                **{key: as_number(value, f"{where}.joints.{joint}.{key}") for key, value in entry.items()}
            )
        require_keys(values["workspace"], {"lower", "upper"}, f"{where}.workspace")
        numbers = {name: as_number(values[name], f"{where}.{name}") for name in names - {"joints", "workspace"}}
        return cls(
            joints=joints,
            workspace_lower=_corner(values["workspace"]["lower"], f"{where}.workspace.lower"),
            workspace_upper=_corner(values["workspace"]["upper"], f"{where}.workspace.upper"),
            **numbers,
        )


def check_limits(arm: Sequence[JointLimits], limits: SafetyLimits) -> None:
    """Refuse limits that are missing, not positive, not finite, or beyond what the arm itself can do.

    Raises:
        ConfigurationError: names every limit that is wrong, and what it may be.
    """
    problems: list[str] = []

    def positive(value: float, where: str, at_most: float = math.inf, of: str = "") -> None:
        if not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
            problems.append(f"{where} is {value}: it must be a positive number")
        elif value > at_most:
            problems.append(f"{where} is {value}: above {at_most}, {of}")

    names = [joint.name for joint in arm]
    if not names or len(set(names)) != len(names):
        problems.append(f"the arm's joints must have distinct names, got {names}")
    for extra in sorted(set(limits.joints) - set(names)):
        problems.append(f"joints.{extra} is not a joint of this arm ({', '.join(names)})")
    for joint in arm:
        own = (joint.lower, joint.upper, joint.velocity, joint.effort)
        if not all(math.isfinite(value) for value in own) or joint.lower >= joint.upper:
            problems.append(f"the arm's own limits of '{joint.name}' are not a finite range: {own}")
            continue
        safety = limits.joints.get(joint.name)
        if safety is None:
            problems.append(f"joints.{joint.name} is missing")
            continue
        where, width = f"joints.{joint.name}", joint.upper - joint.lower
        positive(safety.margin, f"{where}.margin", 0.49 * width, "which leaves nothing of the joint's range")
        positive(safety.velocity, f"{where}.velocity", joint.velocity, "the arm's own limit")
        positive(safety.acceleration, f"{where}.acceleration")
        positive(safety.jump, f"{where}.jump", width, "the joint's whole range")
        positive(safety.following_error, f"{where}.following_error", width, "the joint's whole range")
        positive(safety.effort, f"{where}.effort", joint.effort, "the arm's own limit")
    for field in fields(SafetyLimits):
        if field.name not in ("joints", "workspace_lower", "workspace_upper"):
            positive(getattr(limits, field.name), field.name)
    if limits.slow_start_speed > 1:
        problems.append(f"slow_start_speed is {limits.slow_start_speed}: it is a fraction, at most 1")
    corners = np.array([limits.workspace_lower, limits.workspace_upper], dtype=float)
    if not np.isfinite(corners).all() or not (corners[0] < corners[1]).all():
        problems.append("workspace needs finite corners, each coordinate of `lower` below that of `upper`")
    if problems:
        raise ConfigurationError("the safety limits are refused: " + "; ".join(problems))


def as_number(value: Any, where: str) -> float:
    """Return `value` as a float.

    Raises:
        ConfigurationError: it is missing or no number (a truth value is no number either).
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigurationError(f"{where} is {value!r}: it must be a number")
    return float(value)


def require_keys(values: Any, names: set[str], where: str) -> None:
    """Check that a mapping has exactly these keys.

    Raises:
        ConfigurationError: it is no mapping, or names what is missing or unknown.
    """
    if not isinstance(values, Mapping):
        raise ConfigurationError(f"{where} must be a mapping, got {values!r}")
    missing, unknown = sorted(names - set(values)), sorted(set(map(str, values)) - names)
    if missing or unknown:
        parts = [f"{where}.{name} is missing" for name in missing]
        parts += [f"{where}.{name} is unknown (known: {', '.join(sorted(names))})" for name in unknown]
        raise ConfigurationError("; ".join(parts))


def _corner(value: Any, where: str) -> tuple[float, float, float]:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 3:
        raise ConfigurationError(f"{where} must be three numbers [x, y, z] in metres, got {value!r}")
    x, y, z = (as_number(each, where) for each in value)
    return (x, y, z)
