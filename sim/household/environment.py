"""ALFWorld's household games as a Gymnasium environment with text and picture.

Observation: a Dict of `text` (Text, printable ASCII) and `image` (H, W, 3) uint8, what the agent stands before.
Action: a command as text, for example `take mug 1 from desk 1`. `info["legal_actions"]` lists the commands that
the engine would carry out, sorted (with `text="pictured"` all that might be, for what the text tells); any other text
is allowed, changes nothing and is answered "Nothing happens.".
Reward: 1 when the goal is reached, which ends the episode, else 0.

An episode follows from `reset(seed=...)` alone: the seed is the game's number (games.py), and the engine has no chance
in it. Consecutive seeds take turns between the task types.

Source: Shridhar et al., "ALFWorld: Aligning Text and Embodied Environments for Interactive Learning", ICLR 2021.
"""

from __future__ import annotations

import os
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from qsft_robot.errors import ConfigurationError, DataError
from qsft_robot.sim.household import unnumbered
from qsft_robot.sim.household.engine import Engine, TextEngine
from qsft_robot.sim.household.games import FolderGames, Game, Games, GeneratedGames
from qsft_robot.sim.household.notes import Notes
from qsft_robot.sim.household.scene import Scene, Turn
from qsft_robot.sim.household.tasks import TASK_TYPES

EPISODE_STEPS = 30
"""Commands until an episode is truncated."""

LONGEST_TEXT = 16384
OBSERVATIONS = ("text_image", "text", "captioned")
TEXTS = ("engine", "notes", "pictured")
LONGEST_COMMAND = 128
PICTURE_SIZE = 384
"""Pixels per side of `render()`."""

CHARACTERS = frozenset(string.printable)
NOTHING = "Nothing happens."
GENERATED = "generated"


class HouseholdEnv(gymnasium.Env[dict[str, Any], str]):
    """One household game after another.

    Args:
        split: `train`, `seen` (other games in the rooms of `train`) or `unseen` (other rooms); with official data
            `valid_seen` and `valid_unseen` say the same.
        data: a folder in the layout of `alfworld-download`; `generated` for games made from the floor plans of the
            alfworld package; None for the folder that ALFWORLD_DATA names, or generated games where it is not set.
        task_types: which of `TASK_TYPES` to play.
        text: `engine` observes exactly what the official environment says; `notes` adds the task, what is held and
            what was seen so far (notes.py); `pictured` are notes without what lies in a place, for the picture to
            show, and commands name things by their kind, `take mug from desk 1` (unnumbered.py).
        observation: `text_image`, or `text` for no picture, which is faster; `captioned` has a third part, `caption`,
            that names what is in sight: "open: mug, pen" where the place at hand is open, "closed: " or "here: " else.
            To see is learned from it; nothing should act by it.
        image_size: pixels per side of the observed picture.
        max_episode_steps: commands until the episode is truncated.
        engine: `text`, or `thor` for AI2-THOR and its pictures (thor.py), which needs a display and `data`.
        render_mode: None or `rgb_array`.

    Raises:
        ConfigurationError: an option has an impossible value, or the data folder is not in the official layout.
        DataError: a file of the data folder is damaged; the message names it.
        MissingExtraError: alfworld is not installed.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 2}  # noqa: RUF012

    def __init__(
        self,
        *,
        split: str = "train",
        data: str | None = None,
        task_types: Sequence[str] = TASK_TYPES,
        text: str = "engine",
        observation: str = "text_image",
        image_size: int = 96,
        max_episode_steps: int | None = None,
        engine: str = "text",
        render_mode: str | None = None,
    ) -> None:
        self._engine: Engine | None = None
        _check("text", text, TEXTS)
        _check("observation", observation, OBSERVATIONS)
        _check("engine", engine, ("text", "thor"))
        _check("render_mode", render_mode, (None, "rgb_array"))
        if not isinstance(image_size, int) or image_size < 16:
            raise ConfigurationError(f"image_size is {image_size!r}, expected a number of pixels from 16 on")
        if max_episode_steps is not None and max_episode_steps < 1:
            raise ConfigurationError(f"max_episode_steps is {max_episode_steps}, expected at least 1")
        folder = data_folder(data)
        if engine == "thor" and folder is None:
            raise ConfigurationError(
                "engine=thor needs data=<folder made by alfworld-download> (or ALFWORLD_DATA): AI2-THOR plays the "
                "official games, which say where everything stands"
            )
        if text == "pictured" and folder is not None:
            raise ConfigurationError(
                "text=pictured plays generated games alone (data=generated): where receptacles of the official games "
                "stand close together, its list of actions would lack some"
            )
        if observation == "captioned" and engine != "text":
            raise ConfigurationError("observation=captioned needs engine=text: AI2-THOR does not tell what is in sight")
        self.games: Games = (
            GeneratedGames(split, task_types) if folder is None else FolderGames(folder, split, task_types)
        )
        self.render_mode = render_mode
        self.max_episode_steps = EPISODE_STEPS if max_episode_steps is None else max_episode_steps
        self._text = text
        self._captions = observation == "captioned"
        self._image_size = 0 if observation == "text" else image_size
        self.action_space = gymnasium.spaces.Text(LONGEST_COMMAND, charset=CHARACTERS)
        spaces: dict[str, gymnasium.Space[Any]] = {"text": gymnasium.spaces.Text(LONGEST_TEXT, charset=CHARACTERS)}
        if self._image_size:
            spaces["image"] = gymnasium.spaces.Box(0, 255, (image_size, image_size, 3), np.uint8)
        if self._captions:
            spaces["caption"] = gymnasium.spaces.Text(LONGEST_TEXT, charset=CHARACTERS)
        self.observation_space: gymnasium.spaces.Dict = gymnasium.spaces.Dict(spaces)
        self._engine = _make_engine(engine)
        self.task = ""
        """What is asked for, in English; the first text says it after "Your task is to:"."""
        self._game: Game | None = None
        self._turn: Turn | None = None
        self._notes = Notes("")
        self._steps = 0
        self._ended = True

    # Gymnasium's interface.

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin the game with number `seed`, or one drawn at random without a seed.

        Raises:
            DataError: the game's file is damaged, or the engine cannot play it.
        """
        engine = self._require_open()
        super().reset(seed=seed)
        number = int(self.np_random.integers(2**31)) if seed is None else seed
        self._game = self.games.game(number)
        self._turn = engine.begin(self._game)
        self.task = task_sentence(self._turn.feedback)
        self._notes = Notes(self.task, contents=self._text == "notes")
        self._steps = 0
        self._ended = False
        return self._observe(""), self._info()

    def step(self, action: str) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Carry out one command.

        Returns:
            Observation, reward (1.0 when the goal is reached, else 0.0), terminated, truncated (time limit), info.

        Raises:
            DataError: the action is no text, or the episode has ended.
        """
        engine = self._require_open()
        if not isinstance(action, str):
            raise DataError(f"an action is a command as text, such as 'look', got {action!r}")
        if self._ended:
            raise DataError("step() was called after the end of an episode: call reset() first")
        command = action.strip()
        before = self.turn
        meant = unnumbered.resolve(command, before) if self._text == "pictured" else command
        if meant in before.commands:
            self._turn = engine.command(meant)
        else:
            self._turn = Turn(NOTHING, before.commands, before.won, before.scene)
        self._steps += 1
        terminated = self.turn.won
        truncated = not terminated and self._steps >= self.max_episode_steps
        self._ended = terminated or truncated
        return self._observe(command), float(terminated), terminated, truncated, self._info()

    def worded(self, command: str) -> str:
        """A command of the engine in the words of this environment's actions; `pictured` names kinds.

        Raises:
            DataError: no game was begun.
        """
        return unnumbered.without_numbers(command, self.scene.receptacles) if self._text == "pictured" else command

    def render(self) -> np.ndarray | None:
        """With `rgb_array`, a (384, 384, 3) uint8 picture of what the agent stands before."""
        if self.render_mode != "rgb_array":
            return None
        return self._picture(PICTURE_SIZE)

    def close(self) -> None:
        """End the engine's process."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def __del__(self) -> None:
        if getattr(self, "_engine", None) is not None:
            self.close()

    # What scripted agents and tests may look at.

    @property
    def turn(self) -> Turn:
        """The engine's last answer."""
        if self._turn is None:
            raise DataError("no game was begun: call reset() first")
        return self._turn

    @property
    def game(self) -> Game:
        """The game that is played."""
        if self._game is None:
            raise DataError("no game was begun: call reset() first")
        return self._game

    @property
    def scene(self) -> Scene:
        """What the agent stands before."""
        return self.turn.scene

    @property
    def engine_process(self) -> int | None:
        """Id of the process that plays the games, once one was begun."""
        return getattr(self._engine, "process_id", None)

    # Parts.

    def _info(self) -> dict[str, Any]:
        return {
            "success": self.turn.won,
            "legal_actions": unnumbered.listed(self.turn) if self._text == "pictured" else self.turn.commands,
            "task": self.task,
            "task_type": self.game.task.type,
            "game": self.game.name,
        }

    def _observe(self, command: str) -> dict[str, Any]:
        text = self.turn.feedback if self._text == "engine" else self._notes.text(self.turn, command)
        observation: dict[str, Any] = {"text": _printable(text)}
        if self._image_size:
            observation["image"] = self._picture(self._image_size)
        if self._captions:
            observation["caption"] = self.scene.caption()
        return observation

    def _picture(self, size: int) -> np.ndarray:
        return self._require_open().picture(self.scene, size)

    def _require_open(self) -> Engine:
        if self._engine is None:
            raise DataError("the environment was closed: make a new one")
        return self._engine


def data_folder(data: str | None) -> Path | None:
    """The folder that `data` or ALFWORLD_DATA names; None for generated games."""
    if data is None:
        data = os.environ.get("ALFWORLD_DATA") or GENERATED
    return None if data == GENERATED else Path(data)


def task_sentence(text: str) -> str:
    """What a game's first text asks for, without the full stop."""
    return text.partition("Your task is to:")[2].strip().rstrip(".")


def _make_engine(name: str) -> Engine:
    if name == "thor":
        from qsft_robot.sim.household.thor import ThorEngine

        return ThorEngine()
    return TextEngine()


def _printable(text: str) -> str:
    """The text with a question mark for every character outside printable ASCII (tasks in people's own words)."""
    return "".join(each if each in CHARACTERS else "?" for each in text)


def _check(name: str, value: Any, allowed: Sequence[Any]) -> None:
    if value not in allowed:
        raise ConfigurationError(f"{name} is {value!r}, expected one of {', '.join(map(str, allowed))}")
