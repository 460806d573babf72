"""Collect episodes of a scripted agent into a trajectory store.

    python -m qsft_robot.collect sim=pick_place episodes=200 seed=0 workers=2 dataset=data/pick_place.zarr

Episode i is played with seed `seed * 1_000_000 + i` (datasets/seeds.py) and is the i-th of the store, so what is
stored depends on the seed alone, not on the number of workers. A run that was stopped, however it ended, goes on
when the same command is given again; a larger `episodes` extends a store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qsft_robot.command import run
from qsft_robot.config.commands import CollectConfig

if TYPE_CHECKING:
    from qsft_robot.config import TrainConfig


def collect_as_configured(config: CollectConfig | TrainConfig) -> dict[str, Any]:
    """Collect what `config` says, and return the summary of datasets/collection.py.

    Raises:
        ConfigurationError: the store at that path was collected with other settings.
        StoreError: the store is damaged, being written, or the disk is full; what was finished is kept.
    """
    from functools import partial

    from qsft_robot.config import collection_options, dataset_path
    from qsft_robot.datasets.collection import collect, make_scripted

    options = collection_options(config.sim)
    imperfections = dict(getattr(config.sim, "imperfections", {}))
    return collect(
        dataset_path(config),
        make=partial(make_scripted, config.sim.env_id, options, imperfections),
        task=config.sim.name,
        attributes={"environment": config.sim.env_id, "options": options, "imperfections": imperfections},
        episodes=config.episodes,
        seed=config.seed,
        workers=config.workers,
    )


def main(config: CollectConfig) -> dict[str, Any]:
    """Run the command."""
    return collect_as_configured(config)


if __name__ == "__main__":
    raise SystemExit(run(CollectConfig, main))
