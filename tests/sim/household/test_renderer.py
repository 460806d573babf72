"""The pictures: what the text says is in them, and they depend on the scene alone."""

from __future__ import annotations

import numpy as np
import pytest

from qsft_robot.sim.household import wheel
from qsft_robot.sim.household.furniture import known_receptacles
from qsft_robot.sim.household.objects import known_kinds
from qsft_robot.sim.household.renderer import Renderer
from qsft_robot.sim.household.scene import Place, Scene, Thing

SIZE = 96
FEWEST_PIXELS = 6
KITCHEN = ("fridge 1", "countertop 1", "cabinet 1", "drawer 1", "sinkbasin 1", "stoveburner 1", "microwave 1")


@pytest.fixture(scope="module")
def renderer():
    made = Renderer()
    yield made
    made.close()


def scene(place, *things, opened=None, held=None, around=KITCHEN):
    contents = tuple(each if isinstance(each, Thing) else Thing(each) for each in things)
    at = Place(place, opened is not None, bool(opened), contents)
    return Scene(around, at, held if held is None or isinstance(held, Thing) else Thing(held))


def seen(renderer, a_scene):
    """Number of pixels by name."""
    labels, names = renderer.segment(a_scene, SIZE)
    return {name: int((labels == index).sum()) for index, name in enumerate(names)}


def test_every_kind_of_the_games_has_a_look():
    constants = wheel.constants()
    fixed = {each.lower() for each in set(constants.RECEPTACLES) - set(constants.MOVABLE_RECEPTACLES_SET)}
    assert fixed <= known_receptacles()
    things = {kind.lower() for fitting in constants.VAL_RECEPTACLE_OBJECTS.values() for kind in fitting} | {"desklamp"}
    assert {each.removesuffix("sliced") for each in things} <= known_kinds()


def test_all_that_fits_on_a_receptacle_can_be_seen_there(renderer):
    constants = wheel.constants()
    for receptacle in sorted(set(constants.RECEPTACLES) - set(constants.MOVABLE_RECEPTACLES_SET)):
        kinds = sorted(each.lower() for each in constants.VAL_RECEPTACLE_OBJECTS.get(receptacle, ()))[:12]
        opened = True if receptacle in constants.OPENABLE_CLASS_SET else None
        for first in range(0, len(kinds), 4):
            names = [f"{kind} 1" for kind in kinds[first : first + 4]]
            pixels = seen(renderer, scene(f"{receptacle.lower()} 1", *names, opened=opened, held="mug 9"))
            hidden = {name: pixels[name] for name in [*names, "mug 9"] if pixels[name] < FEWEST_PIXELS}
            assert not hidden, (receptacle, hidden)


def test_a_dozen_things_on_a_table_can_be_seen(renderer):
    names = ["apple 1", "bowl 2", "peppershaker 1", "lettuce 1", "glassbottle 1", "cup 1", "tomato 1", "potato 3",
             "egg 2", "fork 2", "mug 1", "winebottle 2"]  # fmt: skip
    pixels = seen(renderer, scene("diningtable 1", *names))
    assert min(pixels[name] for name in names) >= FEWEST_PIXELS


def test_a_closed_receptacle_shows_nothing_of_its_contents(renderer):
    closed, opened = scene("fridge 1", opened=False), scene("fridge 1", "apple 1", opened=True)
    assert set(seen(renderer, closed)) <= {"fridge 1", *(f"beyond {name}" for name in KITCHEN)}
    assert seen(renderer, opened)["apple 1"] >= FEWEST_PIXELS
    assert differs(renderer, closed, opened) > 0.1


def differs(renderer, first, second):
    """Share of pixels that differ."""
    return float(np.any(renderer.picture(first, SIZE) != renderer.picture(second, SIZE), axis=-1).mean())


def test_state_shows(renderer):
    lamp = Thing("desklamp 1"), Thing("desklamp 1", frozenset({"on"}))
    assert differs(renderer, scene("desk 1", lamp[0]), scene("desk 1", lamp[1])) > 0.01
    for kind in ("fridge", "microwave", "cabinet", "drawer", "safe"):
        empty = [scene(f"{kind} 1", opened=opened) for opened in (False, True)]
        assert differs(renderer, *empty) > 0.05, kind
    for mark in ("hot", "cool", "clean"):
        held = Thing("potato 1"), Thing("potato 1", frozenset({mark}))
        assert differs(renderer, *(scene("countertop 1", held=each) for each in held)) > 0.001, mark
    assert differs(renderer, scene("countertop 1"), scene("countertop 1", held="egg 1")) > 0.01


def test_the_middle_of_the_room_shows_its_receptacles(renderer):
    around = (*KITCHEN, "cabinet 2", "cabinet 3", "garbagecan 1", "diningtable 1")
    pixels = seen(renderer, Scene(around))
    assert {name for name in around if pixels[name] >= FEWEST_PIXELS} == set(around)


def test_rooms_look_different(renderer):
    kitchens = [Scene((*KITCHEN, f"cabinet {number}"), Place("countertop 1")) for number in range(2, 8)]
    assert len({renderer.picture(each, SIZE).tobytes() for each in kitchens}) > 1


def test_a_picture_depends_on_the_scene_alone():
    scenes = [
        scene("countertop 1", "mug 1", "mug 2", "bread 1", held="knife 1"),
        scene("fridge 1", "egg 1", opened=True),
        Scene(KITCHEN),
        scene("drawer 1", "spoon 1", opened=True),
    ]
    forth, back = Renderer(), Renderer()
    first = [forth.picture(each, SIZE) for each in scenes]
    second = [back.picture(each, SIZE) for each in reversed(scenes)][::-1]
    for one, other in zip(first, second, strict=True):
        assert one.shape == (SIZE, SIZE, 3)
        assert one.dtype == np.uint8
        assert np.array_equal(one, other)
    forth._pictures.clear()
    assert np.array_equal(forth.picture(scenes[0], SIZE), first[0])
    forth.close()
    back.close()
