"""Timing of the control loop: policy and command rate, overruns, jitter, and latency per stage.

A policy of the configured model (from `checkpoint`, else with fresh weights: the time is the same) drives the simulated
arm in this process at 20 decisions and 50 commands per second, as it would drive a real one.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from qsft_robot.config.commands import BenchmarkConfig

POLICY_RATE = 20.0


def run(config: BenchmarkConfig) -> dict[str, Any]:
    """Run the loop for `suite.seconds` and return its own report."""
    from qsft_robot.hardware.adapter import make_arm
    from qsft_robot.hardware.description import RobotDescription, changed
    from qsft_robot.hardware.operators import SceneOperator
    from qsft_robot.hardware.robot_env import RobotEnv

    description = changed(RobotDescription.load("virtual"), rates={"policy": POLICY_RATE})
    arm = make_arm("simulated", description)
    env = RobotEnv(arm, SceneOperator(), max_episode_steps=10**9, wait_for_image=False)
    agent = _agent(config)
    seconds = config.suite.seconds  # type: ignore[attr-defined]
    try:
        observation, _ = env.reset(seed=config.seed)
        agent.reset(config.seed)
        end = time.monotonic() + seconds
        steps = 0
        while time.monotonic() < end:
            action = agent.act(observation)
            # Slow circles: the arm moves all the time, whatever the policy's weights are.
            action = np.asarray(action, np.float32) * 0.1
            action[:2] += 0.2 * np.array([np.cos(0.2 * steps), np.sin(0.2 * steps)], np.float32)
            observation, _, terminated, truncated, _ = env.step(action)
            steps += 1
            arm.safety.begin_episode(arm.clock())
            if terminated or truncated:
                observation, _ = env.reset(seed=config.seed + steps)
        report = env.report()
    finally:
        env.close()
    overruns = {name: report[name]["overrun_share"] for name in ("policy", "command", "watchdog")}
    return {"seconds": seconds, "agent": agent.name, "overrun_shares": overruns, **report}


def _agent(config: BenchmarkConfig) -> Any:
    import torch

    from qsft_robot.agents.token_agent import TokenAgent

    torch.set_num_threads(1)  # the other core is for the loop
    if config.checkpoint is not None:
        return TokenAgent.from_checkpoint(config.checkpoint)
    from qsft_robot.benchmarks.inference import _policy

    return TokenAgent(_policy(config, getattr(config.model, "history", 1)))
