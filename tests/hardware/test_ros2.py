"""Real ROS 2 messages between two processes: the virtual arm behind the adapter's interface."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip("rclpy", reason="needs the extra ros2 or a sourced ROS 2", exc_type=ImportError)
pytestmark = pytest.mark.ros2

from patience import patient  # noqa: E402

from qsft_robot.errors import DataError  # noqa: E402
from qsft_robot.hardware.adapter import ArmAdapter, ArmError, make_arm  # noqa: E402
from qsft_robot.hardware.conformance import ArmConformance  # noqa: E402
from qsft_robot.hardware.description import ARMS, RobotDescription, changed  # noqa: E402
from qsft_robot.hardware.operators import KeyboardOperator, SceneOperator  # noqa: E402
from qsft_robot.hardware.reasons import Reason  # noqa: E402
from qsft_robot.hardware.robot_env import RobotEnv  # noqa: E402
from qsft_robot.hardware.ros2_arm import Ros2Arm  # noqa: E402
from qsft_robot.hardware.ros2_support import decode_image, fit_image, trajectory_points  # noqa: E402
from qsft_robot.hardware.virtual_process import VirtualRos2Arm, end_process, start_process  # noqa: E402


class TestVirtualArm(ArmConformance):
    """The conformance suite over ROS 2, with the arm in another process."""

    def make_arm(self) -> ArmAdapter:
        return VirtualRos2Arm(patient(), attach=True)

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _process(cls) -> Iterator[None]:
        process = start_process()
        yield
        end_process(process)


def test_an_episode_over_ros2_with_position_arrays_and_compressed_images(tmp_path: Path) -> None:
    values = yaml.safe_load((ARMS / "virtual.yaml").read_text())
    values["ros2"].update(arm_command_kind="position_array", gripper_command_kind="position_array")
    values["ros2"].update(image_kind="compressed")
    path = tmp_path / "other.yaml"
    path.write_text(yaml.safe_dump(values))
    arm = VirtualRos2Arm(patient(path), [f"description={path}"])
    env = RobotEnv(arm, SceneOperator(), max_episode_steps=6)
    try:
        first, _ = env.reset(seed=5)
        for _ in range(6):
            observation, *_ = env.step(np.array([0.5, 0, -0.5, 0, 0, 0, -1], np.float32))
        assert observation["state"][0] > first["state"][0] + 0.1
        assert observation["state"][6] < first["state"][6] - 0.1
        assert (observation["image"] != first["image"]).any()
        again, _ = env.reset(seed=5)
        assert np.allclose(again["state"], first["state"], atol=0.02)
        assert np.abs(again["image"].astype(int) - first["image"]).mean() < 1.0
    finally:
        env.close()


def test_a_dry_run_leaves_the_arm_alone() -> None:
    arm = make_arm("virtual", patient(), dry_run=True)
    env = RobotEnv(arm, SceneOperator(), max_episode_steps=4)
    try:
        first, _ = env.reset(seed=5)
        for _ in range(4):
            observation, *_ = env.step(np.array([1, 0, 0, 0, 0, 0, -1], np.float32))
        assert np.allclose(observation["state"], first["state"], atol=0.02)
        assert len(arm.would_have_sent) > 5  # type: ignore[attr-defined]
    finally:
        env.close()


def test_services_stop_arm_and_begin_and_end_episodes() -> None:
    from std_srvs.srv import Trigger

    arm = VirtualRos2Arm(patient())
    with arm:
        names = ("emergency_stop", "arm", "start_episode", "end_episode")
        base = arm.description.ros2.services
        clients = {name: arm.node.create_client(Trigger, f"{base}/{name}") for name in names}

        def call(name: str) -> Any:
            assert clients[name].wait_for_service(timeout_sec=15.0)
            future = clients[name].call_async(Trigger.Request())
            end = time.monotonic() + 15.0
            while not future.done() and time.monotonic() < end:
                time.sleep(0.01)
            return future.result()

        assert call("arm").success
        assert arm.safety.armed
        assert call("emergency_stop").success
        assert arm.safety.stop_reason is Reason.EMERGENCY_STOP
        operator = KeyboardOperator(lines=io.StringIO(), say=lambda line: None)
        operator._key = lambda wait=0.0: None  # type: ignore[method-assign, assignment]
        assert call("start_episode").success
        operator.begin_episode(arm, 0)
        assert not operator.ended(arm)
        assert call("end_episode").success
        assert operator.ended(arm)


def test_an_arm_that_is_not_there_is_described() -> None:
    arm = Ros2Arm(RobotDescription.load("wx250s"))
    arm.discovery_seconds = 0.5
    with pytest.raises(ArmError) as caught:
        arm.connect()
    for words in (
        "no message on the topic /wx250s/joint_states",
        "no message on the topic /camera/image_raw",
        "nobody listens on the topic /wx250s/arm_controller/joint_trajectory",
        "nobody listens on the topic /wx250s/gripper_controller/joint_trajectory",
    ):
        assert words in str(caught.value)
    assert not arm.is_connected


def test_a_lost_graph_is_a_stop_and_an_error() -> None:
    arm = VirtualRos2Arm(patient())
    with arm:
        arm.arm()
        arm._ros._context.shutdown()  # type: ignore[union-attr]
        with pytest.raises(ArmError, match="ROS graph"):
            arm.supervise()
        assert arm.safety.stop_reason is Reason.CONNECTION_LOST
    assert not arm.is_connected


def image_message(encoding: str, data: np.ndarray, step: int | None = None) -> Any:
    from sensor_msgs.msg import Image

    message = Image(height=data.shape[0], width=data.shape[1], encoding=encoding)
    message.step = data.shape[1] * (data.shape[2] if data.ndim == 3 else 1) if step is None else step
    message.data = data.tobytes()
    return message


def test_images_of_all_encodings_become_rgb() -> None:
    random = np.random.default_rng(0)
    rgb = random.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    alpha = np.concatenate([rgb, np.zeros((5, 7, 1), np.uint8)], axis=2)
    assert (decode_image(image_message("rgb8", rgb), "raw") == rgb).all()
    assert (decode_image(image_message("bgr8", rgb[:, :, ::-1]), "raw") == rgb).all()
    assert (decode_image(image_message("rgba8", alpha), "raw") == rgb).all()
    assert (decode_image(image_message("bgra8", alpha[:, :, [2, 1, 0, 3]]), "raw") == rgb).all()
    assert decode_image(image_message("mono8", rgb[:, :, 0]), "raw").shape == (5, 7, 3)
    padded = np.zeros((5, 32), np.uint8)
    padded[:, :21] = rgb.reshape(5, 21)
    message = image_message("rgb8", rgb, step=32)
    message.data = padded.tobytes()
    assert (decode_image(message, "raw") == rgb).all()
    with pytest.raises(DataError, match="not known"):
        decode_image(image_message("16UC1", rgb), "raw")
    with pytest.raises(DataError, match="does not fit"):
        decode_image(image_message("rgb8", rgb, step=99), "raw")


def test_images_are_cut_to_their_middle() -> None:
    wide = np.zeros((48, 96, 3), np.uint8)
    wide[:, 24:72] = 200
    assert (fit_image(wide, 24, 24) == 200).all()
    assert (fit_image(wide.transpose(1, 0, 2), 24, 24) == 200).all()


def test_trajectories_that_do_not_fit_are_refused() -> None:
    from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

    good = JointTrajectory(joint_names=["b", "a"], points=[JointTrajectoryPoint(positions=[1.0, 2.0])])
    points = trajectory_points(good, ("a", "b"))
    assert points is not None
    assert points[0][1].tolist() == [2.0, 1.0]
    assert trajectory_points(good, ("a", "c")) is None
    good.points[0].positions = [np.nan, 0.0]
    assert trajectory_points(good, ("a", "b")) is None
    good.points[0].positions = [1.0]
    assert trajectory_points(good, ("a", "b")) is None
    assert trajectory_points(JointTrajectory(joint_names=["a", "b"]), ("a", "b")) is None


def test_another_namespace_is_another_arm() -> None:
    description = changed(patient(), ros2={"joint_states": "/elsewhere/joint_states"})
    arm = VirtualRos2Arm(description)
    with pytest.raises(ArmError, match="/elsewhere/joint_states"):
        _connect_briefly(arm)


def _connect_briefly(arm: VirtualRos2Arm) -> None:
    wait = arm._wait_for_arm

    def briefly() -> None:
        arm.discovery_seconds = 3.0
        wait()

    arm._wait_for_arm = briefly  # type: ignore[method-assign]
    arm.connect()


def test_a_node_that_cannot_join_ends_its_process_and_says_where() -> None:
    code = """
import logging, time
import rclpy.node
from qsft_robot.hardware import ros2_support
logging.basicConfig(level=logging.INFO)
ros2_support.JOINING_SECONDS = 0.5
rclpy.node.Node = lambda *arguments, **options: time.sleep(60)
ros2_support.Ros2Node("camera")
"""
    done = subprocess.run([sys.executable, "-c", code], timeout=50, capture_output=True, text=True)
    assert done.returncode == 1
    assert "rm /dev/shm/*fastdds*" in done.stderr and "ros2_support.py" in done.stderr and "Timeout" in done.stderr
