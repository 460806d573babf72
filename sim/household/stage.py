"""Where everything stands in a picture: furniture along the wall, things in rows, the camera, what is held in front."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import asin, ceil, cos, floor, log, radians, sin, tan

from qsft_robot.sim.household.furniture import Furniture, Surface, furniture
from qsft_robot.sim.household.meshes import Mesh, Point
from qsft_robot.sim.household.objects import look, thing_mesh
from qsft_robot.sim.household.scene import Scene, Thing

FIELD_OF_VIEW = 46.0
"""Vertical and horizontal, degrees."""

GAP = 0.12
"""Between pieces of furniture, m."""

ROW_WIDTH = 6.5
"""Of furniture in the picture of a whole room, m."""

FILL = 1.12
"""A thing's own cell against the one it gets: most things are narrower than theirs."""

FLAT = 0.3
"""Things lower than this, in their cell, show little of themselves from the front."""

LEANING = radians(60.0)

SIZE_STEP = 1.12
"""Things are drawn in sizes that are powers of this, so that the same mesh serves again."""

_WALLS = {
    "kitchen": ("wall cream", "wall green", "wall sand", "wall grey"),
    "living room": ("wall sand", "wall grey", "wall green", "wall rose"),
    "bedroom": ("wall lilac", "wall blue", "wall rose", "wall cream"),
    "bathroom": ("wall aqua", "wall blue", "wall grey", "wall green"),
}
_FLOORS = {
    "kitchen": ("floor tile", "floor slate"),
    "living room": ("floor oak", "floor dark"),
    "bedroom": ("floor carpet", "floor oak"),
    "bathroom": ("floor blue", "floor tile"),
}


@dataclass(frozen=True)
class Camera:
    """A camera by the point it stands at and the one it looks at, m."""

    eye: Point
    target: Point


@dataclass(frozen=True)
class Piece:
    """One body of a picture.

    Attributes:
        key: names the mesh: pieces with the same key have the same one.
        mesh: its triangles.
        at: where its origin is, m.
        name: of the thing or receptacle, as the text says it; empty for walls and floor.
        lean: angle about x, rad, that turns its upper side to the front.
    """

    key: tuple[object, ...]
    mesh: Mesh
    at: Point
    name: str = ""
    lean: float = 0.0


def arrange(scene: Scene) -> tuple[Camera, list[Piece]]:
    """Everything in the picture of a scene, and the camera."""
    if scene.place is None:
        camera, pieces = _whole_room(scene)
    else:
        camera, pieces = _at_hand(scene)
    return camera, [*pieces, *_held(scene, camera)]


# Before a receptacle.


def _at_hand(scene: Scene) -> tuple[Camera, list[Piece]]:
    place = scene.place
    assert place is not None
    here = furniture(place.kind, place.opened)
    down = radians(here.pitch)
    distance = here.span / 2 / tan(radians(FIELD_OF_VIEW / 2))
    x, y, z = here.focus
    camera = Camera((x, y - distance * cos(down), z + distance * sin(down)), here.focus)
    pieces = [*_room(scene, 3.2), Piece((place.kind, place.opened), here.mesh, (0.0, 0.0, 0.0), place.name)]
    pieces += _neighbours(scene, here.width)
    pieces += _contents(here.surfaces, place.contents)
    return camera, pieces


def _neighbours(scene: Scene, width: float) -> Iterator[Piece]:
    """The receptacles to the left and right along the wall, closed, as far as the picture reaches."""
    names = list(scene.receptacles)
    place = scene.place
    if place is None or place.name not in names or len(names) < 2:
        return
    index = names.index(place.name)
    for direction in (-1, 1):
        reach = width / 2 + GAP
        for step in range(1, min(3, len(names))):
            name = names[(index + direction * step) % len(names)]
            if name == place.name:
                break
            kind = name.split(" ", 1)[0]
            beside = furniture(kind)
            x = direction * (reach + beside.width / 2)
            reach += beside.width + GAP
            yield Piece((kind, False), beside.mesh, (x, 0.0, 0.0), f"beyond {name}")


def _contents(surfaces: Sequence[Surface], things: Sequence[Thing]) -> Iterator[Piece]:
    """The things in rows: the taller the further back, so that none hides behind another."""
    waiting = sorted(things, key=lambda each: (-thing_mesh(each).height, each.name))
    for index, surface in enumerate(surfaces):
        share = ceil(len(waiting) / (len(surfaces) - index))
        yield from _rows(surface, waiting[:share])
        waiting = waiting[share:]


def _rows(surface: Surface, things: Sequence[Thing]) -> Iterator[Piece]:
    if not things:
        return
    rows, columns, cell = _grid(surface, len(things))
    tall = max(thing_mesh(each).height for each in things)
    size = min(FILL * cell, surface.share * surface.width, surface.clearance / max(tall, 1.0))
    x, y, z = surface.centre
    for index, thing in enumerate(things):
        row, column = divmod(index, columns)
        here = min(columns, len(things) - row * columns)
        stagger = 0.25 if rows > 1 and here == columns and columns > 1 else 0.0
        across = (column - (here - 1) / 2 + (stagger if row % 2 else -stagger)) * cell
        along = ((rows - 1) / 2 - row) * min(surface.depth / rows, cell)
        lean = LEANING if surface.leans and thing_mesh(thing).height < FLAT else 0.0
        yield _thing(thing, size, (x + across, y + along, z), lean)


def _grid(surface: Surface, number: int) -> tuple[int, int, float]:
    """Rows, columns and the side of a cell that is the largest for this many things."""
    best = (1, number, 0.0)
    for rows in range(1, min(number, surface.rows) + 1):
        columns = ceil(number / rows)
        beside = columns + (0.5 if rows > 1 and columns > 1 else 0.0)
        cell = min(surface.width / beside, surface.depth / rows * (1.8 if rows == 1 else 1.3))
        if cell > 1.2 * best[2]:  # fewer rows hide less
            best = (rows, columns, cell)
    return best


def _thing(thing: Thing, size: float, at: Point, lean: float = 0.0) -> Piece:
    step = floor(log(size, SIZE_STEP))
    raised = (at[0], at[1], at[2] + 0.45 * SIZE_STEP**step * sin(lean))  # its lower edge stays where its middle was
    return Piece((*look(thing), step), _scaled(thing_mesh(thing), step), raised, thing.name, lean)


@functools.lru_cache(maxsize=128)
def _scaled(mesh: Mesh, step: int) -> Mesh:
    return Mesh().add(mesh, scale=SIZE_STEP**step)


# In the middle of the room.


def _whole_room(scene: Scene) -> tuple[Camera, list[Piece]]:
    """All receptacles, as a doll's house shows a room: rows on the floor, and rows of what hangs on the wall."""
    named = [(name, furniture(name.split(" ", 1)[0])) for name in scene.receptacles]
    low = _in_rows([each for each in named if not each[1].high])
    high = _in_rows([each for each in named if each[1].high])
    rows = [(row, -2.1 * index, 0.0) for index, row in enumerate(low)]
    rows += [(row, 0.0, 0.45 + 0.85 * index) for index, row in enumerate(high)]
    width = max([4.0, *(_length(row) for row, _, _ in rows)])
    pieces = [*_room(scene, width + 1.0, 4.0 + 0.85 * len(high))]
    for row, y, z in rows:
        x = -_length(row) / 2
        for name, piece in row:
            kind = name.split(" ", 1)[0]
            pieces.append(Piece((kind, False), piece.mesh, (x + (piece.width + GAP) / 2, y, z), name))
            x += piece.width + GAP
    down = radians(36.0)
    tall = 1.2 * len(low) + 0.5 * len(high) + 2.2
    distance = max(width, tall) / 2 / tan(radians(FIELD_OF_VIEW / 2)) + 1.05 * (len(low) - 1)
    target = (0.0, -1.05 * (len(low) - 1), 0.75 + 0.2 * len(high))
    return Camera((0.0, target[1] - distance * cos(down), target[2] + distance * sin(down)), target), pieces


Named = tuple[str, Furniture]


def _length(row: Sequence[Named]) -> float:
    return sum(piece.width + GAP for _, piece in row)


def _in_rows(named: Sequence[Named]) -> list[list[Named]]:
    """As few rows as keep each within `ROW_WIDTH`, about equally long."""
    rows = max(1, ceil(_length(named) / ROW_WIDTH))
    most = _length(named) / rows + 0.6
    filled: list[list[Named]] = [[]]
    for each in named:
        if filled[-1] and _length([*filled[-1], each]) > most and len(filled) < rows:
            filled.append([])
        filled[-1].append(each)
    return filled


def _room(scene: Scene, width: float, height: float = 3.0) -> Iterator[Piece]:
    walls, floors = _WALLS[scene.room], _FLOORS[scene.room]
    colour, ground = walls[scene.look % len(walls)], floors[scene.look // 7 % len(floors)]
    key = (colour, ground, ceil(width) + 3.0, ceil(height), -1 if scene.look // 3 % 2 else 1, scene.room)
    yield Piece(("room", *key), _room_mesh(*key), (0.0, 0.0, 0.0))


@functools.lru_cache(maxsize=64)
def _room_mesh(colour: str, ground: str, size: float, height: float, side: int, room: str) -> Mesh:
    """Floor, back wall with a skirting board, and a window on one side."""
    mesh = Mesh().box((size, 0.1, height), (0, 0.06, 0), colour).box((size, 12.0, 0.05), (0, -5.9, -0.05), ground)
    mesh.box((size, 0.03, 0.1), (0, 0, 0), "trim")
    if room in ("kitchen", "bathroom"):
        mesh.box((size, 0.02, 0.04), (0, 0, 1.02), "trim")
    mesh.box((1.1, 0.02, 1.0), (side * 0.95, 0, 1.3), "trim")
    for x in (-0.26, 0.26):
        mesh.box((0.48, 0.02, 0.88), (side * 0.95 + x, -0.01, 1.36), "sky")
    for line in range(12):
        mesh.box((size, 0.02, 0.004), (0, -0.9 - 0.7 * line, 0.0), "dark" if ground == "floor slate" else "floor slate")
    return mesh


# In the hand.


def _held(scene: Scene, camera: Camera) -> Iterator[Piece]:
    """What is held, in a hand at the lower right of the picture."""
    if scene.held is None:
        return
    ahead = [b - a for a, b in zip(camera.eye, camera.target, strict=True)]
    length = sum(value * value for value in ahead) ** 0.5
    ahead = [value / length for value in ahead]
    up = (0.0, -ahead[2], ahead[1])
    reach = 0.42 * length
    half = reach * tan(radians(FIELD_OF_VIEW / 2))
    size = 0.46 * half
    place = [
        eye + reach * a + half * (0.62 * r - 0.74 * u)
        for eye, a, r, u in zip(camera.eye, ahead, (1.0, 0.0, 0.0), up, strict=True)
    ]
    at = (place[0], place[1], place[2])
    flat = thing_mesh(scene.held).height < FLAT
    item = _thing(scene.held, size, at, max(0.0, LEANING - asin(-ahead[2])) if flat else 0.0)
    step = floor(log(size, SIZE_STEP))
    yield item
    yield Piece(("hand", step), _scaled(_hand(), step), at)


@functools.cache
def _hand() -> Mesh:
    """A hand that holds from the lower right, in the cell of the thing."""
    hand = Mesh().box((0.5, 0.24, 0.14), (0.06, -0.16, -0.16), "skin")
    hand.box((0.34, 0.3, 0.9), (0.36, -0.2, -0.98), "sleeve").box((0.12, 0.14, 0.26), (0.36, -0.22, -0.1), "skin")
    for x in (-0.16, 0.0, 0.16):
        hand.box((0.11, 0.12, 0.2), (x, -0.36, -0.12), "skin")
    return hand
