"""Closed-form kinematics against the physics engine's, and against themselves."""

import numpy as np
import pybullet
import pytest

from qsft_robot.sim.countertop import kinematics
from qsft_robot.sim.countertop.arm import URDF

TOOL_OFFSET = 0.093575


@pytest.fixture
def arm():
    client = pybullet.connect(pybullet.DIRECT)
    yield pybullet.loadURDF(str(URDF), useFixedBase=True, physicsClientId=client), client
    pybullet.disconnect(client)


def test_description_has_the_published_joints(arm):
    body, client = arm
    joints = [pybullet.getJointInfo(body, i, physicsClientId=client) for i in range(8)]
    assert pybullet.getNumJoints(body, physicsClientId=client) == 8
    names = ["waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "left_finger", "right_finger"]
    assert [joint[1].decode() for joint in joints] == names
    assert np.allclose([joint[8] for joint in joints[:6]], kinematics.JOINT_LOWER, atol=1e-5)
    assert np.allclose([joint[9] for joint in joints[:6]], kinematics.JOINT_UPPER, atol=1e-5)
    assert [joint[10] for joint in joints[:6]] == [10, 20, 15, 2, 5, 1]
    assert [joint[8:10] for joint in joints[6:]] == [(0.015, 0.037), (-0.037, -0.015)]


def test_forward_agrees_with_the_physics_engine(arm):
    body, client = arm
    random = np.random.default_rng(0)
    for _ in range(100):
        joints = random.uniform(kinematics.JOINT_LOWER, kinematics.JOINT_UPPER)
        for i, angle in enumerate(joints):
            pybullet.resetJointState(body, i, angle, physicsClientId=client)
        state = pybullet.getLinkState(body, 5, computeForwardKinematics=True, physicsClientId=client)
        expected = np.array(pybullet.getMatrixFromQuaternion(state[5])).reshape(3, 3)
        position, rotation = kinematics.forward(joints)
        assert np.allclose(np.reshape(rotation, (3, 3)), expected, atol=1e-5)
        assert np.allclose(position, np.array(state[4]) + TOOL_OFFSET * expected[:, 0], atol=1e-5)


def test_inverse_reaches_wherever_a_task_takes_the_hand():
    random = np.random.default_rng(1)
    for _ in range(500):
        goal = tuple(random.uniform((0.19, -0.22, 0.016), (0.40, 0.22, 0.20)).tolist())
        turn = kinematics.from_rotation_vector((0.0, 0.0, random.uniform(-1.0, 1.0)))
        rotation = kinematics.multiply(turn, kinematics.HAND_DOWN)
        position, reached = kinematics.forward(kinematics.inverse(goal, rotation, (0.0,) * 6))
        assert np.allclose(position, goal, atol=1e-9)
        assert np.allclose(reached, rotation, atol=1e-9)


def test_inverse_of_forward_returns_to_the_same_pose_and_keeps_the_nearer_wrist():
    random = np.random.default_rng(2)
    for _ in range(200):
        joints = np.array([0.4, 0.2, -0.3, 0.0, 1.2, 0.0]) + random.uniform(-0.5, 0.5, 6)
        found = kinematics.inverse(*kinematics.forward(joints), joints)
        assert np.allclose(found, joints, atol=1e-6)


@pytest.mark.parametrize("roll", [-0.7, 0.0, 1.3])
def test_straight_wrist_keeps_its_roll(roll):
    joints = [0.2, 0.1, 0.3, roll, 0.0, 0.4]
    position, rotation = kinematics.forward(joints)
    assert np.allclose(kinematics.inverse(position, rotation, joints), joints, atol=1e-6)


@pytest.mark.parametrize("goal", [(2.0, 0.0, 0.1), (0.3, 0.0, 3.0), (0.02, 0.0, 0.0), (-0.5, 0.4, 0.2)])
def test_inverse_stays_within_the_limits_when_the_goal_is_out_of_reach(goal):
    joints = kinematics.inverse(goal, kinematics.HAND_DOWN, (0.0,) * 6)
    assert np.isfinite(joints).all()
    assert (np.array(joints) >= kinematics.JOINT_LOWER).all()
    assert (np.array(joints) <= kinematics.JOINT_UPPER).all()


def test_rotation_vectors_round_trip():
    random = np.random.default_rng(3)
    for _ in range(200):
        vector = random.uniform(-1.5, 1.5, 3)
        rotation = kinematics.from_rotation_vector(vector)
        assert np.allclose(kinematics.to_rotation_vector(rotation), vector, atol=1e-9)
        unit = kinematics.multiply(rotation, kinematics.transpose(rotation))
        assert np.allclose(np.reshape(unit, (3, 3)), np.eye(3), atol=1e-12)
    assert kinematics.to_rotation_vector(kinematics.from_rotation_vector((0.0, 0.0, 0.0))) == (0.0, 0.0, 0.0)
