"""Collect episodes of a scripted agent, or of a policy, into a trajectory store.

    python -m qsft_robot.collect sim=pick_place episodes=200 seed=0 workers=2 dataset=data/pick_place.zarr

Episode i is played with seed `seed * 1_000_000 + i` (datasets/seeds.py) and is the i-th of the store, so what is
stored depends on the seed alone, not on the number of workers. A run that was stopped, however it ended, goes on
when the same command is given again; a larger `episodes` extends a store.

With `checkpoint=` a policy plays: what it does, and what comes of it, is what the next policy can learn from.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from qsft_robot.command import run
from qsft_robot.config.commands import CollectConfig

if TYPE_CHECKING:
    from qsft_robot.config import TrainConfig

logger = logging.getLogger("qsft_robot.collect")


def collect_as_configured(config: CollectConfig | TrainConfig) -> dict[str, Any]:
    """Collect what `config` says, and return the summary of datasets/collection.py.

    Raises:
        ConfigurationError: the store at that path was collected with other settings.
        StoreError: the store is damaged, being written, or the disk is full; what was finished is kept.
    """
    from functools import partial

    from qsft_robot.config import collection_options, dataset_path
    from qsft_robot.datasets.collection import collect, make_policy, make_scripted

    options = collection_options(config.sim)
    attributes: dict[str, Any] = {"environment": config.sim.env_id, "options": options}
    if isinstance(config, CollectConfig) and config.checkpoint is not None:
        _check_training(config.checkpoint, config.sim.name, options)
        decoding = config.decoding or "sample"
        make = partial(make_policy, config.sim.env_id, options, config.checkpoint, decoding, config.temperature)
        attributes |= {"checkpoint": config.checkpoint, "decoding": decoding}
        if config.temperature is not None:
            attributes["temperature"] = config.temperature
    else:
        attributes["imperfections"] = dict(getattr(config.sim, "imperfections", {}))
        make = partial(make_scripted, config.sim.env_id, options, attributes["imperfections"])
    return collect(
        dataset_path(config),
        make=make,
        task=config.sim.name,
        attributes=attributes,
        episodes=config.episodes,
        seed=config.seed,
        workers=config.workers,
    )


def _check_training(checkpoint: str, sim: str, options: dict[str, Any]) -> None:
    """Warn of a policy of another task, and refuse one that was told of what there is in other words than here.

    Raises:
        CheckpointError: the checkpoint is missing or damaged.
        ConfigurationError: says which option to give.
    """
    from qsft_robot.config import TrainConfig, collection_options, differently_told, from_dict
    from qsft_robot.errors import ConfigurationError
    from qsft_robot.training.policy_files import describe_policy, find_policy

    trained = from_dict(TrainConfig, describe_policy(find_policy(checkpoint))["config"]).sim
    if trained.name != sim:
        logger.warning("%s was trained for sim=%s, and plays sim=%s here", checkpoint, trained.name, sim)
    known = collection_options(trained)
    for key in differently_told(known, options):
        raise ConfigurationError(
            f"{checkpoint} was trained with options.{key}={known[key]}, and sim={sim} has {options[key]}: "
            f"give sim.options.{key}={known[key]}"
        )


def main(config: CollectConfig) -> dict[str, Any]:
    """Run the command."""
    return collect_as_configured(config)


if __name__ == "__main__":
    raise SystemExit(run(CollectConfig, main))
