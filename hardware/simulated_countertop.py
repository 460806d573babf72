"""A countertop whose arm takes joint positions, in real or given time: the world of the simulated and virtual arms."""

from __future__ import annotations

from typing import Any

import numpy as np

from qsft_robot.errors import ConfigurationError


class SimulatedCountertop:
    """A task of the simulated countertop, driven by joint targets instead of actions.

    Args:
        env_id: registered id of a countertop environment with image observations.
        options: keywords of its constructor.
        joint_names: the six arm joints and the finger, in the order of positions here.

    Raises:
        ConfigurationError: `env_id` is no countertop environment or takes other options, or the joints are not seven.
    """

    def __init__(self, env_id: str, options: dict[str, Any], joint_names: tuple[str, ...]) -> None:
        import gymnasium

        import qsft_robot.sim  # noqa: F401  (registers the environments)
        from qsft_robot.sim.countertop import environment

        try:
            made = gymnasium.make(env_id, **options).unwrapped
        except TypeError:
            raise ConfigurationError(
                f"{env_id} is no countertop environment that takes {', '.join(sorted(options))}: a simulated arm "
                "needs a policy for one"
            ) from None
        if not isinstance(made, environment.CountertopEnv):
            raise ConfigurationError(f"{env_id} is no countertop environment")
        if len(joint_names) != 7:
            raise ConfigurationError(f"the simulated arm has six joints and a finger, not {len(joint_names)} joints")
        self.env = made
        self.names = joint_names
        self.step_seconds = 1.0 / environment.PHYSICS_RATE
        self._check_every = environment.PHYSICS_STEPS
        self._steps = 0
        self._left_over = 0.0
        self.succeeded = False
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Start the episode of that seed; the arm is where the task starts it."""
        self.env.reset(seed=seed)
        self._steps, self._left_over, self.succeeded = 0, 0.0, False

    def set_targets(self, positions: np.ndarray) -> None:
        """Command joint positions (7,), rad and m for the finger."""
        import pybullet

        from qsft_robot.sim.countertop import arm

        self.env.arm.command_joints([float(value) for value in positions[:6]])
        finger = float(positions[6])
        pybullet.setJointMotorControlArray(
            self.env.arm.body,
            arm.FINGER_JOINTS,
            pybullet.POSITION_CONTROL,
            targetPositions=(finger, -finger),
            forces=(arm.FINGER_EFFORT,) * 2,
            positionGains=(arm.FINGER_GAIN,) * 2,
            physicsClientId=self.env._client,
        )

    def advance(self, seconds: float) -> None:
        """Let that much time pass, in whole physics steps; what is left over is kept for the next call."""
        self._left_over += seconds
        while self._left_over >= self.step_seconds:
            self._left_over -= self.step_seconds
            self.env._advance(1)
            self._steps += 1
            if self._steps % self._check_every == 0 and not self.succeeded:
                self.succeeded = bool(self.env._succeeded())

    def positions(self) -> np.ndarray:
        """Measured joint positions (7,), rad and m for the finger."""
        joints, gap = self.env.arm.read()
        return np.array([*joints, gap / 2.0])

    def efforts(self) -> np.ndarray:
        """Motor torques (7,) of the last physics step, N m and N for the finger."""
        import pybullet

        from qsft_robot.sim.countertop import arm

        joints = arm.ARM_JOINTS + arm.FINGER_JOINTS[:1]
        states = pybullet.getJointStates(self.env.arm.body, joints, physicsClientId=self.env._client)
        return np.array([state[3] for state in states])

    def picture(self) -> np.ndarray:
        """The first camera's image, (height, width, 3) uint8 RGB."""
        return np.asarray(self.env._observe()["image"])

    def close(self) -> None:
        """Release the physics client."""
        self.env.close()
