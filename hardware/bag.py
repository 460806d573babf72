"""Records the arm's topics into an MCAP bag that ROS tools read (extra `rosbag`)."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path
from typing import Any, Self

from qsft_robot.errors import DataError, MissingExtraError
from qsft_robot.hardware.adapter import ArmError
from qsft_robot.hardware.description import RobotDescription
from qsft_robot.hardware.ros2_support import Ros2Node, require_rclpy

DISCOVERY_SECONDS = 30.0
"""How long to wait for the topics. ROS finds them after some tenths of a second, or after a missed announcement with
the next one, 3 s later."""


class BagRecorder:
    """Writes every message of the arm's topics, as it is on the wire; a context manager.

    Entering it waits until the arm's joint states and images are heard and who commands it is found: a bag lacks
    nothing of what follows.

    Args:
        description: names the topics.
        path: folder of the bag, which must not exist.

    Raises:
        DataError: the folder exists.
        ArmError: on entering, a topic was not found within `DISCOVERY_SECONDS`.
        MissingExtraError: on entering, the extra `rosbag` or `ros2` is missing.
    """

    def __init__(self, description: RobotDescription, path: Path) -> None:
        if path.exists():
            raise DataError(f"there is a bag at {path}: move it away, or give another run=")
        self._description, self._path = description, path
        self._lock = threading.Lock()
        self.messages: dict[str, int] = {}
        """Topic -> messages written so far."""

    def __enter__(self) -> Self:
        try:
            from rosbags.rosbag2 import StoragePlugin, Writer
            from rosbags.typesys import Stores, get_typestore
        except ImportError as error:
            raise MissingExtraError("rosbag", "recording a bag") from error
        require_rclpy()
        from rclpy.qos import QoSProfile, ReliabilityPolicy

        self._writer = Writer(self._path, version=9, storage_plugin=StoragePlugin.MCAP)
        self._writer.open()
        types = get_typestore(Stores.ROS2_JAZZY)
        self._ros = Ros2Node("qsft_robot_bag")
        quality = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)
        for topic, message_type, name in self._topics():
            connection = self._writer.add_connection(topic, name, typestore=types)
            self.messages[topic] = 0
            receive = self._receiver(connection, topic)
            self._ros.node.create_subscription(message_type, topic, receive, quality, raw=True)
        self._ros.start()
        try:
            self._wait_for_all()
        except BaseException:
            self.__exit__()
            shutil.rmtree(self._path)
            raise
        return self

    def _wait_for_all(self) -> None:
        end = time.monotonic() + DISCOVERY_SECONDS
        while missing := self._missing():
            if time.monotonic() > end:
                silence = "; ".join(missing)
                raise ArmError(f"no bag can be recorded, for within {DISCOVERY_SECONDS:g} s {silence}")
            time.sleep(0.02)

    def _missing(self) -> list[str]:
        names = self._description.ros2
        sensors = [names.joint_states] + ([names.image] if self._description.camera is not None else [])
        missing = [f"nothing came on {topic}" for topic in sensors if not self.messages[topic]]
        # Commands begin with the episode: until then there is only who will send them.
        for topic in (names.arm_command, names.gripper_command):
            if not self._ros.node.count_publishers(topic):
                missing.append(f"nobody publishes {topic}")
        return missing

    def __exit__(self, *error: object) -> None:
        self._ros.close()
        with self._lock:
            self._writer.close()

    def _topics(self) -> list[tuple[str, Any, str]]:
        from sensor_msgs.msg import CompressedImage, Image, JointState
        from std_msgs.msg import Float64MultiArray
        from trajectory_msgs.msg import JointTrajectory

        names = self._description.ros2
        topics: list[tuple[str, Any]] = [(names.joint_states, JointState)]
        if self._description.camera is not None:
            topics.append((names.image, Image if names.image_kind == "raw" else CompressedImage))
        for topic, kind in (
            (names.arm_command, names.arm_command_kind),
            (names.gripper_command, names.gripper_command_kind),
        ):
            topics.append((topic, JointTrajectory if kind == "joint_trajectory" else Float64MultiArray))
        return [(topic, kind, f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}") for topic, kind in topics]

    def _receiver(self, connection: Any, topic: str) -> Any:
        def receive(data: bytes) -> None:
            with self._lock:
                self._writer.write(connection, time.time_ns(), bytes(data))
                self.messages[topic] += 1

        return receive
