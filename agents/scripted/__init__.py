"""Agents that follow a script with seeded imperfections; they collect the data that training starts from."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from qsft_robot.agents.base import Agent
from qsft_robot.agents.scripted.base import ScriptedAgent
from qsft_robot.agents.scripted.chess import ChessEndgameImperfections, ChessImperfections, ScriptedChess
from qsft_robot.agents.scripted.drawer_grasp import DrawerGraspImperfections, ScriptedDrawerGrasp
from qsft_robot.agents.scripted.household import HouseholdImperfections, ScriptedHousehold
from qsft_robot.agents.scripted.pick_place import PickPlaceImperfections, ScriptedPickPlace
from qsft_robot.agents.scripted.twenty_questions import ScriptedTwentyQuestions, TwentyQuestionsImperfections
from qsft_robot.agents.scripted.webshop import ScriptedWebShop, WebShopImperfections
from qsft_robot.agents.scripted.wordle import ScriptedWordle, WordleImperfections
from qsft_robot.errors import ConfigurationError
from qsft_robot.sim.countertop.drawer_grasp import DrawerGraspEnv
from qsft_robot.sim.countertop.pick_place import PickPlaceEnv
from qsft_robot.sim.household.environment import HouseholdEnv
from qsft_robot.sim.language.chess import ChessEndgameEnv, ChessEnv
from qsft_robot.sim.language.twenty_questions import TwentyQuestionsEnv
from qsft_robot.sim.language.webshop import WebShopEnv
from qsft_robot.sim.language.wordle import WordleEnv

__all__ = [
    "ChessEndgameImperfections",
    "ChessImperfections",
    "DrawerGraspImperfections",
    "HouseholdImperfections",
    "PickPlaceImperfections",
    "ScriptedAgent",
    "ScriptedChess",
    "ScriptedDrawerGrasp",
    "ScriptedHousehold",
    "ScriptedPickPlace",
    "ScriptedTwentyQuestions",
    "ScriptedWebShop",
    "ScriptedWordle",
    "TwentyQuestionsImperfections",
    "WebShopImperfections",
    "WordleImperfections",
    "make_scripted_agent",
]

_AGENTS: dict[type, tuple[type, type]] = {
    PickPlaceEnv: (ScriptedPickPlace, PickPlaceImperfections),
    DrawerGraspEnv: (ScriptedDrawerGrasp, DrawerGraspImperfections),
    HouseholdEnv: (ScriptedHousehold, HouseholdImperfections),
    ChessEnv: (ScriptedChess, ChessImperfections),
    ChessEndgameEnv: (ScriptedChess, ChessEndgameImperfections),
    TwentyQuestionsEnv: (ScriptedTwentyQuestions, TwentyQuestionsImperfections),
    WebShopEnv: (ScriptedWebShop, WebShopImperfections),
    WordleEnv: (ScriptedWordle, WordleImperfections),
}


def make_scripted_agent(env: Any, **imperfections: float) -> Agent:
    """The scripted agent of an environment's task.

    Args:
        env: an environment of this project, or a wrapper around one.
        imperfections: fields of the task's imperfections to change, for example `action_noise=0.0`;
            `perfect=True` sets all of them to zero first.

    Raises:
        ConfigurationError: the environment has no scripted agent, or an imperfection is unknown or negative.
    """
    task = type(env.unwrapped)
    if task not in _AGENTS:
        known = ", ".join(each.__name__ for each in _AGENTS)
        raise ConfigurationError(f"there is no scripted agent for {task.__name__}, only for {known}")
    agent, imperfection_class = _AGENTS[task]
    names = [field.name for field in fields(imperfection_class)]
    values = dict.fromkeys(names, 0.0) if imperfections.pop("perfect", False) else {}
    for name, value in imperfections.items():
        if name not in names:
            raise ConfigurationError(f"no imperfection is called '{name}', expected one of {', '.join(names)}")
        if not value >= 0:
            raise ConfigurationError(f"imperfection {name} is {value}, expected a number that is not negative")
        values[name] = value
    made: Agent = agent(env, imperfection_class(**values))
    return made
