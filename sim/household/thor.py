"""The official games in AI2-THOR, with its pictures: alfworld's `AlfredThorEnv` behind the same interface.

It needs the extra `thor`, an X server, AI2-THOR's build (fetched by ai2thor at the first start) and the official data,
whose `traj_data.json` say where everything stands in a room. It was written against alfworld 0.4.2 as published:
`init_env(1)`, `reset() -> (texts, infos)`, `step([command]) -> (texts, None, dones, infos)`, and `get_frames()` as
(1, H, W, 3) uint8 with blue first. Its words differ a little from the text engine's ("You arrive at loc 5."), and its
admissible commands are guessed from them. `Scene` stays empty: the picture is AI2-THOR's own.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np

from qsft_robot.errors import ConfigurationError, DataError, MissingExtraError, QsftRobotError
from qsft_robot.sim.countertop.camera import display_available
from qsft_robot.sim.household.engine import Engine
from qsft_robot.sim.household.games import Game
from qsft_robot.sim.household.scene import Scene, Turn

EXTRA = "thor"
PICTURE_SIZE = 300
SPLIT = "eval_out_of_distribution"
"""The name under which the one game to play next is given; the other splits compute an expert's plan at every step."""

LONGEST_EPISODE = 10_000
"""The environment around this counts the steps; AlfredThorEnv shall not end an episode by itself."""


class ThorEngine(Engine):
    """Plays official games in AI2-THOR.

    Args:
        make: makes an `AlfredThorEnv` from its configuration and split; None for the real one.

    Raises:
        MissingExtraError: alfworld's visual part is not installed.
        ConfigurationError: there is no X server.
    """

    def __init__(self, make: Callable[[dict[str, Any], str], Any] | None = None) -> None:
        self._env: Any = None
        self._make = _real_environment() if make is None else make

    def begin(self, game: Game) -> Turn:
        if game.folder is None:
            raise DataError(f"AI2-THOR cannot play {game.name}: only games of the official data say where things stand")
        if self._env is None:
            config = configuration(str(game.folder))
            self._env = self._call(game, lambda: self._make(config, SPLIT).init_env(1))
        self._env.config["dataset"]["eval_ood_data_path"] = str(game.folder)
        self._call(game, self._env.get_env_paths)
        if not self._env.json_file_list:
            raise DataError(f"AlfredThorEnv leaves out the game in {game.folder}: its task type, sliced, or movable")
        texts, infos = self._call(game, self._env.reset)
        return _turn(texts[0], infos)

    def command(self, words: str) -> Turn:
        texts, _, _, infos = self._call(None, lambda: self._env.step([words]))
        return _turn(texts[0], infos)

    def picture(self, scene: Scene, size: int) -> np.ndarray:
        import cv2

        frame = np.ascontiguousarray(self._env.get_frames()[0][:, :, ::-1])
        return np.asarray(cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA))

    def close(self) -> None:
        if self._env is not None:
            self._env.close()
            self._env = None

    def _call(self, game: Game | None, act: Callable[[], Any]) -> Any:
        """Call alfworld with what it prints on standard error, and its failures as errors of ours."""
        try:
            with contextlib.redirect_stdout(sys.stderr):
                return act()
        except Exception as error:
            where = "" if game is None else f" in game {game.name}"
            raise QsftRobotError(f"AI2-THOR failed{where}: {type(error).__name__}: {error}") from error


def configuration(folder: str) -> dict[str, Any]:
    """What `AlfredThorEnv` reads of its configuration file, for the game in one folder."""
    return {
        "dataset": {"data_path": folder, "eval_id_data_path": folder, "eval_ood_data_path": folder,
                    "num_train_games": -1, "num_eval_games": -1},
        "env": {
            "task_types": [1, 2, 3, 4, 5, 6],
            "goal_desc_human_anns_prob": 0.0,
            "thor": {"screen_width": PICTURE_SIZE, "screen_height": PICTURE_SIZE, "smooth_nav": False,
                     "save_frames_to_disk": False, "save_frames_path": tempfile.gettempdir()},
        },
        "controller": {"type": "oracle", "load_receps": True, "debug": False},
        "general": {"training_method": "dqn"},
        "rl": {"training": {"max_nb_steps_per_episode": LONGEST_EPISODE}},
    }  # fmt: skip


def _turn(text: str, infos: dict[str, Any]) -> Turn:
    return Turn(text, tuple(sorted(set(infos["admissible_commands"][0]))), bool(infos["won"][0]), Scene(()))


def _real_environment() -> Callable[[dict[str, Any], str], Any]:
    if not display_available():
        raise ConfigurationError(
            "engine=thor needs an X server, and DISPLAY names none that answers: start one (for example with "
            "startx or Xvfb), or play with engine=text, which draws its own pictures"
        )
    # alfworld makes a folder in the user's home at import unless this variable names one, and sets it.
    before = os.environ.get("ALFWORLD_DATA")
    os.environ["ALFWORLD_DATA"] = before or tempfile.gettempdir()
    try:
        from alfworld.agents.environment.alfred_thor_env import AlfredThorEnv
    except ImportError as error:
        raise MissingExtraError(EXTRA, f"engine=thor (AI2-THOR: {error})") from error
    finally:
        if before is None:
            del os.environ["ALFWORLD_DATA"]
    made: Callable[[dict[str, Any], str], Any] = AlfredThorEnv
    return made
