"""Plays a checkpoint and leaves the outcomes and videos in a folder: what `train` and `evaluate` both do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from qsft_robot.agents.token_agent import TokenAgent, decodings, default_temperature
from qsft_robot.config.schema import EvaluationConfig
from qsft_robot.datasets.seeds import evaluation_seed
from qsft_robot.evaluation.evaluate import Outcome, Task, evaluate_agent, log_summary, summarise
from qsft_robot.evaluation.videos import record_outcomes
from qsft_robot.tokenization import tokenizer_from_dict
from qsft_robot.training.policy_files import describe_policy


def evaluation_seeds(settings: EvaluationConfig) -> list[int]:
    """The seeds of the episodes to play."""
    return [evaluation_seed(settings.seed, index) for index in range(settings.episodes)]


def decodings_of(settings: EvaluationConfig, checkpoint: Path) -> Sequence[str]:
    """The ways to decode this policy that the settings ask for."""
    if settings.decoding == "all":
        return every_decoding(checkpoint)
    return [settings.decoding or every_decoding(checkpoint)[-1]]


def every_decoding(checkpoint: Path) -> Sequence[str]:
    """All the ways to decode this policy, its default last."""
    return decodings(tokenizer_from_dict(describe_policy(checkpoint)["tokenizer"]))


def play_checkpoint(
    checkpoint: Path,
    ways: Sequence[str],
    task: Task,
    settings: EvaluationConfig,
    folder: Path,
    beta: float | None = None,
) -> dict[str, Any]:
    """Play the policy by each way to decode, of which the best counts and is put on video, with its own `beta` if None.

    Returns:
        Its summary, with the decoding, where the outcomes of each decoding and the videos were written.
    """
    seeds = evaluation_seeds(settings)
    # Not what the policy's file says: a benchmark plays one policy in several ways.
    temperatures = [settings.temperature or default_temperature(each) for each in ways]
    agents = [
        TokenAgent.from_checkpoint(
            checkpoint,
            each,
            torch.float64,
            legal_only=bool(settings.legal_only),
            beta=beta,
            temperature=temperature,
            repetition_penalty=settings.repetition_penalty or 0.0,
        )
        for each, temperature in zip(ways, temperatures, strict=True)
    ]
    played = [evaluate_agent(agent, task, seeds, settings.environments, settings.workers) for agent in agents]
    summaries = [record_summary(folder, agent.name, each) for agent, each in zip(agents, played, strict=True)]
    best = max(range(len(agents)), key=lambda index: summaries[index]["return"])
    acting = {key: getattr(settings, key) for key in ("legal_only", "repetition_penalty")}
    summary = {**summaries[best], "decoding": ways[best], "temperature": temperatures[best], **acting}
    if len(agents) > 1:
        rates = [each["success_rate"] for each in summaries]
        summary["by_decoding"] = dict(zip(ways, rates, strict=True))
        returns = [each["return"] for each in summaries]
        summary["return_by_decoding"] = dict(zip(ways, returns, strict=True))
    if settings.videos:
        summary["videos"] = record_outcomes(folder / "videos", agents[best], task, played[best], settings.videos)
    return summary


def record_summary(folder: Path, name: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Write every outcome to `<folder>/evaluation/<name>.json`; return the summary without them, and that path."""
    summary = summarise(outcomes)
    path = folder / "evaluation" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(summary, indent=1), encoding="utf-8")
    log_summary(name, summary)
    del summary["outcomes"]
    return {**summary, "outcomes": str(path)}
