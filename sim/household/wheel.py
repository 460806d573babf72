"""What the alfworld package ships, read as files.

Importing `alfworld` makes a folder in the user's home and sets an environment variable; reading its data does neither.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from types import ModuleType

from qsft_robot.errors import DataError, MissingExtraError

EXTRA = "alfworld"
PURPOSE = "sim=alfworld (the environment qsft_robot/Household-v0)"


@functools.cache
def folder() -> Path:
    """Where the alfworld package lies.

    Raises:
        MissingExtraError: alfworld or textworld is not installed.
    """
    found = importlib.util.find_spec("alfworld")
    if found is None or not found.submodule_search_locations or importlib.util.find_spec("textworld") is None:
        raise MissingExtraError(EXTRA, PURPOSE)
    return Path(next(iter(found.submodule_search_locations)))


def installed() -> bool:
    """Whether the extra is there."""
    try:
        folder()
    except MissingExtraError:
        return False
    return True


@functools.cache
def constants() -> ModuleType:
    """The constants of ALFWorld: object and receptacle kinds, what fits where, which rooms are held out."""
    return _module("gen/constants.py")


@functools.cache
def goals() -> dict[str, dict[str, object]]:
    """The goals of ALFWorld by task type: `pddl` with places to fill in, and `templates` in English."""
    library: dict[str, dict[str, object]] = _module("gen/goal_library.py").gdict
    return library


@functools.cache
def domain() -> str:
    """The rules of all games, in PDDL."""
    return read("data/alfred.pddl")


@functools.cache
def grammar() -> str:
    """The words of all games, in TextWorld's grammar; `UNKNOWN GOAL` stands for the task."""
    return read("data/alfred.twl2")


def read(name: str) -> str:
    """The text of one of the package's files.

    Raises:
        DataError: it is missing or unreadable.
    """
    path = folder() / name
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}): reinstall alfworld>=0.4.2") from error


def _module(name: str) -> ModuleType:
    """One of the package's modules, without the package around it."""
    path = folder() / name
    spec = importlib.util.spec_from_file_location(f"qsft_robot_alfworld_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise DataError(f"{path} is missing: reinstall alfworld>=0.4.2")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
