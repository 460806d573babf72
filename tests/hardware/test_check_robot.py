"""check_robot finds every fault that is planted in the virtual arm, and none in a sound one."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs the extra ros2 or a sourced ROS 2", exc_type=ImportError)
pytestmark = pytest.mark.ros2

from qsft_robot.hardware.check import Findings, check_robot  # noqa: E402
from qsft_robot.hardware.description import RobotDescription  # noqa: E402
from qsft_robot.hardware.simulated_arm import SimulatedArm  # noqa: E402
from qsft_robot.hardware.virtual_process import VirtualRos2Arm  # noqa: E402

EXPECTED_PICTURE = np.array([200.0, 185.0, 160.0])
"""Red, green and blue of a picture of the simulated countertop, roughly: a beige counter."""


def findings_of(*faults: str) -> Findings:
    words = [f"faults=[{','.join(faults)}]"] if faults else []
    arm = VirtualRos2Arm(RobotDescription.load("virtual"), words)
    connect = arm._wait_for_arm

    def briefly() -> None:
        arm.discovery_seconds = 12.0 if any(fault in NEVER_COMPLETE for fault in faults) else 30.0
        connect()

    arm._wait_for_arm = briefly  # type: ignore[method-assign]
    return check_robot(arm, move=True, expected_picture=EXPECTED_PICTURE, listen_seconds=1.5, pace=0.5)


NEVER_COMPLETE = ("missing_image", "missing_command", "wrong_name", "future_stamps")

PLANTED = [
    ("swapped_joints", "joint_order", ("shoulder", "elbow", "swapped")),
    ("wrong_sign", "sign", ("waist", "wrong sign")),
    ("degrees", "units", ("degrees", "radians")),
    ("half_rate", "rate", ("/virtual/joint_states", "expected 50")),
    ("slow_camera", "rate", ("/virtual/camera/image_raw", "expected 30")),
    ("frozen_camera", "frozen_camera", ("did not change",)),
    ("bgr", "channels", ("red and blue are swapped",)),
    ("stale_stamps", "stamps", ("s old",)),
    ("future_stamps", "stamps", ("in the future",)),
    ("gripper_backwards", "gripper_direction", ("runs backwards",)),
    ("wrong_limit", "limits", ("elbow", "upper", "1.6057", "1.2000")),
    ("missing_image", "missing_topic", ("/virtual/camera/image_raw",)),
    ("missing_command", "missing_topic", ("/virtual/arm_controller/joint_trajectory",)),
    ("wrong_name", "joint_names", ("forearm_roll", "forearm,")),
    ("weak_joint", "no_motion", ("wrist_angle",)),
    ("other_frame", "frames", ("50 mm",)),
]


@pytest.mark.parametrize(("fault", "code", "words"), PLANTED, ids=[fault for fault, _, _ in PLANTED])
def test_a_planted_fault_is_found_and_named(fault: str, code: str, words: tuple[str, ...]) -> None:
    findings = findings_of(fault)
    assert findings.codes() == [code], findings
    for word in words:
        assert word in findings.failed[0]


def test_a_sound_arm_passes() -> None:
    findings = findings_of()
    assert findings.failed == []
    assert findings.skipped == []
    assert findings.result()["ok"]
    codes = {line.split(":")[0] for line in findings.passed}
    expected = {"connection", "rate", "stamps", "range", "limits", "frames", "channels", "stays", "joints", "gripper"}
    assert expected | {"stop", "rearm", "frozen_camera"} <= codes


def test_an_arm_of_another_kind_is_checked_too() -> None:
    findings = check_robot(SimulatedArm(RobotDescription.load("virtual")), move=False, listen_seconds=0.3)
    assert findings.failed == []
    assert any(line.startswith("motion") for line in findings.skipped)
