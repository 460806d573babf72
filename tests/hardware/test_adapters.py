"""The conformance suite over the adapters that need no ROS, and what else an adapter promises."""

from __future__ import annotations

import importlib.metadata
import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from qsft_robot.errors import ConfigurationError
from qsft_robot.hardware import adapter as adapter_module
from qsft_robot.hardware.adapter import ArmAdapter, make_arm
from qsft_robot.hardware.conformance import ArmConformance
from qsft_robot.hardware.description import RobotDescription
from qsft_robot.hardware.dry_run import DryRunArm
from qsft_robot.hardware.safety import ArmingRefusedError
from qsft_robot.hardware.simulated_arm import SimulatedArm


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class TestSimulatedArm(ArmConformance):
    """The simulated arm on a clock of its own: exact and repeatable."""

    def make_arm(self) -> ArmAdapter:
        self.clock = Clock()
        return SimulatedArm(RobotDescription.load("virtual"), clock=self.clock)

    def wait(self, seconds: float) -> None:
        self.clock.now += seconds


class TestDryRun(TestSimulatedArm):
    """A dry run over the simulated arm."""

    moves = False

    def make_arm(self) -> ArmAdapter:
        return DryRunArm(super().make_arm())


def test_a_dry_run_sends_nothing() -> None:
    clock = Clock()
    inner = SimulatedArm(RobotDescription.load("virtual"), clock=clock)
    written = []
    inner._write = lambda positions, hold: written.append(positions)  # type: ignore[method-assign]
    arm = DryRunArm(inner)
    with arm:
        arm.arm()
        state = arm.state()
        assert state.positions is not None
        target = dict(zip(arm.action_features, (state.positions - 0.001).tolist(), strict=True))
        assert arm.send_action(target)
        arm.stop()
    assert written == []
    assert [hold for _, hold in arm.would_have_sent] == [False, True]


def test_a_broken_connection_stops_the_arm() -> None:
    from qsft_robot.hardware.adapter import ArmError
    from qsft_robot.hardware.reasons import Reason

    arm = SimulatedArm(RobotDescription.load("virtual"), clock=Clock())
    with arm:
        arm.arm()

        def broken(positions: np.ndarray, hold: bool) -> None:
            raise ArmError("cable")

        arm._write = broken  # type: ignore[method-assign]
        state = arm.state()
        with pytest.raises(ArmError, match="cable"):
            arm.send_action(dict(zip(arm.action_features, state.positions.tolist(), strict=True)))
        assert arm.safety.stop_reason is Reason.CONNECTION_LOST
        del arm._write


@contextmanager
def _late_arm(polls: int, meanwhile: Callable[[SimulatedArm], object] = lambda arm: None) -> Iterator[SimulatedArm]:
    """A connected arm whose next joint state comes after `polls` questions; `meanwhile` happens at the last of them."""
    arm = SimulatedArm(RobotDescription.load("virtual"), clock=Clock())
    fetch, questions = arm._poll, itertools.count(1)

    def late() -> None:
        question = next(questions)
        if question == polls:
            meanwhile(arm)
        elif question > polls:
            fetch()

    with arm:
        arm.clock.now += 10.0  # type: ignore[attr-defined]
        arm._poll = late  # type: ignore[method-assign]
        yield arm


def test_arming_can_wait_for_a_joint_state_that_is_late() -> None:
    with _late_arm(polls=3) as arm:
        with pytest.raises(ArmingRefusedError, match="no fresh joint state"):
            arm.arm()
        arm.arm(patience=30.0)
        assert arm.safety.armed


def test_a_stop_ends_the_wait_to_be_armed() -> None:
    with _late_arm(polls=2, meanwhile=lambda arm: arm.stop("operator")) as arm:
        with pytest.raises(ArmingRefusedError, match="stopped while it waited"):
            arm.arm(patience=30.0)
        assert not arm.safety.armed
        arm.arm()
        assert arm.safety.armed


def test_an_image_of_another_shape_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    arm = SimulatedArm(RobotDescription.load("virtual"), clock=Clock())
    arm._received_image(np.zeros((10, 10, 3), np.uint8), 1000.0)
    assert "refused" in caplog.text
    assert arm._state.images == {}


def test_an_unknown_adapter_is_named() -> None:
    with pytest.raises(ConfigurationError, match="no arm adapter 'lego'; there are ros2, simulated, virtual"):
        make_arm("lego", RobotDescription.load("virtual"))


def test_adapters_are_found_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = importlib.metadata.EntryPoint(
        "mine", "qsft_robot.hardware.simulated_arm:SimulatedArm", adapter_module.ENTRY_POINTS
    )
    wrong = importlib.metadata.EntryPoint("wrong", "builtins:repr", adapter_module.ENTRY_POINTS)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: (entry, wrong))
    arm = make_arm("mine", RobotDescription.load("virtual"))
    assert isinstance(arm, SimulatedArm)
    assert isinstance(make_arm("mine", RobotDescription.load("virtual"), dry_run=True), DryRunArm)
    with pytest.raises(ConfigurationError, match="no ArmAdapter"):
        make_arm("wrong", RobotDescription.load("virtual"))


def test_the_package_imports_without_the_extras() -> None:
    code = (
        "import sys\n"
        "for name in ('rclpy', 'websockets', 'rerun', 'torch', 'pybullet'): sys.modules[name] = None\n"
        "import qsft_robot.hardware, qsft_robot.hardware.virtual_process as virtual\n"
        "from qsft_robot.hardware.description import RobotDescription\n"
        "from qsft_robot.errors import MissingExtraError\n"
        "try: virtual.VirtualRos2Arm(RobotDescription.load('virtual')).connect()\n"
        "except MissingExtraError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True)
    assert done.stdout.count("\n") == 1
    assert "pip install 'qsft_robot[ros2]'" in done.stdout
