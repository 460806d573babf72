"""The objects an arm can grasp: low-polygon convex shapes, each with colour and friction drawn per episode.

A software renderer's cost is the vertices, so every shape has at most 60 of them (flat faces share none).
All shapes fit between the open fingers (68 mm) at any angle about the vertical and are wider than the closed ones
(24 mm). Lengths in m.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from math import cos, pi, sin, sqrt

import numpy as np
import pybullet

from qsft_robot.errors import ConfigurationError

Faces = list[list[int]]

DENSITY = 900.0
"""kg/m^3, applied to the box around a shape: 35 to 60 g an object."""

PALETTE: dict[str, tuple[float, float, float]] = {
    "red": (0.88, 0.10, 0.10),
    "orange": (1.00, 0.48, 0.00),
    "green": (0.10, 0.62, 0.18),
    "purple": (0.55, 0.12, 0.70),
    "yellow": (0.98, 0.85, 0.05),
    "pink": (0.98, 0.30, 0.62),
}
"""Object colours; none is the tray's, the counter's or the arm's."""

COLOUR_JITTER = 0.06
FRICTION_RANGE = (0.7, 1.1)


@dataclass(frozen=True, eq=False)
class Shape:
    """A convex polyhedron around its centre of mass (to within a few millimetres).

    Attributes:
        name: what a person would call it.
        corners: (n, 3) float, m.
        faces: corner indices of each face, counter-clockwise seen from outside.
    """

    name: str
    corners: np.ndarray
    faces: Faces

    @property
    def height(self) -> float:
        """Extent along z, m."""
        return float(np.ptp(self.corners[:, 2]))

    @property
    def rest_height(self) -> float:
        """Height of the origin above the surface the shape stands on, m."""
        return float(-self.corners[:, 2].min())

    @property
    def mass(self) -> float:
        """Mass in kg."""
        return float(DENSITY * np.prod(np.ptp(self.corners, axis=0)))


def _prism(name: str, sides: int, bottom: float, top: float, height: float, turn: float = 0.0) -> Shape:
    """An upright prism or frustum; `bottom` and `top` are the radii of the corners' circles."""
    angles = [2 * pi * i / sides + turn for i in range(sides)]
    rings = [
        [(radius * cos(a), radius * sin(a), z) for a in angles]
        for radius, z in ((bottom, -height / 2), (top, height / 2))
    ]
    faces: Faces = [list(range(sides))[::-1], list(range(sides, 2 * sides))]
    faces += [[i, (i + 1) % sides, sides + (i + 1) % sides, sides + i] for i in range(sides)]
    return Shape(name, np.array(rings[0] + rings[1]), faces)


def _icosahedron(name: str, radius: float) -> Shape:
    """Twelve corners, twenty triangles, resting on one of them."""
    golden = (1 + sqrt(5)) / 2
    corners = np.array(
        [(0, a, b * golden) for a in (-1, 1) for b in (-1, 1)]
        + [(a, b * golden, 0) for a in (-1, 1) for b in (-1, 1)]
        + [(b * golden, 0, a) for a in (-1, 1) for b in (-1, 1)]
    )
    corners *= radius / sqrt(1 + golden**2)
    edge = min(float(np.linalg.norm(corners[0] - other)) for other in corners[1:])
    faces: Faces = []
    for i in range(12):
        for j in range(i + 1, 12):
            for k in range(j + 1, 12):
                triangle = corners[[i, j, k]]
                if all(abs(float(np.linalg.norm(triangle[a] - triangle[a - 1])) - edge) < 1e-6 for a in range(3)):
                    normal = np.cross(triangle[1] - triangle[0], triangle[2] - triangle[0])
                    faces.append([i, j, k] if normal @ triangle.sum(axis=0) > 0 else [i, k, j])
    # Turn the first face to the bottom.
    down = -corners[faces[0]].mean(axis=0)
    down /= np.linalg.norm(down)
    side = np.cross(down, [1.0, 0.0, 0.0])
    side /= np.linalg.norm(side)
    frame = np.stack([np.cross(side, down), side, down])
    return Shape(name, corners @ frame.T, faces)


TRAIN_SHAPES = (
    _prism("cube", 4, 0.0240, 0.0240, 0.034, pi / 4),
    _prism("block", 4, 0.0215, 0.0215, 0.050, pi / 4),
    _prism("nut", 6, 0.0200, 0.0200, 0.032),
    _prism("can", 8, 0.0185, 0.0185, 0.046),
    _prism("pyramid", 4, 0.0275, 0.0185, 0.036, pi / 4),
)
HELD_OUT_SHAPES = (
    _prism("wedge", 3, 0.0250, 0.0250, 0.036),
    _prism("cup", 8, 0.0160, 0.0205, 0.042),
    _prism("pentagon", 5, 0.0205, 0.0205, 0.036),
    _icosahedron("ball", 0.0210),
)
OBJECT_SETS = {"train": TRAIN_SHAPES, "held_out": HELD_OUT_SHAPES}


def shapes_of(object_set: str) -> tuple[Shape, ...]:
    """The shapes of a set: `train`, or `held_out` for evaluation on kinds never trained on.

    Raises:
        ConfigurationError: no such set.
    """
    if object_set not in OBJECT_SETS:
        raise ConfigurationError(f"object_set is '{object_set}', expected one of {', '.join(OBJECT_SETS)}")
    return OBJECT_SETS[object_set]


def load_shape(shape: Shape, client: int, position: tuple[float, float, float]) -> int:
    """Create a body of this shape in a physics client and return its id."""
    vertices, normals, indices = _triangles(shape)
    visual = pybullet.createVisualShape(
        pybullet.GEOM_MESH, vertices=vertices, indices=indices, normals=normals, physicsClientId=client
    )
    collision = pybullet.createCollisionShape(
        pybullet.GEOM_MESH, vertices=shape.corners.tolist(), physicsClientId=client
    )
    body: int = pybullet.createMultiBody(shape.mass, collision, visual, position, physicsClientId=client)
    # Damping and friction about the contact normal let an object come to rest instead of sliding or spinning on.
    pybullet.changeDynamics(
        body, -1, linearDamping=0.04, angularDamping=0.04, spinningFriction=0.002, rollingFriction=0.0002,
        physicsClientId=client,
    )  # fmt: skip
    return body


@functools.cache
def _triangles(shape: Shape) -> tuple[list[list[float]], list[list[float]], list[int]]:
    """Vertices and normals, each face with its own, and the indices of its fan of triangles."""
    vertices: list[list[float]] = []
    normals: list[list[float]] = []
    indices: list[int] = []
    for face in shape.faces:
        corners = shape.corners[face]
        normal = unit_normal(np.cross(corners[1] - corners[0], corners[2] - corners[0]))
        first = len(vertices)
        vertices += corners.tolist()
        normals += [normal.tolist()] * len(face)
        for i in range(1, len(face) - 1):
            indices += [first, first + i, first + i + 1]
    return vertices, normals, indices


def unit_normal(direction: np.ndarray) -> np.ndarray:
    """A float32 normal along `direction` whose length is 1 to the last bit.

    The renderer normalises a mesh's stored normals in place each time it draws it. Where that is not exact, a normal
    swings between two roundings, and a picture depends on how many were drawn before.

    Args:
        direction: (3,) float, of any length but zero.

    Returns:
        (3,) float32.
    """
    normal = (direction / np.linalg.norm(direction)).astype(np.float32)
    normal[np.abs(normal) < 1e-6] = 0.0
    spacing = np.spacing(np.abs(normal))
    for radius in range(1, 8):
        steps = np.arange(-radius, radius + 1, dtype=np.float32)
        for x, y, z in itertools.product(*(steps if value else steps[:1] for value in normal)):
            candidate = normal + np.array([x, y, z], np.float32) * np.where(normal == 0.0, 0.0, spacing)
            candidate = candidate.astype(np.float32)
            if _has_length_one(candidate):
                return candidate
    raise ArithmeticError(f"no normal of length 1 near {normal}")


def _has_length_one(normal: np.ndarray) -> bool:
    """Whether float32 arithmetic finds length 1, with every product rounded and with fused multiply and add."""
    x, y, z = normal
    rounded = (x * x + y * y) + z * z
    x, y, z = normal.astype(np.float64)
    fused = np.float32(z * z + np.float64(np.float32(y * y + np.float64(np.float32(x * x)))))
    return bool(np.sqrt(rounded) == 1.0 and np.sqrt(fused) == 1.0)


def draw_colour(random: np.random.Generator) -> tuple[float, float, float, float]:
    """A colour of the palette, varied a little: red, green, blue, alpha in [0, 1]."""
    base = list(PALETTE.values())[int(random.integers(len(PALETTE)))]
    red, green, blue = np.clip(np.array(base) + random.uniform(-COLOUR_JITTER, COLOUR_JITTER, 3), 0, 1).tolist()
    return (red, green, blue, 1.0)
