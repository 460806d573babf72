"""A small dataset of a real environment, and configurations that train on it in seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gymnasium
import pytest

import qsft_robot.sim  # noqa: F401  (registers the ids)
from qsft_robot.agents.rollout import rollout
from qsft_robot.agents.scripted import make_scripted_agent
from qsft_robot.config import TrainConfig, load
from qsft_robot.datasets.store import TrajectoryStore

EPISODES = 10
QUICK = [
    "preset=smoke", "sim.options.observation=state", "tokenization.bins=16", "model.width=32", "model.layers=1",
    "training.image_shift=0", "training.segment_length=4", "training.behaviour_steps=12", "training.steps=12",
    "training.checkpoint_period=5", "training.evaluation_period=4", "evaluation.episodes=3", "evaluation.videos=0",
    "evaluation.workers=1",
]  # fmt: skip


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of pick_place episodes with state observations."""
    path = tmp_path_factory.mktemp("dataset") / "state.zarr"
    env = gymnasium.make("qsft_robot/PickPlace-v0", observation="state", disable_env_checker=True)
    agent = make_scripted_agent(env)
    with TrajectoryStore.create(
        path, observation_space=env.observation_space, action_dimension=7, task="pick_place", attributes={}
    ) as store:
        for seed in range(EPISODES):
            store.append(rollout(agent, env, seed))
    env.close()
    return path


@pytest.fixture
def configure(dataset: Path, tmp_path: Path) -> Callable[..., TrainConfig]:
    """`configure("training.steps=3")` is a quick run on the dataset in a scratch folder."""

    def make(*words: str) -> TrainConfig:
        return load(TrainConfig, ["sim=pick_place", f"dataset={dataset}", f"run={tmp_path / 'run'}", *QUICK, *words])

    return make
