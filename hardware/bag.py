"""Records the arm's topics into an MCAP bag that ROS tools read (extra `rosbag`)."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any, Self

from qsft_robot.errors import MissingExtraError
from qsft_robot.hardware.description import RobotDescription
from qsft_robot.hardware.ros2_support import Ros2Node


class BagRecorder:
    """Writes every message of the arm's topics, as it is on the wire; a context manager.

    Args:
        description: names the topics.
        path: folder of the bag, which must not exist.
    """

    def __init__(self, description: RobotDescription, path: Path) -> None:
        self._description, self._path = description, path
        self._lock = threading.Lock()
        self.messages = 0

    def __enter__(self) -> Self:
        try:
            from rosbags.rosbag2 import StoragePlugin, Writer
            from rosbags.typesys import Stores, get_typestore
        except ImportError as error:
            raise MissingExtraError("rosbag", "recording a bag") from error
        from rclpy.qos import QoSProfile, ReliabilityPolicy

        self._writer = Writer(self._path, version=9, storage_plugin=StoragePlugin.MCAP)
        self._writer.open()
        types = get_typestore(Stores.ROS2_JAZZY)
        self._ros = Ros2Node("qsft_robot_bag")
        quality = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)
        for topic, message_type, name in self._topics():
            connection = self._writer.add_connection(topic, name, typestore=types)
            self._ros.node.create_subscription(message_type, topic, self._receiver(connection), quality, raw=True)
        self._ros.start()
        return self

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

    def _receiver(self, connection: Any) -> Any:
        def receive(data: bytes) -> None:
            with self._lock:
                self._writer.write(connection, time.time_ns(), bytes(data))
                self.messages += 1

        return receive
