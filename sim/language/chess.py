r"""Chess against Stockfish, the player being White; and endgames, won but for the playing.

Observation: the position, in one of the notations of chess_notation.py. Action: a move in algebraic notation, its
characters apart, `N f 3\n` (the spaces and the end of line may be left out). Reward: 1 for a win, 0 for a draw or while
the game goes on, -1 for a loss or an illegal move.

After LMRL-Gym (Abdulhai et al. 2023), written anew. There an illegal move costs 1, changes nothing, and the player is
asked again, up to 400 moves (`illegal="continue"`), so that returns go down to -400; with `illegal="terminate"` it
loses the game. The opponent there is said to have Elo 1200, which Stockfish cannot be set to: see stockfish.py.

With `opponent="sampled"` an episode follows from its seed; with `opponent="elo"` it does not, because Stockfish seeds
itself by the clock.
"""

from __future__ import annotations

from typing import Any

from qsft_robot.errors import ConfigurationError
from qsft_robot.sim.language.chess_notation import LONGEST, NOTATIONS, describe, spell
from qsft_robot.sim.language.game import TextGame
from qsft_robot.sim.language.stockfish import StockfishPlayer, chess_module

OPPONENTS = ("elo", "sampled")
ILLEGAL = ("continue", "terminate")
EPISODE_STEPS = 400
ACTION_LENGTH = 20
ENDGAMES = ("Q", "R", "QR", "RR")


class ChessEnv(TextGame):
    """A game from the initial position; see the module's docstring.

    Args:
        opponent: how Stockfish is weakened, `elo` or `sampled` (stockfish.py).
        opponent_elo: its strength, for `elo`; 1350 is the least that Stockfish 15.1 takes.
        opponent_temperature: centipawns, for `sampled`.
        opponent_random: probability that the opponent makes any legal move instead.
        nodes: positions that the opponent may look at for a move.
        illegal: what an illegal move does, `continue` or `terminate`.
        notation: of the position, `fen`, `pieces`, `moves` or `attacks`.
        loss_reward: reward of a loss.
        max_episode_steps: actions, illegal ones too, until an episode is truncated.
        stockfish: path of Stockfish, or None to look for it.
        render_mode: None or `ansi`.

    Raises:
        ConfigurationError: an option has an impossible value, or there is no Stockfish.
        MissingExtraError: python-chess is not installed.
    """

    def __init__(
        self,
        *,
        opponent: str = "elo",
        opponent_elo: int = 1350,
        opponent_temperature: float = 100.0,
        opponent_random: float = 0.0,
        nodes: int = 200,
        illegal: str = "continue",
        notation: str = "fen",
        loss_reward: float = -1.0,
        max_episode_steps: int | None = EPISODE_STEPS,
        stockfish: str | None = None,
        render_mode: str | None = None,
    ) -> None:
        choices = (("opponent", opponent, OPPONENTS), ("illegal", illegal, ILLEGAL), ("notation", notation, NOTATIONS))
        for name, value, known in choices:
            if value not in known:
                raise ConfigurationError(f"{name} is '{value}', expected one of {', '.join(known)}")
        super().__init__(
            observation_length=LONGEST[notation],
            action_length=ACTION_LENGTH,
            max_episode_steps=EPISODE_STEPS if max_episode_steps is None else max_episode_steps,
            render_mode=render_mode,
        )
        self._chess: Any = chess_module()
        self.strength: dict[str, Any] = {"kind": opponent, "nodes": nodes, "path": stockfish}
        """What a player that is to be compared with the opponent needs to know."""
        self._opponent = StockfishPlayer(opponent, opponent_elo, opponent_temperature, nodes, stockfish)
        self._opponent_random = opponent_random
        self._notation = notation
        self._terminates, self._loss = illegal == "terminate", float(loss_reward)
        self.board: Any = self._chess.Board()
        self.illegal_moves = 0
        """Illegal moves of this episode."""
        self._forfeit = False
        self._listed: tuple[Any, tuple[str, ...]] = (None, ())

    def _position(self) -> Any:
        """The board that an episode starts from."""
        return self._chess.Board()

    def _start(self) -> None:
        self.board = self._position()
        self.illegal_moves = 0
        self._forfeit = False
        self._listed = (None, ())
        self._opponent.new_game()

    def _play(self, action: str) -> tuple[float, bool, bool]:
        move = self._read(action)
        if move is None:
            self.illegal_moves += 1
            self._forfeit = self._terminates
            return -1.0, self._forfeit, False
        self.board.push(move)
        if self._outcome() is None:
            self.board.push(self._answer())
        outcome = self._outcome()
        if outcome is None or outcome.winner is None:
            return 0.0, outcome is not None, True
        return 1.0 if outcome.winner else self._loss, True, True

    def _read(self, action: str) -> Any:
        """The legal move that an action spells, or None."""
        try:
            move = self.board.parse_san("".join(action.split())) if len(action) <= ACTION_LENGTH else None
        except ValueError:
            return None
        return move if move is not None and self.board.is_legal(move) else None

    def _answer(self) -> Any:
        if self._opponent_random and self.np_random.uniform() < self._opponent_random:
            moves = list(self.board.legal_moves)
            return moves[int(self.np_random.integers(len(moves)))]
        return self._opponent.choose(self.board, self.np_random)

    def _outcome(self) -> Any:
        return self.board.outcome(claim_draw=True)

    def text(self) -> str:
        """The position."""
        return describe(self.board, self._notation, self.legal_actions())

    @property
    def won(self) -> bool:
        """Whether Black is mated."""
        outcome = self.board.outcome()
        return outcome is not None and bool(outcome.winner)

    def legal_actions(self) -> tuple[str, ...]:
        """Every legal move; none when the game is over."""
        # Asked for by the observation and by `info`, and slow: the spelling of a move says whether it mates.
        position = (self.board.fen(), self._forfeit)
        if self._listed[0] != position:
            over = self._forfeit or self.board.turn != self._chess.WHITE or self._outcome() is not None
            moves = () if over else self.board.legal_moves
            self._listed = (position, tuple(spell(self.board.san(move)) + "\n" for move in moves))
        return self._listed[1]

    def close(self) -> None:
        """End the opponent's process."""
        if hasattr(self, "_opponent"):
            self._opponent.close()

    def __del__(self) -> None:
        self.close()


class ChessEndgameEnv(ChessEnv):
    """King and heavy pieces against a bare king: White to move, from a random position.

    Args:
        pieces: what White may have besides the king, each a text of `Q` and `R`; one is drawn per episode.
        options: those of `ChessEnv`.

    Raises:
        ConfigurationError: as for `ChessEnv`, or `pieces` names something else.
    """

    def __init__(self, *, pieces: tuple[str, ...] | list[str] = ENDGAMES, **options: Any) -> None:
        if not pieces or any(not each or set(each) - {"Q", "R"} or len(each) > 3 for each in pieces):
            raise ConfigurationError(
                f"pieces is {list(pieces)}, expected up to three of Q and R each, such as Q, R, QR"
            )
        self._pieces = tuple(pieces)
        super().__init__(**options)

    def _position(self) -> Any:
        """A legal position, drawn until Black is neither in check nor without a move."""
        chess = self._chess
        symbols = "Kk" + self._pieces[int(self.np_random.integers(len(self._pieces)))]
        while True:
            board = chess.Board(None)
            squares = self.np_random.choice(64, size=len(symbols), replace=False)
            for symbol, square in zip(symbols, squares, strict=True):
                board.set_piece_at(int(square), chess.Piece.from_symbol(symbol))
            board.turn = chess.WHITE
            attacked = board.is_attacked_by(chess.WHITE, board.king(chess.BLACK))
            if board.is_valid() and not attacked and board.outcome() is None:
                return board
