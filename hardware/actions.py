"""What an action means for an arm, and what its joints look like as an observation: as in the simulated countertop.

An action is seven numbers in [-1, 1]: tool translation (x, y, z), tool rotation vector, gripper. Translation and
rotation start from where the tool is measured; the wanted position stays in the policy's workspace, the wanted
rotation near hand-down; a positive last number opens the gripper, a negative one closes it, zero keeps it.
The observed `state` is the tool's position (workspace mapped to [-1, 1]), its rotation vector from hand-down (rad), and
the gripper's opening (-1 closed, 1 open). tests/hardware/test_actions.py runs both this code and the simulation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from qsft_robot.errors import DataError
from qsft_robot.hardware.description import RobotDescription
from qsft_robot.hardware.kinematics import Kinematics

ACTION_SIZE = 7
STATE_SIZE = 7
STATE_LIMIT = 5.0


@dataclass(frozen=True)
class Targets:
    """Where an action sends the joints.

    Attributes:
        positions: (J,) arm joints and gripper, rad (m), in the order of the description's names.
        position_error: what inverse kinematics left of the wanted tool position, m.
        rotation_error: what it left of the wanted rotation, rad.
    """

    positions: np.ndarray
    position_error: float
    rotation_error: float


class CartesianActions:
    """Turns actions into joint targets and joint positions into the observed state, for one arm."""

    def __init__(self, description: RobotDescription, kinematics: Kinematics) -> None:
        self._scale = description.action
        self._gripper = description.gripper
        self._kinematics = kinematics
        self._arm_joints = len(description.joints)
        self._lower = np.array(self._scale.workspace_lower)
        self._upper = np.array(self._scale.workspace_upper)
        self._hand_down = Rotation.from_matrix(self._scale.hand_down)
        limits = description.safety.joints[self._gripper.limits.name].margin
        low, high = self._gripper.limits.lower + limits, self._gripper.limits.upper - limits
        self.gripper_open = float(np.clip(self._gripper.open, low, high))
        self.gripper_closed = float(np.clip(self._gripper.closed, low, high))

    def targets(self, action: np.ndarray, measured: np.ndarray, gripper_target: float) -> Targets:
        """Joint targets of one action.

        Args:
            action: (7,) numbers, clipped to [-1, 1].
            measured: (J,) measured joint positions, gripper last, rad (m).
            gripper_target: where the gripper was last sent, kept when the action's last number is 0.

        Raises:
            DataError: the action has another shape or holds NaN or infinity.
        """
        values = np.asarray(action, dtype=np.float64)
        if values.shape != (ACTION_SIZE,) or not np.isfinite(values).all():
            raise DataError(f"an action is 7 finite numbers in [-1, 1], got shape {values.shape}: {action!r}")
        values = np.clip(values, -1.0, 1.0)
        joints = measured[: self._arm_joints]
        tool = self._kinematics.forward(joints)
        position = np.clip(tool[:3, 3] + self._scale.translation * values[:3], self._lower, self._upper)
        turned = Rotation.from_rotvec(self._scale.rotation * values[3:6]) * Rotation.from_matrix(tool[:3, :3])
        limit = np.array([self._scale.tilt_limit, self._scale.tilt_limit, self._scale.turn_limit])
        offset = np.clip((turned * self._hand_down.inv()).as_rotvec(), -limit, limit)
        pose = np.eye(4)
        pose[:3, :3] = (Rotation.from_rotvec(offset) * self._hand_down).as_matrix()
        pose[:3, 3] = position
        solution = self._kinematics.inverse(pose, joints)
        turn = solution.positions - joints
        largest = float(np.abs(turn).max())
        if largest > self._scale.joint_step:
            turn = turn * (self._scale.joint_step / largest)
        if values[6] > 0.0:
            gripper_target = self.gripper_open
        elif values[6] < 0.0:
            gripper_target = self.gripper_closed
        positions = np.append(joints + turn, gripper_target)
        return Targets(positions, solution.position_error, solution.rotation_error)

    def state(self, measured: np.ndarray) -> np.ndarray:
        """The observed state (7,) float32 of joint positions (J,), gripper last."""
        tool = self._kinematics.forward(measured[: self._arm_joints])
        place = (2.0 * tool[:3, 3] - self._lower - self._upper) / (self._upper - self._lower)
        tilt = (Rotation.from_matrix(tool[:3, :3]) * self._hand_down.inv()).as_rotvec()
        opened, closed = self._gripper.open, self._gripper.closed
        opening = 2.0 * (measured[self._arm_joints] - closed) / (opened - closed) - 1.0
        state = np.concatenate([place, tilt, [opening]])
        return np.clip(state, -STATE_LIMIT, STATE_LIMIT).astype(np.float32)

    def action_of(self, measured: np.ndarray, sent: np.ndarray, asked: np.ndarray) -> np.ndarray:
        """The action that would have sent the arm where it was really sent: what a recording keeps after a limit.

        Args:
            measured: (J,) positions when the action was asked for.
            sent: (J,) positions that were sent last for it.
            asked: (7,) the action that was asked for; its gripper command stays.

        Returns:
            (7,) float32 in [-1, 1].
        """
        before = self._kinematics.forward(measured[: self._arm_joints])
        after = self._kinematics.forward(sent[: self._arm_joints])
        move = (after[:3, 3] - before[:3, 3]) / self._scale.translation
        turn = Rotation.from_matrix(after[:3, :3] @ before[:3, :3].T).as_rotvec() / self._scale.rotation
        return np.clip(np.concatenate([move, turn, asked[6:]]), -1.0, 1.0).astype(np.float32)
