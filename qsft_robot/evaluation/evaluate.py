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
from qsft_robot.datasets.episode import Episode
from qsft_robot.evaluation.pool import EnvironmentPool, make_environment
from qsft_robot.evaluation.statistics import mean_interval, wilson_interval

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How one episode went."""

    seed: int
    success: bool
    episode_return: float
    length: int


@dataclass(frozen=True)
class Task:
    """An environment to play: registered id and constructor keywords."""

    env_id: str
    options: Mapping[str, Any]

    def make(self, **changes: Any) -> Any:
        """Make the environment."""
        return make_environment(self.env_id, {**self.options, **changes})


def summarise(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Success rate with its Wilson 95% interval, mean return and length, and every episode."""
    successes = sum(outcome.success for outcome in outcomes)
    returns = np.array([outcome.episode_return for outcome in outcomes])
    mean, low, high = mean_interval(returns)
    return {
        "episodes": len(outcomes),
        "success_rate": successes / max(1, len(outcomes)),
        "success_interval": wilson_interval(successes, len(outcomes)),
        "return": mean,
        "return_interval": (low, high) if len(outcomes) > 1 else None,
        "length": float(np.mean([outcome.length for outcome in outcomes])),
        "outcomes": [vars(outcome) for outcome in outcomes],
    }


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
                playing[slot] = _Playing(seed, agent.new_memory(seed), answer.observation)
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
                if answer.done:
                    outcomes[each.seed] = Outcome(each.seed, answer.success, each.episode_return, each.length)
                    del playing[slot]
                    bar.update()
    return [outcomes[seed] for seed in seeds]


@dataclass
class _Playing:
    seed: int
    memory: EpisodeMemory
    observation: Mapping[str, np.ndarray]
    episode_return: float = 0.0
    length: int = 0


def evaluate_scripted(
    task: Task, imperfections: Mapping[str, Any], seeds: Sequence[int], workers: int = 2
) -> list[Outcome]:
    """Play the task's scripted agent once for each of `seeds`."""
    # It reads the privileged scene, so no camera needs to be rendered for it.
    play = functools.partial(_play_scripted, task, dict(imperfections))
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
        return [_outcome(rollout(agent, environment, seed)) for seed in seeds]
    finally:
        environment.close()


def play_in_turn(agent: Agent, task: Task, seeds: Sequence[int]) -> list[Outcome]:
    """Play `agent` once for each of `seeds`, one episode after the other."""
    environment = task.make()
    try:
        return [_outcome(rollout(agent, environment, seed)) for seed in tqdm(seeds, desc=agent.name, leave=False)]
    finally:
        environment.close()


def _outcome(episode: Episode) -> Outcome:
    return Outcome(episode.seed, episode.success, episode.episode_return, len(episode))


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
