"""The virtual arm: a process that owns a simulated countertop and speaks the ROS 2 topics of a real driver.

    python -m qsft_robot.hardware.virtual_arm description=virtual

Beside the driver's topics it has <scene>/reset (std_msgs/Int64, a seed: start that episode), <scene>/episode (the
seed that runs) and <scene>/success (std_msgs/Bool), with <scene> beside the description's services. When no command
comes for `COMMAND_TIMEOUT` it holds the arm where it is. `faults=[...]` plants mistakes for check_robot to find.
"""

from __future__ import annotations

import math
import signal
import sys
import time
from typing import Any

import numpy as np

from qsft_robot.config.fields import setting, settings
from qsft_robot.errors import ConfigurationError
from qsft_robot.hardware.description import RobotDescription
from qsft_robot.hardware.ros2_support import Ros2Node, require_rclpy, set_duration, trajectory_points
from qsft_robot.hardware.simulated_countertop import SimulatedCountertop

COMMAND_TIMEOUT = 0.15
"""Without a command for this long, the arm is held where it is, s."""

TICK = 0.005

FAULTS = {
    "swapped_joints": "the joint states name shoulder and elbow the wrong way round",
    "wrong_sign": "the waist is reported with the wrong sign",
    "degrees": "joint states in degrees",
    "half_rate": "joint states half as often",
    "frozen_camera": "the camera sends the same picture again and again",
    "bgr": "the picture's channels are in another order than its encoding says",
    "stale_stamps": "joint states are stamped a second ago",
    "gripper_backwards": "the gripper opens when told to close",
    "wrong_limit": "the driver's robot description has another range for the elbow",
    "missing_image": "the camera topic is missing",
    "missing_command": "nobody listens to arm commands",
    "wrong_name": "one joint has another name",
    "future_stamps": "the driver's clock is a second ahead",
    "slow_camera": "images half as often",
    "weak_joint": "the wrist does not move",
    "other_frame": "the driver's robot description has the tool elsewhere",
}


@settings
class VirtualArmConfig:
    """python -m qsft_robot.hardware.virtual_arm: the virtual arm's process."""

    description: str = setting("virtual", "robot description: a name or the path of a YAML file")
    env_id: str = setting("qsft_robot/PickPlace-v0", "the countertop task")
    object_set: str = setting("train", "which object kinds appear")
    drawer: str | None = setting(None, "how the drawer is when an episode starts; null: as the task has it")
    faults: list[str] = setting([], "mistakes to plant")


def scene_topics(description: RobotDescription) -> dict[str, str]:
    """Names of the virtual arm's own topics: reset, episode, success, robot_description."""
    base = description.ros2.services.rsplit("/", 1)[0]
    return {name: f"{base}/scene/{name}" for name in ("reset", "episode", "success")}


class VirtualArm:
    """The node and its world; `run` returns when the process is told to end."""

    def __init__(self, config: VirtualArmConfig) -> None:
        unknown = sorted(set(config.faults) - set(FAULTS))
        if unknown:
            raise ConfigurationError(f"unknown faults {', '.join(unknown)}; there are {', '.join(FAULTS)}")
        require_rclpy()
        self.description = RobotDescription.load(config.description)
        camera = self.description.camera
        size = {"image_size": camera.height} if camera is not None else {}
        drawer = {} if config.drawer is None else {"drawer": config.drawer}
        options = {**size, **drawer, "object_set": config.object_set, "max_episode_steps": 10**9}
        self.world = SimulatedCountertop(config.env_id, options, self.description.names)
        self.faults = set(config.faults)
        self.ended = False
        self._ros = Ros2Node("virtual_arm")
        self._arm_count = len(self.description.joints)
        self._setpoint = self.world.positions()
        self._paths: dict[str, tuple[float, np.ndarray, list[tuple[float, np.ndarray]]]] = {}
        self._last_command = -math.inf
        self._holding = True
        self._frozen: np.ndarray | None = None
        self._create()

    def run(self) -> None:
        """Simulate in real time until `ended`."""
        rates = self.description.rates
        state_period = (2.0 if "half_rate" in self.faults else 1.0) / rates.joint_states
        image_period = (2.0 if "slow_camera" in self.faults else 1.0) / rates.images
        last = now = time.monotonic()
        due = {"state": now, "image": now}
        while not self.ended:
            for _ in range(8):
                self._ros.spin_once()
            now = time.monotonic()
            self._follow(now)
            self.world.advance(min(now - last, 0.1))
            last = now
            if now >= due["state"]:
                due["state"] = max(due["state"] + state_period, now - state_period)
                self._publish_state()
            if now >= due["image"]:
                due["image"] = max(due["image"] + image_period, now - image_period)
                self._publish_image()
            time.sleep(max(0.0, TICK - (time.monotonic() - now)))

    def close(self) -> None:
        """Leave the ROS graph and release the world."""
        self._ros.close()
        self.world.close()

    def _create(self) -> None:
        from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
        from sensor_msgs.msg import CompressedImage, Image, JointState
        from std_msgs.msg import Bool, Float64MultiArray, Int64, String
        from trajectory_msgs.msg import JointTrajectory

        node, names = self._ros.node, self.description.ros2
        kept = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._joint_states = node.create_publisher(JointState, names.joint_states, QoSProfile(depth=10))
        image_type = Image if names.image_kind == "raw" else CompressedImage
        best = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._images = None
        if "missing_image" not in self.faults and self.description.camera is not None:
            self._images = node.create_publisher(image_type, names.image, best)
        arm, gripper = self.description.names[: self._arm_count], self.description.names[self._arm_count :]
        for topic, kind, key, joints in (
            (names.arm_command, names.arm_command_kind, "arm", arm),
            (names.gripper_command, names.gripper_command_kind, "gripper", gripper),
        ):
            if key == "arm" and "missing_command" in self.faults:
                continue
            if kind == "joint_trajectory":
                node.create_subscription(JointTrajectory, topic, self._trajectory_receiver(key, joints), 1)
            else:
                node.create_subscription(Float64MultiArray, topic, self._array_receiver(key, len(joints)), 1)
        topics = scene_topics(self.description)
        node.create_subscription(Int64, topics["reset"], self._on_reset, 10)
        self._episode = node.create_publisher(Int64, topics["episode"], kept)
        self._success = node.create_publisher(Bool, topics["success"], QoSProfile(depth=10))
        self._urdf = node.create_publisher(String, names.robot_description, kept)
        text = self.description.urdf.read_text(encoding="utf-8")
        if "wrong_limit" in self.faults:
            text = text.replace('upper="1.605703"', 'upper="1.2"')
        if "other_frame" in self.faults:
            text = text.replace('xyz="0.093575 0 0"', 'xyz="0.043575 0 0"')
        self._urdf.publish(String(data=text))

    def _trajectory_receiver(self, key: str, joints: tuple[str, ...]) -> Any:
        def receive(message: Any) -> None:
            points = trajectory_points(message, joints)
            if points is not None:
                self._aim(key, points)

        return receive

    def _array_receiver(self, key: str, count: int) -> Any:
        def receive(message: Any) -> None:
            if len(message.data) == count:  # another size is silently ignored, as forward_command_controller does
                self._aim(key, [(0.0, np.array(message.data))])

        return receive

    def _aim(self, key: str, points: list[tuple[float, np.ndarray]]) -> None:
        now = time.monotonic()
        part = self._part(key)
        if key == "gripper" and "gripper_backwards" in self.faults:
            gripper = self.description.gripper
            points = [(moment, gripper.open + gripper.closed - position) for moment, position in points]
        self._paths[key] = (now, self._setpoint[part].copy(), points)
        self._last_command, self._holding = now, False

    def _part(self, key: str) -> slice:
        return slice(0, self._arm_count) if key == "arm" else slice(self._arm_count, None)

    def _follow(self, now: float) -> None:
        """Move the setpoint along the trajectories, or hold where the arm is when the commands have stopped."""
        if not self._holding and now - self._last_command > COMMAND_TIMEOUT:
            self._setpoint[: self._arm_count] = self.world.positions()[: self._arm_count]
            self._paths.clear()
            self._holding = True
        for key, (begin, start, points) in self._paths.items():
            before, moment, elapsed = start, 0.0, now - begin
            value = points[-1][1]
            for end, position in points:
                if elapsed < end:
                    value = before + (elapsed - moment) / (end - moment) * (position - before)
                    break
                before, moment = position, end
            self._setpoint[self._part(key)] = value
        setpoint = np.clip(
            self._setpoint,
            [joint.lower for joint in self.description.limits],
            [joint.upper for joint in self.description.limits],
        )
        if "weak_joint" in self.faults:
            setpoint[4] = self.description.neutral[4]
        self.world.set_targets(setpoint)

    def _on_reset(self, message: Any) -> None:
        from std_msgs.msg import Int64

        self.world.reset(int(message.data))
        self._setpoint = self.world.positions()
        self._paths.clear()
        self._holding = True
        self._publish_state()
        self._publish_image()
        self._episode.publish(Int64(data=int(message.data)))

    def _stamp(self, header: Any, age: float = 0.0) -> None:
        set_duration(header.stamp, time.time() - age)

    def _publish_state(self) -> None:
        from sensor_msgs.msg import JointState
        from std_msgs.msg import Bool

        positions, efforts = self.world.positions(), self.world.efforts()
        names = list(self.description.names)
        if "wrong_sign" in self.faults:
            positions[0] = -positions[0]
        if "degrees" in self.faults:
            positions[:6] = np.degrees(positions[:6])
        if "swapped_joints" in self.faults:
            names[1], names[2] = names[2], names[1]
        if "wrong_name" in self.faults:
            names[3] = "forearm"
        message = JointState(name=names, position=positions.tolist(), effort=efforts.tolist())
        age = 1.0 if "stale_stamps" in self.faults else -1.0 if "future_stamps" in self.faults else 0.0
        self._stamp(message.header, age)
        self._joint_states.publish(message)
        self._success.publish(Bool(data=self.world.succeeded))

    def _publish_image(self) -> None:
        if self._images is None:
            return
        picture = self.world.picture()
        if "frozen_camera" in self.faults:
            self._frozen = picture if self._frozen is None else self._frozen
            picture = self._frozen
        if "bgr" in self.faults:
            picture = picture[:, :, ::-1]
        if self.description.ros2.image_kind == "compressed":
            import cv2
            from sensor_msgs.msg import CompressedImage

            _, data = cv2.imencode(".png", np.ascontiguousarray(picture[:, :, ::-1]))
            message = CompressedImage(format="png", data=data.tobytes())
        else:
            from sensor_msgs.msg import Image

            height, width, _ = picture.shape
            message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
            message.data = np.ascontiguousarray(picture).tobytes()
        self._stamp(message.header)
        self._images.publish(message)


def main(config: VirtualArmConfig) -> dict[str, Any]:
    """Run the virtual arm until SIGTERM or Ctrl-C."""
    arm = VirtualArm(config)

    def end(number: int, frame: Any) -> None:
        arm.ended = True

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    print("virtual arm: ready", file=sys.stderr, flush=True)
    try:
        arm.run()
    finally:
        arm.close()
    return {"ended": True}


if __name__ == "__main__":
    from qsft_robot.command import run

    raise SystemExit(run(VirtualArmConfig, main))
