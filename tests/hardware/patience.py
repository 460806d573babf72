"""Descriptions for tests on busy computers: nothing grows stale merely because the test did not get the processor."""

from __future__ import annotations

from pathlib import Path

from qsft_robot.hardware.description import RobotDescription, changed


def patient(name: str | Path = "virtual") -> RobotDescription:
    """The description with generous ages."""
    ages = {"joint_state_age": 3.0, "image_age": 5.0, "policy_age": 3.0, "fault_seconds": 5.0}
    return changed(RobotDescription.load(name), safety=ages)
