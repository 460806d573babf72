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
class ChessEndgameImperfections:
    """What goes wrong in `chess_endgame`; all zero makes every game a strong player's.

    Attributes:
        weak_game: probability that a game is played by a player of Elo 1350 (the opponent's strength by default), and
            not by one of Elo 2000.
        random_move: probability of any legal move instead of the player's.
    """

    weak_game: float = 0.75
    random_move: float = 0.0


@dataclass(frozen=True)
class ChessImperfections(ChessEndgameImperfections):
    """What goes wrong in `chess`; all zero makes every game a strong player's.

    Attributes:
        weak_game, random_move: as in `ChessEndgameImperfections`.
        hasty_game: probability that a game's player takes the most valuable piece that can be taken wherever something
            can be, whatever takes back. Unlike a weak engine's, these mistakes can be told from the board.
    """

    weak_game: float = 0.0
    hasty_game: float = 0.39


class ScriptedChess(ScriptedPlayer[ChessEnv]):
    """Plays each game at a strength drawn for it.

    Args:
        env: a `ChessEnv`, or a wrapper around one.
        imperfections: what goes wrong; hasty games only where they are `ChessImperfections`.
    """

    name = "scripted_chess"

    def __init__(self, env: Any, imperfections: ChessEndgameImperfections) -> None:
        super().__init__(env)
        self._imperfections = imperfections
        self._hasty_game = getattr(imperfections, "hasty_game", 0.0)
        self._player = StockfishPlayer(elo=STRONG_ELO, temperature=STRONG_TEMPERATURE, **self._game.strength)

    def reset(self, seed: int) -> None:
        """Start an episode; call it after the environment's reset."""
        super().reset(seed)
        weak = bool(self._random.uniform() < self._imperfections.weak_game)
        self._hasty = self._hasty_game > 0 and bool(self._random.uniform() < self._hasty_game)
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
            move = self._dearest(board) if self._hasty else None
            move = move or self._player.choose(board, self._random)
        return spell(board.san(move)) + "\n"

    def _dearest(self, board: Any) -> Any:
        """The capture that takes most, drawn where there are several, or None."""
        worth = {move: _worth(board, move) for move in board.generate_legal_captures()}
        most = max(worth.values(), default=0)
        best = [move for move, value in worth.items() if value == most]
        return best[int(self._random.integers(len(best)))] if best else None

    def __del__(self) -> None:
        if hasattr(self, "_player"):
            self._player.close()


def _worth(board: Any, move: Any) -> int:
    """Kind of the piece that a capture takes: 1 for a pawn, up to 5 for a queen."""
    return 1 if board.is_en_passant(move) else int(board.piece_type_at(move.to_square))
