"""Limits that are missing, negative, not a number or beyond the arm's own are refused at the start."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
from safety_generator import ARM, LIMITS

from qsft_robot.errors import ConfigurationError
from qsft_robot.hardware.limits import SafetyLimits, check_limits

JOINT = {
    "margin": 0.05,
    "velocity": 1.0,
    "acceleration": 4.0,
    "jump": 0.04,
    "following_error": 0.04,
    "effort": 3.0,
}
GOOD: dict[str, Any] = {
    "joints": {
        "lift": dict(JOINT),
        "swing": dict(JOINT),
        "grip": {**JOINT, "margin": 0.001, "velocity": 0.1},
    },
    "workspace": {"lower": [-1, -1, 0], "upper": [1, 1, 1.5]},
    "joint_state_age": 0.1,
    "image_age": 0.3,
    "policy_age": 0.3,
    "future_tolerance": 0.02,
    "fault_seconds": 0.1,
    "slow_start_seconds": 1.0,
    "slow_start_speed": 0.3,
    "episode_seconds": 60.0,
    "longest_period": 0.1,
}


def test_good_limits_are_accepted() -> None:
    check_limits(ARM, SafetyLimits.from_mapping(GOOD))
    check_limits(ARM, LIMITS)


def _paths(values: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if isinstance(values, dict):
        return [each for key, value in values.items() for each in _paths(value, (*path, key))]
    return [path]


def _changed(path: tuple[str, ...], value: Any, remove: bool = False) -> dict[str, Any]:
    changed = copy.deepcopy(GOOD)
    place = changed
    for key in path[:-1]:
        place = place[key]
    if remove:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return changed


@pytest.mark.parametrize("path", _paths(GOOD), ids=".".join)
def test_each_limit_missing_or_senseless_is_refused_by_name(path: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError, match=path[-1]):
        SafetyLimits.from_mapping(_changed(path, None, remove=True))
    for value in (-1.0, 0.0, math.nan, math.inf, None, "fast", True, [0.0, math.nan, 1.0], [2.0, 2.0, 2.0]):
        if path[0] == "workspace" and value == [2.0, 2.0, 2.0] and path[1] == "upper":
            continue
        with pytest.raises(ConfigurationError, match=path[0]):
            check_limits(ARM, SafetyLimits.from_mapping(_changed(path, value)))


@pytest.mark.parametrize("name", ["velocity", "effort", "margin", "jump", "following_error"])
def test_a_limit_above_the_arms_own_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"joints.swing.{name} is 99"):
        check_limits(ARM, SafetyLimits.from_mapping(_changed(("joints", "swing", name), 99.0)))


def test_unknown_entries_and_joints_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="speed is unknown"):
        SafetyLimits.from_mapping(_changed(("speed",), 1.0))
    with pytest.raises(ConfigurationError, match=r"joints\.claw is not a joint"):
        check_limits(ARM, SafetyLimits.from_mapping(_changed(("joints", "claw"), dict(JOINT))))
    with pytest.raises(ConfigurationError, match="must be a mapping"):
        SafetyLimits.from_mapping([1.0])  # type: ignore[arg-type]
