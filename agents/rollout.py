"""One function that drives every body: simulated arm, real arm, household, text game."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

from qsft_robot.agents.base import Agent, Observation, as_observation
from qsft_robot.datasets.episode import Episode, text_array


def rollout(
    agent: Agent,
    env: gymnasium.Env,
    seed: int,
    on_step: Callable[[int, Any, dict[str, Any]], None] | None = None,
) -> Episode:
    """Play one episode with `agent` in `env`; both are reset with `seed`.

    Args:
        agent: what acts.
        env: a Gymnasium environment with Dict or Text observations, Box or Text actions, and `info["success"]`.
        seed: determines the environment's and the agent's random choices.
        on_step: called after every step with (step index, action, info), for example to take video frames.

    Returns:
        The episode; it ends when the environment terminates or truncates.
    """
    received, info = env.reset(seed=seed)
    observation = as_observation(received)
    agent.reset(seed)
    observations: list[Observation] = []
    actions: list[Any] = []
    rewards: list[float] = []
    terminated = truncated = False
    while not (terminated or truncated):
        agent.inform(info)
        action = agent.act(observation)
        observations.append(observation)
        received, reward, terminated, truncated, info = env.step(action)
        observation = as_observation(received)
        actions.append(action if isinstance(action, str) else np.asarray(action, dtype=np.float32))
        rewards.append(float(reward))
        if on_step is not None:
            on_step(len(actions) - 1, action, info)
    return Episode(
        observations={key: np.stack([each[key] for each in observations]) for key in observation},
        actions=text_array(actions) if isinstance(actions[0], str) else np.stack(actions),
        rewards=np.asarray(rewards, dtype=np.float32),
        final_observation=dict(observation),
        terminated=bool(terminated),
        truncated=bool(truncated),
        success=bool(info["success"]),
        seed=seed,
        policy=agent.name,
    )
