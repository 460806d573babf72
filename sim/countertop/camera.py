"""Cameras of the countertop and the software renderer behind them."""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import dataclass

import numpy as np
import pybullet

from qsft_robot.errors import ConfigurationError
from qsft_robot.sim.countertop.kinematics import Rotation, Vector

NEAR, FAR = 0.02, 3.0
LIGHT_DIRECTION = (0.6, -0.4, 1.2)


@dataclass(frozen=True)
class FixedCamera:
    """A camera that looks at a point of the world frame.

    Attributes:
        target: point looked at, m.
        distance: from the target, m.
        yaw, pitch: direction of view, degrees (pybullet's convention: at yaw 90 the camera stands on the +x side).
        field_of_view: vertical, degrees.
    """

    target: Vector
    distance: float
    yaw: float
    pitch: float
    field_of_view: float

    def view(self) -> tuple[float, ...]:
        """The 16 numbers of the view matrix."""
        matrix: tuple[float, ...] = pybullet.computeViewMatrixFromYawPitchRoll(
            self.target, self.distance, self.yaw, self.pitch, 0.0, 2
        )
        return matrix


FIXED_CAMERAS = {
    "front": FixedCamera((0.27, 0.005, 0.065), 0.70, 90.0, -50.0, 34.5),
    "side": FixedCamera((0.30, 0.00, 0.05), 0.75, 0.0, -25.0, 42.0),
}
OVERVIEW = FixedCamera((0.25, 0.01, 0.12), 0.86, 58.0, -30.0, 40.0)
"""What `render()` shows: the whole arm and the task."""

CAMERAS = (*FIXED_CAMERAS, "wrist")
WRIST_FIELD_OF_VIEW = 75.0
WRIST_BACK, WRIST_ASIDE, WRIST_AHEAD = 0.11, 0.07, 0.02
"""The wrist camera's place, m: behind the tool point, beside the hand; and how far ahead of the tool point it looks."""


def display_available() -> bool:
    """Whether a window can be opened; asked before pybullet, which ends the process when it cannot."""
    if not sys.platform.startswith("linux"):
        return True
    if not os.environ.get("DISPLAY"):
        return False
    try:
        library = ctypes.CDLL("libX11.so.6")
    except OSError:
        return False
    library.XOpenDisplay.restype = ctypes.c_void_p
    display = library.XOpenDisplay(None)
    if not display:
        return False
    library.XCloseDisplay(ctypes.c_void_p(display))
    return True


def check_cameras(names: tuple[str, ...]) -> None:
    """Raise ConfigurationError when a camera is unknown, missing or named twice."""
    unknown = [name for name in names if name not in CAMERAS]
    if unknown:
        raise ConfigurationError(f"cameras names '{unknown[0]}', expected among {', '.join(CAMERAS)}")
    if not names or len(set(names)) != len(names):
        raise ConfigurationError(f"cameras must name at least one camera, each once, got {names}")


def aim_window(client: int) -> None:
    """Point the window's camera at the whole arm."""
    pybullet.resetDebugVisualizerCamera(
        OVERVIEW.distance, OVERVIEW.yaw, OVERVIEW.pitch, OVERVIEW.target, physicsClientId=client
    )


def image_key(names: tuple[str, ...], index: int) -> str:
    """Observation key of a camera: `image` for the first, `image_<name>` for the others."""
    return "image" if index == 0 else f"image_{names[index]}"


class Renderer:
    """Pictures of one physics client.

    Args:
        client: id of a physics client.
        size: pixels per side.
        cameras: the fixed cameras by name, besides `overview`.
    """

    def __init__(self, client: int, size: int, cameras: dict[str, FixedCamera]) -> None:
        self._client = client
        self._size = size
        cameras = {**cameras, "overview": OVERVIEW}
        self._views = {name: camera.view() for name, camera in cameras.items()}
        self._projections = {
            name: pybullet.computeProjectionMatrixFOV(angle, 1.0, NEAR, FAR)
            for name, angle in [(name, camera.field_of_view) for name, camera in cameras.items()]
            + [("wrist", WRIST_FIELD_OF_VIEW)]
        }

    def picture(self, camera: str, position: Vector, rotation: Rotation, shadow: bool = False) -> np.ndarray:
        """What a camera sees: (size, size, 3) uint8. The tool's pose places the wrist camera."""
        view = self._views[camera] if camera in self._views else _wrist_view(position, rotation)
        pixels = pybullet.getCameraImage(
            self._size,
            self._size,
            view,
            self._projections[camera],
            lightDirection=LIGHT_DIRECTION,
            lightAmbientCoeff=0.55,
            lightDiffuseCoeff=0.5,
            lightSpecularCoeff=0.0,
            shadow=shadow,
            renderer=pybullet.ER_TINY_RENDERER,
            flags=pybullet.ER_NO_SEGMENTATION_MASK,
            physicsClientId=self._client,
        )[2]
        # A build of pybullet without numpy returns a flat tuple.
        image = np.asarray(pixels, dtype=np.uint8).reshape(self._size, self._size, 4)
        return np.ascontiguousarray(image[:, :, :3])


def _wrist_view(position: Vector, rotation: Rotation) -> tuple[float, ...]:
    ahead = (rotation[0], rotation[3], rotation[6])
    aside = (rotation[2], rotation[5], rotation[8])
    eye = [p - WRIST_BACK * a + WRIST_ASIDE * b for p, a, b in zip(position, ahead, aside, strict=True)]
    target = [p + WRIST_AHEAD * a for p, a in zip(position, ahead, strict=True)]
    matrix: tuple[float, ...] = pybullet.computeViewMatrix(eye, target, aside)
    return matrix
