"""A row of episodes on an arm: agent, environment, recording, and what is reported at the end."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from qsft_robot.agents.base import Agent
from qsft_robot.agents.rollout import rollout
from qsft_robot.config.robots import DeployConfig
from qsft_robot.datasets.episode import Episode
from qsft_robot.datasets.store import TrajectoryStore
from qsft_robot.errors import ConfigurationError
from qsft_robot.evaluation.statistics import wilson_interval
from qsft_robot.hardware.adapter import ArmAdapter, make_arm
from qsft_robot.hardware.description import RobotDescription
from qsft_robot.hardware.operators import KeyboardOperator, Operator, SceneOperator
from qsft_robot.hardware.robot_env import RobotEnv

logger = logging.getLogger(__name__)

DEFAULT_TASK = "pick_place"
SCENE_OPTIONS = ("object_set", "drawer")
"""Which of a task's options are of the scene, and not of how it is observed."""


def deploy(
    config: DeployConfig, agent: Agent, agent_report: Any = None, task: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Play the episodes; the arm holds on every way out.

    Args:
        config: the command's configuration.
        agent: what acts.
        agent_report: callable whose result is added to the report, for example a remote policy's latencies.
        task: what a checkpoint says of its task, {"sim", "env_id", "options"}: simulated and virtual arms show that
            scene, and what is recorded bears that name; None for `DEFAULT_TASK`.

    Returns:
        Success rate with its 95% interval, the control loop's report, and where things were written.

    Raises:
        QsftRobotError: the arm or the policy was lost; what was recorded until then is kept.
    """
    description = RobotDescription.load(config.robot.description)
    arm = make_arm(config.robot.adapter, description, config.robot.dry_run)
    scene = getattr(arm, "inner", arm)
    if task is not None and hasattr(scene, "choose_scene"):
        options = {key: value for key, value in task["options"].items() if key in SCENE_OPTIONS}
        scene.choose_scene(task["env_id"], options)
    name = config.task or (DEFAULT_TASK if task is None else task["sim"])
    env = RobotEnv(arm, make_operator(config, arm), config.max_episode_steps, config.policy_rate, config.wait_for_image)
    folder = Path(config.run or f"runs/deploy/{config.robot.name}/{time.strftime('%Y-%m-%d-%H%M%S')}")
    folder.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {"robot": config.robot.name, "description": description.name, "policy": agent.name}
    outcomes: list[dict[str, Any]] = []
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        stack.callback(env.close)
        store = stack.enter_context(_open_store(config, name, env, folder))
        watchers = _watchers(config, env, folder, stack)
        try:
            for index in range(config.episodes):
                episode, reasons = play(agent, env, config.seed + index, watchers)
                store.append(episode)
                outcomes.append(
                    {
                        "seed": episode.seed,
                        "success": episode.success,
                        "steps": len(episode),
                        "terminated": episode.terminated,
                        "reasons": reasons,
                    }
                )
                done = sum(outcome["success"] for outcome in outcomes)
                logger.info("episode %d of %d: %s; %d successes", index + 1, config.episodes, _word(episode), done)
        finally:
            successes = sum(outcome["success"] for outcome in outcomes)
            result.update(
                episodes=len(outcomes),
                successes=successes,
                success_rate=successes / len(outcomes) if outcomes else None,
                interval=wilson_interval(successes, len(outcomes)),
                seconds=round(time.monotonic() - started, 1),
                control=env.report(),
                dataset=str(store.path),
                run=str(folder),
            )
            if agent_report is not None:
                result["remote_policy_ms"] = agent_report()
            _write(folder / "deploy.json", {**result, "outcomes": outcomes})
    return result


def play(agent: Agent, env: RobotEnv, seed: int, watchers: list[Any] | None = None) -> tuple[Episode, dict[str, int]]:
    """Play one episode; its actions are those that were really carried out.

    Returns:
        The episode, and how often each reason code occurred in its steps.
    """
    executed: list[np.ndarray] = []
    reasons: dict[str, int] = {}

    def on_step(index: int, action: Any, info: dict[str, Any]) -> None:
        executed.append(info["executed_action"])
        for reason in info["reasons"]:
            reasons[reason] = reasons.get(reason, 0) + 1
        for watcher in watchers or []:
            watcher(index, action, info)

    episode = rollout(agent, env, seed, on_step)
    return replace(episode, actions=np.stack(executed)), reasons


def make_operator(config: DeployConfig, arm: ArmAdapter) -> Operator:
    """The operator that the configuration asks for.

    Raises:
        ConfigurationError: the arm has no scene that could judge.
    """
    has_scene = hasattr(getattr(arm, "inner", arm), "reset_scene")
    if config.operator == "scene" and not has_scene:
        raise ConfigurationError(
            "operator=scene needs robot=virtual or robot=simulated: a real scene cannot reset itself"
        )
    if config.operator == "keyboard" or not has_scene:
        return KeyboardOperator()
    return SceneOperator()


def _open_store(config: DeployConfig, task: str, env: RobotEnv, folder: Path) -> TrajectoryStore:
    path = Path(config.dataset) if config.dataset is not None else folder / "episodes.zarr"
    if path.exists():
        return TrajectoryStore.open(path, "r+", task=task)
    path.parent.mkdir(parents=True, exist_ok=True)
    return TrajectoryStore.create(
        path,
        observation_space=env.observation_space,
        action_dimension=int(env.action_space.shape[0]),  # type: ignore[index]
        task=task,
        attributes={"robot": config.robot.name, "description": env.arm.description.name},
    )


def _watchers(config: DeployConfig, env: RobotEnv, folder: Path, stack: contextlib.ExitStack) -> list[Any]:
    watchers: list[Any] = []
    if config.visualise != "no":
        from qsft_robot.hardware.visualisation import Visualiser

        visualiser = Visualiser(env, None if config.visualise == "live" else folder / "episodes.rrd")
        stack.callback(visualiser.close)
        watchers.append(visualiser)
    if config.bag:
        from qsft_robot.hardware.bag import BagRecorder

        recorder = BagRecorder(env.arm.description, folder / "bag")
        env.connect()  # the recorder waits for what the arm publishes, and a virtual one starts on connecting
        stack.enter_context(recorder)
    return watchers


def _write(path: Path, result: dict[str, Any]) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(result, indent=1, default=str), encoding="utf-8")
    temporary.replace(path)


def _word(episode: Episode) -> str:
    return "success" if episode.success else "stopped" if episode.terminated else "no success"
