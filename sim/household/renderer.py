"""The scene as a picture, drawn by PyBullet's software renderer.

One client holds the bodies that the last pictures needed; a scene moves in what it shows and parks the rest far below.
A picture is a function of its scene and size alone, whatever was drawn before.
"""

from __future__ import annotations

import tempfile
from collections import OrderedDict
from math import cos, sin
from pathlib import Path

import cv2
import numpy as np
import pybullet

from qsft_robot.sim.household.meshes import palette_picture
from qsft_robot.sim.household.scene import Scene
from qsft_robot.sim.household.stage import FIELD_OF_VIEW, Camera, Piece, arrange

NEAR, FAR = 0.05, 30.0
LIGHT_DIRECTION = (0.5, -0.9, 1.4)
PARKED = (0.0, 0.0, -200.0)

MOST_BODIES = 60
"""Bodies kept; the renderer looks at every one of them for every picture."""

MOST_SHAPES = 200
"""Shapes kept: PyBullet cannot let go of one, so that beyond these its client is replaced."""

MOST_PICTURES = 64
"""Pictures kept, for commands that change nothing that is seen."""


class Renderer:
    """Draws scenes. It owns a physics client; `close` releases it."""

    def __init__(self) -> None:
        self._client = -1
        self._connect()
        self._projection = pybullet.computeProjectionMatrixFOV(FIELD_OF_VIEW, 1.0, NEAR, FAR)
        self._pictures: OrderedDict[tuple[Scene, int], np.ndarray] = OrderedDict()

    def _connect(self) -> None:
        """Start with an empty client, in place of the one before."""
        self.close()
        self._client = pybullet.connect(pybullet.DIRECT)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "palette.png"
            cv2.imwrite(str(path), palette_picture()[:, :, ::-1])
            self._palette = pybullet.loadTexture(str(path), physicsClientId=self._client)
        self._shapes: dict[tuple[object, ...], int] = {}
        self._bodies: OrderedDict[tuple[tuple[object, ...], int], int] = OrderedDict()

    def picture(self, scene: Scene, size: int) -> np.ndarray:
        """What the agent sees: (size, size, 3) uint8."""
        known = self._pictures.get((scene, size))
        if known is None:
            camera, pieces = arrange(scene)
            self._show(pieces)
            known = self._shoot(camera, size, pybullet.ER_NO_SEGMENTATION_MASK)[0]
            self._pictures[scene, size] = known
            if len(self._pictures) > MOST_PICTURES:
                self._pictures.popitem(last=False)
        else:
            self._pictures.move_to_end((scene, size))
        return known.copy()

    def segment(self, scene: Scene, size: int) -> tuple[np.ndarray, list[str]]:
        """Which thing or receptacle each pixel of a scene's picture shows.

        Returns:
            (size, size) int, -1 or an index into the second value; and the names, as the text says them. A receptacle
            other than the one at hand is called `beyond <name>`.
        """
        camera, pieces = arrange(scene)
        bodies = self._show(pieces)
        shown = self._shoot(camera, size, 0)[1]
        names = sorted({piece.name for piece in pieces if piece.name})
        labels = np.full(shown.shape, -1)
        for body, piece in zip(bodies, pieces, strict=True):
            if piece.name:
                labels[shown == body] = names.index(piece.name)
        return labels, names

    def close(self) -> None:
        """Release the physics client."""
        if self._client >= 0:
            pybullet.disconnect(physicsClientId=self._client)
            self._client = -1

    def __del__(self) -> None:
        if getattr(self, "_client", -1) >= 0 and pybullet is not None:
            self.close()

    def _show(self, pieces: list[Piece]) -> list[int]:
        """Put these pieces where they belong and everything else out of sight; the body of each piece."""
        if len(self._shapes) > MOST_SHAPES:
            self._connect()
        count: dict[tuple[object, ...], int] = {}
        used = []
        for piece in pieces:
            number = count.get(piece.key, 0)
            count[piece.key] = number + 1
            name = (piece.key, number)
            if name not in self._bodies:
                self._bodies[name] = self._load(piece)
            self._bodies.move_to_end(name)
            used.append(name)
        wanted = set(used)
        for name in list(self._bodies):
            if name in wanted:
                continue
            if len(self._bodies) > MOST_BODIES:
                pybullet.removeBody(self._bodies.pop(name), physicsClientId=self._client)
            else:
                self._place(self._bodies[name], PARKED)
        for name, piece in zip(used, pieces, strict=True):
            self._place(self._bodies[name], piece.at, piece.lean)
        return [self._bodies[name] for name in used]

    def _load(self, piece: Piece) -> int:
        if piece.key not in self._shapes:
            mesh = piece.mesh
            self._shapes[piece.key] = pybullet.createVisualShape(
                pybullet.GEOM_MESH,
                vertices=mesh.vertices,
                indices=mesh.indices,
                normals=mesh.normals,
                uvs=mesh.texels,
                physicsClientId=self._client,
            )
        body: int = pybullet.createMultiBody(0.0, -1, self._shapes[piece.key], PARKED, physicsClientId=self._client)
        pybullet.changeVisualShape(body, -1, textureUniqueId=self._palette, physicsClientId=self._client)
        return body

    def _place(self, body: int, at: tuple[float, float, float], lean: float = 0.0) -> None:
        turned = (sin(lean / 2), 0.0, 0.0, cos(lean / 2))
        pybullet.resetBasePositionAndOrientation(body, at, turned, physicsClientId=self._client)

    def _shoot(self, camera: Camera, size: int, flags: int) -> tuple[np.ndarray, np.ndarray]:
        view = pybullet.computeViewMatrix(camera.eye, camera.target, (0.0, 0.0, 1.0))
        answer = pybullet.getCameraImage(
            size,
            size,
            view,
            self._projection,
            lightDirection=LIGHT_DIRECTION,
            lightAmbientCoeff=0.62,
            lightDiffuseCoeff=0.42,
            lightSpecularCoeff=0.0,
            shadow=False,
            renderer=pybullet.ER_TINY_RENDERER,
            flags=flags,
            physicsClientId=self._client,
        )
        # A build of pybullet without numpy returns flat tuples.
        image = np.asarray(answer[2], dtype=np.uint8).reshape(size, size, 4)
        labels = np.asarray(answer[4], dtype=np.int64)
        labels = labels.reshape(size, size) if labels.size == size * size else np.full((size, size), -1)
        return np.ascontiguousarray(image[:, :, :3]), labels
