"""Videos of episodes, replayed from their seeds: outcomes follow from the seed, so a replay is the episode itself.

Beside each video lies a JSON file of the same name with what the policy took its actions for: Q of every token.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from qsft_robot.agents.base import Agent
from qsft_robot.agents.rollout import rollout
from qsft_robot.agents.token_agent import TokenAgent
from qsft_robot.datasets import transcripts
from qsft_robot.datasets.episode import Episode
from qsft_robot.errors import QsftRobotError
from qsft_robot.evaluation.evaluate import Outcome, Task

logger = logging.getLogger(__name__)

FRAMES_PER_SECOND = 10
CODEC = "vp09"
"""VP9: browsers play it, and OpenCV's wheel has the encoder (it has none for H.264)."""


def record_episode(agent: Agent, env: Any, seed: int) -> tuple[Episode, list[np.ndarray]]:
    """Play one episode of `env` (render_mode="rgb_array") and return it with a frame (H, W, 3) uint8 per step."""
    frames: list[np.ndarray] = []
    episode = rollout(agent, env, seed, on_step=lambda *_: frames.append(env.render()))
    return episode, frames


def write_video(path: Path, frames: Sequence[np.ndarray], frames_per_second: int = FRAMES_PER_SECOND) -> Path:
    """Write RGB frames (H, W, 3) uint8 to an mp4 or, by the ending, another container that OpenCV knows.

    Raises:
        QsftRobotError: OpenCV has no encoder for it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*CODEC), frames_per_second, (width, height))
    if not writer.isOpened():
        raise QsftRobotError(f"OpenCV cannot write {path}: its build lacks the encoder")
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def label_frame(frame: np.ndarray, lines: Sequence[str]) -> np.ndarray:
    """A copy of the frame with `lines` of text in its upper left corner."""
    labelled = np.ascontiguousarray(frame)
    for index, line in enumerate(lines):
        place = (6, 16 + 16 * index)
        cv2.putText(labelled, line, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 3, cv2.LINE_AA)
        cv2.putText(labelled, line, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (20, 20, 20), 1, cv2.LINE_AA)
    return labelled


def episode_trace(agent: Agent, episode: Episode, action_names: Sequence[str] | None = None) -> dict[str, Any]:
    """What goes with an episode's video, JSON-ready.

    Returns:
        `rewards` (T,); `q_values`: T lists of the values of the tokens taken, in the units of the return, or None where
        the policy has none; `action_names` (D,) or None; `frames_per_second`, with one frame per step.
    """
    values = agent.values(episode.observations, episode.actions) if isinstance(agent, TokenAgent) else None
    return {
        "policy": agent.name,
        "seed": episode.seed,
        "success": episode.success,
        "frames_per_second": FRAMES_PER_SECOND,
        "rewards": episode.rewards.tolist(),
        "q_values": None if values is None else _rounded(values),
        "action_names": None if action_names is None else list(action_names),
    }


def _rounded(values: np.ndarray) -> list[list[float]]:
    """Rows of values without the NaN of places that hold no token."""
    return [[round(value, 5) for value in row if value == value] for row in values.tolist()]


def record_outcomes(folder: Path, agent: Agent, task: Task, outcomes: Sequence[Outcome], count: int) -> list[str]:
    """Replay `count` episodes of `outcomes`, half of them failures where there are that many, and write them.

    Each frame says which policy acts, the step, and how the episode ends; the file's name says it too.
    """
    successes = [outcome for outcome in outcomes if outcome.success]
    failures = [outcome for outcome in outcomes if not outcome.success]
    chosen = failures[: max(count // 2, count - len(successes))]
    chosen = successes[: count - len(chosen)] + chosen
    env = task.make()
    if drawn := "rgb_array" in env.metadata["render_modes"]:
        env.close()
        env = task.make(render_mode="rgb_array")
    paths = []
    try:
        for outcome in chosen:
            episode, frames = record_episode(agent, env, outcome.seed) if drawn else (None, [])
            if episode is None:
                episode = rollout(agent, env, outcome.seed)
            ending = "success" if episode.success else "failure"
            if episode.success != outcome.success:
                logger.warning("the replay of seed %d ended in %s, unlike the evaluation", outcome.seed, ending)
            title = f"{agent.name}  seed {outcome.seed}"
            labelled = [
                label_frame(frame, [title, f"step {step + 1} of {len(frames)}: {ending}"])
                for step, frame in enumerate(frames)
            ]
            trace = episode_trace(agent, episode, getattr(env.unwrapped, "action_names", None))
            if not drawn:
                labelled = transcripts.video_frames(episode, title, trace["q_values"])
            path = folder / f"{agent.name}_{ending}_{outcome.seed}.mp4"
            paths.append(str(write_video(path, [*labelled, *labelled[-1:] * FRAMES_PER_SECOND])))
            path.with_suffix(".json").write_text(json.dumps(trace), encoding="utf-8")
    finally:
        env.close()
    return paths
