"""Plays a policy, or a scripted agent, for many episodes and says how it did.

The outcome of an episode depends on its seed alone: decoding runs in float64, where the size of a batch cannot tip a
choice, and every random draw comes from the episode's own generator.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
from tqdm import tqdm

from qsft_robot.agents.base import Agent
from qsft_robot.agents.rollout import rollout
from qsft_robot.agents.token_agent import EpisodeMemory, TokenAgent
from qsft_robot.evaluation.pool import EnvironmentPool, make_environment
from qsft_robot.evaluation.statistics import by_task_type, mean_interval, wilson_interval

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How one episode went.

    Attributes:
        seed: of the episode.
        success: whether it succeeded.
        episode_return: sum of its rewards.
        length: number of its actions.
        invalid: how many of them the rules did not know; None where the environment does not say.
        task_type: which kind of task it was; empty where there is one kind.
    """

    seed: int
    success: bool
    episode_return: float
    length: int
    invalid: int | None = None
    task_type: str = ""


@dataclass(frozen=True)
class Task:
    """An environment to play: registered id and constructor keywords."""

    env_id: str
    options: Mapping[str, Any]

    def make(self, **changes: Any) -> Any:
        """Make the environment."""
        return make_environment(self.env_id, {**self.options, **changes})


def summarise(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Success rate with its Wilson 95% interval, mean return and length, and every episode.

    Where the environment says so, the share of invalid actions and the success rate of each type of task too.
    """
    successes = sum(outcome.success for outcome in outcomes)
    returns = np.array([outcome.episode_return for outcome in outcomes])
    mean, low, high = mean_interval(returns)
    summary: dict[str, Any] = {
        "episodes": len(outcomes),
        "success_rate": successes / max(1, len(outcomes)),
        "success_interval": wilson_interval(successes, len(outcomes)),
        "return": mean,
        "return_interval": (low, high) if len(outcomes) > 1 else None,
        "length": float(np.mean([outcome.length for outcome in outcomes])),
    }
    counted = [outcome for outcome in outcomes if outcome.invalid is not None]
    if counted:
        invalid = sum(outcome.invalid or 0 for outcome in counted)
        summary["invalid_actions"] = invalid / max(1, sum(outcome.length for outcome in counted))
    if len({outcome.task_type for outcome in outcomes}) > 1:
        summary["by_task_type"] = by_task_type((each.task_type, each.success) for each in outcomes)
    return {**summary, "outcomes": [vars(outcome) for outcome in outcomes]}


def evaluate_agent(
    agent: TokenAgent, task: Task, seeds: Sequence[int], environments: int = 8, workers: int = 2, label: str = ""
) -> list[Outcome]:
    """Play `agent` once for each of `seeds`, several environments at a time; outcomes in the order of the seeds.

    Raises:
        CheckpointError: the environment does not fit the agent's policy.
    """
    environment = task.make()
    try:
        agent.check_environment(environment)
    finally:
        environment.close()
    slots = min(environments, len(seeds))
    waiting = list(reversed(seeds))
    outcomes: dict[int, Outcome] = {}
    playing: dict[int, _Playing] = {}
    with (
        EnvironmentPool(task.make, slots, workers) as pool,
        tqdm(total=len(seeds), desc=label or agent.name, unit="episode", leave=False) as bar,
    ):
        while waiting or playing:
            starting = {slot: waiting.pop() for slot in range(slots) if slot not in playing and waiting}
            for slot, answer in pool.reset(starting).items() if starting else ():
                seed = starting[slot]
                playing[slot] = _Playing(seed, agent.new_memory(seed), answer.observation, _Notes.of(answer.info))
                agent.inform_memory(playing[slot].memory, answer.info)
            actions = agent.act_batch(
                [each.observation for each in playing.values()], [each.memory for each in playing.values()]
            )
            answers = pool.step(dict(zip(playing, actions, strict=True)))
            for slot, answer in answers.items():
                each = playing[slot]
                each.observation = answer.observation
                agent.inform_memory(each.memory, answer.info)
                each.episode_return += answer.reward
                each.length += 1
                each.notes.add(answer.info)
                if answer.done:
                    outcomes[each.seed] = Outcome(
                        each.seed, answer.success, each.episode_return, each.length, **vars(each.notes)
                    )
                    del playing[slot]
                    bar.update()
    return [outcomes[seed] for seed in seeds]


@dataclass
class _Notes:
    """What `info` said of an episode; see Outcome."""

    invalid: int | None = None
    task_type: str = ""

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> _Notes:
        """Begin with what the reset said."""
        return cls(0 if "valid" in info else None, info.get("task_type", ""))

    def add(self, info: Mapping[str, Any]) -> None:
        """Go on with what a step said."""
        if self.invalid is not None:
            self.invalid += not info["valid"]


@dataclass
class _Playing:
    seed: int
    memory: EpisodeMemory
    observation: Mapping[str, np.ndarray]
    notes: _Notes
    episode_return: float = 0.0
    length: int = 0


def evaluate_scripted(
    task: Task, imperfections: Mapping[str, Any], seeds: Sequence[int], workers: int = 2
) -> list[Outcome]:
    """Play the task's scripted agent once for each of `seeds`; with no `workers`, in this process."""
    # It reads the privileged scene, so no camera needs to be rendered for it.
    play = functools.partial(_play_scripted, task, dict(imperfections))
    if workers == 0:
        return play(seeds)
    shares: list[Sequence[int]] = [seeds[start::workers] for start in range(workers)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as executor:
        played = [outcome for share in executor.map(play, shares) for outcome in share]
    by_seed = {outcome.seed: outcome for outcome in played}
    return [by_seed[seed] for seed in seeds]


def _play_scripted(task: Task, imperfections: Mapping[str, Any], seeds: Sequence[int]) -> list[Outcome]:
    from qsft_robot.agents.scripted import make_scripted_agent

    environment = task.make()
    try:
        agent = make_scripted_agent(environment, **imperfections)
        return [_play(agent, environment, seed) for seed in seeds]
    finally:
        environment.close()


def play_in_turn(agent: Agent, task: Task, seeds: Sequence[int]) -> list[Outcome]:
    """Play `agent` once for each of `seeds`, one episode after the other."""
    environment = task.make()
    try:
        return [_play(agent, environment, seed) for seed in tqdm(seeds, desc=agent.name, leave=False)]
    finally:
        environment.close()


def _play(agent: Agent, environment: Any, seed: int) -> Outcome:
    notes = None

    def note(_: int, __: Any, info: dict[str, Any]) -> None:
        nonlocal notes
        notes = notes or _Notes.of(info)
        notes.add(info)

    episode = rollout(agent, environment, seed, note)
    return Outcome(episode.seed, episode.success, episode.episode_return, len(episode), **vars(notes or _Notes()))


def log_summary(label: str, summary: Mapping[str, Any]) -> None:
    """Log the headline of a summary."""
    low, high = summary["success_interval"]
    logger.info(
        "%s: success %.3f (95%% interval %.3f to %.3f), return %.3f, over %d episodes",
        label,
        summary["success_rate"],
        low,
        high,
        summary["return"],
        summary["episodes"],
    )
