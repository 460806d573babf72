"""The games of a split: generated from a number, or those of a folder in the layout of `alfworld-download`.

In a folder below `json_2.1.1/<split>/<task>/<trial>/`, `game.tw-pddl` holds domain, grammar, problem and whether it can
be solved, and `traj_data.json` the task type and what it is about.
"""

from __future__ import annotations

import functools
import json
import random
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from qsft_robot.errors import ConfigurationError, DataError
from qsft_robot.sim.household.problems import game_of
from qsft_robot.sim.household.rooms import SPLITS, room, room_numbers
from qsft_robot.sim.household.tasks import TASK_TYPES, Task, draw_task, rooms_for, scatter

OFFICIAL_SPLITS = {"train": "train", "seen": "valid_seen", "unseen": "valid_unseen"}
DATA_FOLDER = "json_2.1.1"
GAME_FILE, TRAJECTORY_FILE = "game.tw-pddl", "traj_data.json"
REQUIRED = ("pddl_domain", "grammar", "pddl_problem", "solvable")
ATTEMPTS = 1000

_SOLVABLE = re.compile(rb'"solvable"\s*:\s*(true|false)')


@dataclass(frozen=True)
class Game:
    """One game.

    Attributes:
        name: where it comes from: `train/FloorPlan12/<number>`, or its folder below the split's.
        task: what is asked for, by kinds.
        data: what the engine plays: pddl_domain, grammar, pddl_problem.
        folder: where its files lie; None for a generated game.
    """

    name: str
    task: Task
    data: dict[str, Any]
    folder: Path | None = None


class Games(ABC):
    """Games by number: the same number is the same game, always."""

    @abstractmethod
    def game(self, number: int) -> Game:
        """The game of a number, which is not negative. Consecutive numbers take turns between the task types."""


class GeneratedGames(Games):
    """Games made from the floor plans that the alfworld package ships; as many as there are numbers.

    Args:
        split: `train`, `seen` or `unseen`. Those of `seen` are set in the rooms of `train`, but are other games.
        task_types: which of `TASK_TYPES`, in any order.

    Raises:
        ConfigurationError: unknown split or task type.
        MissingExtraError: alfworld is not installed.
    """

    def __init__(self, split: str, task_types: Sequence[str] = TASK_TYPES) -> None:
        self._split = short_split(split)
        self._types = check_task_types(task_types)
        self._rooms = {each: rooms_for(each, room_numbers(self._split)) for each in self._types}

    def game(self, number: int) -> Game:
        task_type = self._types[number % len(self._types)]
        draw = random.Random(f"{self._split} {task_type} {number}")
        for _ in range(ATTEMPTS):
            here = room(draw.choice(self._rooms[task_type]))
            things = scatter(here, draw)
            task = draw_task(here, things, task_type, draw)
            if task is not None:
                name = f"{self._split}_{task_type}_{number}"
                return Game(
                    f"{self._split}/FloorPlan{here.number}/{number}", task, game_of(here, things, task, name, draw)
                )
        raise DataError(f"no room of split {self._split} allows a task of type {task_type}")


class FolderGames(Games):
    """The games of a folder that `alfworld-download` made, or another program in that layout.

    Games that the official loader leaves out are left out here too: with sliced objects or movable receptacles, of
    other task types, without a game file, marked unsolvable.

    Args:
        path: the folder: the one that ALFWORLD_DATA names, its `json_2.1.1`, or one with the splits in it.
        split: `train`, `seen` or `unseen`, or the official names `valid_seen` and `valid_unseen`.
        task_types: which of `TASK_TYPES`.

    Raises:
        ConfigurationError: the folder is not there or holds no games of these types; unknown split or type.
        DataError: a file is damaged; the message names it.
    """

    def __init__(self, path: str | Path, split: str, task_types: Sequence[str] = TASK_TYPES) -> None:
        self._folder = _split_folder(Path(path).expanduser(), short_split(split))
        types = check_task_types(task_types)
        found: dict[str, list[Path]] = {each: [] for each in types}
        left_out = 0
        for trajectory in sorted(self._folder.rglob(TRAJECTORY_FILE)):
            place = trajectory.parent
            task_type = _type_by_name(place, self._folder) or read_trajectory(trajectory)[0]
            name = str(place.relative_to(self._folder))
            playable = task_type in TASK_TYPES and "movable" not in name and "Sliced" not in name
            if not playable or not (place / GAME_FILE).exists() or not _is_solvable(place / GAME_FILE):
                left_out += 1
            elif task_type in found:
                found[task_type].append(place)
        for task_type, places in found.items():
            random.Random(task_type).shuffle(places)
        self.places = [each for turn in zip_longest(*found.values()) for each in turn if each is not None]
        if not self.places:
            raise ConfigurationError(
                f"{self._folder} holds no playable game of the types {', '.join(types)} "
                f"({left_out} folders with {TRAJECTORY_FILE} were left out): each game is a folder with "
                f"{GAME_FILE} and {TRAJECTORY_FILE}, as alfworld-download makes them"
            )

    def __len__(self) -> int:
        return len(self.places)

    def game(self, number: int) -> Game:
        place = self.places[number % len(self.places)]
        task_type, task = read_trajectory(place / TRAJECTORY_FILE)
        if task_type not in TASK_TYPES:
            raise DataError(f"{place / TRAJECTORY_FILE}: task_type '{task_type}' is none of {', '.join(TASK_TYPES)}")
        return Game(str(place.relative_to(self._folder)), task, read_game(place / GAME_FILE), place)


def short_split(split: str) -> str:
    """`train`, `seen` or `unseen` for that name or the official one.

    Raises:
        ConfigurationError: it is neither.
    """
    names = {**{each: each for each in SPLITS}, **{long: short for short, long in OFFICIAL_SPLITS.items()}}
    if split not in names:
        raise ConfigurationError(f"split is '{split}', expected one of {', '.join(names)}")
    return names[split]


def check_task_types(task_types: Sequence[str]) -> tuple[str, ...]:
    """The task types as a tuple in the order of `TASK_TYPES`.

    Raises:
        ConfigurationError: one is unknown, or there is none.
    """
    unknown = [each for each in task_types if each not in TASK_TYPES]
    if unknown or not task_types:
        wrong = f"names '{unknown[0]}'" if unknown else "is empty"
        raise ConfigurationError(f"task_types {wrong}, expected some of {', '.join(TASK_TYPES)}")
    return tuple(each for each in TASK_TYPES if each in task_types)


def read_game(path: Path) -> dict[str, Any]:
    """What a game file holds.

    Raises:
        DataError: it is missing, is no JSON object, or lacks a part.
    """
    data = _read_json(path)
    missing = [key for key in REQUIRED if key not in data]
    wrong = [key for key in REQUIRED[:3] if not isinstance(data.get(key, ""), str)]
    if missing or wrong:
        raise DataError(
            f"{path} is no ALFWorld game: {'it lacks ' + missing[0] if missing else wrong[0] + ' is not text'}. "
            "Download the data again, or leave that folder out"
        )
    return data


def read_trajectory(path: Path) -> tuple[str, Task]:
    """The task type and the task that a `traj_data.json` tells.

    Raises:
        DataError: it is missing, is no JSON object, or lacks a part.
    """
    data = _read_json(path)
    try:
        task_type = str(data["task_type"])
        told = data["pddl_params"]
        task = Task(
            task_type, str(told["object_target"]), str(told["parent_target"]), str(told["toggle_target"]),
            bool(told["object_sliced"]),
        )  # fmt: skip
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{path} does not describe an ALFRED task: {error!r}. Download the data again, or leave that folder out"
        ) from error
    return task_type, task


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} is missing: download the data again, or leave that folder out") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged ({error}): download the data again, or leave that folder out") from error
    if not isinstance(data, dict):
        raise DataError(f"{path} is damaged (no JSON object): download the data again, or leave that folder out")
    return data


@functools.cache
def _is_solvable(path: Path) -> bool:
    """What the game file says about itself, without parsing all of it."""
    try:
        found = _SOLVABLE.search(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if found is None:
        raise DataError(
            f"{path} does not say whether it is solvable: it is damaged, or no game that alfworld-generate made. "
            "Download the data again, or leave that folder out"
        )
    return found[1] == b"true"


def _type_by_name(place: Path, folder: Path) -> str:
    """The task type that an official folder name begins with, or nothing."""
    for part in place.relative_to(folder).parts:
        head = part.partition("-")[0]
        if head in TASK_TYPES:
            return head
    return ""


def _split_folder(path: Path, split: str) -> Path:
    names = dict.fromkeys((OFFICIAL_SPLITS[split], split))
    for base in (path / DATA_FOLDER, path):
        for name in names:
            if (base / name).is_dir():
                return base / name
    if not path.is_dir():
        raise ConfigurationError(
            f"the data folder {path} is not there: give data=<folder made by alfworld-download>, set ALFWORLD_DATA to "
            "it, or say data=generated to play games made from the floor plans"
        )
    raise ConfigurationError(
        f"{path} holds neither {DATA_FOLDER}/{OFFICIAL_SPLITS[split]} nor {OFFICIAL_SPLITS[split]}: it is not in "
        "the layout of alfworld-download, or that split was not downloaded"
    )
