"""Command line words and YAML groups to one typed configuration, through Hydra's compose.

Hydra assembles the chosen options (defaults list, packages, interpolation). The words of the command line
are checked against the typed classes, so that every message names the key and the nearest right one.
Nothing heavy is imported here: a mistake is reported in well under two seconds.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib.resources
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_origin

from qsft_robot.config.build import alternatives, build_collecting, hints_of, nearest, section_class
from qsft_robot.config.fields import groups_of
from qsft_robot.errors import ConfigurationError

T = TypeVar("T")

config_module = "qsft_robot.config"


def load(config_class: type[T], words: Sequence[str] = ()) -> T:
    """Compose the configuration of a command.

    Args:
        config_class: the command's class, from qsft_robot/config/commands.py.
        words: `key=value` words as on the command line; a key of a group chooses its option.

    Raises:
        ConfigurationError: with one line for every mistake found.
    """
    errors: list[str] = []
    assignments = list(_split(words, config_class, errors))
    groups = groups_of(config_class)
    chosen = {name: field.metadata["default_option"] for name, field in groups.items()}
    values = []
    for each in assignments:
        if each.key in groups:
            option = _option(each, config_class, errors)
            if option is not _unknown:
                chosen[each.key] = option
        else:
            values.append(each)
    asked = {each.key for each in assignments}
    if "model" in groups and "model" not in asked and chosen.get("sim") is not None:
        chosen["model"] = _model_for(str(chosen["sim"])) or chosen["model"]
    for name, option in chosen.items():
        if option is None and name not in asked:
            continue
        if option is None and type(None) not in alternatives(hints_of(config_class)[name]):
            errors.append(f"{name}=null: one of {', '.join(options_of(name))} must be chosen")
    data = _compose(config_class, {name: option for name, option in chosen.items() if option is not None})
    tree = _assign(config_class, data, values, errors)
    result = build_collecting(config_class, tree, errors)
    if errors:
        raise ConfigurationError("\n".join(dict.fromkeys(errors)))
    return result


def options_of(group: str) -> list[str]:
    """The names of a group's options: the YAML files of config/<group>/."""
    folder = importlib.resources.files(config_module).joinpath(group)
    if not folder.is_dir():
        return []
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def describe_option(group: str, option: str) -> str:
    """The first comment of an option's YAML file that is not an instruction to Hydra."""
    text = importlib.resources.files(config_module).joinpath(group, f"{option}.yaml").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line.startswith("#") and "@package" not in line:
            return line.lstrip("# ").strip()
    return ""


def all_keys(config_class: type, data: Mapping[str, Any] | None = None, path: str = "") -> Iterator[str]:
    """Every dotted key of a configuration class, given the kinds that `data` chooses."""
    data = data or {}
    cls = section_class(config_class, data) or config_class
    hints = hints_of(cls)
    for name, hint in hints.items():
        content = data.get(name)
        place = f"{path}.{name}" if path else name
        yield place
        inner = section_class(hint, content)
        if inner is not None:
            yield from all_keys(inner, content if isinstance(content, Mapping) else None, place)


def _model_for(sim: str) -> str | None:
    """The model that a sim's file names for where none is chosen: what reads pictures does not read text."""
    from omegaconf import OmegaConf

    text = importlib.resources.files(config_module).joinpath("sim", f"{sim}.yaml").read_text(encoding="utf-8")
    model = OmegaConf.select(OmegaConf.create(text), "sim.model")
    return None if model is None else str(model)


@dataclass(frozen=True)
class _Assignment:
    key: str
    value: str

    def __str__(self) -> str:
        return f"{self.key}={self.value}"


_unknown = object()


def _split(words: Sequence[str], config_class: type, errors: list[str]) -> Iterator[_Assignment]:
    for word in words:
        bare = word.lstrip("-+~")
        key, equals, value = bare.partition("=")
        if not equals:
            close = nearest(key.replace("-", "_"), all_keys(config_class))
            errors.append(f"'{word}' is not of the form key=value{close} (--help lists the keys)")
        elif bare != word:
            key = key.replace("-", "_")
            near = _nearest_path(key, config_class, {})
            errors.append(f"'{word}': keys stand without '{word[: len(word) - len(bare)]}': {near or key}={value}")
        else:
            yield _Assignment(key.strip(), value)


def _option(each: _Assignment, config_class: type, errors: list[str]) -> Any:
    """The option that `group=option` chooses, None for null, or `_unknown` after noting the error."""
    value = each.value.strip().strip("'\"")
    available = options_of(each.key)
    if value in ("null", "None") and type(None) in alternatives(hints_of(config_class)[each.key]):
        return None
    if value in available:
        return value
    close = nearest(value, available) or ";"
    errors.append(f"unknown {each.key} '{value}'{close} available: {', '.join(available)}")
    return _unknown


def _compose(config_class: type, chosen: Mapping[str, str]) -> dict[str, Any]:
    """Let Hydra assemble the chosen options; the defaults of the sections are in the result."""
    from hydra import compose, initialize_config_module
    from hydra.core.config_store import ConfigStore
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    name = config_class.__name__
    order = [group for group in groups_of(config_class) if group != "preset" and group in chosen]
    defaults: list[Any] = ["_self_", *({group: chosen[group]} for group in order)]
    if {"sim", "model"} <= set(chosen):
        defaults.append({"optional sim_model": "${sim}_${model}"})
    if {"sim", "algorithm"} <= set(chosen):
        defaults.append({"optional sim_algorithm": "${sim}_${algorithm}"})
    if "preset" in chosen:
        defaults.append({"preset": chosen["preset"]})
        if "sim" in chosen:
            defaults.append({"optional sim_preset": "${sim}_${preset}"})
    ConfigStore.instance().store(name=name, node={"defaults": defaults, **_section_defaults(config_class)})
    GlobalHydra.instance().clear()
    try:
        with initialize_config_module(config_module, version_base="1.3"):
            composed = compose(name, return_hydra_config=True)
        choices = OmegaConf.to_container(composed.hydra.runtime.choices)
        data = OmegaConf.to_container(composed)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigurationError(f"the configuration files cannot be put together: {error}") from error
    assert isinstance(data, dict)
    assert isinstance(choices, dict)
    known = hints_of(config_class)
    tree = {str(key): value for key, value in data.items() if key in known}
    for group in groups_of(config_class):
        if group == "preset":
            tree[group] = chosen[group]
        elif isinstance(tree.get(group), dict):
            tree[group].setdefault("name", choices.get(group))
        elif group not in chosen:
            tree[group] = None
    return tree


def _section_defaults(config_class: type) -> dict[str, Any]:
    """The defaults of the sections that are no groups, so that YAML files can refer to them."""
    defaults = {}
    for field in dataclasses.fields(config_class):
        if field.default_factory is not dataclasses.MISSING:
            value: Any = field.default_factory()
            defaults[field.name] = value if isinstance(value, (list, dict)) else dataclasses.asdict(value)
        elif field.default is not dataclasses.MISSING and not field.metadata.get("group"):
            defaults[field.name] = field.default
    return defaults


def _assign(
    config_class: type, data: dict[str, Any], assignments: Sequence[_Assignment], errors: list[str]
) -> dict[str, Any]:
    """Put the values of the command line into the composed tree; note unknown keys and unreadable values."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    tree = OmegaConf.create(data)
    for word in assignments:
        each = _in_full(word, config_class, data)
        found = _hint_at(each.key, config_class, data, errors)
        if found is None:
            continue
        value = _read(each, found.hint, errors)
        if value is not _unknown:
            OmegaConf.update(tree, each.key, value, merge=True, force_add=True)
    try:
        result = OmegaConf.to_container(tree, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigurationError(f"a reference ${{...}} in the configuration cannot be resolved: {error}") from error
    assert isinstance(result, dict)
    return {str(key): value for key, value in result.items()}


def _in_full(each: _Assignment, config_class: type, data: Mapping[str, Any]) -> _Assignment:
    """An option of the environment that is named alone, `split=`, as the key that changes it, `options.split=`.

    For commands that change options of an environment; nothing else may have that name.
    """
    hints = hints_of(config_class)
    if each.key in hints or "options" not in hints or not isinstance(data.get("sim"), Mapping):
        return each
    sim = section_class(hints["sim"], data["sim"])
    options = None if sim is None else section_class(hints_of(sim).get("options", Any))
    known = options is not None and each.key in hints_of(options)
    return dataclasses.replace(each, key=f"options.{each.key}") if known else each


@dataclass(frozen=True)
class _Found:
    hint: Any


def _hint_at(key: str, config_class: type, data: Mapping[str, Any], errors: list[str]) -> _Found | None:
    """The type of the field that a dotted key names, or None after noting why there is no such key."""
    parts = key.split(".")
    cls: type = config_class
    content: Any = data
    for index, part in enumerate(parts):
        cls = section_class(cls, content) or cls
        hints = hints_of(cls)
        if part not in hints:
            near = _nearest_path(key, config_class, data)
            errors.append(
                f"unknown key '{key}'" + (f"; did you mean '{near}'?" if near else " (--help lists the keys)")
            )
            return None
        hint = hints[part]
        rest = parts[index + 1 :]
        if not rest:
            return _Found(hint)
        content = content.get(part) if isinstance(content, Mapping) else None
        inner = section_class(hint, content)
        if inner is None:
            if any(get_origin(each) is dict for each in alternatives(hint)):
                return _Found(_hint_inside(cls, part, rest))
            errors.append(f"'{'.'.join(parts[: index + 1])}' has no keys of its own, so '{key}' cannot be set")
            return None
        if index == 0 and content is None and part in groups_of(config_class):
            errors.append(f"'{key}' can be set only when {part} is chosen: {part}={'|'.join(options_of(part))}")
            return None
        cls = inner
    return None


def _hint_inside(cls: type, field_name: str, rest: Sequence[str]) -> Any:
    """The type of a key inside a mapping: the sibling section's where the mapping overrides one."""
    metadata = {field.name: field.metadata for field in dataclasses.fields(cls)}[field_name]
    sibling = metadata.get("partial_of")
    if sibling and len(rest) == 1:
        inner = section_class(hints_of(cls).get(sibling, Any))
        if inner is not None:
            return hints_of(inner).get(rest[0], Any)
    return Any


def _nearest_path(key: str, config_class: type, data: Mapping[str, Any]) -> str:
    """The whole dotted key nearest to `key`: among its siblings first, then by its last word anywhere."""
    keys = list(all_keys(config_class, data))
    parent, _, leaf = key.rpartition(".")
    siblings = [each for each in keys if each.rpartition(".")[0] == parent]
    for candidates, word, cutoff in ((siblings, key, 0.75), (keys, key, 0.75)):
        close = difflib.get_close_matches(word, candidates, n=1, cutoff=cutoff)
        if close:
            return close[0]
    leaves = {each.rpartition(".")[2]: each for each in reversed(keys)}
    close = difflib.get_close_matches(leaf, leaves, n=1, cutoff=0.7)
    near = leaves[close[0]] if close else ""
    # What an environment is evaluated with goes over its options: to change these would change nothing.
    if near.startswith("sim.options.") and "options" in hints_of(config_class):
        return near.removeprefix("sim.")
    return near


def _read(each: _Assignment, hint: Any, errors: list[str]) -> Any:
    """The Python value of a word: text as typed where text is expected, the rest by Hydra's grammar."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    options = alternatives(hint)
    text = each.value
    textual = any(option is str or get_origin(option) is Literal for option in options)
    if textual and not text.startswith(("[", "{")):
        if text in ("null", "None") and type(None) in options:
            return None
        if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
            return text[1:-1]
        return text
    try:
        override = OverridesParser.create().parse_override(f"{each.key}={text}")
        if override.is_sweep_override():
            errors.append(f"{each}: takes one value; a list is written [a,b]")
            return _unknown
        return override.value()
    except HydraException:
        errors.append(f"{each}: the value cannot be read; put text with special characters in quotes")
        return _unknown
