"""python -m qsft_robot.evaluate checkpoint=runs/...: play a policy in closed loop; with sim=... the scripted agent.

With sim=... react.address=... react.model=... it plays a prompted chat model (agents/react.py).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from qsft_robot.command import run
from qsft_robot.config import (
    EvaluateConfig,
    EvaluationConfig,
    TrainConfig,
    collection_options,
    differently_told,
    evaluation_options,
    from_dict,
)
from qsft_robot.errors import ConfigurationError


def main(config: EvaluateConfig) -> dict[str, Any]:
    """Play the episodes; write outcomes and videos into `run`, or beside the checkpoint."""
    if config.react.address is not None:
        return _prompted(config)
    if config.checkpoint is None:
        return _scripted(config)
    from qsft_robot.training.policy_files import describe_policy, find_policy

    policy = find_policy(config.checkpoint)
    trained = describe_policy(policy)["config"]
    sim = config.sim or from_dict(TrainConfig, trained).sim
    settings = config.evaluation.completed_by(from_dict(EvaluationConfig, trained.get("evaluation", {})))
    options = evaluation_options(sim, config.options)
    known = evaluation_options(from_dict(TrainConfig, trained).sim)
    for key in differently_told(known, options):
        if key not in config.options:
            raise ConfigurationError(
                f"{policy} was trained with options.{key}={known[key]}, and sim={sim.name} has {options[key]}: leave "
                f"sim= out to play it as it was trained, or say which with options.{key}="
            )

    from qsft_robot.evaluation.evaluate import Task
    from qsft_robot.evaluation.play import decodings_of, play_checkpoint

    started = time.monotonic()
    task = Task(sim.env_id, options)
    folder = Path(config.run) if config.run else policy.parent
    summary = play_checkpoint(policy, decodings_of(settings, policy), task, settings, folder, config.beta)
    seconds = round(time.monotonic() - started, 1)
    described = {"checkpoint": str(policy), "sim": sim.name, "options": options, "beta": config.beta}
    return {**described, **summary, "seconds": seconds}


def _scripted(config: EvaluateConfig) -> dict[str, Any]:
    from qsft_robot.evaluation.evaluate import Task, evaluate_scripted
    from qsft_robot.evaluation.play import evaluation_seeds, record_summary

    sim = config.sim
    if sim is None:
        raise ConfigurationError("give checkpoint=<run folder>, or sim=<environment> to play its scripted agent")
    evaluation_options(sim, config.options)  # refuses unknown options
    options = {**collection_options(sim), **config.options}
    imperfections = getattr(sim, "imperfections", {})
    outcomes = evaluate_scripted(
        Task(sim.env_id, options), imperfections, evaluation_seeds(config.evaluation), config.evaluation.workers
    )
    folder = Path(config.run) if config.run else Path("runs") / sim.name / "scripted"
    return {"policy": "scripted", "sim": sim.name, "options": options, **record_summary(folder, "scripted", outcomes)}


def _prompted(config: EvaluateConfig) -> dict[str, Any]:
    from qsft_robot.agents.react import ReActAgent
    from qsft_robot.evaluation.evaluate import Task, play_in_turn
    from qsft_robot.evaluation.play import evaluation_seeds, record_summary

    sim, react = config.sim, config.react
    if sim is None or react.address is None or react.model is None:
        raise ConfigurationError("ReAct needs sim=, react.address= and react.model=")
    options = evaluation_options(sim, config.options)
    agent = ReActAgent(react.address, react.model, sim.name, react.temperature, react.most_tokens)
    outcomes = play_in_turn(agent, Task(sim.env_id, options), evaluation_seeds(config.evaluation))
    folder = Path(config.run) if config.run else Path("runs") / sim.name / "react"
    summary = record_summary(folder, "react", outcomes)
    described = {"policy": "react", "model": react.model, "sim": sim.name, "options": options}
    return {**described, **summary, "malformed_answers": agent.malformed}


if __name__ == "__main__":
    raise SystemExit(run(EvaluateConfig, main))
