"""The adapter of the virtual arm: starts its process, and drives it over ROS 2 like any other arm."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from qsft_robot.hardware.adapter import ArmError
from qsft_robot.hardware.description import RobotDescription
from qsft_robot.hardware.ros2_arm import Ros2Arm
from qsft_robot.hardware.ros2_support import require_rclpy
from qsft_robot.hardware.virtual_arm import scene_topics

LOCAL_ONLY = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}


def start_process(words: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    """Start a virtual arm in a process of its own; it talks to this computer only."""
    for name, value in LOCAL_ONLY.items():
        os.environ.setdefault(name, value)
    command = [sys.executable, "-m", "qsft_robot.hardware.virtual_arm", *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)


def end_process(process: subprocess.Popen[bytes]) -> None:
    """End it, by force if it does not end by itself."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5.0)
    if process.poll() is None:
        process.kill()
        process.wait()


class VirtualRos2Arm(Ros2Arm):
    """Starts `python -m qsft_robot.hardware.virtual_arm` on connecting and ends it on disconnecting.

    Args:
        description: the robot description that both processes use, by name or path in `source`.
        process_words: further words of the process's command line, for example `faults=[degrees]`.
        attach: use a process that runs already, and leave it running.
        clock: monotonic clock, s.
    """

    name = "virtual"

    def __init__(
        self,
        description: RobotDescription,
        process_words: Sequence[str] = (),
        attach: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(description, clock)
        self.process: subprocess.Popen[bytes] | None = None
        self.process_words = list(process_words)
        self._attach = attach
        self._episode: int | None = None
        self._success = False
        self._reset_publisher: Any = None

    @property
    def succeeded(self) -> bool:
        """Whether the scene has detected success."""
        return self._success

    def choose_scene(self, env_id: str, options: dict[str, Any]) -> None:
        """Have the process, when it is started, show the scene of another task."""
        words = {"env_id": env_id, **options}
        self.process_words = [*(f"{key}={value}" for key, value in words.items()), *self.process_words]

    def reset_scene(self, seed: int) -> None:
        """Start the episode of that seed and wait until the first picture of it is here.

        Raises:
            ArmError: the process does not answer.
        """
        from std_msgs.msg import Int64

        self._require_connection()
        end = time.monotonic() + 10.0
        self._episode = None
        asked = time.monotonic()
        self._reset_publisher.publish(Int64(data=seed))
        while self._episode != seed:
            self._check_process()
            if time.monotonic() > end:
                raise ArmError("the virtual arm does not answer a reset")
            if time.monotonic() - asked > 1.0:
                asked = time.monotonic()
                self._reset_publisher.publish(Int64(data=seed))
            time.sleep(0.002)
        after = self.clock()
        self._success = False
        while True:
            state = self.state()
            if state.stamp > after and all(stamp > after for stamp in state.image_stamps.values()):
                break
            self._check_process()
            if time.monotonic() > end:
                raise ArmError("the virtual arm sends nothing after a reset")
            time.sleep(0.002)
        self._success = False

    def _connect(self) -> None:
        require_rclpy()
        if not self._attach:
            self.process = start_process(self.process_words)
        self.discovery_seconds = 30.0
        super()._connect()

    def _missing(self) -> list[str]:
        self._check_process()
        missing = super()._missing()
        if self._reset_publisher.get_subscription_count() == 0:
            missing.append("the virtual arm's scene is not there")
        return missing

    def _prepare(self, node: Any) -> None:
        from rclpy.qos import DurabilityPolicy, QoSProfile
        from std_msgs.msg import Bool, Int64

        topics = scene_topics(self.description)
        kept = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._reset_publisher = node.create_publisher(Int64, topics["reset"], 10)
        node.create_subscription(Int64, topics["episode"], self._on_episode, kept)
        node.create_subscription(Bool, topics["success"], self._on_success, 10)

    def _disconnect(self) -> None:
        super()._disconnect()
        process, self.process = self.process, None
        if process is not None:
            end_process(process)

    def _check_process(self) -> None:
        if self.process is not None and self.process.poll() is not None:
            raise ArmError(f"the virtual arm's process has ended with code {self.process.returncode}")

    def _on_episode(self, message: Any) -> None:
        self._episode = int(message.data)

    def _on_success(self, message: Any) -> None:
        self._success = bool(message.data)
