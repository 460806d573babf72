"""The text of `--help`: groups with their options, then each key with its value, type, limits, meaning."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterator
from typing import Any

from qsft_robot.config.build import describe, hints_of, section_class
from qsft_robot.config.compose import describe_option, options_of
from qsft_robot.config.fields import groups_of


def help_text(config_class: type, config: Any, program: str) -> str:
    """What `--help` prints.

    Args:
        config_class: the command's class.
        config: a configuration whose values are shown, or None to show the defaults of the class.
        program: how the command is called, for example `python -m qsft_robot.train`.
    """
    lines = [f"usage: {program} key=value ...", ""]
    lines += [textwrap.dedent(config_class.__doc__ or "").strip(), ""]
    lines += [
        "--help shows this page for the keys given, --print-config the resolved configuration as YAML.",
        "",
    ]
    groups = groups_of(config_class)
    if groups:
        lines.append("groups (key=option):")
        for name in groups:
            for option in options_of(name):
                lines.append(f"  {name + '=' + option:<28} {describe_option(name, option)}".rstrip())
        lines.append("")
    lines.append("keys (key=value, as they stand now):")
    for key, value, note in _rows(config_class, config):
        lines.append(f"  {key}={value}")
        lines += textwrap.wrap(note, width=104, initial_indent="      ", subsequent_indent="      ")
    return "\n".join(lines)


def _rows(cls: type, config: Any, path: str = "") -> Iterator[tuple[str, str, str]]:
    cls = type(config) if config is not None else cls
    hints = hints_of(cls)
    for field in dataclasses.fields(cls):
        place = f"{path}.{field.name}" if path else field.name
        value = getattr(config, field.name) if config is not None else _default(field)
        inner = section_class(hints[field.name])
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            yield from _rows(type(value), value, place)
        elif inner is not None and field.metadata.get("group"):
            yield place, _shown(value), f"{field.metadata['help']} (a group)"
        elif field.name not in ("name", "kind", "preset") or not path:
            note = str(field.metadata.get("help", ""))
            yield (
                place,
                _shown(value),
                f"{note} ({'; '.join([describe(hints[field.name]), *_limits(field)])})",
            )


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.metadata.get("group"):
        return field.metadata["default_option"]
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return "<must be given>" if field.default is dataclasses.MISSING else field.default


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{','.join(_shown(each) for each in value)}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}: {_shown(each)}" for key, each in value.items()) + "}"
    return str(value)


def _limits(field: dataclasses.Field[Any]) -> list[str]:
    words = {"minimum": "at least", "above": "greater than", "maximum": "at most", "below": "less than"}
    return [f"{word} {field.metadata[name]}" for name, word in words.items() if name in field.metadata]
