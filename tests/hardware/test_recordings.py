"""What deploy records for people to look at: a Rerun recording, and a bag that ROS tools read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from patience import patient

from qsft_robot.agents.base import Agent
from qsft_robot.config import load
from qsft_robot.config.robots import DeployConfig
from qsft_robot.errors import ConfigurationError, DataError, MissingExtraError
from qsft_robot.hardware import bag, deployment
from qsft_robot.hardware.adapter import ArmError
from qsft_robot.hardware.bag import BagRecorder
from qsft_robot.hardware.description import RobotDescription, changed


class Reaching(Agent):
    """Moves forward and down."""

    name = "reaching"

    def reset(self, seed: int) -> None:
        pass

    def act(self, observation: object) -> np.ndarray:
        return np.array([0.2, 0, -0.2, 0, 0, 0, -1], np.float32)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    description = patient()
    monkeypatch.setattr(RobotDescription, "load", staticmethod(lambda name: description))


def test_a_rerun_recording_holds_camera_actions_and_joints(tmp_path: Path) -> None:
    reading = pytest.importorskip("rerun.chunk", reason="needs the extra visualisation")
    words = ["robot=simulated", "checkpoint=x", "episodes=1", "max_episode_steps=3", "visualise=file"]
    deployment.deploy(load(DeployConfig, [*words, f"run={tmp_path}"]), Reaching())
    entities = set(reading.RrdReader(tmp_path / "episodes.rrd").store().schema().entity_paths())
    for expected in ("/camera/image", "/action/x/planned", "/action/gripper/carried_out", "/tool"):
        assert expected in entities
    assert any(entity.startswith("/joints/") and entity.endswith("/measured") for entity in entities)


def test_without_rerun_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "rerun", None)
    words = ["robot=simulated", "checkpoint=x", "episodes=1", "visualise=file", f"run={tmp_path}"]
    with pytest.raises(MissingExtraError, match="visualisation"):
        deployment.deploy(load(DeployConfig, words), Reaching())


@pytest.mark.ros2
def test_a_bag_holds_the_topics_of_the_arm(tmp_path: Path) -> None:
    pytest.importorskip("rclpy", reason="needs the extra ros2")
    pytest.importorskip("rosbags", reason="needs the extra rosbag")
    from rosbags.rosbag2 import Reader
    from rosbags.typesys import Stores, get_typestore

    words = ["robot=virtual", "checkpoint=x", "episodes=1", "max_episode_steps=6", "bag=true", f"run={tmp_path}"]
    deployment.deploy(load(DeployConfig, words), Reaching())
    types = get_typestore(Stores.ROS2_JAZZY)
    with Reader(tmp_path / "bag") as reader:
        counts = {connection.topic: connection.msgcount for connection in reader.connections}
        assert all(count > 0 for count in counts.values()), counts
        kinds = {connection.msgtype.split("/")[-1] for connection in reader.connections}
        assert {"JointState", "Image"} <= kinds
        connection, _, raw = next(
            iter(reader.messages([c for c in reader.connections if c.msgtype.endswith("JointState")]))
        )
        message = types.deserialize_cdr(raw, connection.msgtype)
        assert len(message.name) == len(message.position) > 0
        times = {connection.msgtype.split("/")[-1]: time for connection, time, _ in reversed(list(reader.messages()))}
    assert max(times["JointState"], times["Image"]) < times["JointTrajectory"], (
        "the recorder was ready before the arm moved"
    )
    with pytest.raises(DataError, match="another run="):
        BagRecorder(patient(), tmp_path / "bag")


@pytest.mark.ros2
def test_a_bag_of_silent_topics_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rclpy", reason="needs the extra ros2")
    pytest.importorskip("rosbags", reason="needs the extra rosbag")
    monkeypatch.setattr(bag, "DISCOVERY_SECONDS", 0.2)
    description = changed(patient(), ros2={"joint_states": "/elsewhere/joint_states"})
    with pytest.raises(ArmError, match="/elsewhere/joint_states"):
        BagRecorder(description, tmp_path / "bag").__enter__()
    assert not (tmp_path / "bag").exists()


def test_a_bag_of_an_arm_without_topics_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="robot=virtual"):
        load(DeployConfig, ["robot=simulated", "checkpoint=x", "bag=true"])
