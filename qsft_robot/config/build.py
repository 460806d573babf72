"""From nested dictionaries to typed configuration objects, with every error found and named by its key."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import math
import types
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from qsft_robot.config.fields import kinds_of, messages
from qsft_robot.errors import ConfigurationError

T = TypeVar("T")


class _Invalid:
    """Stands for a value that could not be built; its error is in the list."""


_invalid = _Invalid()


_hints: dict[Any, dict[str, Any]] = {}


def hints_of(cls: Any) -> dict[str, Any]:
    """The types of a dataclass's fields, by name."""
    if cls not in _hints:
        hints = get_type_hints(cls)
        _hints[cls] = {field.name: hints[field.name] for field in dataclasses.fields(cls)}
    return _hints[cls]


def nearest(word: str, words: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the word nearest to `word`, or nothing when none is near."""
    close = difflib.get_close_matches(word, list(words), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


def alternatives(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or the type alone."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def section_class(hint: Any, data: Any = None) -> type | None:
    """The dataclass that describes a field of type `hint` whose content is `data`, or None for a plain value.

    For a group's base class the content's `kind` decides.
    """
    for each in alternatives(hint):
        if dataclasses.is_dataclass(each) and isinstance(each, type):
            kinds = kinds_of(each)
            if kinds and isinstance(data, Mapping):
                return kinds.get(str(data.get("kind")), each)
            return each
    return None


def build(cls: type[T], data: Mapping[str, Any]) -> T:
    """Make the configuration object of class `cls` from nested dictionaries.

    Args:
        cls: a dataclass made by `settings`.
        data: its content; keys that are left out take their defaults.

    Raises:
        ConfigurationError: with one line for each unknown key, wrong type, value out of range or broken rule.
    """
    errors: list[str] = []
    value = build_collecting(cls, data, errors)
    if errors or not isinstance(value, cls):
        raise ConfigurationError("\n".join(errors))
    return value


def build_collecting(cls: type, data: Mapping[str, Any], errors: list[str], path: str = "") -> Any:
    """Like `build`, but append the messages to `errors`; the result counts only if none was added."""
    return _section(cls, data, path, errors)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _section(cls: type, data: Any, path: str, errors: list[str]) -> Any:
    if not isinstance(data, Mapping):
        errors.append(f"{path} = {data!r}: expected a section with keys {', '.join(hints_of(cls))}")
        return _invalid
    kinds = kinds_of(cls)
    if kinds:
        chosen = str(data.get("kind"))
        if chosen not in kinds:
            errors.append(
                f"{_join(path, 'kind')} = {chosen!r}: unknown kind{nearest(chosen, kinds) or ';'} "
                f"available: {', '.join(sorted(kinds))}"
            )
            return _invalid
        cls = kinds[chosen]
    hints = hints_of(cls)
    before = len(errors)
    for key in data:
        if key not in hints:
            errors.append(f"unknown key '{_join(path, str(key))}'{nearest(str(key), hints)}")
    values: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        place = _join(path, field.name)
        if field.name in data:
            values[field.name] = _value(hints[field.name], data[field.name], place, field.metadata, errors)
            continue
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            errors.append(f"'{place}' must be given ({field.metadata.get('help', '')}): {place}=...")
    for field in dataclasses.fields(cls):
        sibling = field.metadata.get("partial_of")
        if sibling and isinstance(data.get(field.name), Mapping):
            partial_class = section_class(hints[sibling], data.get(sibling))
            if partial_class is not None:
                _partial(partial_class, data[field.name], _join(path, field.name), errors)
        if field.metadata.get("keys_of") and data.get(field.name):
            _check_keys(field.metadata["keys_of"], data[field.name], _join(path, field.name), errors)
    if len(errors) > before:
        return _invalid
    result = cls(**values)
    errors.extend(f"{path}: {message}" if path else message for message in messages(result))
    return result


def _check_keys(location: str, data: Mapping[str, Any], path: str, errors: list[str]) -> None:
    """Check the keys of a mapping against the fields of the dataclass at "module:Class"."""
    module, _, name = location.partition(":")
    known = [field.name for field in dataclasses.fields(getattr(importlib.import_module(module), name))]
    for key in data:
        if key not in known:
            near = nearest(str(key), known) or ";"
            errors.append(f"unknown key '{_join(path, str(key))}'{near} available: {', '.join(known)}")


def _partial(cls: type, data: Mapping[str, Any], path: str, errors: list[str]) -> None:
    """Check a mapping that holds some of the keys of `cls`."""
    hints = hints_of(cls)
    metadata = {field.name: field.metadata for field in dataclasses.fields(cls)}
    for key, value in data.items():
        if key not in hints:
            errors.append(f"unknown key '{_join(path, str(key))}'{nearest(str(key), hints)}")
        else:
            _value(hints[key], value, _join(path, str(key)), metadata[key], errors)


def _value(hint: Any, value: Any, path: str, limits: Mapping[str, Any], errors: list[str]) -> Any:
    """Check `value` against a type and limits, and convert it where nothing is lost (2.0 for an integer)."""
    options = alternatives(hint)
    if len(options) > 1:
        if value is None and type(None) in options:
            return None
        matching = [each for each in options if each is not type(None) and _could_be(each, value)]
        if not matching:
            errors.append(f"{path} = {value!r}: expected {describe(hint)}")
            return _invalid
        return _value(matching[0], value, path, limits, errors)
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _section(hint, value, path, errors)
    origin = get_origin(hint)
    if origin is Literal:
        return _literal(hint, value, path, errors)
    if not _could_be(hint, value):
        errors.append(f"{path} = {value!r}: expected {describe(hint)}")
        return _invalid
    if origin in (list, tuple):
        item = get_args(hint)[0]
        items = [_value(item, each, f"{path}[{i}]", limits, errors) for i, each in enumerate(value)]
        return tuple(items) if origin is tuple else items
    if origin is dict:
        item = get_args(hint)[1]
        return {str(k): _value(item, each, _join(path, str(k)), limits, errors) for k, each in value.items()}
    if hint in (int, float):
        return _number(hint, value, path, limits, errors)
    return value


def _literal(hint: Any, value: Any, path: str, errors: list[str]) -> Any:
    allowed = get_args(hint)
    for each in allowed:
        if value == each and type(value) is type(each):
            return value
    words = [str(each) for each in allowed]
    errors.append(f"{path} = {value!r}: unknown value{nearest(str(value), words) or ';'} available: {', '.join(words)}")
    return _invalid


def _number(hint: type, value: Any, path: str, limits: Mapping[str, Any], errors: list[str]) -> Any:
    if not math.isfinite(value):
        errors.append(f"{path} = {value!r}: must be a finite number")
        return _invalid
    rules = []
    if (limit := limits.get("minimum")) is not None and value < limit:
        rules.append(f"at least {limit}")
    if (limit := limits.get("above")) is not None and value <= limit:
        rules.append(f"greater than {limit}")
    if (limit := limits.get("maximum")) is not None and value > limit:
        rules.append(f"at most {limit}")
    if (limit := limits.get("below")) is not None and value >= limit:
        rules.append(f"less than {limit}")
    if rules:
        errors.append(f"{path} = {value!r}: must be {' and '.join(rules)}")
        return _invalid
    return hint(value)


def _could_be(hint: Any, value: Any) -> bool:
    """Whether `value` has the outer shape of type `hint`."""
    if hint is Any:
        return True
    origin = get_origin(hint) or hint
    if origin is Literal:
        return value in get_args(hint)
    if origin is int:
        return (isinstance(value, int) and not isinstance(value, bool)) or (
            isinstance(value, float) and value.is_integer()
        )
    if origin is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if origin in (list, tuple):
        return isinstance(value, (list, tuple))
    if origin is dict or dataclasses.is_dataclass(origin):
        return isinstance(value, Mapping)
    return isinstance(value, origin)


def describe(hint: Any) -> str:
    """A type in words, for messages and `--help`."""
    names = {
        int: "an integer",
        float: "a number",
        str: "text",
        bool: "true or false",
        type(None): "null",
        Any: "any",
    }
    options = alternatives(hint)
    if len(options) > 1:
        return " or ".join(describe(each) for each in options)
    if hint in names:
        return names[hint]
    origin = get_origin(hint)
    if origin is Literal:
        return " | ".join(str(each) for each in get_args(hint))
    if origin in (list, tuple):
        return f"a list [a,b,...] of which each is {describe(get_args(hint)[0])}"
    if origin is dict:
        return "a mapping {key: value}"
    return "a section"
