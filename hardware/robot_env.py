"""An arm as a Gymnasium environment, so that `rollout` and every agent drive it unchanged.

One step: the action becomes joint targets (from where the arm is measured), the control loop follows them, and after
the policy's period the newest observation is returned. With `wait_for_image` (the default) the observation is the
first image taken after that period, so that a decision never rests on a picture from before the last one was carried
out. Episodes begin and end by the operator (`hardware.operators`); success is entered or detected.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import gymnasium
import numpy as np

from qsft_robot.errors import ConfigurationError
from qsft_robot.hardware.actions import ACTION_SIZE, STATE_LIMIT, STATE_SIZE, CartesianActions
from qsft_robot.hardware.adapter import ARMING_PATIENCE, ArmAdapter, ArmError, ArmState
from qsft_robot.hardware.control_loop import ControlLoop
from qsft_robot.hardware.operators import Operator
from qsft_robot.hardware.reasons import Reason
from qsft_robot.hardware.timing import Punctuality

logger = logging.getLogger(__name__)

BLEND_SHARE = 0.5
"""Share of the policy's period in which a new target is reached; in the rest the arm catches up with it, so that a step
ends where it was meant to, as it does in simulation (what is left is lost: the next step starts from where the arm is
measured)."""

POSITION_TOLERANCE = 0.02
ROTATION_TOLERANCE = 0.2
"""What inverse kinematics may leave of a wanted pose, m and rad, before the decision counts as unreachable."""


class RobotEnv(gymnasium.Env[dict[str, np.ndarray], np.ndarray]):
    """An arm behind `reset` and `step`.

    Args:
        arm: an adapter; connected by `reset` if it is not.
        operator: begins and ends episodes and says what succeeded.
        max_episode_steps: actions until an episode is truncated.
        policy_rate: decisions per second; None for the description's.
        wait_for_image: return an image taken after the step's period, however long that takes (up to the age at
            which the safety filter calls images stale).

    Raises:
        ConfigurationError: a number is out of range.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012  (Gymnasium's name and type)

    def __init__(
        self,
        arm: ArmAdapter,
        operator: Operator,
        max_episode_steps: int = 100,
        policy_rate: float | None = None,
        wait_for_image: bool = True,
    ) -> None:
        description = arm.description
        self.arm, self.operator = arm, operator
        rate = description.rates.policy if policy_rate is None else policy_rate
        if not np.isfinite(rate) or not 0 < rate <= description.rates.command:
            raise ConfigurationError(
                f"a policy rate of {rate} is not possible: above 0, at most {description.rates.command}"
            )
        if max_episode_steps < 1:
            raise ConfigurationError(f"max_episode_steps is {max_episode_steps}, expected at least 1")
        if description.safety.policy_age < 1.0 / rate:
            raise ConfigurationError(
                f"decisions at {rate} per second would always be stale: safety.policy_age is "
                f"{description.safety.policy_age} s"
            )
        self.period = 1.0 / rate
        self.max_episode_steps = max_episode_steps
        self._wait_for_image = wait_for_image and description.camera is not None
        self._actions = CartesianActions(description, arm.kinematics)
        self.loop = ControlLoop(arm, description.rates.command, BLEND_SHARE * self.period)
        self.policy_punctuality = Punctuality(self.period)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (ACTION_SIZE,), np.float32)
        spaces: dict[str, gymnasium.Space[Any]] = {
            "state": gymnasium.spaces.Box(-STATE_LIMIT, STATE_LIMIT, (STATE_SIZE,), np.float32)
        }
        if description.camera is not None:
            shape = (description.camera.height, description.camera.width, 3)
            spaces[description.camera.key] = gymnasium.spaces.Box(0, 255, shape, np.uint8)
        self.observation_space: gymnasium.spaces.Dict = gymnasium.spaces.Dict(spaces)  # type: ignore[assignment]
        self._steps = 0
        self._running = False
        self._gripper_target = self._actions.gripper_open
        self._due = 0.0
        self._observed_at = 0.0
        self._returned_at: float | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Connect if need be, let the operator prepare the scene, arm, and return the first observation.

        Raises:
            ArmError: the arm does not answer.
            ArmingRefusedError: it cannot be armed.
        """
        super().reset(seed=seed)
        self.loop.check()
        self.connect()
        self.loop.clear_target()
        self.operator.begin_episode(self.arm, int(seed or 0))
        if not self.arm.safety.armed:
            self.arm.arm(ARMING_PATIENCE)
        self.arm.safety.begin_episode(self.arm.clock())
        self._steps, self._running = 0, True
        state = self._fresh_state(self.arm.clock())
        self._gripper_target = self._nearest_gripper(state)
        self._due = self.arm.clock()
        self._returned_at = None
        return self._observation(state), {"success": False}

    def connect(self) -> None:
        """Connect the arm, which stays disarmed, if it is not connected.

        Raises:
            ArmError: the arm does not answer.
        """
        if not self.arm.is_connected:
            self.arm.connect()
            self.loop.start()

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Carry out one action.

        Returns:
            Observation, reward (1.0 on success), terminated (success, or the arm was stopped), truncated (time
            limit, or the operator ended the episode), info with `success`, `reasons`, `sent` (joint positions, rad) and
            `executed_action` (what was really carried out, as an action).

        Raises:
            DataError: the action has the wrong shape or holds NaN or infinity.
            ArmError: the arm was lost.
        """
        if not self._running:
            raise ConfigurationError("step() was called outside of an episode: call reset() first")
        begun = self.arm.clock()
        interventions = self.arm.safety.interventions
        if self._returned_at is not None:
            self.loop.times.add("policy", begun - self._returned_at)
        measured = self.arm.state().positions
        if measured is None:
            raise ArmError("the arm has not reported its joints")
        with self.loop.times.measure("inverse_kinematics"):
            targets = self._actions.targets(action, measured, self._gripper_target)
        self._gripper_target = float(targets.positions[-1])
        reasons: tuple[Reason, ...] = ()
        if targets.position_error > POSITION_TOLERANCE or targets.rotation_error > ROTATION_TOLERANCE:
            reasons = (Reason.UNREACHABLE,)
            self.arm.safety.counts[Reason.UNREACHABLE] += 1
        reasons += self.loop.set_target(targets.positions, self._observed_at)
        self.policy_punctuality.step(self._due, begun)
        self._due = max(self._due + self.period, begun + self.period / 2.0)
        self._sleep_until(self._due)
        state = self._fresh_state(self._due if self._wait_for_image else -np.inf)
        self._steps += 1
        sent = self.arm.last_sent
        executed = np.clip(np.asarray(action, np.float32), -1.0, 1.0)
        if sent is not None and (reasons or self.arm.safety.interventions > interventions):
            executed = self._actions.action_of(measured, sent, executed)
        stopped = not self.arm.safety.armed
        success = self.operator.succeeded(self.arm)
        ended = self.operator.ended(self.arm)
        terminated = success or stopped
        truncated = not terminated and (ended or self._steps >= self.max_episode_steps)
        info: dict[str, Any] = {
            "success": success,
            "reasons": [reason.value for reason in (*reasons, *self.arm.safety.hold_reasons)],
            "sent": sent,
            "executed_action": executed,
        }
        if stopped and self.arm.safety.stop_reason is not None:
            info["stopped"] = self.arm.safety.stop_reason.value
        if terminated or truncated:
            self._running = False
            self.loop.clear_target()
            info["success"] = success = self.operator.end_episode(self.arm, success)
        self._returned_at = self.arm.clock()
        return self._observation(state), float(success), terminated, truncated, info

    def close(self) -> None:
        """Tell the arm to hold and leave it."""
        self._running = False
        self.loop.close("environment closed")
        self.arm.disconnect()

    def report(self) -> dict[str, Any]:
        """The control loop's own report, with the policy's punctuality."""
        return {"policy": self.policy_punctuality.summary(), **self.loop.report()}

    def _observation(self, state: ArmState) -> dict[str, np.ndarray]:
        assert state.positions is not None
        observation: dict[str, np.ndarray] = dict(state.images)
        observation["state"] = self._actions.state(state.positions)
        now = self.arm.clock()
        self._observed_at = now
        self.loop.times.add("joint_state_age", now - state.stamp)
        for stamp in state.image_stamps.values():
            self.loop.times.add("image_age", now - stamp)
        return observation

    def _fresh_state(self, since: float) -> ArmState:
        """The newest state, with an image taken at `since` or later; waits for it, but not for ever."""
        camera = self.arm.description.camera
        give_up = self.arm.clock() + self.arm.description.safety.image_age + 1.0
        while True:
            self.loop.check()
            state = self.arm.state()
            complete = state.positions is not None and (camera is None or camera.key in state.images)
            taken = np.inf if camera is None else state.image_stamps.get(camera.key, -np.inf)
            if complete and (taken >= since or not self.arm.safety.armed):
                return state
            if self.arm.clock() > give_up:
                if complete:
                    return state  # the safety filter has long held the arm for the stale image
                raise ArmError(f"{self.arm.name} sends no complete observation (joint states and images)")
            self._sleep(0.002)

    def _nearest_gripper(self, state: ArmState) -> float:
        """The gripper's target at the start: the end of its range that it is nearer to."""
        assert state.positions is not None
        measured = float(state.positions[-1])
        ends = (self._actions.gripper_open, self._actions.gripper_closed)
        return min(ends, key=lambda end: abs(end - measured))

    def _sleep_until(self, moment: float) -> None:
        left = moment - self.arm.clock()
        if left > 0:
            self._sleep(left)

    def _sleep(self, seconds: float) -> None:
        time.sleep(seconds)
