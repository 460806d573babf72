"""Look after a trajectory store.

python -m qsft_robot.dataset info data/pick_place.zarr
python -m qsft_robot.dataset validate data/pick_place.zarr     # reads everything, names damaged episodes
python -m qsft_robot.dataset repair data/pick_place.zarr       # recovers what is whole, keeps the old store
python -m qsft_robot.dataset play data/pick_place.zarr episode=3 format=sheet checkpoint=runs/...
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from qsft_robot.command import run
from qsft_robot.config.commands import DatasetConfig
from qsft_robot.errors import ConfigurationError, StoreError

logger = logging.getLogger("qsft_robot.dataset")

SHOWN = 10
"""Problems and episodes that a message lists at most."""


def info(config: DatasetConfig) -> dict[str, Any]:
    """Say what the store holds."""
    import numpy as np

    from qsft_robot.datasets.store import TrajectoryStore
    from qsft_robot.evaluation.statistics import mean_interval

    store = TrajectoryStore.open(config.dataset)
    lengths, returns = store.episode_lengths, store.episode_returns
    observations = {
        key: {"shape": list(spec.shape), "dtype": "text" if spec.is_text else spec.dtype.name}
        for key, spec in store.spec.observations.items()
    }
    has_text = any(spec.is_text for spec in store.spec.data.values())
    raw = sum(spec.row_bytes for spec in store.spec.data.values()) * store.number_of_steps
    raw += sum(spec.row_bytes for spec in store.spec.final.values()) * len(store)
    result: dict[str, Any] = {
        "dataset": str(store.path),
        "task": store.task,
        "attributes": store.attributes,
        "observations": observations,
        "action_dimension": None if store.spec.action.is_text else store.spec.action_dimension,
        "episodes": len(store),
        "steps": store.number_of_steps,
        "policies": dict(Counter(store.policies)),
        "code_versions": dict(Counter(store.record(index).code_version for index in range(len(store)))),
        "bytes": sum(file.stat().st_size for file in store.path.rglob("*") if file.is_file()),
        "bytes_uncompressed": None if has_text else raw,  # the length of texts is known only by reading them all
    }
    if len(store):
        result |= {
            "success_rate": float(np.mean(store.success)),
            "return": {
                "mean": float(returns.mean()),
                "interval": mean_interval(returns)[1:] if len(store) > 1 else None,  # 95%
                "least": float(returns.min()),
                "most": float(returns.max()),
            },
            "length": {"mean": float(lengths.mean()), "least": int(lengths.min()), "most": int(lengths.max())},
            "truncated_rate": float(np.mean(store.truncated)),
            "seeds": [int(store.seeds.min()), int(store.seeds.max())],
        }
    return result


def validate(config: DatasetConfig) -> dict[str, Any]:
    """Read everything and report damage.

    Raises:
        StoreError: there is damage; the message names it, the episodes, and what to do.
    """
    from qsft_robot.datasets import maintenance

    with _progress("validate") as progress:
        report = maintenance.validate(config.dataset, progress)
    for note in report.notes:
        logger.info("note: %s", note)
    if not report.sound:
        lines = [
            problem.message + (f" (episodes {_list(problem.episodes)})" if problem.episodes else "")
            for problem in report.problems[:SHOWN]
        ]
        if len(report.problems) > SHOWN:
            lines.append(f"and {len(report.problems) - SHOWN} more")
        kept = report.episodes - len(report.lost)
        raise StoreError(
            "\n".join(
                [
                    f"the trajectory store {config.dataset} is damaged:",
                    *lines,
                    f"`python -m qsft_robot.dataset repair {config.dataset}` recovers {kept} of {report.episodes} "
                    "episodes, and keeps the damaged store",
                ]
            )
        )
    return {
        "dataset": config.dataset,
        "sound": True,
        "episodes": report.episodes,
        "steps": report.steps,
        "notes": report.notes,
    }


def repair(config: DatasetConfig) -> dict[str, Any]:
    """Recover what is whole."""
    from qsft_robot.datasets import maintenance

    with _progress("repair") as progress:
        result = maintenance.repair(config.dataset, config.output, progress)
    report = result.report
    for problem in report.problems:
        logger.info("found: %s", problem.message)
    return {
        "dataset": str(result.path),
        "damaged_store": None if result.backup is None else str(result.backup),
        "episodes": result.recovered,
        "lost_episodes": report.lost,
        "problems": [problem.message for problem in report.problems],
    }


def play(config: DatasetConfig) -> dict[str, Any]:
    """Write one episode as a video or a contact sheet; of an episode of text, return the turns as well.

    Raises:
        ConfigurationError: `output` ends neither in .mp4 nor in .png.
    """
    from qsft_robot.datasets import pictures, transcripts
    from qsft_robot.datasets.store import TrajectoryStore

    store = TrajectoryStore.open(config.dataset)
    episode = store.episode(config.episode)
    suffix = {"mp4": ".mp4", "sheet": ".png"}[config.format]
    output = Path(config.output or f"{config.dataset}.episode-{config.episode}{suffix}")
    if output.suffix not in (".mp4", ".png"):
        raise ConfigurationError(f"output={output} must end in .mp4 (a video) or .png (a contact sheet)")
    values = None
    if config.checkpoint is not None:
        from qsft_robot.agents.token_agent import TokenAgent

        values = TokenAgent.from_checkpoint(config.checkpoint).values(episode.observations, episode.actions)
        if values is None:
            logger.warning("%s has no Q-values: its algorithm learns none", config.checkpoint)
    title = f"episode {config.episode}, seed {episode.seed}, {episode.policy}"
    is_text = transcripts.is_text(episode)
    drawing: Any = transcripts if is_text else pictures
    if output.suffix == ".png":
        pictures.write_picture(output, drawing.contact_sheet(episode, title, values))
    else:
        frames = drawing.video_frames(episode, title, values)
        pictures.write_video(output, [*frames, *frames[-1:] * pictures.FRAMES_PER_SECOND])
    return {
        "dataset": config.dataset,
        "output": str(output),
        "episode": config.episode,
        "seed": episode.seed,
        "policy": episode.policy,
        "steps": len(episode),
        "return": episode.episode_return,
        "success": episode.success,
        "q_values": None if values is None else np.nanmean(values, axis=1),
        **({"turns": transcripts.turns(episode)} if is_text else {}),
    }


def _list(episodes: tuple[int, ...]) -> str:
    """Return the first few numbers, and how many more there are."""
    text = ", ".join(str(each) for each in episodes[:SHOWN])
    return text + (f" and {len(episodes) - SHOWN} more" if len(episodes) > SHOWN else "")


class _progress:  # noqa: N801  (reads as a statement)
    """A progress bar that learns its length on the way."""

    def __init__(self, name: str) -> None:
        from tqdm import tqdm

        interval = 0.2 if sys.stderr.isatty() else 10.0
        self._bar = tqdm(desc=name, unit="episode", file=sys.stderr, mininterval=interval, dynamic_ncols=True)

    def __enter__(self) -> _progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def __call__(self, done: int, total: int) -> None:
        self._bar.total = total
        self._bar.update(done - self._bar.n)


ACTIONS = {"info": info, "validate": validate, "repair": repair, "play": play}


def main(config: DatasetConfig) -> dict[str, Any]:
    """Run the command."""
    return ACTIONS[config.action](config)


if __name__ == "__main__":
    raise SystemExit(run(DatasetConfig, main, positional=("action", "dataset")))
