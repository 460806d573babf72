"""The adapter of the original WebShop, against a stand-in with the original's interface."""

from __future__ import annotations

import random
import sys
from types import SimpleNamespace

import pytest

from qsft_robot.errors import ConfigurationError, QsftRobotError
from qsft_robot.sim.language.webshop_original import OriginalWebShopEnv


class Original:
    """What the adapter uses of the original's environment."""

    def __init__(self, observation_mode, num_products, human_goals):
        self.asked = (observation_mode, num_products, human_goals)
        self.drawn = random.random()
        self.server = SimpleNamespace(goals=["goal"] * 1600)

    def reset(self, session):
        self.bar, self.session = True, session
        return f"Instruction: goal {session} caf\xe9", None

    def get_available_actions(self):
        return {"has_search_bar": self.bar, "clickables": ["search"] if self.bar else ["back to search", "buy now"]}

    def step(self, action):
        if action == "click[boom]":
            raise KeyError("page")
        if action.startswith("search[") and self.bar:
            self.bar = False
        done = action == "click[buy now]" and not self.bar
        return f"page after {action}", 0.75 if done else 0.0, done, None


@pytest.fixture
def original(monkeypatch):
    module = SimpleNamespace(WebAgentTextEnv=Original)
    for name in ("web_agent_site", "web_agent_site.envs"):
        monkeypatch.setitem(sys.modules, name, SimpleNamespace())
    monkeypatch.setitem(sys.modules, "web_agent_site.envs.web_agent_text_env", module)


def test_a_visit(original):
    env = OriginalWebShopEnv()
    text, info = env.reset(seed=3)
    session = env._shop.session
    assert text == f"Instruction: goal {session} caf?"
    assert 1500 <= session < 1600
    assert info["legal_actions"] is None
    assert env.reset(seed=3)[0] == text
    assert env.step("click[x]")[4]["valid"] is False
    text, reward, terminated, _, info = env.step("search[shoes]\n")
    assert (text, reward, terminated, info["valid"]) == ("page after search[shoes]", 0.0, False, True)
    assert info["legal_actions"] == ("click[back to search]", "click[buy now]")
    _, reward, terminated, _, info = env.step("click[buy now]")
    assert (reward, terminated, info["success"], info["valid"]) == (0.75, True, False, True)
    env.reset(seed=0)
    with pytest.raises(QsftRobotError, match="failed on 'click"):
        env.step("click[boom]")


def test_what_it_draws_while_it_loads_is_always_the_same_and_leaves_no_trace(original):
    random.seed(1)
    expected = random.random()
    random.seed(1)
    first = OriginalWebShopEnv(split="held_out", products=None)
    assert random.random() == expected
    assert first._shop.drawn == OriginalWebShopEnv()._shop.drawn
    assert first._shop.asked == ("text_rich", None, True)
    first.reset(seed=1)
    assert first._shop.session < 500


def test_mistakes(original, monkeypatch):
    with pytest.raises(ConfigurationError, match="expected one of held_out"):
        OriginalWebShopEnv(split="test")
    monkeypatch.setitem(sys.modules, "web_agent_site", None)
    monkeypatch.delitem(sys.modules, "web_agent_site.envs.web_agent_text_env")
    with pytest.raises(ConfigurationError, match="put its folder on PYTHONPATH, or take sim=webshop"):
        OriginalWebShopEnv()
