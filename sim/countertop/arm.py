"""The arm in a physics client: motors, joint limits, and the step from an action to joint targets.

Published efforts and velocity limits hold: the motors are given the published torques, and a command that would turn a
joint faster than its limit is shortened, all joints by the same factor.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pybullet

from qsft_robot.sim.countertop import kinematics
from qsft_robot.sim.countertop.kinematics import Rotation, Vector

URDF = Path(__file__).parent / "assets" / "wx250s.urdf"

ARM_JOINTS = (0, 1, 2, 3, 4, 5)
FINGER_JOINTS = (6, 7)
GRIPPER_LINKS = (5, 6, 7)
COLLIDING_LINKS = (4, 5, 6, 7)
JOINT_EFFORT = (10.0, 20.0, 15.0, 2.0, 5.0, 1.0)
"""Published effort limits, N m."""

POSITION_GAIN = 0.2
"""Share of the remaining joint error that the motors remove per physics step."""

FINGER_CLOSED = 0.015
FINGER_OPEN = 0.037
"""Published range of a finger's joint, m."""

FINGER_EFFORT = 5.0
"""Published effort limit of a finger, N."""

FINGER_GAIN = 0.2
FINGER_FRICTION = 1.6

NEUTRAL_POSITION: Vector = (0.26, 0.0, 0.16)
"""Where the tool is when an episode starts, m, where the task does not move it."""


class Arm:
    """A WidowX 250 S whose base stands at the origin of the world.

    Args:
        client: id of a physics client.
        step_seconds: time from one action to the next, for the joints' velocity limits.
    """

    def __init__(self, client: int, step_seconds: float) -> None:
        self._client = client
        self._largest_turn = kinematics.JOINT_VELOCITY * step_seconds
        self.body: int = pybullet.loadURDF(
            str(URDF),
            useFixedBase=True,
            flags=pybullet.URDF_USE_INERTIA_FROM_FILE,
            physicsClientId=client,
        )
        for joint in ARM_JOINTS + FINGER_JOINTS:
            pybullet.changeDynamics(
                self.body, joint, linearDamping=0.0, angularDamping=0.0, jointDamping=0.0, physicsClientId=client
            )
        for joint in FINGER_JOINTS:
            pybullet.changeDynamics(
                self.body, joint, lateralFriction=FINGER_FRICTION, spinningFriction=0.01, physicsClientId=client
            )
        self.neutral_joints = kinematics.inverse(NEUTRAL_POSITION, kinematics.HAND_DOWN, (0.0,) * 6)
        self.reset()

    def reset(self) -> None:
        """Put the arm into the neutral pose, at rest, with the gripper open."""
        self._set_joints(self.neutral_joints)
        for joint, sign in zip(FINGER_JOINTS, (1.0, -1.0), strict=True):
            pybullet.resetJointState(self.body, joint, sign * FINGER_OPEN, 0.0, physicsClientId=self._client)
        self.command_neutral()

    def start_at(self, position: Vector) -> None:
        """Put the tool at `position` (m), hand down and at rest, and command the arm to stay there."""
        joints = kinematics.inverse(position, kinematics.HAND_DOWN, self.neutral_joints)
        self._set_joints(joints)
        self.command_joints(joints)

    def _set_joints(self, angles: Sequence[float]) -> None:
        for joint, angle in zip(ARM_JOINTS, angles, strict=True):
            pybullet.resetJointState(self.body, joint, angle, 0.0, physicsClientId=self._client)

    def command_neutral(self) -> None:
        """Command the neutral pose and an open gripper, whatever was commanded before."""
        self.command_joints(self.neutral_joints)
        self.command_gripper(opened=True)

    def read(self) -> tuple[list[float], float]:
        """Joint angles (6, rad) and the gap between the fingers' joints (m, 0.030 to 0.074)."""
        states = pybullet.getJointStates(self.body, ARM_JOINTS + FINGER_JOINTS, physicsClientId=self._client)
        return [state[0] for state in states[:6]], states[6][0] - states[7][0]

    def command_pose(self, position: Vector, rotation: Rotation, joints: Sequence[float]) -> None:
        """Command the joints towards a tool pose, from the present angles `joints`, within their velocity limits."""
        target = kinematics.inverse(position, rotation, joints)
        largest = max(abs(goal - now) for goal, now in zip(target, joints, strict=True))
        if largest > self._largest_turn:
            share = self._largest_turn / largest
            target = [now + share * (goal - now) for goal, now in zip(target, joints, strict=True)]
        self.command_joints(target)

    def command_joints(self, target: Sequence[float]) -> None:
        """Command six joint angles, rad."""
        pybullet.setJointMotorControlArray(
            self.body,
            ARM_JOINTS,
            pybullet.POSITION_CONTROL,
            targetPositions=target,
            forces=JOINT_EFFORT,
            positionGains=(POSITION_GAIN,) * 6,
            physicsClientId=self._client,
        )

    def command_gripper(self, opened: bool) -> None:
        """Command both fingers to open or to close."""
        goal = FINGER_OPEN if opened else FINGER_CLOSED
        pybullet.setJointMotorControlArray(
            self.body,
            FINGER_JOINTS,
            pybullet.POSITION_CONTROL,
            targetPositions=(goal, -goal),
            forces=(FINGER_EFFORT,) * 2,
            positionGains=(FINGER_GAIN,) * 2,
            physicsClientId=self._client,
        )

    def touches(self, body: int) -> bool:
        """Whether the hand or a finger touches a body."""
        return any(
            contact[3] in GRIPPER_LINKS
            for contact in pybullet.getContactPoints(self.body, body, physicsClientId=self._client)
        )

    def holds(self, body: int) -> bool:
        """Whether both fingers press on a body."""
        links = {
            contact[3]
            for contact in pybullet.getContactPoints(self.body, body, physicsClientId=self._client)
            if contact[9] > 0.0
        }
        return FINGER_JOINTS[0] in links and FINGER_JOINTS[1] in links
