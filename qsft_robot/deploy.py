"""python -m qsft_robot.deploy checkpoint=runs/... robot=wx250s: run a policy on an arm, and record what happens."""

from __future__ import annotations

import os
from typing import Any

from qsft_robot.command import run
from qsft_robot.config.robots import DeployConfig


def main(config: DeployConfig) -> dict[str, Any]:
    """Load or reach the policy, then play the episodes."""
    if config.robot.adapter in ("virtual", "ros2"):
        from qsft_robot.hardware.ros2_support import require_rclpy

        require_rclpy()
    if config.policy is not None:
        from qsft_robot.hardware.deployment import deploy
        from qsft_robot.hardware.remote_policy import RemoteAgent

        remote = RemoteAgent(config.policy, config.token or os.environ.get("QSFT_ROBOT_TOKEN"))
        try:
            return deploy(config, remote, remote.times.summary)
        finally:
            remote.close()
    from qsft_robot.agents.token_agent import TokenAgent
    from qsft_robot.hardware.deployment import deploy

    assert config.checkpoint is not None
    agent = TokenAgent.from_checkpoint(config.checkpoint, config.decoding, temperature=config.temperature)
    return deploy(config, agent, task=agent.policy.task)


if __name__ == "__main__":
    raise SystemExit(run(DeployConfig, main))
