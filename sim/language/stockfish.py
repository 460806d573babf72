"""Players of chess that are Stockfish (Debian: apt-get install stockfish), through python-chess (extra `language`).

Two ways to be weaker than full strength, labelled as what they are:

    elo      Stockfish's own UCI_LimitStrength with UCI_Elo. Its choice among good moves is seeded by the clock, so
             games do not repeat. Stockfish 15.1 takes 1350 to 2850; lower values, such as the 1200 of published
             settings, cannot be set.
    sampled  one of the five best moves that full strength finds, drawn by a softmax over their values with a seeded
             generator: weaker the higher the temperature, without an Elo, but the same game for the same seed.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import weakref
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from qsft_robot.errors import ConfigurationError, MissingExtraError

PLACES = ("/usr/games/stockfish", "/usr/local/bin/stockfish")
"""Where Stockfish may lie besides the places of the PATH."""

LINES = 5
MATE = 10_000
"""Value of a mate, centipawns."""


def chess_module() -> ModuleType:
    """The package python-chess, with its module `engine`.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import chess
        import chess.engine
    except ImportError as error:
        raise MissingExtraError("language", "chess") from error
    return chess


def find_stockfish(path: str | None = None) -> str:
    """The path of Stockfish: the one that is given, else the one on the PATH or at a usual place.

    Raises:
        ConfigurationError: there is none.
    """
    found = shutil.which(path or "stockfish")
    if found is None and path is None:
        found = next((place for place in PLACES if Path(place).exists()), None)
    if found is None:
        where = "on the PATH or in /usr/games" if path is None else f"at {path}"
        raise ConfigurationError(
            f"Stockfish was not found {where}: install it (Debian: apt-get install stockfish), or give its path by "
            "sim.options.stockfish="
        )
    return found


@cache
def _engines() -> weakref.WeakSet[Any]:
    """Engines to end when the main thread has ended: the interpreter waits for their threads, and would for ever."""
    engines: weakref.WeakSet[Any] = weakref.WeakSet()

    def end() -> None:
        threading.main_thread().join()
        for engine in list(engines):
            engine.close()

    threading.Thread(target=end, name="end of Stockfish", daemon=True).start()
    return engines


class StockfishPlayer:
    """One engine, which plays one game at a time.

    Args:
        kind: `elo` or `sampled`.
        elo: strength, for `elo`.
        temperature: centipawns by which a move may be worse to be drawn e times less often, for `sampled`.
        nodes: positions that may be looked at for a move.
        path: where Stockfish is, or None to look for it.

    Raises:
        ConfigurationError: there is no Stockfish, or it cannot be set to that strength.
        MissingExtraError: python-chess is not installed.
    """

    def __init__(self, kind: str, elo: int, temperature: float, nodes: int, path: str | None = None) -> None:
        chess = chess_module()
        self._engine: Any = chess.engine.SimpleEngine.popen_uci(find_stockfish(path))
        _engines().add(self._engine)
        self._engine.configure({"Threads": 1, "Hash": 16})
        self._limit = chess.engine.Limit(nodes=nodes)
        self._kind, self._temperature = kind, temperature
        self._game: object = object()
        self.name: str = self._engine.id.get("name", "Stockfish")
        if kind == "elo":
            self.set_elo(elo)

    def set_elo(self, elo: int) -> None:
        """Play at that strength from now on (`elo` only).

        Raises:
            ConfigurationError: this Stockfish cannot be set to it.
        """
        option = self._engine.options["UCI_Elo"]
        if not option.min <= elo <= option.max:
            raise ConfigurationError(f"{self.name} cannot be set to Elo {elo}, only to {option.min} to {option.max}")
        self._engine.configure({"UCI_LimitStrength": True, "UCI_Elo": elo})

    def set_temperature(self, temperature: float) -> None:
        """Draw moves at that temperature from now on, centipawns (`sampled` only)."""
        self._temperature = temperature

    def new_game(self) -> None:
        """Forget the game before."""
        self._game = object()

    def choose(self, board: Any, random: np.random.Generator) -> Any:
        """The move for `board`, a `chess.Board` that is not over; `random` decides where moves are sampled."""
        if self._kind == "elo":
            return self._engine.play(board, self._limit, game=self._game).move
        lines = self._engine.analyse(board, self._limit, multipv=LINES, game=self._game)
        moves = [line["pv"][0] for line in lines if line.get("pv")]
        values = [line["score"].relative.score(mate_score=MATE) for line in lines if line.get("pv")]
        weights = np.exp((np.array(values) - max(values)) / max(self._temperature, 1e-6))
        return moves[int(random.choice(len(moves), p=weights / weights.sum()))]

    def close(self) -> None:
        """End the engine's process."""
        with contextlib.suppress(Exception):  # it may be gone already
            self._engine.quit()
