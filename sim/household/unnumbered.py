"""Commands that name things by their kind, for observations of which only the picture shows what lies in a place.

A number in a name cannot be seen, so `take mug from desk 1` it is; receptacles, which the text lists, keep theirs. The
engine's list of admissible commands would tell what lies there and whether it is open. What is listed instead follows
from what the text says, and from which kinds of things there are in the room: any of them might be taken here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from qsft_robot.sim.household import wheel
from qsft_robot.sim.household.scene import Scene, Turn
from qsft_robot.sim.household.tasks import LAMPS

KNIVES = ("knife", "butterknife")

_NAME = re.compile(r"\b([a-z]+) \d+\b")
_ALWAYS = ("help", "inventory", "look")
_CHANGES = ("clean", "heat", "cool")


def without_numbers(command: str, receptacles: Iterable[str]) -> str:
    """A command of the engine with the numbers of things left out."""
    numbered = set(receptacles)
    return _NAME.sub(lambda name: name[0] if name[0] in numbered else name[1], command)


def listed(turn: Turn) -> tuple[str, ...]:
    """The commands that may be admissible for all that the text tells, sorted."""
    scene = turn.scene
    # The engine lists these by where the player stands and by what it holds, which the text tells.
    known = (each for each in turn.commands if each in _ALWAYS or each.split(" ", 1)[0] in ("go", *_CHANGES))
    return tuple(sorted({*(without_numbers(each, scene.receptacles) for each in known), *_possible(scene)}))


def resolve(command: str, turn: Turn) -> str | None:
    """The engine's command that is meant, the first where there are several such things; None where there is none."""
    receptacles = turn.scene.receptacles
    return next((each for each in turn.commands if without_numbers(each, receptacles) == command), None)


def _possible(scene: Scene) -> Iterator[str]:
    """What depends on what lies in the place at hand, and on whether this is open."""
    place, held = scene.place, scene.held
    if held is not None:
        yield f"examine {held.kind}"
    if place is None:
        return
    yield f"examine {place.name}"
    if place.openable:
        yield from (f"open {place.name}", f"close {place.name}")
    if held is None:
        yield from (f"take {kind} from {place.name}" for kind in scene.kinds)
    else:
        yield f"move {held.kind} to {place.name}"
        if held.kind in KNIVES:
            sliceable = {each.lower() for each in wheel.constants().VAL_ACTION_OBJECTS["Sliceable"]}
            yield from (f"slice {kind} with {held.kind}" for kind in scene.kinds if kind in sliceable)
    lamps = {each.lower() for each in LAMPS}
    yield from (f"use {kind}" for kind in scene.kinds if kind in lamps)
