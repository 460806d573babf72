"""What holds for every text game."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from qsft_robot.agents.rollout import rollout
from qsft_robot.errors import ConfigurationError, DataError


def check_game(make: Callable[..., gymnasium.Env], agent_of: Callable[[Any], Any]) -> None:
    """Gymnasium's checks, seeds, spaces, refusals: one list for all games."""
    env, other = make(), make()
    check_env(env.unwrapped, skip_render_check=True)
    agent = agent_of(env)
    for seed in range(6):
        observation, info = env.reset(seed=seed)
        assert info["success"] is False
        assert info["valid"] is True
        agent.reset(seed)
        done = False
        while not done:
            assert env.observation_space.contains(observation), observation
            action = agent.act({"text": np.array(observation)})
            if info.get("legal_actions") is not None:
                assert action in info["legal_actions"]
            assert env.action_space.contains(action), action
            observation, reward, terminated, truncated, info = env.step(action)
            assert isinstance(reward, float)
            assert info["valid"] is True
            done = terminated or truncated
        assert env.observation_space.contains(observation)
        with pytest.raises(DataError, match="call reset"):
            env.step(action)
    for seed in (3, 11):
        rollout(agent, env, seed + 1)
        first, again = rollout(agent, env, seed), rollout(agent_of(other), other, seed)
        for one, two in ((first.actions, again.actions), (first.observations["text"], again.observations["text"])):
            np.testing.assert_array_equal(one, two, strict=True)
        np.testing.assert_array_equal(first.rewards, again.rewards, strict=True)
    starts = {str(rollout(agent, env, seed).observations["text"][-1]) for seed in range(8)}
    assert len(starts) > 3
    env.reset(seed=0)
    with pytest.raises(DataError, match="an action is a text, got int"):
        env.step(3)
    for odd in ("", "\0\x07", "ö" * 500, "search[", "\n\n", "a" * 5000):
        env.reset(seed=1)
        observation, _, _, _, info = env.step(odd)
        assert env.observation_space.contains(observation)
        assert info["valid"] is False
    assert make(render_mode="ansi").reset(seed=0)[0]
    with pytest.raises(ConfigurationError, match="ansi"):
        make(render_mode="rgb_array")


@pytest.fixture(scope="session")
def checked() -> Callable[..., None]:
    return check_game
