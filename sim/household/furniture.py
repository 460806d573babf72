"""What the receptacles look like, open and closed, on and off, and where in or on them things lie.

A piece stands with its back against the wall y = 0 and its front towards -y, the floor is z = 0; lengths in m, about
life-size. Drawn by one function a kind, most of them from four forms: table, chest, cupboard, trough.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field

from qsft_robot.sim.household.meshes import Mesh, Point


@dataclass(frozen=True)
class Surface:
    """A rectangle on which things stand in rows.

    Attributes:
        centre: its middle, m.
        width: extent along x, m.
        depth: extent along y, m.
        clearance: height that things may have, m.
        share: of the width that one thing may fill.
        rows: most rows; one where the camera looks level and a second row would be hidden.
        leans: whether flat things lean against the back, to be seen from the front.
    """

    centre: Point
    width: float
    depth: float
    clearance: float = 1.0
    share: float = 0.42
    rows: int = 9
    leans: bool = False


@dataclass
class Furniture:
    """A piece of furniture and how one looks at it.

    Attributes:
        mesh: its triangles.
        width: the room that it takes along the wall, m.
        surfaces: where things lie, the ones that are filled first in front.
        focus: what the camera looks at, m.
        span: width that the picture shows at the focus, m.
        pitch: angle that the camera looks down, degrees.
        high: whether it hangs on the wall, so that something can stand below it.
    """

    mesh: Mesh
    width: float
    surfaces: list[Surface] = field(default_factory=list)
    focus: Point = (0.0, -0.3, 0.8)
    span: float = 1.6
    pitch: float = 35.0
    high: bool = False


Build = Callable[[bool], Furniture]
_PIECES: dict[str, Build] = {}


@functools.cache
def furniture(kind: str, opened: bool = False) -> Furniture:
    """The piece of a kind, in lower case; one without a look of its own is a plain table."""
    return _PIECES.get(kind, _PIECES["sidetable"])(opened)


def known_receptacles() -> frozenset[str]:
    """The kinds that have a look of their own, in lower case."""
    return frozenset(_PIECES)


def _piece(*kinds: str) -> Callable[[Build], Build]:
    def register(build: Build) -> Build:
        for kind in kinds:
            _PIECES[kind] = build
        return build

    return register


# Forms.


def _on_top(mesh: Mesh, width: float, depth: float, height: float, y: float | None = None) -> Furniture:
    """A piece whose top things stand on."""
    middle = -depth / 2 if y is None else y
    surface = Surface((0.0, middle, height), width * 0.94, depth * 0.9)
    return Furniture(mesh, width, [surface], (0.0, middle - 0.05 * width, height - 0.02), width * 1.06, 42.0)


def _table(width: float, depth: float, height: float, colour: str, legs: str) -> Mesh:
    mesh = Mesh().box((width, depth, 0.05), (0, -depth / 2, height - 0.05), colour)
    for x in (-width / 2 + 0.05, width / 2 - 0.05):
        for y in (-0.06, 0.06 - depth):
            mesh.box((0.07, 0.07, height - 0.05), (x, y, 0), legs)
    return mesh


def _chest(width: float, depth: float, height: float, colour: str, rows: int, columns: int, knobs: str) -> Mesh:
    mesh = Mesh().box((width, depth, height), (0, -depth / 2, 0), colour)
    wide, high = width / columns, (height - 0.1) / rows
    for row in range(rows):
        for column in range(columns):
            x, z = -width / 2 + (column + 0.5) * wide, 0.06 + row * high
            mesh.box(
                (wide - 0.05, 0.02, high - 0.04), (x, -depth - 0.01, z), "light wood" if colour == "wood" else colour
            )
            mesh.box((wide - 0.05, 0.012, 0.012), (x, -depth - 0.022, z), "dark")
            mesh.box((min(0.14, wide / 3), 0.03, 0.03), (x, -depth - 0.03, z + high * 0.55), knobs)
    return mesh


def _cupboard(
    width: float,
    depth: float,
    height: float,
    base: float,
    colour: str,
    opened: bool,
    shelves: int,
    inside: str = "cream",
) -> Furniture:
    """A hollow piece with a door hinged on the left."""
    wall = 0.04
    mesh = Mesh().box((width, wall, height), (0, -wall / 2, base), inside)
    for x in (-width / 2 + wall / 2, width / 2 - wall / 2):
        mesh.box((wall, depth, height), (x, -depth / 2, base), colour)
    room = (height - wall) / shelves
    surfaces: list[Surface] = []
    for level in range(shelves + 1):
        mesh.box(
            (width, depth, wall), (0, -depth / 2, base + level * room), colour if level in (0, shelves) else inside
        )
        if level < shelves:
            place = (0.0, -depth * 0.6, base + level * room + wall)
            surfaces.insert(0, Surface(place, width - 3 * wall, depth * 0.7, room - 1.5 * wall, rows=1, leans=True))
    if opened:
        mesh.box((wall, width * 0.94, height), (-width / 2 - wall / 2, -depth - width * 0.47, base), colour)
    else:
        mesh.box((width - 0.02, wall, height - 0.02), (0, -depth - wall / 2, base + 0.01), colour)
        panel = "trim" if colour == "white" else "light wood" if "wood" in colour else colour
        mesh.box((width - 0.14, 0.02, height - 0.14), (0, -depth - wall - 0.01, base + 0.07), panel)
    focus = (-0.06 * width if opened else 0.0, -depth, base + height * 0.42)
    return Furniture(mesh, width, surfaces, focus, max(width * 1.3, height * 1.22), 12.0)


def _trough(width: float, depth: float, rim: float, floor: float, colour: str, inside: str, y: float) -> Mesh:
    """A box without a lid; y is its middle."""
    wall = 0.04
    mesh = Mesh().box((width, depth, max(floor, 0.02)), (0, y, 0), inside)
    for x in (-width / 2 + wall / 2, width / 2 - wall / 2):
        mesh.box((wall, depth, rim), (x, y, 0), colour)
    for side in (-depth / 2 + wall / 2, depth / 2 - wall / 2):
        mesh.box((width, wall, rim), (0, y + side, 0), colour)
    return mesh


def _in_trough(mesh: Mesh, width: float, depth: float, rim: float, floor: float, y: float) -> Furniture:
    surface = Surface((0.0, y, floor), width - 0.12, depth - 0.1)
    return Furniture(mesh, width, [surface], (0.0, y - 0.05, rim - 0.03), max(width, depth) * 1.2, 54.0)


# Tables and chests.


@_piece("diningtable")
def _diningtable(_: bool) -> Furniture:
    return _on_top(_table(1.5, 0.95, 0.74, "wood", "dark wood"), 1.5, 0.95, 0.74)


@_piece("coffeetable")
def _coffeetable(_: bool) -> Furniture:
    return _on_top(_table(1.1, 0.7, 0.42, "dark wood", "black"), 1.1, 0.7, 0.42)


@_piece("sidetable")
def _sidetable(_: bool) -> Furniture:
    mesh = _table(0.7, 0.5, 0.6, "light wood", "wood").box((0.6, 0.4, 0.03), (0, -0.25, 0.2), "light wood")
    return _on_top(mesh, 0.7, 0.5, 0.6)


@_piece("desk")
def _desk(_: bool) -> Furniture:
    mesh = _table(1.3, 0.7, 0.74, "light wood", "dark").box((0.4, 0.6, 0.6), (0.4, -0.34, 0.08), "white")
    for z in (0.12, 0.3, 0.48):
        mesh.box((0.34, 0.02, 0.14), (0.4, -0.65, z), "silver").box((0.1, 0.03, 0.03), (0.4, -0.67, z + 0.06), "dark")
    return _on_top(mesh, 1.3, 0.7, 0.74)


@_piece("countertop")
def _countertop(_: bool) -> Furniture:
    mesh = _chest(1.6, 0.62, 0.86, "wall blue", 1, 4, "steel").box((1.66, 0.68, 0.05), (0, -0.34, 0.86), "dark")
    return _on_top(mesh, 1.6, 0.64, 0.91)


@_piece("dresser")
def _dresser(_: bool) -> Furniture:
    return _on_top(_chest(1.2, 0.5, 0.8, "red wood", 3, 2, "gold"), 1.2, 0.5, 0.8)


@_piece("tvstand")
def _tvstand(_: bool) -> Furniture:
    mesh = _chest(1.4, 0.5, 0.45, "dark wood", 1, 3, "steel")
    mesh.box((0.3, 0.14, 0.08), (0, -0.1, 0.45), "dark").box((1.1, 0.06, 0.62), (0, -0.08, 0.53), "black")
    mesh.box((1.02, 0.01, 0.54), (0, -0.115, 0.57), "navy")
    piece = _on_top(mesh, 1.4, 0.4, 0.45, y=-0.32)
    piece.focus = (0.0, -0.3, 0.55)
    return piece


@_piece("cart")
def _cart(_: bool) -> Furniture:
    mesh = _table(0.8, 0.5, 0.8, "silver", "steel").box((0.76, 0.46, 0.03), (0, -0.25, 0.3), "silver")
    return _on_top(mesh.box((0.06, 0.4, 0.06), (0.44, -0.25, 0.84), "black"), 0.8, 0.5, 0.8)


@_piece("ottoman")
def _ottoman(_: bool) -> Furniture:
    mesh = Mesh().box((0.8, 0.6, 0.3), (0, -0.3, 0.08), "purple").box((0.84, 0.64, 0.08), (0, -0.3, 0.36), "wall lilac")
    return _on_top(mesh, 0.8, 0.6, 0.44)


# Seats and beds.


@_piece("sofa")
def _sofa(_: bool) -> Furniture:
    return _seat(1.6, "teal", "wall aqua")


@_piece("armchair")
def _armchair(_: bool) -> Furniture:
    return _seat(0.85, "red wood", "wall sand")


def _seat(width: float, colour: str, cushion: str) -> Furniture:
    mesh = Mesh().box((width, 0.75, 0.3), (0, -0.42, 0.05), colour).box((width, 0.2, 0.85), (0, -0.1, 0.05), colour)
    for x in (-width / 2 + 0.08, width / 2 - 0.08):
        mesh.box((0.16, 0.75, 0.55), (x, -0.42, 0.05), colour)
    mesh.box((width - 0.34, 0.6, 0.1), (0, -0.5, 0.35), cushion)
    piece = _on_top(mesh, width - 0.3, 0.58, 0.45, y=-0.48)
    piece.width, piece.span = width, width * 1.12
    return piece


@_piece("bed")
def _bed(_: bool) -> Furniture:
    mesh = Mesh().box((1.6, 1.5, 0.3), (0, -0.8, 0), "dark wood").box((1.6, 0.08, 1.0), (0, -0.04, 0), "dark wood")
    mesh.box((1.54, 1.44, 0.18), (0, -0.8, 0.3), "white").box((1.58, 0.7, 0.2), (0, -1.2, 0.3), "blue")
    piece = _on_top(mesh, 1.5, 1.25, 0.5, y=-0.8)
    piece.width = 1.6
    return piece


# What opens.


@_piece("fridge")
def _fridge(opened: bool) -> Furniture:
    piece = _cupboard(0.95, 0.65, 1.35, 0.3, "silver", opened, 2, inside="white")
    piece.mesh.box((0.95, 0.6, 0.3), (0, -0.3, 0), "steel")
    if not opened:
        piece.mesh.box((0.95, 0.03, 0.03), (0, -0.71, 1.2), "dark").box((0.05, 0.06, 0.45), (0.36, -0.73, 0.64), "dark")
        piece.mesh.box((0.05, 0.06, 0.26), (0.36, -0.73, 1.3), "dark")
    return piece


@_piece("cabinet")
def _cabinet(opened: bool) -> Furniture:
    piece = _cupboard(0.8, 0.4, 0.75, 1.2, "wood", opened, 2)
    if not opened:
        piece.mesh.box((0.05, 0.05, 0.12), (0.3, -0.47, 1.4), "steel")
    piece.high = True
    return piece


@_piece("microwave")
def _microwave(opened: bool) -> Furniture:
    piece = _cupboard(0.6, 0.4, 0.38, 0.91, "dark", opened, 1, inside="light")
    mesh = piece.mesh
    mesh.box((1.1, 0.6, 0.86), (0, -0.3, 0), "wall blue").box((1.16, 0.64, 0.05), (0, -0.32, 0.86), "tan")
    mesh.box((0.16, 0.42, 0.38), (0.38, -0.21, 0.91), "silver").box((0.1, 0.02, 0.06), (0.38, -0.43, 1.18), "mint")
    for row in range(3):
        for x in (0.355, 0.405):
            mesh.box((0.03, 0.02, 0.03), (x, -0.43, 0.97 + 0.06 * row), "black")
    if not opened:
        mesh.box((0.4, 0.02, 0.22), (-0.04, -0.47, 0.99), "navy").box((0.04, 0.05, 0.26), (0.24, -0.47, 0.97), "silver")
    piece.width, piece.span, piece.focus = 1.1, 1.05, (0.02, -0.42, 1.05)
    return piece


@_piece("safe")
def _safe(opened: bool) -> Furniture:
    piece = _cupboard(0.6, 0.5, 0.6, 0.2, "dark green", opened, 1, inside="grey")
    piece.mesh.box((0.66, 0.56, 0.2), (0, -0.28, 0), "dark")
    if not opened:
        piece.mesh.lathe([(0.1, 0), (0.1, 0.06)], (0, -0.56, 0.48), "gold").box(
            (0.26, 0.04, 0.05), (0, -0.58, 0.5), "gold"
        )
        piece.mesh.box((0.05, 0.04, 0.26), (0, -0.58, 0.4), "gold")
    piece.pitch = 20.0
    return piece


@_piece("drawer")
def _drawer(opened: bool) -> Furniture:
    mesh = _chest(0.9, 0.5, 0.78, "wood", 3, 1, "steel")
    pull = 0.48 if opened else 0.0
    if opened:
        tray = _trough(0.82, 0.5, 0.17, 0.03, "light wood", "tan", -0.25 - pull)
        mesh.add(tray, (0.0, 0.0, 0.53))
        mesh.box((0.86, 0.03, 0.2), (0, -0.51 - pull, 0.52), "light wood").box(
            (0.2, 0.04, 0.04), (0, -0.54 - pull, 0.6), "steel"
        )
        mesh.box((0.82, 0.02, 0.18), (0, -0.525, 0.53), "black")
    surface = Surface((0.0, -0.27 - pull, 0.56), 0.7, 0.4)
    return Furniture(mesh, 0.9, [surface], (0.0, -0.72, 0.56), 1.12, 48.0)


# What things lie in.


@_piece("sinkbasin", "sink")
def _sinkbasin(_: bool) -> Furniture:
    mesh = _chest(1.1, 0.6, 0.7, "wall blue", 1, 2, "steel")
    mesh.add(_trough(1.0, 0.56, 0.2, 0.03, "white", "silver", -0.3), (0, 0, 0.7))
    mesh.box((0.07, 0.07, 0.34), (0, -0.06, 0.86), "steel").box((0.06, 0.24, 0.06), (0, -0.16, 1.16), "steel")
    mesh.box((0.1, 0.06, 0.06), (-0.18, -0.06, 0.9), "light blue").box((0.1, 0.06, 0.06), (0.18, -0.06, 0.9), "red")
    return _in_trough(mesh, 1.0, 0.56, 0.9, 0.73, -0.32)


@_piece("bathtubbasin", "bathtub")
def _bathtubbasin(_: bool) -> Furniture:
    mesh = _trough(1.6, 0.8, 0.5, 0.2, "white", "light blue", -0.4)
    mesh.box((0.08, 0.08, 0.26), (-0.7, -0.06, 0.5), "steel").box((0.24, 0.08, 0.06), (-0.6, -0.06, 0.74), "steel")
    return _in_trough(mesh, 1.6, 0.8, 0.5, 0.2, -0.4)


@_piece("garbagecan")
def _garbagecan(_: bool) -> Furniture:
    mesh = _trough(0.5, 0.46, 0.62, 0.52, "grey", "black", -0.3).box((0.54, 0.5, 0.05), (0, -0.3, 0), "dark")
    for x in (-0.14, 0.0, 0.14):
        mesh.box((0.05, 0.02, 0.5), (x, -0.54, 0.06), "dark")
    return _in_trough(mesh, 0.5, 0.46, 0.62, 0.52, -0.3)


@_piece("laundryhamper")
def _laundryhamper(_: bool) -> Furniture:
    mesh = _trough(0.6, 0.5, 0.7, 0.58, "tan", "brown", -0.32)
    for z in (0.1, 0.26, 0.42):
        mesh.box((0.62, 0.52, 0.05), (0, -0.32, z), "cardboard")
    return _in_trough(mesh, 0.6, 0.5, 0.7, 0.58, -0.32)


# Kitchen machines.


@_piece("stoveburner")
def _stoveburner(_: bool) -> Furniture:
    mesh = Mesh().box((0.8, 0.66, 0.88), (0, -0.33, 0), "white").box((0.8, 0.66, 0.03), (0, -0.33, 0.88), "black")
    mesh.box((0.64, 0.02, 0.4), (0, -0.67, 0.2), "dark").box((0.6, 0.04, 0.04), (0, -0.69, 0.64), "steel")
    mesh.box((0.8, 0.08, 0.2), (0, -0.04, 0.9), "silver")
    for x in (-0.3, -0.1, 0.1, 0.3):
        mesh.lathe([(0.04, 0), (0.04, 0.04)], (x, -0.68, 0.76), "red")
    mesh.lathe([(0.26, 0), (0.26, 0.015)], (0, -0.36, 0.91), "grey").lathe(
        [(0.19, 0), (0.19, 0.01)], (0, -0.36, 0.92), "tomato"
    )
    return _on_top(mesh, 0.8, 0.52, 0.93, y=-0.36)


@_piece("coffeemachine")
def _coffeemachine(_: bool) -> Furniture:
    mesh = Mesh().box((0.9, 0.6, 0.86), (0, -0.3, 0), "wall blue").box((0.96, 0.64, 0.05), (0, -0.32, 0.86), "tan")
    mesh.box((0.36, 0.16, 0.46), (0, -0.16, 0.91), "black").box((0.36, 0.34, 0.12), (0, -0.25, 1.3), "dark red")
    mesh.box((0.4, 0.36, 0.05), (0, -0.26, 0.91), "dark").box((0.06, 0.06, 0.06), (0, -0.32, 1.24), "steel")
    mesh.box((0.06, 0.02, 0.06), (0.1, -0.43, 1.34), "mint")
    surface = Surface((0.0, -0.36, 0.96), 0.5, 0.24, 0.3)
    return Furniture(mesh, 0.9, [surface], (0.0, -0.3, 1.08), 0.95, 18.0)


@_piece("toaster")
def _toaster(_: bool) -> Furniture:
    mesh = Mesh().box((0.9, 0.6, 0.86), (0, -0.3, 0), "wall blue").box((0.96, 0.64, 0.05), (0, -0.32, 0.86), "tan")
    mesh.box((0.5, 0.28, 0.3), (0, -0.3, 0.91), "silver").box((0.4, 0.05, 0.01), (0, -0.25, 1.21), "black")
    mesh.box((0.4, 0.05, 0.01), (0, -0.36, 1.21), "black").box((0.04, 0.1, 0.04), (0.27, -0.3, 1.1), "red")
    piece = _on_top(mesh, 0.5, 0.28, 1.21, y=-0.3)
    piece.width, piece.span = 0.9, 0.95
    return piece


# On the wall, and the bath.


@_piece("shelf")
def _shelf(_: bool) -> Furniture:
    mesh = Mesh().box((1.1, 0.36, 0.05), (0, -0.18, 1.2), "red wood")
    for x in (-0.42, 0.42):
        mesh.box((0.04, 0.28, 0.05), (x, -0.14, 1.15), "dark").box((0.04, 0.04, 0.24), (x, -0.02, 0.96), "dark")
    piece = _on_top(mesh, 1.1, 0.36, 1.25)
    piece.high, piece.pitch = True, 26.0
    return piece


def _bar(width: float, colour: str, drop: float) -> Furniture:
    """A rail on the wall; what hangs there begins `drop` m below it."""
    mesh = Mesh().box((width, 0.04, 0.04), (0, -0.12, 1.3), colour)
    for x in (-width / 2, width / 2):
        mesh.box((0.06, 0.14, 0.08), (x, -0.07, 1.28), colour)
    surface = Surface((0.0, -0.22, 1.3 - drop), width, width, share=0.85, rows=1)
    focus = (0.0, -0.2, 1.3 - 0.4 * width)
    return Furniture(mesh, max(0.5, width), [surface], focus, width * 1.7, 12.0, high=True)


@_piece("towelholder")
def _towelholder(_: bool) -> Furniture:
    return _bar(0.7, "steel", 0.44)


@_piece("handtowelholder")
def _handtowelholder(_: bool) -> Furniture:
    return _bar(0.5, "gold", 0.22)


@_piece("toiletpaperhanger")
def _toiletpaperhanger(_: bool) -> Furniture:
    return _bar(0.34, "silver", 0.13)


@_piece("paintinghanger")
def _paintinghanger(_: bool) -> Furniture:
    return _bar(0.4, "black", 0.3)


@_piece("toilet")
def _toilet(_: bool) -> Furniture:
    mesh = Mesh().box((0.62, 0.26, 0.5), (0, -0.13, 0.36), "white").box((0.66, 0.3, 0.05), (0, -0.15, 0.86), "silver")
    mesh.lathe([(0.16, 0), (0.14, 0.2), (0.28, 0.42)], (0, -0.52, 0), "white", stretch=0.85)
    mesh.lathe([(0.29, 0), (0.29, 0.04)], (0, -0.52, 0.42), "trim", stretch=0.85)
    mesh.lathe([(0.2, 0), (0.2, 0.01)], (0, -0.54, 0.46), "light blue", stretch=0.85)
    mesh.box((0.08, 0.03, 0.03), (-0.22, -0.27, 0.76), "steel")
    piece = _on_top(mesh, 0.66, 0.3, 0.91)
    piece.focus, piece.span = (0.0, -0.3, 0.8), 0.95
    return piece
