"""What the operator sees: camera, joints, planned and sent actions, Q-values and interventions, in Rerun.

Live in Rerun's viewer, or as a recording (.rrd) to open later. Extra `visualisation`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from qsft_robot.errors import MissingExtraError
from qsft_robot.hardware.robot_env import RobotEnv
from qsft_robot.hardware.safety import Decision

ACTION_NAMES = ("x", "y", "z", "rotation_x", "rotation_y", "rotation_z", "gripper")


class Visualiser:
    """Logs every step of an environment, and every command that goes to its arm.

    Args:
        env: the environment over the arm.
        path: recording to write; None opens the viewer.

    Raises:
        MissingExtraError: Rerun is not installed.
    """

    def __init__(self, env: RobotEnv, path: Path | None) -> None:
        try:
            import rerun
        except ImportError as error:
            raise MissingExtraError("visualisation", "showing what happens on the arm") from error
        self._rerun, self._env = rerun, env
        self._stream = rerun.RecordingStream("qsft_robot")
        if path is None:
            self._stream.spawn()
        else:
            self._stream.save(str(path))
        env.arm.on_decision.append(self._on_decision)

    def __call__(self, index: int, action: np.ndarray, info: dict[str, Any]) -> None:
        """Log one step: picture, action, what was carried out of it, Q-values, interventions."""
        rerun, stream, arm = self._rerun, self._stream, self._env.arm
        stream.set_time("time", duration=arm.clock())
        state = arm.state()
        for key, image in state.images.items():
            stream.log(f"camera/{key}", rerun.Image(image))
        for name, planned, executed in zip(ACTION_NAMES, action, info["executed_action"], strict=True):
            stream.log(f"action/{name}/planned", rerun.Scalars(float(planned)))
            stream.log(f"action/{name}/carried_out", rerun.Scalars(float(executed)))
        values = info.get("q_values")
        if values is not None:
            for name, value in zip(ACTION_NAMES, values, strict=True):
                stream.log(f"q/{name}", rerun.Scalars(float(value)))
        if info["reasons"]:
            stream.log("interventions", rerun.TextLog(", ".join(info["reasons"])))

    def close(self) -> None:
        """Finish the recording; a file without its end is read slowly, or not at all."""
        self._env.arm.on_decision.remove(self._on_decision)
        self._stream.flush()
        self._stream.disconnect()

    def _on_decision(self, now: float, decision: Decision) -> None:
        rerun, stream, arm = self._rerun, self._stream, self._env.arm
        stream.set_time("time", duration=now)
        measured = arm._state.positions
        if measured is not None:
            for name, value in zip(arm.description.names, measured, strict=True):
                stream.log(f"joints/{name}/measured", rerun.Scalars(float(value)))
            stream.log("tool", rerun.Points3D([arm.kinematics.position(measured[: len(arm.description.joints)])]))
        if decision.positions is not None:
            for name, value in zip(arm.description.names, decision.positions, strict=True):
                stream.log(f"joints/{name}/sent", rerun.Scalars(float(value)))
