"""Scripted player of `ChessEnv` and `ChessEndgameEnv`: Stockfish again, of a strength drawn per game."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qsft_robot.agents.base import Observation
from qsft_robot.agents.scripted.text import ScriptedPlayer
from qsft_robot.sim.language.chess import ChessEnv
from qsft_robot.sim.language.chess_notation import spell
from qsft_robot.sim.language.stockfish import StockfishPlayer

STRONG_ELO, WEAK_ELO = 2000, 1350
STRONG_TEMPERATURE, WEAK_TEMPERATURE = 20.0, 100.0
"""Centipawns, against an opponent of `opponent="sampled"`."""


@dataclass(frozen=True)
class ChessImperfections:
    """What goes wrong in `chess`; all zero makes every game a strong player's.

    Attributes:
        weak_game: probability that a game is played by a player of Elo 1350 (the opponent's strength by default), and
            not by one of Elo 2000.
        random_move: probability of any legal move instead of the player's.
    """

    weak_game: float = 0.75
    random_move: float = 0.0


class ScriptedChess(ScriptedPlayer[ChessEnv]):
    """Plays each game at a strength drawn for it.

    Args:
        env: a `ChessEnv`, or a wrapper around one.
        imperfections: what goes wrong.
    """

    name = "scripted_chess"

    def __init__(self, env: Any, imperfections: ChessImperfections | None = None) -> None:
        super().__init__(env)
        self._imperfections = ChessImperfections() if imperfections is None else imperfections
        self._player = StockfishPlayer(elo=STRONG_ELO, temperature=STRONG_TEMPERATURE, **self._game.strength)

    def reset(self, seed: int) -> None:
        """Start an episode; call it after the environment's reset."""
        super().reset(seed)
        weak = bool(self._random.uniform() < self._imperfections.weak_game)
        self._player.new_game()
        if self._game.strength["kind"] == "elo":
            self._player.set_elo(WEAK_ELO if weak else STRONG_ELO)
        else:
            self._player.set_temperature(WEAK_TEMPERATURE if weak else STRONG_TEMPERATURE)

    def act(self, observation: Observation) -> str:
        """The next move; the observation is not used."""
        board = self._game.board
        if self._random.uniform() < self._imperfections.random_move:
            moves = list(board.legal_moves)
            move = moves[int(self._random.integers(len(moves)))]
        else:
            move = self._player.choose(board, self._random)
        return spell(board.san(move)) + "\n"

    def __del__(self) -> None:
        if hasattr(self, "_player"):
            self._player.close()
