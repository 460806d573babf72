"""Where things lie in a room and what is asked for: one draw of a game, before it is put into words."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

from qsft_robot.sim.household import wheel
from qsft_robot.sim.household.rooms import Room, identity, kind_of, position_of

TASK_TYPES = (
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "pick_two_obj_and_place",
)

CHANGES = {
    "pick_clean_then_place_in_recep": ("Cleanable", "SinkBasin"),
    "pick_heat_then_place_in_recep": ("Heatable", "Microwave"),
    "pick_cool_then_place_in_recep": ("Coolable", "Fridge"),
}
"""What the object must be, and where that is done to it."""

LAMPS = ("DeskLamp", "FloorLamp")
LAMP_PLACES = ("Desk", "SideTable", "Dresser", "Shelf", "CoffeeTable", "DiningTable")

FIXTURES = frozenset(
    ("DeskLamp", "FloorLamp", "LightSwitch", "Television", "Mirror", "Window", "Curtains", "Blinds", "Painting",
     "Poster", "HousePlant", "StoveKnob", "Chair", "Bathtub", "ShowerDoor", "ShowerGlass", "LaundryHamperLid",
     "Footstool")
)  # fmt: skip
"""Things that stay where they are."""

MOST_OF_A_KIND = 3


@dataclass(frozen=True)
class Task:
    """What is asked for, by kinds.

    Attributes:
        type: one of `TASK_TYPES`.
        object: what to pick up, look at or change.
        place: the receptacle to bring it to; empty for `look_at_obj_in_light`.
        lamp: what to look under; empty for all other types.
        sliced: the object must be sliced first; ALFWorld leaves such games out.
    """

    type: str
    object: str
    place: str = ""
    lamp: str = ""
    sliced: bool = False


def scatter(room: Room, draw: random.Random) -> dict[str, str]:
    """Put one to three of each kind somewhere it may lie: id of the thing -> id of its receptacle."""
    constants = wheel.constants()
    fixed = set(constants.RECEPTACLES) - set(constants.MOVABLE_RECEPTACLES_SET)
    things: dict[str, str] = {}
    for kind in room.kinds:
        if kind in fixed or kind not in constants.OBJECTS_SET:
            continue
        places = [each for each in sorted(room.receptacles) if _may_lie(kind, kind_of(each))]
        if not places:
            continue
        for _ in range(1 if kind in FIXTURES else draw.randint(1, MOST_OF_A_KIND)):
            place = draw.choice(places)
            x, y, z = position_of(place)
            position = (x + draw.uniform(-0.3, 0.3), y + draw.uniform(0.0, 0.3), z + draw.uniform(-0.3, 0.3))
            things[identity(kind, position)] = place
    return things


def draw_task(room: Room, things: dict[str, str], task_type: str, draw: random.Random) -> Task | None:
    """A task of this type that these things allow and that is not solved already; None where there is none."""
    constants = wheel.constants()
    count = Counter(kind_of(each) for each in things if kind_of(each) not in FIXTURES)
    if task_type == "look_at_obj_in_light":
        lamps = sorted({kind_of(each) for each in things} & set(LAMPS))
        if not lamps or not count:
            return None
        return Task(task_type, draw.choice(sorted(count)), lamp=draw.choice(lamps))
    quality, station = CHANGES.get(task_type, ("", ""))
    places = sorted({kind_of(each) for each in room.receptacles})
    if station and station not in places:
        return None
    possible = [
        (kind, place)
        for kind, number in sorted(count.items())
        for place in places
        if place != station
        and kind in constants.VAL_RECEPTACLE_OBJECTS.get(place, ())
        and (not quality or kind in constants.VAL_ACTION_OBJECTS[quality])
        and (number > 1 or task_type != "pick_two_obj_and_place")
        and (station or not any(kind_of(each) == kind and kind_of(at) == place for each, at in things.items()))
    ]
    if not possible:
        return None
    kind, place = draw.choice(possible)
    return Task(task_type, kind, place)


def rooms_for(task_type: str, numbers: tuple[int, ...]) -> list[int]:
    """Those of the floor plans in which tasks of this type occur."""
    constants = wheel.constants()
    kinds = constants.GOALS_VALID[task_type]
    return [each for each in numbers if any(each in constants.SCENE_TYPE[kind] for kind in kinds)]


def _may_lie(kind: str, place: str) -> bool:
    if kind == "DeskLamp":
        return place in LAMP_PLACES
    return kind in wheel.constants().VAL_RECEPTACLE_OBJECTS.get(place, ())
