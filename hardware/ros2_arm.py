"""An arm driven by ros2_control: joint states and images in, trajectories or position arrays out.

Topics and kinds come from the robot description. Stamps are moved onto the monotonic clock by their age at arrival, so
that a message with an old stamp is old however it came. The services <services>/emergency_stop, arm, start_episode and
end_episode (std_srvs/Trigger) are offered while connected. rclpy is imported on connecting, not before.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from qsft_robot.errors import DataError, QsftRobotError
from qsft_robot.hardware.adapter import ArmAdapter, ArmError
from qsft_robot.hardware.description import RobotDescription
from qsft_robot.hardware.ros2_support import (
    Arrivals,
    Ros2Node,
    decode_image,
    fit_image,
    require_rclpy,
    set_duration,
    stamp_age,
)

logger = logging.getLogger(__name__)

LOOK_AHEAD = 1.5
"""A command reaches its point after this many command periods: the driver never runs dry between two messages."""

DISCOVERY_SECONDS = 10.0


class Ros2Arm(ArmAdapter):
    """Any arm with a joint_trajectory_controller or forward_command_controller and a camera topic."""

    name = "ros2"

    def __init__(self, description: RobotDescription, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(description, clock)
        self.arrivals: dict[str, Arrivals] = {}
        self.discovery_seconds = DISCOVERY_SECONDS
        self.last_picture: np.ndarray | None = None
        """The newest image as the camera took it, before it was cut and scaled."""
        self.refused_images: dict[str, int] = {}
        self.last_names: list[str] = []
        """Joint names of the newest joint state, as the driver gave them."""
        self._driver_description: str | None = None
        self._ros: Ros2Node | None = None
        self._arm_publisher: Any = None
        self._gripper_publisher: Any = None
        self._requests: set[str] = set()

    @property
    def is_connected(self) -> bool:
        """Whether the ROS graph can be used and the arm was found in it."""
        return self._ros is not None

    @property
    def node(self) -> Any:
        """The rclpy node, for further topics of the same arm."""
        self._require_connection()
        assert self._ros is not None
        return self._ros.node

    def start_requested(self) -> bool:
        """Whether the service start_episode was called since the last question."""
        return self._take("start")

    def end_requested(self) -> bool:
        """Whether the service end_episode was called since the last question."""
        return self._take("end")

    def _connect(self) -> None:
        require_rclpy()
        from rclpy.qos import QoSProfile, ReliabilityPolicy
        from sensor_msgs.msg import CompressedImage, Image, JointState
        from std_srvs.srv import Trigger

        names = self.description.ros2
        self._ros = Ros2Node(f"qsft_robot_{self.description.name}")
        node = self._ros.node
        self.arrivals = {names.joint_states: Arrivals(), names.image: Arrivals()}
        newest = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        node.create_subscription(JointState, names.joint_states, self._on_joint_state, newest)
        if self.description.camera is not None:
            image_type = Image if names.image_kind == "raw" else CompressedImage
            node.create_subscription(image_type, names.image, self._on_image, newest)
        self._arm_publisher = self._publisher(names.arm_command, names.arm_command_kind)
        self._gripper_publisher = self._publisher(names.gripper_command, names.gripper_command_kind)
        for service, action in (
            ("emergency_stop", lambda: self.stop("service")),
            ("arm", self.arm),
            ("start_episode", lambda: self._requests.add("start")),
            ("end_episode", lambda: self._requests.add("end")),
        ):
            node.create_service(Trigger, f"{names.services}/{service}", _answer(action))
        from rclpy.qos import DurabilityPolicy
        from std_msgs.msg import String

        kept = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        node.create_subscription(String, names.robot_description, self._on_driver_description, kept)
        self._prepare(node)
        self._ros.start()
        self._wait_for_arm()

    def _prepare(self, node: Any) -> None:
        """Further topics, before the node spins; for derived adapters."""

    def _disconnect(self) -> None:
        if self._ros is not None:
            ros, self._ros = self._ros, None
            time.sleep(0.02)  # a last command is on its way
            ros.close()
        self._arm_publisher = self._gripper_publisher = None

    def _poll(self) -> None:
        if self._ros is None or not self._ros.alive:
            raise ArmError("the ROS graph is gone: was the node shut down?")

    def _write(self, positions: np.ndarray, hold: bool) -> None:
        ros, count = self._ros, len(self.description.joints)
        if ros is None or not ros.alive:
            raise ArmError("the ROS graph is gone: nothing can be sent to the arm")
        names = self.description.names
        arm_kind, gripper_kind = self.description.ros2.arm_command_kind, self.description.ros2.gripper_command_kind
        try:
            self._arm_publisher.publish(self._message(arm_kind, names[:count], positions[:count]))
            self._gripper_publisher.publish(self._message(gripper_kind, names[count:], positions[count:]))
        except Exception as error:
            raise ArmError(f"a command could not be published: {error}") from error

    def _message(self, kind: str, names: tuple[str, ...], positions: np.ndarray) -> Any:
        if kind == "position_array":
            from std_msgs.msg import Float64MultiArray

            return Float64MultiArray(data=[float(value) for value in positions])
        from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

        point = JointTrajectoryPoint(positions=[float(value) for value in positions])
        set_duration(point.time_from_start, LOOK_AHEAD / self.description.rates.command)
        return JointTrajectory(joint_names=list(names), points=[point])  # a stamp of zero means: start now

    def _publisher(self, topic: str, kind: str) -> Any:
        from rclpy.qos import QoSProfile
        from std_msgs.msg import Float64MultiArray
        from trajectory_msgs.msg import JointTrajectory

        assert self._ros is not None
        message_type = JointTrajectory if kind == "joint_trajectory" else Float64MultiArray
        return self._ros.node.create_publisher(message_type, topic, QoSProfile(depth=1))

    def _wait_for_arm(self) -> None:
        """Wait for the first joint state and image, and for somebody who listens to commands."""
        end = time.monotonic() + self.discovery_seconds
        while True:
            missing = self._missing()
            if not missing:
                return
            if time.monotonic() > end:
                raise ArmError("the arm was not found: " + "; ".join(missing))
            time.sleep(0.02)

    def _missing(self) -> list[str]:
        names = self.description.ros2
        missing = []
        if not self.arrivals[names.joint_states].count:
            missing.append(f"no message on the topic {names.joint_states}")
        elif self._state.positions is None:
            missing.append(
                f"no usable joint state on {names.joint_states} (joints {', '.join(self.description.names)})"
            )
        if self.description.camera is not None:
            if not self.arrivals[names.image].count:
                missing.append(f"no message on the topic {names.image}")
            elif not self._state.images:
                reason = next(iter(self.refused_images), "stamps in the future")
                missing.append(f"no usable image on {names.image}: {reason}")
        for topic, publisher in (
            (names.arm_command, self._arm_publisher),
            (names.gripper_command, self._gripper_publisher),
        ):
            if publisher.get_subscription_count() == 0:
                missing.append(f"nobody listens on the topic {topic}")
        return missing

    def driver_description(self) -> str | None:
        """The URDF that the driver publishes, if it does."""
        return self._driver_description

    def _on_driver_description(self, message: Any) -> None:
        self._driver_description = str(message.data)

    def _on_joint_state(self, message: Any) -> None:
        now, age = self.clock(), stamp_age(message.header)
        self.arrivals[self.description.ros2.joint_states].add(now, age)
        self.last_names = list(message.name)
        efforts = list(message.effort) if len(message.effort) else None
        self._received_joint_state(list(message.name), list(message.position), now - age, efforts)

    def _on_image(self, message: Any) -> None:
        now, age = self.clock(), stamp_age(message.header)
        self.arrivals[self.description.ros2.image].add(now, age)
        camera = self.description.camera
        assert camera is not None
        try:
            picture = decode_image(message, self.description.ros2.image_kind)
        except DataError as error:
            self.refused_images[str(error)] = self.refused_images.get(str(error), 0) + 1
            if self.refused_images[str(error)] == 1:
                logger.warning("an image on %s was refused: %s", self.description.ros2.image, error)
            return
        self.last_picture = picture
        self._received_image(fit_image(picture, camera.height, camera.width), now - age)

    def _take(self, name: str) -> bool:
        present = name in self._requests
        self._requests.discard(name)
        return present


def _answer(action: Callable[[], object]) -> Callable[[Any, Any], Any]:
    """A Trigger service that does something and says whether it worked."""

    def answer(request: Any, response: Any) -> Any:
        try:
            action()
            response.success, response.message = True, "done"
        except QsftRobotError as error:
            response.success, response.message = False, str(error)
        return response

    return answer
