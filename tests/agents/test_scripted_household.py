"""The expert of the household games: reproducible, and as imperfect as it is told to be."""

from __future__ import annotations

import pytest

import qsft_robot.sim
from qsft_robot.agents.rollout import rollout
from qsft_robot.agents.scripted import make_scripted_agent
from qsft_robot.datasets.episode import TEXT
from qsft_robot.errors import ConfigurationError
from qsft_robot.sim.household import wheel

pytestmark = pytest.mark.skipif(not wheel.installed(), reason="the extra alfworld is not installed")


@pytest.fixture(scope="module")
def env():
    made = qsft_robot.sim.make(qsft_robot.sim.HOUSEHOLD, data="generated", observation="text")
    yield made
    made.close()


def test_an_episode_follows_from_its_seed(env):
    first, second = (rollout(make_scripted_agent(env), env, 3) for _ in range(2))
    assert first.actions.tolist() == second.actions.tolist()
    assert first.actions.dtype == first.observations["text"].dtype == TEXT
    assert first.policy == "scripted_household"


def test_mistakes_make_it_worse(env):
    careful = [rollout(make_scripted_agent(env, perfect=True), env, seed).success for seed in range(12)]
    careless = [rollout(make_scripted_agent(env, slips=0.8, forgetting=0.9), env, seed).success for seed in range(12)]
    assert sum(careful) >= 9
    assert sum(careless) <= 6


def test_unknown_mistakes_are_refused(env):
    with pytest.raises(ConfigurationError, match="no imperfection is called 'sleep'"):
        make_scripted_agent(env, sleep=1.0)
