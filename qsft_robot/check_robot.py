"""python -m qsft_robot.check_robot robot=...: the acceptance test of an arm, before any policy; says what is wrong."""

from __future__ import annotations

from typing import Any

from qsft_robot.command import run
from qsft_robot.config.robots import CheckRobotConfig
from qsft_robot.errors import QsftRobotError


class RobotFaultyError(QsftRobotError):
    """The arm did not pass; the message lists what is wrong with it."""


def main(config: CheckRobotConfig) -> dict[str, Any]:
    """Check the arm.

    Raises:
        RobotFaultyError: at least one check failed.
    """
    import numpy as np

    from qsft_robot.hardware.adapter import make_arm
    from qsft_robot.hardware.check import check_robot
    from qsft_robot.hardware.description import RobotDescription

    description = RobotDescription.load(config.robot.description)
    expected = None
    if config.dataset is not None and description.camera is not None:
        from qsft_robot.datasets.store import TrajectoryStore

        store = TrajectoryStore.open(config.dataset)
        pictures = store.episode(0).observations[description.camera.key]
        expected = np.asarray(pictures, float).reshape(-1, 3).mean(axis=0)
    arm = make_arm(config.robot.adapter, description, config.robot.dry_run)
    findings = check_robot(arm, config.move and not config.robot.dry_run, expected, config.seconds)
    if findings.failed:
        raise RobotFaultyError("the arm did not pass:\n" + "\n".join(findings.failed))
    return {"robot": config.robot.name, "description": description.name, **findings.result()}


if __name__ == "__main__":
    raise SystemExit(run(CheckRobotConfig, main))
