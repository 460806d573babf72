"""Small coloured meshes of boxes and turned shapes, for a software renderer whose cost is their triangles.

A mesh has one texture, a palette with one texel per colour, so that a thing of several colours is one body. Normals are
taken from 26 directions whose length is 1 to the last bit: the renderer normalises them in place at every picture, and
otherwise a picture would depend on how many were drawn before.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from math import atan2, cos, floor, hypot, pi, sin

import numpy as np

from qsft_robot.sim.countertop.shapes import unit_normal

Point = tuple[float, float, float]

PALETTE: dict[str, tuple[int, int, int]] = {
    "white": (248, 248, 246), "cream": (242, 230, 200), "silver": (206, 212, 218), "steel": (160, 168, 176),
    "grey": (125, 130, 135), "dark": (70, 74, 80), "black": (32, 33, 36), "glass": (178, 222, 226),
    "red": (214, 32, 34), "dark red": (136, 24, 34), "tomato": (238, 72, 40), "orange": (246, 140, 26),
    "yellow": (250, 214, 46), "gold": (214, 172, 60), "light": (255, 250, 170), "flame": (255, 176, 40),
    "green": (56, 150, 60), "dark green": (24, 84, 46), "light green": (136, 202, 88), "mint": (164, 230, 196),
    "blue": (46, 96, 206), "navy": (28, 44, 108), "light blue": (142, 194, 240), "teal": (24, 146, 150),
    "purple": (132, 64, 170), "pink": (242, 138, 178), "skin": (232, 186, 148), "sleeve": (78, 96, 140),
    "brown": (124, 78, 42), "dark brown": (78, 48, 28), "tan": (206, 164, 108), "cardboard": (190, 148, 98),
    "wood": (168, 114, 64), "light wood": (214, 174, 122), "red wood": (142, 74, 46), "dark wood": (98, 64, 42),
    "wall cream": (236, 228, 208), "wall sand": (226, 208, 178), "wall grey": (212, 214, 216),
    "wall blue": (194, 210, 226), "wall green": (202, 218, 196), "wall rose": (230, 206, 202),
    "wall lilac": (212, 204, 226), "wall aqua": (190, 222, 222),
    "floor oak": (186, 148, 104), "floor dark": (132, 98, 70), "floor tile": (196, 198, 194),
    "floor slate": (138, 144, 150), "floor carpet": (170, 158, 150), "floor blue": (150, 170, 186),
    "sky": (170, 214, 248), "trim": (250, 250, 250),
}  # fmt: skip
"""Colours by name, red, green and blue from 0 to 255."""

PALETTE_SIDE = 8
SIDES = 8


def palette_picture() -> np.ndarray:
    """The palette as a texture: (8, 8, 3) uint8, row by row."""
    picture = np.zeros((PALETTE_SIDE * PALETTE_SIDE, 3), np.uint8)
    picture[: len(PALETTE)] = list(PALETTE.values())
    return picture.reshape(PALETTE_SIDE, PALETTE_SIDE, 3)


@functools.cache
def _texel(colour: str) -> tuple[float, float]:
    """Texture coordinates of a colour; the origin is the lower left corner."""
    row, column = divmod(list(PALETTE).index(colour), PALETTE_SIDE)
    return (column + 0.5) / PALETTE_SIDE, 1.0 - (row + 0.5) / PALETTE_SIDE


class Mesh:
    """Triangles with a colour each. Lengths in whatever unit the parts are given in; z points up.

    Every method that adds a part returns the mesh, so that calls can follow one another.
    """

    def __init__(self) -> None:
        self.vertices: list[Point] = []
        self.normals: list[Point] = []
        self.texels: list[tuple[float, float]] = []
        self.indices: list[int] = []

    @property
    def height(self) -> float:
        """The largest z."""
        return max((vertex[2] for vertex in self.vertices), default=0.0)

    def box(self, size: Point, at: Point, colour: str, turn: float = 0.0, lean: float = 0.0) -> Mesh:
        """Add a box.

        Args:
            size: extents along x, y and z.
            at: the middle of its bottom.
            colour: a name of `PALETTE`.
            turn: angle about z, rad.
            lean: angle about x through the middle of its bottom, rad; positive leans away along y.
        """
        half = (size[0] / 2, size[1] / 2, size[2] / 2)
        for axis in range(3):
            a, b = (axis + 1) % 3, (axis + 2) % 3
            for sign in (-1, 1):
                face = []
                for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
                    corner = [0.0, 0.0, 0.0]
                    corner[axis] = sign * half[axis]
                    corner[a], corner[b] = i * sign * half[a], j * half[b]
                    face.append(_moved((corner[0], corner[1], corner[2] + half[2]), at, turn, lean))
                self._face(face, colour)
        return self

    def lathe(
        self, profile: Sequence[tuple[float, float]], at: Point, colour: str, stretch: float = 1.0, sides: int = SIDES
    ) -> Mesh:
        """Add a shape turned about a vertical axis, closed at both ends.

        Args:
            profile: (radius, height) from the bottom upwards.
            at: where height 0 of the axis is.
            colour: a name of `PALETTE`.
            stretch: factor along x.
            sides: corners of a ring.
        """
        rings = []
        for radius, height in profile:
            angles = [2 * pi * (i + 0.5) / sides for i in range(sides)]
            rings.append([(at[0] + stretch * radius * cos(a), at[1] + radius * sin(a), at[2] + height) for a in angles])
        self._face(rings[0][::-1], colour)
        self._face(rings[-1], colour)
        for low, high in itertools.pairwise(rings):
            for i in range(sides):
                j = (i + 1) % sides
                self._face([low[i], low[j], high[j], high[i]], colour)
        return self

    def add(self, other: Mesh, at: Point = (0.0, 0.0, 0.0), scale: float = 1.0) -> Mesh:
        """Add a copy of another mesh, scaled and moved."""
        first = len(self.vertices)
        self.vertices += [(scale * x + at[0], scale * y + at[1], scale * z + at[2]) for x, y, z in other.vertices]
        self.normals += other.normals
        self.texels += other.texels
        self.indices += [first + index for index in other.indices]
        return self

    def _face(self, corners: Sequence[Point], colour: str) -> None:
        """A flat convex face, its corners counter-clockwise seen from outside."""
        across = np.zeros(3)
        for before, here in zip([corners[-1], *corners], corners, strict=False):
            across += np.cross(before, here)
        if np.linalg.norm(across) < 1e-12:
            return  # the tip of a cone
        first = len(self.vertices)
        self.vertices += corners
        self.normals += [_nearest_normal(across)] * len(corners)
        self.texels += [_texel(colour)] * len(corners)
        for i in range(1, len(corners) - 1):
            self.indices += [first, first + i, first + i + 1]


def _moved(point: Point, at: Point, turn: float, lean: float) -> Point:
    x, y, z = point
    if lean:
        y, z = y * cos(lean) + z * sin(lean), z * cos(lean) - y * sin(lean)
    if turn:
        x, y = x * cos(turn) - y * sin(turn), x * sin(turn) + y * cos(turn)
    return x + at[0], y + at[1], z + at[2]


def _nearest_normal(direction: np.ndarray) -> Point:
    """The nearest of 26 directions: straight up and down, eight around, level or half up or half down."""
    x, y, z = (float(value) for value in direction)
    flat = hypot(x, y)
    climb = max(-2, min(2, floor(atan2(z, flat) / (pi / 4) + 0.5)))
    around = 0 if abs(climb) == 2 else floor(atan2(y, x) / (pi / 4) + 0.5) % 8
    return _normal(around, climb)


@functools.cache
def _normal(around: int, climb: int) -> Point:
    flat = 0.0 if abs(climb) == 2 else cos(climb * pi / 4)
    exact = unit_normal(np.array([flat * cos(around * pi / 4), flat * sin(around * pi / 4), sin(climb * pi / 4)]))
    return float(exact[0]), float(exact[1]), float(exact[2])
