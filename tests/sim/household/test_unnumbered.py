"""The variant whose text leaves to the picture what lies in a place."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest

from qsft_robot.agents.scripted.household import ScriptedHousehold
from qsft_robot.errors import ConfigurationError
from qsft_robot.sim.household import unnumbered
from qsft_robot.sim.household.environment import HouseholdEnv
from qsft_robot.sim.household.scene import Place, Scene, Thing, Turn


@pytest.fixture(scope="module")
def env() -> Iterator[HouseholdEnv]:
    made = HouseholdEnv(data="generated", observation="captioned", text="pictured", max_episode_steps=60)
    yield made
    made.close()


def test_the_text_says_where_one_was_and_not_what_lies_there(env):
    _, info = env.reset(seed=0)
    visits = [each for each in info["legal_actions"] if each.startswith("go to ")]
    seen = 0
    for visit in visits:
        observation, *_ = env.step(visit)
        things = {each.kind for each in env.scene.place.contents} - set(env.task.split())
        seen += bool(things)
        assert observation["text"].splitlines()[-1] == f"> {visit}"
        assert not things & set(re.findall(r"\w+", observation["text"]))
    assert seen
    for visit in visits:
        assert f"- {visit.removeprefix('go to ')}: seen" in observation["text"].splitlines()


def test_what_is_listed_holds_all_that_the_engine_would_do(env):
    draw = np.random.default_rng(0)
    for seed in range(12):
        _, info = env.reset(seed=seed)
        for _ in range(20):
            assert {env.worded(each) for each in env.turn.commands} <= set(info["legal_actions"])
            # Things are taken where there are any, so that the lists with something in hand are seen too.
            sure = [each for each in env.turn.commands if each.split()[0] in ("take", "open")] or env.turn.commands
            *_, info = env.step(env.worded(str(draw.choice(sure))))
            if info["success"]:
                break


def test_what_is_listed_does_not_tell_what_lies_there() -> None:
    kinds = ("desklamp", "mug", "pen")
    full = Place("drawer 1", openable=True, opened=True, contents=(Thing("mug 1"), Thing("desklamp 2")))
    closed = Place("drawer 1", openable=True)
    commands = ("close drawer 1", "examine drawer 1", "examine mug 1", "go to desk 1", "take mug 1 from drawer 1")
    told = unnumbered.listed(Turn("", commands, False, Scene(("desk 1", "drawer 1"), full, None, kinds)))
    hidden = ("examine drawer 1", "go to desk 1", "open drawer 1")
    assert told == unnumbered.listed(Turn("", hidden, False, Scene(("desk 1", "drawer 1"), closed, None, kinds)))
    assert told == (
        "close drawer 1", "examine drawer 1", "go to desk 1", "open drawer 1", "take desklamp from drawer 1",
        "take mug from drawer 1", "take pen from drawer 1", "use desklamp",
    )  # fmt: skip


def test_a_kind_is_taken_where_it_lies_and_nothing_happens_elsewhere(env):
    _, info = env.reset(seed=0)
    for visit in [each for each in info["legal_actions"] if each.startswith("go to ")]:
        *_, info = env.step(visit)
        if env.scene.place.contents:
            break
    lying = {each.kind for each in env.scene.place.contents}
    missing = next(each for each in env.scene.kinds if each not in lying)
    env.step(f"take {missing} from {env.scene.place.name}")
    assert env.turn.feedback == "Nothing happens."
    assert env.scene.held is None
    kind = min(lying)
    observation = env.step(f"take {kind} from {env.scene.place.name}")[0]
    assert env.scene.held.kind == kind
    assert f"Held: {kind}" in observation["text"].splitlines()
    assert kind in observation["caption"]


def test_the_expert_speaks_of_kinds_and_does_the_same(env):
    expert = ScriptedHousehold(env)
    plain = HouseholdEnv(data="generated", observation="text", max_episode_steps=60)
    other = ScriptedHousehold(plain)
    for seed in range(6):
        both = []
        for game, agent in ((env, expert), (plain, other)):
            observation, _ = game.reset(seed=seed)
            agent.reset(seed)
            over, acts = False, []
            while not over:
                acts.append(agent.act(observation))
                observation, _, terminated, truncated, info = game.step(acts[-1])
                over = terminated or truncated
            if game is plain:
                acts = [unnumbered.without_numbers(each, game.scene.receptacles) for each in acts]
            both.append((info["success"], acts))
        assert both[0] == both[1]
    plain.close()


def test_what_cannot_be_told_or_listed_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="data=generated"):
        HouseholdEnv(text="pictured", data=str(tmp_path))
    with pytest.raises(ConfigurationError, match="engine=text"):
        HouseholdEnv(engine="thor", observation="captioned", data=str(tmp_path))
