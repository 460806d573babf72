"""Gymnasium environments. Importing this package registers their ids."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium

PICK_PLACE = "qsft_robot/PickPlace-v0"
DRAWER_GRASP = "qsft_robot/DrawerGrasp-v0"
HOUSEHOLD = "qsft_robot/Household-v0"
CHESS = "qsft_robot/Chess-v0"
CHESS_ENDGAME = "qsft_robot/ChessEndgame-v0"
TWENTY_QUESTIONS = "qsft_robot/TwentyQuestions-v0"
WEBSHOP = "qsft_robot/WebShop-v0"
WEBSHOP_ORIGINAL = "qsft_robot/WebShopOriginal-v0"
WORDLE = "qsft_robot/Wordle-v0"

_ENTRY_POINTS = {
    PICK_PLACE: "qsft_robot.sim.countertop.pick_place:PickPlaceEnv",
    DRAWER_GRASP: "qsft_robot.sim.countertop.drawer_grasp:DrawerGraspEnv",
    HOUSEHOLD: "qsft_robot.sim.household.environment:HouseholdEnv",
    CHESS: "qsft_robot.sim.language.chess:ChessEnv",
    CHESS_ENDGAME: "qsft_robot.sim.language.chess:ChessEndgameEnv",
    TWENTY_QUESTIONS: "qsft_robot.sim.language.twenty_questions:TwentyQuestionsEnv",
    WEBSHOP: "qsft_robot.sim.language.webshop:WebShopEnv",
    WEBSHOP_ORIGINAL: "qsft_robot.sim.language.webshop_original:OriginalWebShopEnv",
    WORDLE: "qsft_robot.sim.language.wordle:WordleEnv",
}
for _id, _entry_point in _ENTRY_POINTS.items():
    if _id not in gymnasium.registry:
        gymnasium.register(id=_id, entry_point=_entry_point)


def make(environment: str, **options: Any) -> gymnasium.Env[Any, Any]:
    """Make an environment from its id; every option, `max_episode_steps` too, reaches its constructor.

    (`gymnasium.make` keeps a keyword of that name for a wrapper of its own, which can shorten episodes but not
    lengthen them.) The checks of `gymnasium.make` at the first step are left out: the tests make them.
    """
    spec = copy.deepcopy(gymnasium.spec(environment))
    spec.kwargs.update(options)
    return gymnasium.make(spec, disable_env_checker=True)
