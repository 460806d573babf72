"""kill -9 of each process of a deployment in mid-motion: the arm is held. How fast is measured by kill_trials.py."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs the extra ros2 or a sourced ROS 2", exc_type=ImportError)
pytestmark = [pytest.mark.ros2, pytest.mark.slow]

import kill_trials  # noqa: E402


@pytest.mark.parametrize("victim", kill_trials.VICTIMS)
def test_the_arm_is_held_when_a_process_is_killed(victim: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, sys.path)]))
    watcher = kill_trials.Watcher()
    try:
        kill_trials.trial(victim, watcher, random.Random(1))
    finally:
        watcher.close()
