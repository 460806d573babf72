"""The control loop, the environment over an arm, and the operators."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from patience import patient

from qsft_robot.agents.base import Agent
from qsft_robot.agents.rollout import rollout
from qsft_robot.errors import ConfigurationError, DataError
from qsft_robot.hardware.adapter import ArmError
from qsft_robot.hardware.control_loop import ControlLoop, Interpolator
from qsft_robot.hardware.operators import KeyboardOperator, Operator, SceneOperator
from qsft_robot.hardware.reasons import Reason
from qsft_robot.hardware.robot_env import RobotEnv
from qsft_robot.hardware.simulated_arm import SimulatedArm
from qsft_robot.hardware.timing import Punctuality, StageTimes


class Constant(Agent):
    """Always the same action."""

    name = "constant"

    def __init__(self, action: list[float], wait: float = 0.0) -> None:
        self.action, self.wait = np.array(action, np.float32), wait

    def reset(self, seed: int) -> None:
        pass

    def act(self, observation: object) -> np.ndarray:
        time.sleep(self.wait)
        return self.action


def make_env(**options: object) -> RobotEnv:
    arm = SimulatedArm(patient())
    return RobotEnv(arm, SceneOperator(), **options)  # type: ignore[arg-type]


def test_interpolates_from_the_last_setpoint() -> None:
    line = Interpolator()
    assert line.at(0.0) is None
    line.aim(np.array([1.0]), 10.0, 0.1, start=np.array([0.0]))
    assert line.at(10.05) == pytest.approx([0.5])
    line.aim(np.array([0.0]), 10.05, 0.1, start=np.array([9.0]))
    assert line.at(10.05) == pytest.approx([0.5])
    assert line.at(10.1) == pytest.approx([0.25])
    assert line.at(99.0) == pytest.approx([0.0])


def test_punctuality_counts_overruns() -> None:
    loop = Punctuality(0.1)
    for due, begun in ((0.0, 0.0), (0.1, 0.15), (0.2, 0.31), (0.4, 0.41)):
        loop.step(due, begun)
    summary = loop.summary()
    assert summary["steps"] == 4
    assert summary["overruns"] == 1
    assert summary["overrun_share"] == 0.25


def test_stage_times_are_summed_up() -> None:
    times = StageTimes()
    for value in (0.001, 0.002, 0.003):
        times.add("stage", value)
    with times.measure("other"):
        pass
    assert times.summary()["stage"]["p50"] == 2.0
    assert times.summary()["other"]["count"] == 1


def test_rollout_drives_an_arm_like_an_environment() -> None:
    env = make_env(max_episode_steps=4)
    infos: list[dict] = []
    try:
        episode = rollout(Constant([0.5, 0, -0.5, 0, 0, 0, -1]), env, 3, lambda i, a, info: infos.append(info))
        assert env.observation_space.contains(episode.final_observation)
        assert len(episode) == 4
        assert episode.truncated
        assert not episode.terminated
        state = episode.observations["state"]
        assert state[-1, 0] > state[0, 0]
        assert state[-1, 2] < state[0, 2]
        assert all(np.abs(info["executed_action"]).max() <= 1.0 for info in infos)
        assert episode.observations["image"].dtype == np.uint8
        again = rollout(Constant([0, 0, 0, 0, 0, 0, 1]), env, 4)
        assert len(again) == 4
        report = env.report()
        assert report["command"]["steps"] > 10
        assert report["stages_ms"]["inverse_kinematics"]["count"] == 8
    finally:
        env.close()
    assert not env.arm.is_connected


def test_the_same_displacement_as_in_direct_simulation() -> None:
    """One step of the environment over an arm ends where one step of the simulation ends."""
    import gymnasium

    import qsft_robot.sim  # noqa: F401

    action = np.array([0.3, 0.4, -0.5, 0, 0, 0.5, 1], np.float32)
    direct = gymnasium.make("qsft_robot/PickPlace-v0", max_episode_steps=10)
    direct.reset(seed=1)
    env = make_env(max_episode_steps=10)
    try:
        env.reset(seed=1)
        for _ in range(4):
            expected, *_ = direct.step(action)
            observed, *_ = env.step(action)
        # the workspace is 0.24 m long: 0.1 of the state's first number is 12 mm
        assert np.allclose(observed["state"][:6], expected["state"][:6], atol=0.2)
    finally:
        env.close()
        direct.close()


def test_a_policy_that_hangs_is_held_by_the_watchdog() -> None:
    env = make_env(max_episode_steps=3)
    try:
        env.reset(seed=0)
        env.step(np.array([1, 0, 0, 0, 0, 0, 0], np.float32))
        deadline = time.monotonic() + 10.0
        while not env.arm.safety.hold_reasons and time.monotonic() < deadline:
            time.sleep(0.01)
        assert Reason.STALE_POLICY in env.arm.safety.hold_reasons
        _, _, _, _, info = env.step(np.zeros(7, np.float32))
        assert not info["success"]
        assert env.arm.safety.hold_reasons == ()
    finally:
        env.close()


def test_a_stop_ends_the_episode_and_the_next_one_arms_again() -> None:
    env = make_env(max_episode_steps=50)
    try:
        env.reset(seed=0)
        env.arm.stop("somebody pressed it")
        _, reward, terminated, _, info = env.step(np.zeros(7, np.float32))
        assert terminated
        assert reward == 0.0
        assert info["stopped"] == "emergency_stop"
        with pytest.raises(ConfigurationError, match="call reset"):
            env.step(np.zeros(7, np.float32))
        env.reset(seed=1)
        assert env.arm.safety.armed
        with pytest.raises(DataError):
            env.step(np.full(7, np.nan, np.float32))
    finally:
        env.close()


def test_an_error_in_a_thread_reaches_the_policy() -> None:
    env = make_env(max_episode_steps=50)
    try:
        env.reset(seed=0)
        writes = env.arm._write

        def broken(positions: np.ndarray, hold: bool) -> None:
            raise ArmError("the cable is out")

        env.arm._write = broken  # type: ignore[method-assign]
        with pytest.raises(ArmError, match="cable"):
            for _ in range(100):
                env.step(np.array([1, 0, 0, 0, 0, 0, 0], np.float32))
        env.arm._write = writes  # type: ignore[method-assign]
        assert not env.arm.safety.armed
    finally:
        env.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [({"policy_rate": 0.0}, "policy rate"), ({"policy_rate": 99.0}, "policy rate"), ({"policy_rate": 0.2}, "stale"),
     ({"max_episode_steps": 0}, "max_episode_steps")],
)  # fmt: skip
def test_impossible_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make_env(**options)


def test_leaving_the_loop_holds_the_arm() -> None:
    arm = SimulatedArm(patient())
    arm.connect()
    held: list[bool] = []
    write = arm._write
    arm._write = lambda positions, hold: (held.append(hold), write(positions, hold))[1]  # type: ignore
    with pytest.raises(RuntimeError, match="defect"), ControlLoop(arm, 50.0, 0.1) as loop:
        arm.arm()
        positions = arm.state().positions
        assert positions is not None
        loop.set_target(np.clip(positions, arm.safety.lower, arm.safety.upper), arm.clock())
        while not held:
            time.sleep(0.01)
        raise RuntimeError("defect")
    assert held[-1]
    assert arm.safety.stop_reason is Reason.EMERGENCY_STOP
    arm.disconnect()


SCRIPT = """
import signal, sys, time, numpy as np
# As at a terminal: what a shell starts in the background inherits a SIGINT that is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
from patience import patient
from qsft_robot.hardware.simulated_arm import SimulatedArm
from qsft_robot.hardware.robot_env import RobotEnv
from qsft_robot.hardware.operators import SceneOperator
from qsft_robot.command import _terminated_as_exit
arm = SimulatedArm(patient())
arm.on_decision.append(lambda now, decision: print(decision.kind.value, flush=True))
env = RobotEnv(arm, SceneOperator(), max_episode_steps=10**6)
with _terminated_as_exit():
    try:
        env.reset(seed=0)
        while True:
            env.step(np.array([0.05, 0, 0, 0, 0, 0, 0], np.float32))
    finally:
        env.close()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_hold_the_arm(number: signal.Signals) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    lines = []
    watchdog = threading.Timer(120, process.kill)
    watchdog.start()
    for line in process.stdout:
        lines.append(line.strip())
        if lines.count("move") == 5 and lines[-1] == "move":
            process.send_signal(number)
    process.wait(timeout=60)
    watchdog.cancel()
    process.stdout.close()
    moving = [line for line in lines if line != "none"]
    assert moving[-1] == "hold"
    assert process.returncode != 0


def keyboard(text: str) -> KeyboardOperator:
    said: list[str] = []
    operator = KeyboardOperator(io.StringIO(text), said.append)
    operator.said = said  # type: ignore[attr-defined]
    return operator


class Quiet(Operator):
    """Nothing to say."""


def test_the_keyboard_starts_ends_and_judges() -> None:
    arm = SimulatedArm(patient())
    operator = keyboard("\ns\n")
    operator.begin_episode(arm, 0)
    assert operator.succeeded(arm)
    assert operator.end_episode(arm, True)
    operator = keyboard("\n\ny\n")
    operator.begin_episode(arm, 0)
    assert operator.ended(arm)
    assert not operator.succeeded(arm)
    assert operator.end_episode(arm, False)
    operator = keyboard("\n \n")
    operator.begin_episode(arm, 0)
    assert operator.ended(arm)
    assert arm.safety.stop_reason is not None
    with pytest.raises(KeyboardInterrupt):
        keyboard("q\n").begin_episode(arm, 0)
    with pytest.raises(KeyboardInterrupt):
        keyboard("").begin_episode(arm, 0)
    assert not Quiet().succeeded(arm)
