"""The commands deploy, serve and check_robot: configuration, recording, and one whole run without ROS."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from patience import patient

from qsft_robot.agents.base import Agent
from qsft_robot.config import load
from qsft_robot.config.robots import CheckRobotConfig, DeployConfig, ServeConfig
from qsft_robot.datasets.store import TrajectoryStore
from qsft_robot.errors import ConfigurationError
from qsft_robot.hardware import adapter, deployment
from qsft_robot.hardware.description import RobotDescription
from qsft_robot.hardware.operators import KeyboardOperator, SceneOperator
from qsft_robot.hardware.reasons import Reason
from qsft_robot.hardware.simulated_arm import SimulatedArm
from qsft_robot.sim import DRAWER_GRASP


class Reaching(Agent):
    """Moves forward and down."""

    name = "reaching"

    def reset(self, seed: int) -> None:
        pass

    def act(self, observation: object) -> np.ndarray:
        return np.array([0.2, 0, -0.2, 0, 0, 0, -1], np.float32)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RobotDescription, "load", staticmethod(lambda name: PATIENT))


PATIENT = patient()


def test_episodes_on_an_arm_go_into_a_store(tmp_path: Path) -> None:
    words = ["robot=simulated", "checkpoint=x", "episodes=2", "seed=5", "max_episode_steps=3", f"run={tmp_path}"]
    config = load(DeployConfig, words)
    result = deployment.deploy(config, Reaching())
    assert result["episodes"] == 2
    assert result["policy"] == "reaching"
    store = TrajectoryStore.open(result["dataset"], task="pick_place")
    assert len(store) == 2
    assert [store.episode(index).seed for index in range(2)] == [5, 6]
    assert store.episode(0).observations["image"].shape == (3, 48, 48, 3)
    written = json.loads((tmp_path / "deploy.json").read_text())
    assert len(written["outcomes"]) == 2
    assert written["control"]["command"]["steps"] > 0
    again = deployment.deploy(config, Reaching())
    assert len(TrajectoryStore.open(again["dataset"])) == 4


def test_a_simulated_arm_shows_the_scene_of_the_checkpoints_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def make_arm(*arguments: Any) -> adapter.ArmAdapter:
        made.append(adapter.make_arm(*arguments))
        return made[-1]

    class Looking(Reaching):
        def act(self, observation: object) -> np.ndarray:
            scenes.append(made[-1].countertop.env)
            assert scenes[-1].drawer_opening() < 0.01
            return super().act(observation)

    scenes: list[Any] = []
    monkeypatch.setattr(deployment, "make_arm", make_arm)
    words = ["robot=simulated", "checkpoint=x", "episodes=1", "max_episode_steps=2", f"run={tmp_path}"]
    task = {"sim": "drawer_grasp", "env_id": DRAWER_GRASP, "options": {"drawer": "closed", "image_size": 32}}
    result = deployment.deploy(load(DeployConfig, words), Looking(), task=task)
    assert scenes
    assert TrajectoryStore.open(result["dataset"]).task == "drawer_grasp"


def test_a_simulated_arm_refuses_a_scene_without_an_arm() -> None:
    arm = adapter.make_arm("simulated", PATIENT)
    assert isinstance(arm, SimulatedArm)
    arm.choose_scene("qsft_robot/Wordle-v0", {})
    with pytest.raises(ConfigurationError, match="Wordle-v0 is no countertop environment"):
        arm.connect()


def test_what_was_recorded_is_kept_when_the_policy_is_lost(tmp_path: Path) -> None:
    class Failing(Reaching):
        calls = 0

        def act(self, observation: object) -> np.ndarray:
            self.calls += 1
            if self.calls > 4:
                raise ConfigurationError("lost")
            return super().act(observation)

    config = load(DeployConfig, ["robot=simulated", "checkpoint=x", "max_episode_steps=3", f"run={tmp_path}"])
    with pytest.raises(ConfigurationError, match="lost"):
        deployment.deploy(config, Failing())
    assert len(TrajectoryStore.open(tmp_path / "episodes.zarr")) == 1
    assert json.loads((tmp_path / "deploy.json").read_text())["episodes"] == 1


def test_who_judges() -> None:
    config = load(DeployConfig, ["robot=simulated", "checkpoint=x"])
    arm = deployment.make_arm("simulated", PATIENT)
    assert isinstance(deployment.make_operator(config, arm), SceneOperator)
    config = load(DeployConfig, ["robot=simulated", "checkpoint=x", "operator=keyboard"])
    assert isinstance(deployment.make_operator(config, arm), KeyboardOperator)
    real = deployment.make_arm("ros2", PATIENT)
    with pytest.raises(ConfigurationError, match="cannot reset itself"):
        deployment.make_operator(load(DeployConfig, ["checkpoint=x", "operator=scene"]), real)
    assert isinstance(deployment.make_operator(load(DeployConfig, ["checkpoint=x"]), real), KeyboardOperator)


@pytest.mark.parametrize("robot", ["virtual", "simulated", "wx250s", "ur5e", "dry_run"])
def test_every_robot_is_configured(robot: str) -> None:
    assert load(DeployConfig, [f"robot={robot}", "checkpoint=x"]).robot.name == robot
    assert load(CheckRobotConfig, [f"robot={robot}"]).robot.dry_run == (robot == "dry_run")


def test_mistakes_on_the_command_line_are_named() -> None:
    with pytest.raises(ConfigurationError, match="wx250s"):
        load(DeployConfig, ["robot=wx250", "checkpoint=x"])
    with pytest.raises(ConfigurationError, match=r"checkpoint=<run folder>, or policy"):
        load(DeployConfig, [])
    with pytest.raises(ConfigurationError, match="policy"):
        load(DeployConfig, ["checkpoint=x", "policy=ws://127.0.0.1:1"])
    with pytest.raises(ConfigurationError, match="port"):
        load(ServeConfig, ["checkpoint=x", "port=99999"])


def test_the_docs_explain_every_reason() -> None:
    text = (Path(__file__).parents[2] / "docs" / "deploy.md").read_text()
    assert [reason.value for reason in Reason if f"| `{reason.value}` |" not in text] == []
