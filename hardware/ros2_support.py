"""What both sides of the ROS 2 topics share: imports that may be missing, stamps, images, trajectories."""

from __future__ import annotations

import faulthandler
import importlib
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

from qsft_robot.errors import DataError, MissingExtraError

logger = logging.getLogger(__name__)

CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1}

JOINING_SECONDS = 30.0
"""A node is there after a fraction of a second."""


def require_rclpy() -> ModuleType:
    """Import rclpy, from a sourced ROS 2 or from the extra `ros2`.

    Raises:
        MissingExtraError: it is not there.
    """
    try:
        import rclpy

        for name in ("sensor_msgs.msg", "std_msgs.msg", "std_srvs.srv", "trajectory_msgs.msg"):
            importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError("ros2", "an arm over ROS 2 (or a sourced ROS 2 installation)") from error
    return rclpy


@contextmanager
def _joining(name: str) -> Iterator[None]:
    """End the process where a node's constructor hangs, instead of leaving it silent for ever.

    Fast DDS waits without end for a lock in shared memory that a killed process held, and rclpy keeps the interpreter's
    own lock meanwhile: no thread could raise an error.
    """
    logger.info(
        "joining the ROS graph as %s; if that takes more than %.0f s this process ends: then delete what killed ROS "
        "processes left in shared memory (rm /dev/shm/*fastdds*, with no other running)",
        name,
        JOINING_SECONDS,
    )
    output = sys.__stderr__
    if output is not None:
        faulthandler.dump_traceback_later(JOINING_SECONDS, exit=True, file=output)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


class Ros2Node:
    """A node in a context of its own, spun by a thread of its own; leaves signals to the program.

    Args:
        name: the node's name.
    """

    def __init__(self, name: str) -> None:
        rclpy = require_rclpy()
        from rclpy.context import Context
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.node import Node
        from rclpy.signals import SignalHandlerOptions

        self._context = Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        with _joining(name):
            self.node: Any = Node(name, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread: threading.Thread | None = None
        self._closing = False

    def start(self) -> None:
        """Spin in a thread."""
        self._thread = threading.Thread(target=self._spin, name="ros2", daemon=True)
        self._thread.start()

    def spin_once(self) -> None:
        """Handle what has come, for a program with a loop of its own."""
        self._executor.spin_once(timeout_sec=0.0)

    @property
    def alive(self) -> bool:
        """Whether the ROS graph can still be used."""
        spinning = self._thread is None or self._thread.is_alive()
        return not self._closing and spinning and self._context.ok()

    def close(self) -> None:
        """Leave the ROS graph."""
        self._closing = True
        self._executor.shutdown(timeout_sec=1.0)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=2.0)
        self.node.destroy_node()
        if self._context.ok():
            self._context.shutdown()

    def _spin(self) -> None:
        from rclpy.executors import ExternalShutdownException

        try:
            while self._context.ok() and not self._closing:
                self._executor.spin_once(timeout_sec=0.1)
        except (ExternalShutdownException, RuntimeError) as error:
            if not self._closing:
                logger.error("the ROS graph is gone: %s", type(error).__name__)


class Arrivals:
    """When the messages of a topic came, and how old their stamps were then."""

    def __init__(self) -> None:
        self.times: deque[float] = deque(maxlen=2000)
        self.ages: deque[float] = deque(maxlen=2000)
        self.count = 0

    def add(self, now: float, age: float) -> None:
        """A message came at `now` (s), stamped `age` s ago."""
        self.times.append(now)
        self.ages.append(age)
        self.count += 1

    def rate(self, since: float) -> float:
        """Messages per second among those that came at `since` or later."""
        times = [each for each in self.times if each >= since]
        return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 and times[-1] > times[0] else 0.0


def seconds(stamp: Any) -> float:
    """A builtin_interfaces/Time or Duration in s."""
    return float(stamp.sec) + float(stamp.nanosec) * 1e-9


def set_duration(duration: Any, value: float) -> None:
    """Write s into a builtin_interfaces/Duration or Time."""
    whole = int(value // 1)
    duration.sec, duration.nanosec = whole, int((value - whole) * 1e9)


def stamp_age(header: Any) -> float:
    """How old a message's stamp is by the wall clock, s; 0 for a stamp that was never set."""
    stamped = seconds(header.stamp)
    return 0.0 if stamped == 0.0 else time.time() - stamped


def decode_image(message: Any, kind: str) -> np.ndarray:
    """A sensor_msgs/Image (`raw`) or CompressedImage (`compressed`) as (height, width, 3) uint8 RGB.

    Raises:
        DataError: the encoding is unknown or the data do not fit the size.
    """
    if kind == "compressed":
        import cv2

        decoded = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
        if decoded is None:
            raise DataError("a compressed image cannot be decoded")
        return np.ascontiguousarray(decoded[:, :, ::-1])
    if message.encoding not in CHANNELS:
        raise DataError(f"images of encoding '{message.encoding}' are not known: {', '.join(CHANNELS)}")
    channels = CHANNELS[message.encoding]
    rows = np.frombuffer(message.data, np.uint8)
    if rows.size != message.step * message.height or message.step < message.width * channels or rows.size == 0:
        raise DataError(f"an image of {rows.size} bytes does not fit {message.width}x{message.height} pixels")
    pixels = rows.reshape(message.height, message.step)[:, : message.width * channels]
    image = pixels.reshape(message.height, message.width, channels)
    if message.encoding == "mono8":
        image = np.repeat(image, 3, axis=2)
    elif message.encoding.startswith("bgr"):
        image = image[:, :, [2, 1, 0]]
    else:
        image = image[:, :, :3]
    return np.ascontiguousarray(image)


def fit_image(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Cut the middle to the wanted proportions and scale it: (height, width, 3) uint8."""
    if image.shape[:2] == (height, width):
        return image
    import cv2

    rows, columns = image.shape[:2]
    if columns * height > rows * width:
        keep = max(1, round(rows * width / height))
        start = (columns - keep) // 2
        image = image[:, start : start + keep]
    else:
        keep = max(1, round(columns * height / width))
        start = (rows - keep) // 2
        image = image[start : start + keep]
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))


def trajectory_points(message: Any, order: tuple[str, ...]) -> list[tuple[float, np.ndarray]] | None:
    """The points of a JointTrajectory as (seconds from start, positions (len(order),)); None if they do not fit."""
    names = list(message.joint_names)
    if sorted(names) != sorted(order) or not message.points:
        return None
    index = [names.index(name) for name in order]
    points = []
    for point in message.points:
        if len(point.positions) != len(names) or not np.isfinite(point.positions).all():
            return None
        points.append((seconds(point.time_from_start), np.array([point.positions[i] for i in index])))
    return points
