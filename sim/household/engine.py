"""The process that plays the text games and draws them: started when first needed, replaced when it has played enough.

TextWorld's engine grows by about 1 MB with every game it loads, overwrites `sys.argv` and loads a library of its own;
the renderer grows too. In a process of their own none of that reaches the program, and replacing it gives the memory
back.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import IO, Any

import numpy as np

from qsft_robot.errors import DataError, QsftRobotError
from qsft_robot.sim.household import wheel
from qsft_robot.sim.household.games import Game
from qsft_robot.sim.household.scene import Scene, Turn

GAMES_PER_PROCESS = 100
"""Games after which the process is replaced: it grows by about 100 MB until then, and takes a second to start."""

ANSWER_LIMIT = 600.0
"""Seconds after which an engine that does not answer counts as stuck; on an idle core a game loads in about 0.2 s."""

logger = logging.getLogger(__name__)


class Engine(ABC):
    """What plays a game: text in, text and scene out."""

    @abstractmethod
    def begin(self, game: Game) -> Turn:
        """Start a game.

        Raises:
            DataError: the engine cannot play it; the message names it.
        """

    @abstractmethod
    def command(self, words: str) -> Turn:
        """Carry out a command of the game that was begun last."""

    @abstractmethod
    def picture(self, scene: Scene, size: int) -> np.ndarray:
        """A picture (size, size, 3) uint8 of the present moment, whose scene this is."""

    @abstractmethod
    def close(self) -> None:
        """Release what the engine holds; it can be begun again."""


class TextEngine(Engine):
    """TextWorld's engine in a process of its own.

    Args:
        games_per_process: games after which the process is replaced.

    Raises:
        MissingExtraError: alfworld is not installed.
    """

    def __init__(self, games_per_process: int = GAMES_PER_PROCESS) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        wheel.folder()
        self._limit = games_per_process
        self._played = 0
        self._name = ""
        self._connection: Connection | None = None
        self._complaints: IO[bytes] | None = None

    @property
    def process_id(self) -> int | None:
        """The id of the process that plays now."""
        return None if self._process is None else self._process.pid

    def begin(self, game: Game) -> Turn:
        if self._process is not None and self._played >= self._limit:
            self.close()
        if self._process is None:
            self._start()
        self._played += 1
        self._name = game.name
        turn: Turn = self._ask("begin", {key: game.data[key] for key in ("pddl_domain", "grammar", "pddl_problem")})
        return turn

    def command(self, words: str) -> Turn:
        turn: Turn = self._ask("command", words)
        return turn

    def picture(self, scene: Scene, size: int) -> np.ndarray:
        picture: np.ndarray = self._ask("picture", (scene, size))
        return picture

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()  # the process ends when it finds that out
        if self._process is not None:
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._complaints is not None:
            self._complaints.close()
        self._process = self._connection = self._complaints = None

    def __del__(self) -> None:
        if getattr(self, "_process", None) is not None and sys is not None and not sys.is_finalizing():
            self.close()

    def _start(self) -> None:
        here, there = Pipe()
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(each for each in (os.getcwd(), *sys.path) if each),
            "PYTHONHASHSEED": "0",  # the engine keeps facts in sets
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "qsft_robot.sim.household.textgame", str(there.fileno())],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._complaints,
            pass_fds=[there.fileno()],
            start_new_session=True,  # Ctrl-C is for the program, which closes the connection
        )
        there.close()
        self._connection = here
        self._played = 0

    def _ask(self, act: str, content: Any) -> Any:
        if self._connection is None:
            raise QsftRobotError("the game engine was asked before a game was begun")
        try:
            self._connection.send((act, content))
            if not self._connection.poll(ANSWER_LIMIT):
                raise TimeoutError
            answer = self._connection.recv()
        except TimeoutError:
            self._kill()
            raise QsftRobotError(
                f"the game engine did not answer within {ANSWER_LIMIT:.0f} s, in game {self._name}: it was ended"
            ) from None
        except (EOFError, OSError):
            raise self._died() from None
        if answer[0] == "failed":
            logger.debug("%s", answer[2])
            self._kill()
            raise DataError(
                f"the engine cannot play game {self._name}: {answer[1]}. Its file is damaged, or its goal cannot be "
                "reached: leave that game out"
            )
        return answer[1]

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
        self.close()

    def _died(self) -> QsftRobotError:
        code = None if self._process is None else self._process.wait()
        said = ""
        if self._complaints is not None:
            self._complaints.seek(0)
            said = self._complaints.read().decode(errors="replace").strip()
        self.close()
        last = f": {said.splitlines()[-1]}" if said else ""
        if said:
            logger.error("%s", said)
        return DataError(f"the game engine ended with code {code} in game {self._name}{last}")
