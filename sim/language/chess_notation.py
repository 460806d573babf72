"""Chess positions in words.

- `fen`: Forsyth-Edwards notation, its characters apart so that tokenizers see them one by one
  (`r n b q k b n r / p p ...`; a space of the notation becomes three).
- `pieces`: a line holds what that notation says besides the pieces, but for whose move it is (White's); then a line for
  each piece, `Ke1`: White's first, the king before the queens and so on down to the pawns.
- `moves`: a line for each legal move follows, as it must be written. What a player is told who need not know the rules.
- `attacks`: these lines go on with what an attentive player sees. Of a piece, `Nf3 bypb withQ`: what attacks it and
  what guards it. Of a move, `N x d 5 Nf3 takesp byn withBQ atr hangsPN`: who moves and from where, what that takes,
  what attacks and what guards the piece where it arrives, what it attacks from there, and which pieces of the mover's
  side hang then. A piece hangs if it is attacked and not guarded, or attacked by something worth less.

Pins count for nothing in attacks and guards, and batteries only by the piece in front.
"""

from __future__ import annotations

from typing import Any

NOTATIONS = ("fen", "pieces", "moves", "attacks")
LONGEST = {"fen": 200, "pieces": 200, "moves": 4000, "attacks": 20000}
"""Characters of a position at most; none has more than 218 legal moves."""
SYMBOLS = "pnbrqk"
"""The pieces, the least first."""
SQUARES = [column + row for row in "12345678" for column in "abcdefgh"]


def spell(text: str) -> str:
    """Characters apart: `Nf3` as `N f 3`."""
    return " ".join(text)


def describe(board: Any, notation: str, actions: tuple[str, ...]) -> str:
    """The position of a `chess.Board`; `actions` are its legal moves in order, spelled and ended, or none.

    The board is as before afterwards.
    """
    if notation == "fen":
        return spell(board.fen())
    text = _pieces(board, attacks=notation == "attacks")
    if notation == "moves":
        return text + "".join(actions)
    if notation == "attacks" and actions:
        lines = (_move(board, move, action) for move, action in zip(board.legal_moves, actions, strict=True))
        return text + "".join(lines)
    return text


def _pieces(board: Any, attacks: bool) -> str:
    _, _, *rest = board.fen().split()
    pieces = sorted(board.piece_map().items(), key=lambda item: (not item[1].color, -item[1].piece_type, item[0]))
    lines = [" ".join(rest)]
    for square, piece in pieces:
        lines.append(piece.symbol() + SQUARES[square] + (_faced(board, square, piece.color) if attacks else ""))
    return "".join(line + "\n" for line in lines)


def _move(board: Any, move: Any, action: str) -> str:
    """The line of a legal move."""
    color, start, end = board.turn, move.from_square, move.to_square
    taken = "p" if board.is_en_passant(move) else board.piece_at(end)
    line = f"{action.rstrip()} {board.piece_at(start).symbol()}{SQUARES[start]}"
    line += f" takes{str(taken).lower()}" if taken else ""
    board.push(move)
    line += _faced(board, end, color)
    attacked = _names(board, board.attacks_mask(end), not color)
    hanging = _names(board, _hanging(board, color), color)
    board.pop()
    return line + (f" at{attacked}" if attacked else "") + (f" hangs{hanging}" if hanging else "") + "\n"


def _faced(board: Any, square: int, color: bool) -> str:
    """What attacks a piece of this color here, and what guards it."""
    against = _names(board, board.attackers_mask(not color, square), not color)
    guards = _names(board, board.attackers_mask(color, square), color)
    return (f" by{against}" if against else "") + (f" with{guards}" if guards else "")


def _hanging(board: Any, color: bool) -> int:
    """The squares where pieces of this color hang, as a set of bits."""
    found = lesser = 0
    for kind in (board.pawns, board.knights | board.bishops, board.rooks, board.queens):
        left = kind & board.occupied_co[color]
        while left:
            square = left & -left
            left ^= square
            place = square.bit_length() - 1
            against = board.attackers_mask(not color, place)
            if against and (against & lesser or not board.attackers_mask(color, place)):
                found |= square
        lesser |= kind
    return found


def _names(board: Any, squares: int, color: bool) -> str:
    """The pieces of this color on these squares, the least first: `pnn`, White's in capitals."""
    squares &= board.occupied_co[color]
    if not squares:
        return ""
    kinds = (board.pawns, board.knights, board.bishops, board.rooks, board.queens, board.kings)
    names = "".join(symbol * (squares & kind).bit_count() for symbol, kind in zip(SYMBOLS, kinds, strict=True))
    return names.upper() if color else names
