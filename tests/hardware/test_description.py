"""Robot descriptions: the ones that come along are sound, and mistakes in one's own are named."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from qsft_robot.errors import ConfigurationError
from qsft_robot.hardware.description import ARMS, RobotDescription, changed

NAMES = sorted(path.stem for path in ARMS.glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_the_descriptions_that_come_along_are_sound(name: str) -> None:
    description = RobotDescription.load(name)
    kinematics = description.kinematics()
    assert np.allclose(kinematics.lower, [joint.lower for joint in description.joints])
    assert np.allclose(kinematics.upper, [joint.upper for joint in description.joints])
    pose = kinematics.forward(description.neutral)
    assert np.allclose(pose[:3, :3], description.action.hand_down, atol=0.02), pose
    assert (pose[:3, 3] > description.action.workspace_lower).all()
    assert (pose[:3, 3] < description.action.workspace_upper).all()
    safety = description.safety_filter()
    opening = np.clip(description.gripper.open, safety.lower[-1], safety.upper[-1])
    safety.observe(description.names, [*description.neutral, opening], 0.0, 0.0)
    safety.arm(0.0)


@pytest.mark.parametrize("name", ["wx250s", "ur5e"])
def test_inverse_kinematics_inverts_in_the_workspace(name: str) -> None:
    description = RobotDescription.load(name)
    kinematics, random = description.kinematics(), np.random.default_rng(1)
    joints = np.array(description.neutral)
    for _ in range(30):
        pose = np.eye(4)
        pose[:3, :3] = description.action.hand_down
        pose[:3, 3] = random.uniform(description.action.workspace_lower, description.action.workspace_upper)
        solution = kinematics.inverse(pose, joints)
        assert solution.position_error < 1e-4, pose
        assert solution.rotation_error < 1e-3, pose
        assert np.allclose(kinematics.forward(solution.positions)[:3, 3], pose[:3, 3], atol=1e-4)


def test_a_pose_out_of_reach_says_how_far() -> None:
    description = RobotDescription.load("wx250s")
    pose = np.eye(4)
    pose[:3, 3] = (2.0, 0.0, 0.3)
    solution = description.kinematics().inverse(pose, description.neutral)
    assert solution.position_error > 1.0


def _written(tmp_path: Path, change: Any) -> Path:
    values = yaml.safe_load((ARMS / "wx250s.yaml").read_text())
    values = copy.deepcopy(values)
    change(values)
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.pop("camera"), "camera is missing"),
        (lambda v: v.update(speed=1), "speed is unknown"),
        (lambda v: v["joints"][0].pop("velocity"), r"joints\[0\].velocity is missing"),
        (lambda v: v["safety"]["joints"].pop("elbow"), "joints.elbow is missing"),
        (lambda v: v["safety"]["joints"]["elbow"].update(velocity=9.0), "above 3.141593, the arm's own limit"),
        (lambda v: v["ros2"].update(image_kind="jpeg"), "one of raw, compressed"),
        (lambda v: v["action"].update(hand_down=[[1, 0, 0], [0, 1, 0], [0, 0, -1]]), "reflection"),
        (lambda v: v["rates"].update(command=1.0), "at least rates.policy"),
        (lambda v: v["gripper"].update(closed=0.5), "gripper.closed"),
        (lambda v: v.update(neutral=[0.0]), "neutral has 1 positions for 6 joints"),
        (lambda v: v["camera"].update(width="48"), "whole numbers of pixels"),
        (lambda v: v.update(reports_effort=1), "true or false"),
    ],
)
def test_a_mistake_is_named_with_its_file(tmp_path: Path, change: Any, message: str) -> None:
    path = _written(tmp_path, change)
    with pytest.raises(ConfigurationError, match=message) as caught:
        RobotDescription.load(path)
    assert str(path) in str(caught.value)


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="ur5e, virtual, wx250s"):
        RobotDescription.load("wx250")
    bad = tmp_path / "bad.yaml"
    bad.write_text("a: [")
    with pytest.raises(ConfigurationError, match="no valid YAML"):
        RobotDescription.load(bad)


def test_a_urdf_that_does_not_fit_is_an_error() -> None:
    description = changed(RobotDescription.load("wx250s"), urdf=RobotDescription.load("ur5e").urdf)
    with pytest.raises(ConfigurationError, match="has the moving joints"):
        description.kinematics()
    with pytest.raises(ConfigurationError, match="no chain from"):
        changed(description, tool_link="nowhere").kinematics()
