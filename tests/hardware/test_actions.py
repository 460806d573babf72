"""Actions and states mean the same on an arm as in the simulated countertop."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

import qsft_robot.sim  # noqa: F401  (registers the environments)
from qsft_robot.errors import DataError
from qsft_robot.hardware.actions import CartesianActions
from qsft_robot.hardware.description import RobotDescription
from qsft_robot.sim.countertop import environment as countertop
from qsft_robot.sim.countertop import kinematics as closed_form


@pytest.fixture(scope="module")
def description() -> RobotDescription:
    return RobotDescription.load("virtual")


@pytest.mark.parametrize("name", ["virtual", "wx250s"])
def test_the_scales_are_the_simulations(name: str) -> None:
    action = RobotDescription.load(name).action
    assert action.translation == countertop.TRANSLATION_SCALE
    assert action.rotation == countertop.ROTATION_SCALE
    assert action.workspace_lower == countertop.WORKSPACE_LOWER
    assert action.workspace_upper == countertop.WORKSPACE_UPPER
    assert action.tilt_limit == countertop.TILT_LIMIT
    assert action.turn_limit == countertop.TURN_LIMIT
    assert action.joint_step == pytest.approx(closed_form.JOINT_VELOCITY / countertop.CONTROL_RATE)
    assert action.hand_down.ravel().tolist() == list(closed_form.HAND_DOWN)


def test_kinematics_agree_with_the_simulations(description: RobotDescription) -> None:
    kinematics = description.kinematics()
    random = np.random.default_rng(0)
    for _ in range(50):
        joints = random.uniform(kinematics.lower, kinematics.upper)
        position, rotation = closed_form.forward(joints.tolist())
        pose = kinematics.forward(joints)
        assert np.allclose(pose[:3, 3], position, atol=1e-6)
        assert np.allclose(pose[:3, :3].ravel(), rotation, atol=1e-6)


def test_the_same_actions_send_both_arms_to_the_same_joints(description: RobotDescription) -> None:
    env = gymnasium.make("qsft_robot/PickPlace-v0", observation="state").unwrapped
    actions = CartesianActions(description, description.kinematics())
    sent: list[list[float]] = []
    command = env.arm.command_joints
    env.arm.command_joints = lambda target: (sent.append(list(target)), command(target))[1]
    random = np.random.default_rng(3)
    differences = []
    for episode in range(4):
        observation, _ = env.reset(seed=episode)
        for _ in range(12):
            joints, gap = env.arm.read()
            measured = np.array([*joints, gap / 2])
            assert np.allclose(actions.state(measured), observation["state"][:7], atol=1e-4)
            action = random.uniform(-1.3, 1.3, 7)
            targets = actions.targets(action, measured, actions.gripper_open)
            observation, _, terminated, truncated, _ = env.step(action.astype(np.float32))
            differences.append(np.abs(targets.positions[:6] - sent[-1]).max())
            if terminated or truncated:
                break
    env.close()
    assert np.max(differences) < 2e-3, differences


def test_the_gripper_opens_closes_and_keeps(description: RobotDescription) -> None:
    actions = CartesianActions(description, description.kinematics())
    measured = np.array([*description.neutral, 0.03])
    for number, wanted in ((1.0, actions.gripper_open), (-0.2, actions.gripper_closed), (0.0, 0.025)):
        action = np.array([0, 0, 0, 0, 0, 0, number])
        assert actions.targets(action, measured, 0.025).positions[6] == wanted


def test_the_neutral_pose_is_the_simulations(description: RobotDescription) -> None:
    position = description.kinematics().position(description.neutral)
    assert np.allclose(position, (0.26, 0.0, 0.16), atol=2e-3)


@pytest.mark.parametrize("action", [np.zeros(6), np.full(7, np.nan), np.full(7, np.inf), np.zeros((7, 1))])
def test_a_bad_action_is_an_error(description: RobotDescription, action: np.ndarray) -> None:
    actions = CartesianActions(description, description.kinematics())
    with pytest.raises(DataError, match="7 finite numbers"):
        actions.targets(action, np.array([*description.neutral, 0.03]), 0.03)
