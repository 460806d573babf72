"""How a configuration dataclass says what its fields mean, which values they take and where they come from.

Three helpers stand where a plain dataclass would write `dataclasses.field`:

    @settings
    class TrainingConfig:
        learning_rate: float = setting(3e-4, "peak learning rate", above=0)
        optimiser: OptimiserConfig = section(OptimiserConfig, "how weights are updated")
        sim: SimConfig = choice("pick_place", "the environment, a group of config/sim/")

The help text, the limits and the group's default option travel in the field's metadata.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")

#: base class of a group -> kind -> the dataclass that describes options of that kind
_kinds: dict[type, dict[str, type]] = {}


def setting(
    default: Any = dataclasses.MISSING,
    help: str = "",
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
    partial_of: str | None = None,
    keys_of: str | None = None,
) -> Any:
    """Declare one key of the configuration.

    Args:
        default: its value when nothing else is said; left out, the key must be given.
        help: one line for `--help`.
        minimum: smallest number allowed.
        maximum: largest number allowed.
        above: numbers must be greater than this.
        below: numbers must be less than this.
        partial_of: name of a sibling section; this key is a mapping that overrides some of its keys.
        keys_of: "module:Class" of a dataclass; this key is a mapping whose keys are fields of that class. It is
            imported only when the mapping holds something.

    Returns:
        A dataclass field. The limits hold for every number in a list or mapping too.
    """
    limits = {"minimum": minimum, "maximum": maximum, "above": above, "below": below}
    metadata: dict[str, Any] = {"help": help, "partial_of": partial_of, "keys_of": keys_of}
    metadata.update({name: limit for name, limit in limits.items() if limit is not None})
    if isinstance(default, (list, dict)):
        return dataclasses.field(default_factory=lambda: copy.deepcopy(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def section(section_class: type, help: str = "") -> Any:
    """Declare a nested block of keys, described by a dataclass whose fields all have defaults."""
    return dataclasses.field(default_factory=section_class, metadata={"help": help})


def choice(default: str | None, help: str = "") -> Any:
    """Declare a key that is a Hydra group: `key=option` picks config/<key>/<option>.yaml.

    Args:
        default: the option when nothing else is said; None leaves the group out (annotate it `X | None`).
        help: one line for `--help`.
    """
    metadata = {"help": help, "group": True, "default_option": default}
    if default is None:
        return dataclasses.field(default=None, metadata=metadata)
    return dataclasses.field(metadata=metadata)


@dataclass_transform(
    kw_only_default=True, frozen_default=True, field_specifiers=(setting, section, choice, dataclasses.field)
)
def settings(cls: type[T]) -> type[T]:
    """Make `cls` a frozen, keyword-only dataclass; every class of the configuration is one.

    A method `check(self) -> Iterator[str]` may yield one message for each broken rule between the fields.
    """
    return dataclasses.dataclass(frozen=True, kw_only=True)(cls)


def kind(base: type, name: str) -> Callable[[type[T]], type[T]]:
    """Register the decorated dataclass: it describes the options of group `base` with `kind: name`."""

    def register(cls: type[T]) -> type[T]:
        _kinds.setdefault(base, {})[name] = cls
        return cls

    return register


def kinds_of(base: type) -> Mapping[str, type]:
    """The registered kinds of a group's base class; empty for a class that is no group's base."""
    return _kinds.get(base, {})


def groups_of(config_class: type) -> dict[str, dataclasses.Field[Any]]:
    """The fields of a command's configuration that are Hydra groups, by name."""
    return {f.name: f for f in dataclasses.fields(config_class) if f.metadata.get("group")}


def messages(value: Any) -> Iterator[str]:
    """What the rules between the fields of a configuration object say against it."""
    check = getattr(value, "check", None)
    if check is not None:
        yield from check()
