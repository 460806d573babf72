"""What the things of the games look like: one small mesh a kind, in a cell of 1 x 1 units, standing at z = 0.

Sizes are not to scale: a credit card fills its cell nearly as a laptop does, so that both can be told from a picture of
96 pixels. The number in a thing's name chooses between up to three colours.
"""

from __future__ import annotations

import functools

# Importing them registers the kinds.
from qsft_robot.sim.household import belongings as _belongings  # noqa: F401
from qsft_robot.sim.household import dishes as _dishes  # noqa: F401
from qsft_robot.sim.household.kinds import KINDS
from qsft_robot.sim.household.meshes import Mesh
from qsft_robot.sim.household.scene import Thing


def thing_mesh(thing: Thing) -> Mesh:
    """The mesh of a thing with its marks; kinds without a shape of their own look like a parcel."""
    return _mesh(*look(thing))


def look(thing: Thing) -> tuple[str, int, frozenset[str]]:
    """What tells the looks of things apart: kind, number of the colour, marks."""
    number = thing.name.rpartition(" ")[2]
    colours = KINDS.get(thing.kind.removesuffix("sliced"), KINDS["parcel"])[1]
    return thing.kind, (int(number) if number.isdigit() else 0) % len(colours), thing.marks


def known_kinds() -> frozenset[str]:
    """The kinds that have a shape of their own, in lower case."""
    return frozenset(KINDS)


@functools.cache
def _mesh(kind: str, colour_number: int, marks: frozenset[str]) -> Mesh:
    sliced = "sliced" in marks or kind.endswith("sliced")
    draw, colours = KINDS.get(kind.removesuffix("sliced"), KINDS["parcel"])
    colour = colours[colour_number]
    mesh = Mesh()
    if kind in ("desklamp", "floorlamp"):
        colour = "light" if "on" in marks else colour
    if sliced:
        for i in range(3):
            mesh.lathe([(0.26, 0.0), (0.26, 0.08)], (-0.2 + 0.2 * i, 0.0, 0.05 * i), colour)
            mesh.lathe([(0.2, 0.0), (0.2, 0.02)], (-0.2 + 0.2 * i, 0.0, 0.05 * i + 0.08), "cream")
    else:
        draw(mesh, colour)
    return _marked(mesh, marks)


def _marked(mesh: Mesh, marks: frozenset[str]) -> Mesh:
    """Steam for hot, ice for cool, sparkles for clean."""
    top = mesh.height
    if "hot" in marks:
        for x in (-0.2, 0.0, 0.2):
            mesh.box((0.07, 0.05, 0.16), (x, 0.0, top + 0.05), "orange").box(
                (0.05, 0.05, 0.16), (x + 0.05, 0.0, top + 0.2), "white"
            )
    if "cool" in marks:
        for x, y in ((-0.38, -0.3), (0.38, -0.32), (0.0, -0.42)):
            mesh.box((0.15, 0.15, 0.15), (x, y, 0.0), "light blue", turn=0.5)
    if "clean" in marks:
        for x, z in ((-0.32, 0.1), (0.34, 0.0), (0.08, 0.16)):
            mesh.box((0.2, 0.04, 0.05), (x, -0.1, top + z), "white").box(
                (0.05, 0.04, 0.2), (x, -0.1, top + z - 0.075), "white"
            )
    return mesh
