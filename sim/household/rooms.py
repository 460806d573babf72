"""A floor plan of AI2-THOR as the games need it: receptacles, the poses they are used from, object kinds.

The alfworld package holds 120 of them (30 kitchens, living rooms, bedrooms and bathrooms each) as three files:
reachable points, openable receptacles with the pose they are opened from, and the names of the kinds that occur.
Receptacles that are only named there get a place in the room, the same one every time.
"""

from __future__ import annotations

import functools
import json
import math
import random
from dataclasses import dataclass

import numpy as np

from qsft_robot.errors import DataError
from qsft_robot.sim.household import wheel

GRID = 0.25
"""Metres between two reachable points; a pose is given in multiples of it."""

SPLITS = ("train", "seen", "unseen")
"""`seen`: new games in the rooms of `train`; `unseen`: rooms that no game of `train` is set in."""

USUAL_NUMBER = {"StoveBurner": 4, "HandTowelHolder": 2}
"""Of receptacles that a floor plan names but does not count: how many there are, if not one."""

SECOND_NAMES = {"SinkBasin": "Sink", "BathtubBasin": "Bathtub"}
"""The engine makes `sinkbasin` of `Sink|...|SinkBasin`."""


@dataclass(frozen=True)
class Room:
    """One floor plan.

    Attributes:
        number: 1 to 430, as AI2-THOR counts: the hundreds are the kind of room.
        receptacles: id -> pose `loc|x|z|rotation|horizon` it is used from; no two poses are equal.
        openable: the ids of receptacles that open.
        kinds: the kinds of things that occur.
        start: the pose where a game begins, before no receptacle.
    """

    number: int
    receptacles: dict[str, str]
    openable: frozenset[str]
    kinds: tuple[str, ...]
    start: str


def room_numbers(split: str) -> tuple[int, ...]:
    """The floor plans of a split: ALFRED's own partition, 24 and 6 of each 30.

    Args:
        split: `train`, `seen` (the same rooms as `train`) or `unseen`.
    """
    constants = wheel.constants()
    return tuple(constants.TEST_SCENE_NUMBERS if split == "unseen" else constants.TRAIN_SCENE_NUMBERS)


def identity(kind: str, position: tuple[float, float, float]) -> str:
    """An id as AI2-THOR writes it, from a kind and a position in m."""
    place = "|".join(f"{value:+06.2f}" for value in position)
    return f"{SECOND_NAMES[kind]}|{place}|{kind}" if kind in SECOND_NAMES else f"{kind}|{place}"


def kind_of(name: str) -> str:
    """The kind of the thing with this id."""
    parts = name.split("|")
    return parts[-1] if parts[-1] in SECOND_NAMES else parts[0]


def position_of(name: str) -> tuple[float, float, float]:
    """The position (x, height, z) in m that an id holds."""
    x, y, z = (float(value) for value in name.split("|")[1:4])
    return x, y, z


@functools.cache
def room(number: int) -> Room:
    """Read one floor plan.

    Raises:
        MissingExtraError: alfworld is not installed.
        DataError: the installed package is damaged.
    """
    constants = wheel.constants()
    fixed = set(constants.RECEPTACLES) - set(constants.MOVABLE_RECEPTACLES_SET)
    kinds, openable, points = _files(number)
    poses: dict[str, str] = {}
    taken: set[str] = set()
    for name, (x, z, rotation, horizon) in openable.items():
        if kind_of(name) in fixed:
            poses[name] = _free_pose(x, z, int(rotation) // 90, int(horizon), taken)
    draw = random.Random(number)
    there = {kind_of(name) for name in poses}
    for kind in kinds:
        if kind not in fixed or kind in there:
            continue
        for _ in range(USUAL_NUMBER.get(kind, 1)):
            x, z = points[draw.randrange(len(points))].tolist()
            place = (x + draw.uniform(-0.4, 0.4), 0.9, z + draw.uniform(-0.4, 0.4))
            poses[identity(kind, place)] = _pose_before(place, points, taken)
    return Room(number, poses, frozenset(set(openable) & set(poses)), kinds, _start(points, taken))


def _files(number: int) -> tuple[tuple[str, ...], dict[str, list[float]], np.ndarray]:
    stem = wheel.folder() / "gen" / "layouts" / f"FloorPlan{number}"
    try:
        kinds = json.loads(wheel.read(f"gen/layouts/{stem.name}-objects.json"))
        openable = json.loads(wheel.read(f"gen/layouts/{stem.name}-openable.json"))
        points = np.load(f"{stem}-layout.npy")
    except (OSError, ValueError) as error:
        raise DataError(f"the floor plan {stem}-* cannot be read ({error}): reinstall alfworld>=0.4.2") from error
    return tuple(sorted(set(kinds))), openable, points


def _pose(x: float, z: float, rotation: int, horizon: int) -> str:
    return f"loc|{round(x / GRID)}|{round(z / GRID)}|{rotation % 4}|{horizon}"


def _free_pose(x: float, z: float, rotation: int, horizon: int, taken: set[str]) -> str:
    """The pose, or the nearest free one that looks a few degrees lower or higher.

    Two receptacles that shared one could not be walked between.
    """
    for step in range(60):
        pose = _pose(x, z, rotation, horizon + (step + 1) // 2 * (1 if step % 2 else -1))
        if pose not in taken:
            taken.add(pose)
            return pose
    raise DataError(f"more than 60 receptacles are used from the point ({x}, {z})")


def _pose_before(place: tuple[float, float, float], points: np.ndarray, taken: set[str]) -> str:
    """The nearest reachable point, turned towards the place."""
    x, _, z = place
    near_x, near_z = points[int(np.hypot(points[:, 0] - x, points[:, 1] - z).argmin())].tolist()
    rotation = round(math.degrees(math.atan2(x - near_x, z - near_z)) / 90)
    return _free_pose(near_x, near_z, rotation, 30, taken)


def _start(points: np.ndarray, taken: set[str]) -> str:
    """A free pose as near to the middle of the room as can be."""
    middle = points.mean(axis=0)
    for x, z in sorted(points.tolist(), key=lambda p: abs(p[0] - middle[0]) + abs(p[1] - middle[1])):
        for rotation in range(4):
            pose = _pose(x, z, rotation, 30)
            if pose not in taken:
                return pose
    raise DataError("the floor plan has no point that is not before a receptacle")
