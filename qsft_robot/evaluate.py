"""python -m qsft_robot.evaluate checkpoint=runs/...: play a policy (or, with sim=..., the scripted agent)."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from qsft_robot.command import run
from qsft_robot.config import EvaluateConfig, TrainConfig, collection_options, evaluation_options, from_dict
from qsft_robot.config.schema import SimConfig


def main(config: EvaluateConfig) -> dict[str, Any]:
    """Play the episodes and write outcomes, and videos, beside the checkpoint."""
    from qsft_robot.training.policy_files import describe_policy, find_policy

    sim = config.sim
    policy = None
    if config.checkpoint is not None:
        policy = find_policy(config.checkpoint)
        description = describe_policy(policy)
        if sim is None:
            sim = from_dict(TrainConfig, description["config"]).sim
    return _evaluate(config, sim, policy)  # type: ignore[arg-type]


def _evaluate(config: EvaluateConfig, sim: SimConfig, policy: Path | None) -> dict[str, Any]:
    import torch

    from qsft_robot.agents.token_agent import TokenAgent
    from qsft_robot.datasets.seeds import evaluation_seed
    from qsft_robot.evaluation.evaluate import Task, evaluate_agent, evaluate_scripted, log_summary, summarise
    from qsft_robot.evaluation.videos import record_outcomes

    settings = config.evaluation
    seeds = [evaluation_seed(settings.seed, index) for index in range(settings.episodes)]
    options = collection_options(sim) if policy is None else evaluation_options(sim)
    task = Task(sim.env_id, {**options, **config.options})
    started = time.monotonic()
    agent = None
    if policy is None:
        name = "scripted"
        imperfections = getattr(sim, "imperfections", {})
        outcomes = evaluate_scripted(task, imperfections, seeds, settings.workers)
    else:
        agent = TokenAgent.from_checkpoint(policy, settings.decoding, torch.float64)
        name = agent.name
        outcomes = evaluate_agent(agent, task, seeds, settings.environments, settings.workers)
    seconds = time.monotonic() - started
    summary = {"policy": name, "sim": sim.name, "options": dict(task.options), **summarise(outcomes)}
    log_summary(name, summary)
    folder = (
        Path(config.run) if config.run else Path("runs") / sim.name / "scripted" if policy is None else policy.parent
    )
    path = folder / "evaluation" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(summary, indent=1), encoding="utf-8")
    del summary["outcomes"]
    result = {**summary, "outcomes": str(path), "seconds": round(seconds, 1)}
    if agent is not None and settings.videos:
        result["videos"] = record_outcomes(folder / "videos", agent, task, outcomes, settings.videos)
    return result


if __name__ == "__main__":
    raise SystemExit(run(EvaluateConfig, main))
