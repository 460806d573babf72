"""How a kind of thing gets its shape: a drawing, registered under the kind's name with up to three colours."""

from __future__ import annotations

from collections.abc import Callable

from qsft_robot.sim.household.meshes import Mesh, Point

Draw = Callable[[Mesh, str], object]
"""Adds a kind's parts to a mesh, in a colour of its own. The cell is 1 x 1 units, and things stand at z = 0."""

KINDS: dict[str, tuple[Draw, tuple[str, ...]]] = {}
"""Kind in lower case -> its drawing and the colours that the number in a name chooses between."""


def kind(name: str, *colours: str) -> Callable[[Draw], Draw]:
    """Register a drawing as the look of a kind."""

    def register(draw: Draw) -> Draw:
        KINDS[name] = (draw, colours or ("grey",))
        return draw

    return register


def turned(name: str, colours: tuple[str, ...], *parts: tuple[str | None, list[tuple[float, float]]]) -> None:
    """Register a kind made of turned shapes only; None stands for the kind's colour."""

    def draw(mesh: Mesh, colour: str) -> None:
        for own, profile in parts:
            mesh.lathe(profile, (0.0, 0.0, 0.0), own or colour)

    kind(name, *colours)(draw)


def boxes(name: str, colours: tuple[str, ...], *parts: tuple[str | None, Point, Point]) -> None:
    """Register a kind made of boxes only: colour, size, middle of the bottom."""

    def draw(mesh: Mesh, colour: str) -> None:
        for own, size, at in parts:
            mesh.box(size, at, own or colour)

    kind(name, *colours)(draw)
