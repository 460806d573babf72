"""A drawn room and task as the text of a game: a PDDL problem under ALFRED's domain, and the grammar with the task.

The form is the one that `alfworld-generate` gives its games, so that the official engine plays these too.
"""

from __future__ import annotations

import random
import re
from typing import Any

from qsft_robot.sim.household import wheel
from qsft_robot.sim.household.rooms import Room, kind_of
from qsft_robot.sim.household.tasks import FIXTURES, Task

_NAMES = {"-": "_minus_", "|": "_bar_", "+": "_plus_", ".": "_dot_", ",": "_comma_"}
_SIGNS = re.compile(r"[-|+.,]")

QUALITIES = {"Cleanable": "cleanable", "Heatable": "heatable", "Coolable": "coolable", "Toggleable": "toggleable",
             "Sliceable": "sliceable"}  # fmt: skip


def game_of(room: Room, things: dict[str, str], task: Task, name: str, draw: random.Random) -> dict[str, Any]:
    """The game as `game.tw-pddl` holds it: pddl_domain, grammar, pddl_problem, solvable, walkthrough.

    Args:
        room: the floor plan.
        things: id of each thing -> id of the receptacle it lies in.
        task: what is asked for.
        name: of the problem.
        draw: chooses between the wordings of the task.
    """
    return {
        "pddl_domain": wheel.domain(),
        "grammar": wheel.grammar().replace("UNKNOWN GOAL", sentence(task, draw)),
        "pddl_problem": problem(room, things, task, name),
        "solvable": True,
        "walkthrough": None,
    }


def trajectory_of(room: Room, task: Task, name: str) -> dict[str, Any]:
    """What `traj_data.json` beside a game holds, as far as text games need it."""
    return {
        "task_id": name,
        "task_type": task.type,
        "pddl_params": {
            "object_target": task.object,
            "parent_target": task.place,
            "toggle_target": task.lamp,
            "mrecep_target": "",
            "object_sliced": task.sliced,
        },
        "scene": {"floor_plan": f"FloorPlan{room.number}", "scene_num": room.number},
        "turk_annotations": {"anns": []},
    }


def sentence(task: Task, draw: random.Random) -> str:
    """The task in English, by one of ALFWorld's templates."""
    templates: Any = wheel.goals()[task.type]["templates"]
    words = {"obj": task.object, "recep": task.place, "toggle": task.lamp, "mrecep": ""}
    return str(draw.choice(templates).format(**{key: word.lower() for key, word in words.items()}))


def problem(room: Room, things: dict[str, str], task: Task, name: str) -> str:
    """The PDDL problem. Every type name is declared, because the domain uses them without declaring any."""
    constants = wheel.constants()
    fixed = set(constants.RECEPTACLES) - set(constants.MOVABLE_RECEPTACLES_SET)
    poses = sorted({*room.receptacles.values(), room.start})
    declared = ["agent1 - agent"]
    declared += [f"{kind}Type - otype" for kind in sorted(constants.OBJECTS_SET - fixed)]
    declared += [f"{kind}Type - rtype" for kind in sorted(fixed)]
    declared += [f"{pddl_name(each)} - object" for each in sorted(things)]
    declared += [f"{pddl_name(each)} - receptacle" for each in sorted(room.receptacles)]
    declared += [f"{pddl_name(each)} - location" for each in poses]
    facts = [*_receptacle_facts(room, things), *_thing_facts(room, things, task)]
    facts.append(f"(atLocation agent1 {pddl_name(room.start)})")
    return "\n".join(
        [
            f"(define (problem {name})",
            "(:domain alfred)",
            "(:objects",
            *declared,
            ")",
            "(:init",
            *facts,
            ")",
            goal(task),
        ]
    )


def goal(task: Task) -> str:
    """The goal in PDDL; it closes the problem's bracket too."""
    template: Any = wheel.goals()[task.type]["pddl"]
    text = template.format(obj=task.object, recep=task.place, toggle=task.lamp, mrecep="")
    return pddl_name(text).replace("#", "-")


def pddl_name(text: str) -> str:
    """The text with the signs that PDDL does not allow in names written out."""
    return _SIGNS.sub(lambda match: _NAMES[match[0]], text)


def _receptacle_facts(room: Room, things: dict[str, str]) -> list[str]:
    constants = wheel.constants()
    facts = []
    for each, pose in sorted(room.receptacles.items()):
        facts.append(f"(receptacleType {pddl_name(each)} {kind_of(each)}Type)")
        facts.append(f"(receptacleAtLocation {pddl_name(each)} {pddl_name(pose)})")
        if each in room.openable and kind_of(each) in constants.OPENABLE_CLASS_SET:
            facts.append(f"(openable {pddl_name(each)})")
    present = {kind_of(each) for each in things}
    for place in sorted({kind_of(each) for each in room.receptacles}):
        fitting = sorted(set(constants.VAL_RECEPTACLE_OBJECTS.get(place, ())) & present)
        facts += [f"(canContain {place}Type {kind}Type)" for kind in fitting]
    return facts


def _thing_facts(room: Room, things: dict[str, str], task: Task) -> list[str]:
    constants = wheel.constants()
    facts = []
    for each, place in sorted(things.items()):
        name, kind = pddl_name(each), kind_of(each)
        facts.append(f"(objectType {name} {kind}Type)")
        facts.append(f"(inReceptacle {name} {pddl_name(place)})")
        facts.append(f"(objectAtLocation {name} {pddl_name(room.receptacles[place])})")
        if kind_of(place) == "Fridge" and kind == task.object:
            facts.append(f"(isCool {name})")  # as in the official games: what was in the fridge is cold
        if kind not in FIXTURES:
            facts.append(f"(pickupable {name})")
        if kind in constants.MOVABLE_RECEPTACLES_SET:
            facts.append(f"(isReceptacleObject {name})")
        facts += [f"({word} {name})" for key, word in QUALITIES.items() if kind in constants.VAL_ACTION_OBJECTS[key]]
    return facts
