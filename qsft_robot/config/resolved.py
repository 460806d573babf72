"""What is done with a resolved configuration: save, read back, change, derive paths and options from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from qsft_robot.config.build import build
from qsft_robot.config.commands import CollectConfig, TrainConfig
from qsft_robot.config.schema import SimConfig
from qsft_robot.errors import ConfigurationError

T = TypeVar("T")

TELLING_OPTIONS = ("notation", "text")
"""Options of environments that say in what words a policy is told what there is."""


def to_dict(config: Any) -> dict[str, Any]:
    """Nested dictionaries of plain values, fit for JSON and YAML."""
    return dataclasses.asdict(config)


def from_dict(config_class: type[T], data: Mapping[str, Any]) -> T:
    """The inverse of `to_dict`; keys that an older version did not have take their defaults.

    Raises:
        ConfigurationError: a key or a value does not fit `config_class`.
    """
    return build(config_class, data)


def to_yaml(config: Any) -> str:
    """The configuration as YAML text, as it lies in a run folder."""
    import yaml

    return yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True)


def read_yaml(config_class: type[T], path: str | Path) -> T:
    """Read what `to_yaml` wrote.

    Raises:
        ConfigurationError: the file is missing, is no YAML, or does not fit `config_class`.
    """
    import yaml

    try:
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(f"there is no configuration at {path}; is it a run folder?") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is damaged: {error}") from error
    if not isinstance(data, dict):
        raise ConfigurationError(f"{path} holds no configuration")
    try:
        return build(config_class, data)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path} does not fit this version:\n{error}") from error


def with_changes(section: T, changes: Mapping[str, Any]) -> T:
    """A copy of a configuration object with some keys changed and everything checked anew.

    Raises:
        ConfigurationError: a key is unknown or a value does not fit.
    """
    return build(type(section), {**to_dict(section), **changes})


def collection_options(sim: SimConfig) -> dict[str, Any]:
    """Keywords of the environment's constructor for collecting data."""
    return _options(sim, sim.collection)


def evaluation_options(sim: SimConfig, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Keywords of the environment's constructor for evaluating, with further `changes` on top.

    Raises:
        ConfigurationError: a key of `changes` is unknown or its value does not fit.
    """
    return _options(sim, {**sim.evaluation, **(changes or {})})


def differently_told(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Which of `TELLING_OPTIONS` two sets of options both have, with different values."""
    return [key for key in TELLING_OPTIONS if key in found and key in wanted and found[key] != wanted[key]]


def differing_settings(before: Mapping[str, Any], now: Mapping[str, Any], may_differ: Collection[str]) -> list[str]:
    """What two resolved configurations have differently, such as `training.steps: 12, now 13`.

    `may_differ` are keys, with dots, that are left out with everything below them.
    """

    def compare(before: Any, now: Any, key: str) -> Iterator[str]:
        if key in may_differ:
            return
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            for name in {**before, **now}:
                yield from compare(before.get(name), now.get(name), f"{key}.{name}" if key else str(name))
        elif before != now:
            yield f"{key}: {before}, now {now}"

    return list(compare(before, now, ""))


def _options(sim: SimConfig, changes: Mapping[str, Any]) -> dict[str, Any]:
    options = getattr(sim, "options", None)
    if options is None:
        return dict(changes)
    return to_dict(with_changes(options, changes))


def run_folder(config: TrainConfig, now: datetime | None = None) -> Path:
    """The folder of a training run: `run=...`, or runs/<sim>/<algorithm>/<time>."""
    if config.run is not None:
        return Path(config.run)
    time = (now or datetime.now()).strftime("%Y-%m-%d_%H-%M-%S")
    return Path("runs") / config.sim.name / config.algorithm.name / time


def dataset_path(config: CollectConfig | TrainConfig) -> Path:
    """The store that collection writes: `dataset=...`, or data/<sim>-<episodes>-<seed>.zarr.

    Raises:
        ConfigurationError: `dataset` is a list, which can only be read.
    """
    if isinstance(config.dataset, str):
        return Path(config.dataset)
    if config.dataset is not None:
        raise ConfigurationError("a list of datasets can only be trained on; collect writes one")
    return Path("data") / f"{config.sim.name}-{config.episodes}-{config.seed}.zarr"
