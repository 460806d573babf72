"""The environment: Gymnasium's rules, what follows from a seed, the engine's process, text and picture together."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import qsft_robot.sim
from qsft_robot.agents.scripted import make_scripted_agent
from qsft_robot.benchmarks.household import measure_household
from qsft_robot.errors import DataError
from qsft_robot.sim.household.engine import TextEngine
from qsft_robot.sim.household.environment import NOTHING, HouseholdEnv
from qsft_robot.sim.household.games import Game, GeneratedGames
from qsft_robot.sim.household.renderer import Renderer
from qsft_robot.sim.household.tasks import TASK_TYPES, Task

SIZE = 96
FEWEST_PIXELS = 6


@pytest.fixture(scope="module")
def env():
    made = qsft_robot.sim.make(
        qsft_robot.sim.HOUSEHOLD, data="generated", image_size=SIZE, text="notes", render_mode="rgb_array"
    ).unwrapped
    yield made
    made.close()


def play(env, seed, steps=30, **imperfections):
    """Play one game; returns the observations, commands and the last info."""
    agent = make_scripted_agent(env, **imperfections)
    observation, info = env.reset(seed=seed)
    agent.reset(seed)
    observations, commands, over = [observation], [], False
    while not over and len(commands) < steps:
        commands.append(agent.act(observation))
        observation, _, terminated, truncated, info = env.step(commands[-1])
        observations.append(observation)
        over = terminated or truncated
    return observations, commands, info


def test_gymnasium_is_satisfied(env):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env, skip_render_check=True)
    assert env.render().shape == (384, 384, 3)


def test_an_episode_follows_from_its_seed(env):
    first = play(env, 4, 12)
    play(env, 5, 3)
    other = qsft_robot.sim.make(qsft_robot.sim.HOUSEHOLD, data="generated", image_size=SIZE, text="notes")
    again = play(other, 4, 12)
    other.close()
    assert first[1] == again[1]
    for one, two in zip(first[0], again[0], strict=True):
        assert one["text"] == two["text"]
        assert np.array_equal(one["image"], two["image"])
    assert first[2] == again[2]


def test_all_types_can_be_solved_and_picture_and_text_agree(env):
    solved, renderer = set(), Renderer()
    for seed in range(6):
        agent = make_scripted_agent(env, perfect=True)
        observation, info = env.reset(seed=seed)
        agent.reset(seed)
        assert info["task_type"] == TASK_TYPES[seed]
        assert info["task"] in observation["text"]
        over = False
        while not over:
            command = agent.act(observation)
            assert command in info["legal_actions"]
            observation, reward, terminated, over, info = env.step(command)
            over = over or terminated
            assert reward == float(info["success"]) == float(terminated)
            check_agreement(env, command, renderer)
            assert np.array_equal(observation["image"], renderer.picture(env.scene, SIZE))
        if info["success"]:
            solved.add(info["task_type"])
    assert len(solved) >= 5


def check_agreement(env, command, renderer):
    """Everything that the text names is in the picture, and nothing else of its sort."""
    scene, text = env.scene, env.turn.feedback
    shown = {thing.name for thing in scene.place.contents} if scene.place else set()
    if "you see" in text and "look" not in command:
        told = re.findall(r"an? ([a-z]+ \d+)", text.split("you see", 1)[1])
        assert set(told) == shown, (command, text)
    if command.startswith("take "):
        assert scene.held is not None
        assert scene.held.name == command.split(" from ")[0].removeprefix("take ")
    if " is closed" in text:
        assert not scene.place.opened
    labels, names = renderer.segment(scene, SIZE)
    pixels = {name: int((labels == index).sum()) for index, name in enumerate(names)}
    found = {name.split(" ")[0] for name, count in pixels.items() if count >= FEWEST_PIXELS and name in shown}
    assert found == {name.split(" ")[0] for name in shown}
    if scene.held is not None:
        assert pixels[scene.held.name] >= FEWEST_PIXELS


def test_other_text_changes_nothing(env):
    _, info = env.reset(seed=3)
    for action in ("dance", "", "go to nowhere 1\n", "look; rm"):
        observation, reward, terminated, _, after = env.step(action)
        assert NOTHING in observation["text"]
        assert reward == 0.0
        assert not terminated
        assert after["legal_actions"] == info["legal_actions"]
    with pytest.raises(DataError, match="an action is a command as text"):
        env.step(3)


def test_the_time_limit_ends_an_episode():
    env = HouseholdEnv(data="generated", observation="text", max_episode_steps=2)
    observation, _ = env.reset(seed=0)
    assert observation["text"].startswith("-= Welcome to TextWorld, ALFRED! =-")
    assert set(observation) == {"text"}
    assert env.step("inventory")[3] is False
    assert env.step("look")[3] is True
    with pytest.raises(DataError, match="call reset"):
        env.step("look")
    env.close()
    with pytest.raises(DataError, match="was closed"):
        env.reset()


def test_notes_keep_what_was_seen(env):
    _, info = env.reset(seed=0)
    first, second = [each for each in info["legal_actions"] if each.startswith("go to ")][:2]
    env.step(first)
    text = env.step(second)[0]["text"]
    assert text.startswith(f"Task: {info['task']}\nCommands: 2\nHeld: nothing\n")
    assert f"- {first.removeprefix('go to ')}: " in text
    unseen = {line[2:].split(":")[0] for line in text.splitlines() if line.endswith(": not seen")}
    left = {each.removeprefix("go to ") for each in info["legal_actions"] if each.startswith("go to ")}
    assert unseen == left - {each[6:] for each in (first, second)}
    assert f"> {second}\nYou arrive at {second.removeprefix('go to ')}." in text


def test_notes_mark_what_was_brought_until_it_is_taken_again(env):
    _, info = env.reset(seed=0)
    for visit in [each for each in info["legal_actions"] if each.startswith("go to ")]:
        *_, info = env.step(visit)
        take = next((each for each in info["legal_actions"] if each.startswith("take ")), None)
        if take is not None:
            break
    name, place = re.fullmatch(r"take (.+) from (.+)", take).groups()
    brought = f"{name} (brought)"
    assert brought not in env.step(take)[0]["text"]
    put = env.step(f"move {name} to {place}")[0]["text"]
    assert brought in next(line for line in put.splitlines() if line.startswith(f"- {place}: "))
    assert brought not in env.step(take)[0]["text"]


def test_the_engines_process_is_replaced():
    engine, games = TextEngine(games_per_process=2), GeneratedGames("train")
    processes = []
    for number in range(3):
        assert engine.begin(games.game(number)).commands
        processes.append(engine.process_id)
    engine.close()
    assert processes[0] == processes[1] != processes[2]
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def test_speed_and_memory_are_measured():
    figures = measure_household(steps=10)
    assert figures["games"] == 5
    assert figures["games_per_second"] > 0
    assert figures["steps_per_second"] > 0
    assert figures["steps_per_second_without_picture"] > 0
    assert all(value > 10 for moment in figures["memory_megabytes"].values() for value in moment.values())


def test_a_game_that_cannot_be_played_is_named():
    engine = TextEngine()
    good = GeneratedGames("train").game(0)
    broken = Game("valid_seen/broken", Task("", ""), {**good.data, "pddl_problem": "(define (problem x)"})
    with pytest.raises(DataError, match="valid_seen/broken"):
        engine.begin(broken)
    assert engine.begin(good).commands
    engine.close()


COMPARISON = """
import json, os, random, sys
path = sys.argv[1]  # the engine's planner changes sys.argv
os.environ["ALFWORLD_DATA"] = os.path.dirname(path)
import textworld
from alfworld.agents.environment.alfred_tw_env import AlfredDemangler, AlfredInfos
from textworld.envs import PddlEnv
from qsft_robot.sim.household.games import GeneratedGames
from qsft_robot.sim.household.textgame import TextGame

official = AlfredInfos(AlfredDemangler(PddlEnv(textworld.EnvInfos(won=True, admissible_commands=True, facts=True))))
ours = TextGame()
for number in (3, 5):
    game = GeneratedGames("train").game(number)
    with open(path, "w") as file:
        json.dump(game.data, file)
    official.load(path)
    state, turn, draw = official.reset(), ours.begin(game.data), random.Random(number)
    for _ in range(6):
        assert state.feedback == turn.feedback, (state.feedback, turn.feedback)
        assert tuple(state.admissible_commands) == turn.commands
        assert bool(state.won) == turn.won
        command = draw.choice(turn.commands)
        (state, _, _), turn = official.step(command), ours.command(command)
"""


@pytest.mark.slow
def test_the_text_is_the_official_engines(root, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", COMPARISON, str(tmp_path / "game.tw-pddl")],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
