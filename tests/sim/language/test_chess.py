"""Chess and its endgames against Stockfish."""

from __future__ import annotations

import functools
import importlib.util
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from qsft_robot import sim
from qsft_robot.agents.rollout import rollout
from qsft_robot.agents.scripted import make_scripted_agent
from qsft_robot.errors import ConfigurationError, MissingExtraError
from qsft_robot.sim.language import stockfish
from qsft_robot.sim.language.chess_notation import describe, spell
from qsft_robot.sim.language.stockfish import find_stockfish


def missing() -> str:
    if importlib.util.find_spec("chess") is None:
        return "python-chess is not installed (extra language)"
    try:
        find_stockfish()
    except ConfigurationError as error:
        return str(error)
    return ""


needs_stockfish = pytest.mark.skipif(bool(missing()), reason=missing() or "Stockfish is there")


def make(environment=sim.CHESS, **options):
    return sim.make(environment, **options)


@pytest.fixture(scope="module")
def env():
    if missing():
        pytest.skip(missing())
    env = make(opponent="sampled", nodes=50)
    yield env
    env.close()


def scripted(env, moves):
    """Start a game in which the opponent answers with `moves`."""
    env.reset(seed=0)
    replies = iter(moves)
    env.unwrapped._opponent = SimpleNamespace(
        choose=lambda board, _: board.parse_san(next(replies)), new_game=lambda: None, close=lambda: None
    )
    return env


@pytest.fixture
def game():
    if missing():
        pytest.skip(missing())
    made = []

    def start(moves=(), **options):
        made.append(make(opponent="sampled", nodes=50, **options))
        made[-1].unwrapped._opponent.close()
        return scripted(made[-1], moves)

    return start


@needs_stockfish
@pytest.mark.parametrize("environment", [sim.CHESS, sim.CHESS_ENDGAME])
def test_it_is_a_proper_game(environment, checked):
    checked(
        functools.partial(make, environment, opponent="sampled", nodes=20, max_episode_steps=5), make_scripted_agent
    )


def test_the_first_position(env):
    text, info = env.reset(seed=0)
    board = "r n b q k b n r / p p p p p p p p / 8 / 8 / 8 / 8 / P P P P P P P P / R N B Q K B N R"
    assert text == board + "   w   K Q k q   -   0   1"
    assert len(info["legal_actions"]) == 20
    assert "N f 3\n" in info["legal_actions"]


@pytest.mark.parametrize("spelling", ["N f 3\n", "Nf3", " N f3 "])
def test_moves_may_be_spelt_with_spaces_or_without(env, spelling):
    env.reset(seed=0)
    text, reward, terminated, _, info = env.step(spelling)
    assert (reward, terminated, info["valid"]) == (0.0, False, True)
    assert "N" in text.split("/")[5]
    assert "   w   " in text


def test_a_win(game):
    env = game(["e5", "Nc6", "Nf6"])
    for move in ("e 4\n", "Q h 5\n", "B c 4\n"):
        assert env.step(move)[1:3] == (0.0, False)
    _, reward, terminated, _, info = env.step("Q x f 7 #\n")
    assert (reward, terminated, info["success"], info["legal_actions"]) == (1.0, True, True, ())


@pytest.mark.parametrize("loss", [-1.0, 0.0])
def test_a_loss(game, loss):
    env = game(["e5", "Qh4#"], loss_reward=loss)
    env.step("f3")
    _, reward, terminated, _, info = env.step("g4")
    assert (reward, terminated, info["success"]) == (loss, True, False)


def test_a_draw_by_repetition(game):
    env = game(["Nf6", "Ng8"] * 6)
    played = [env.step(move) for move in ["Nf3", "Ng1"] * 4 if not env.unwrapped._ended]
    assert played[-1][1:3] == (0.0, True)
    assert not played[-1][4]["success"]


@pytest.mark.parametrize("wrong", ["Ke3", "e5", "--", "0000", "Nf", "hello", ""])
def test_illegal_moves_cost_one_and_change_nothing(game, wrong):
    env = game(["e5"], max_episode_steps=3)
    before = env.unwrapped.text()
    text, reward, terminated, truncated, info = env.step(wrong)
    assert (text, reward, terminated, truncated, info["valid"]) == (before, -1.0, False, False, False)
    assert env.step("e4")[1:4] == (0.0, False, False)
    assert env.step(wrong)[1:4] == (-1.0, False, True)
    assert env.unwrapped.illegal_moves == 2


def test_illegal_moves_may_lose_the_game(game):
    _, reward, terminated, _, info = game(illegal="terminate").step("Ke2")
    assert (reward, terminated, info["success"], info["legal_actions"]) == (-1.0, True, False, ())


@needs_stockfish
def test_endgames_start_from_legal_positions():
    import chess

    env = make(sim.CHESS_ENDGAME, opponent="sampled", pieces=["QR", "R"])
    found = set()
    for seed in range(30):
        board = chess.Board("".join(env.reset(seed=seed)[0].replace("   ", "_").split()).replace("_", " "))
        assert board.is_valid()
        assert board.turn == chess.WHITE
        assert not board.is_game_over()
        found.add("".join(sorted(piece.symbol() for piece in board.piece_map().values())))
    assert found == {"KQRk", "KRk"}
    env.close()


@needs_stockfish
def test_the_opponent_is_labelled_and_cannot_be_weaker_than_it_can():
    env = make(opponent_elo=1350)
    assert "Stockfish" in env.unwrapped._opponent.name
    env.close()
    with pytest.raises(ConfigurationError, match=r"Stockfish .* cannot be set to Elo 1200, only to 13\d\d to"):
        make(opponent_elo=1200)


@needs_stockfish
def test_a_stronger_player_wins_more_of_the_endgames():
    env = make(sim.CHESS_ENDGAME, opponent="sampled", nodes=100, pieces=["QR"])
    agent = make_scripted_agent(env, perfect=True)
    wins = np.mean([rollout(agent, env, seed).success for seed in range(5)])
    lost = make_scripted_agent(env, perfect=True, random_move=1.0)
    assert wins > np.mean([rollout(lost, env, seed).success for seed in range(5)])
    env.close()


def test_a_hasty_player_takes_the_most_valuable_piece(game):
    # 1. e4 d5 2. exd5 is the only capture, a pawn; then the queen takes back, and is there for the knight.
    env = game(["d5", "Qxd5", "e6"])
    agent = make_scripted_agent(env, perfect=True, hasty_game=1.0)
    agent.reset(0)
    observation = env.step("e 4\n")[0]
    assert agent.act(observation) == "e x d 5\n"
    env.step("e x d 5\n")
    observation = env.step("N c 3\n")[0]
    assert agent.act(observation) == "N x d 5\n"


def test_a_missing_engine_and_a_missing_package_are_named(monkeypatch):
    with pytest.raises(
        ConfigurationError, match=r"not found at /absent: install it \(Debian: apt-get install stockfish"
    ):
        find_stockfish("/absent")
    monkeypatch.setattr(stockfish, "PLACES", ())
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigurationError, match="on the PATH or in /usr/games"):
        find_stockfish()
    monkeypatch.setitem(sys.modules, "chess", None)
    with pytest.raises(
        MissingExtraError, match=r"chess needs an optional dependency: pip install .qsft_robot\[language\]"
    ):
        make()


def test_mistakes():
    for options, message in (({"opponent": "human"}, "elo, sampled"), ({"illegal": "ignore"}, "continue, terminate")):
        with pytest.raises(ConfigurationError, match=message):
            make(**options)
    with pytest.raises(ConfigurationError, match="up to three of Q and R"):
        make(sim.CHESS_ENDGAME, pieces=["P"])


@needs_stockfish
def test_a_game_that_was_never_closed_does_not_keep_the_process():
    code = (
        "from qsft_robot.sim.language.stockfish import StockfishPlayer\n"
        "import builtins\n"
        "builtins.kept = StockfishPlayer('elo', 1350, 100.0, 10)\n"
        "raise SystemExit(3)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 3


def test_the_position_as_a_list_of_pieces(game):
    env = game(notation="pieces")
    lines = env.reset(seed=0)[0].splitlines()
    assert lines[0] == "KQkq - 0 1"
    assert lines[1:5] == ["Ke1", "Qd1", "Ra1", "Rh1"]
    assert lines[9:11] == ["Pa2", "Pb2"]
    assert lines[17:19] == ["ke8", "qd8"]
    assert len(lines) == 33


def test_the_legal_moves_below_the_pieces(game):
    env = game(notation="moves")
    text, info = env.reset(seed=0)
    assert text.splitlines(keepends=True)[33:] == list(info["legal_actions"])
    assert text in env.observation_space
    env.unwrapped.board.set_fen("k7/8/1K6/8/8/8/8/7Q w - - 0 1")
    assert "Q h 8 #\n" in env.unwrapped.text()
    text, *_ = env.step("Q h 8 #\n")
    assert text == "- - 1 1\nKb6\nQh8\nka8\n"


def test_what_an_attentive_player_sees(game):
    env = game(notation="attacks")
    env.reset(seed=0)
    env.unwrapped.board.set_fen("4k3/8/2q2n2/3p4/4P3/2N5/8/3RK3 w - - 0 1")
    text = env.unwrapped.text()
    assert text in env.observation_space
    lines = text.splitlines()
    assert lines[1:9] == [
        "Ke1 withR",
        "Rd1 withNK",
        "Nc3 byq",
        "Pe4 bypn withN",
        "ke8 withnq",
        "qc6",
        "nf6 withq",
        "pd5 byPNR withnq",
    ]
    assert "N x d 5 Nc3 takesp bynq withPR atn hangsP" in lines
    assert "R c 1 Rd1" in lines
    assert "e 5 Pe4 atn hangsN" in lines
    env.unwrapped.board.set_fen("8/P1k5/8/3pP3/8/8/8/K7 w - d6 0 1")
    lines = env.unwrapped.text().splitlines()
    assert "e x d 6 + Pe5 takesp byk atk hangsP" in lines
    assert "a 8 = Q Pa7 atp" in lines


@needs_stockfish
@pytest.mark.parametrize("seed", range(3))
def test_what_is_seen_follows_from_the_board(seed):
    import chess

    def letters(board, squares, color):
        pieces = [board.piece_at(square) for square in squares]
        of_color = sorted(piece.piece_type for piece in pieces if piece is not None and piece.color == color)
        return "".join(chess.Piece(kind, color).symbol() for kind in of_color)

    def hanging(board):
        found = chess.SquareSet()
        for square, piece in board.piece_map().items():
            against = [board.piece_type_at(each) for each in board.attackers(chess.BLACK, square)]
            worth = [0, 1, 3, 3, 5, 9, 100]
            cheaper = any(worth[kind] < worth[piece.piece_type] for kind in against)
            if piece.color and against and (cheaper or not board.attackers(chess.WHITE, square)):
                found.add(square)
        return found

    random = np.random.default_rng(seed)
    board = chess.Board()
    while not board.is_game_over() and board.ply() < 100:
        if board.turn:
            actions = tuple(spell(board.san(move)) + "\n" for move in board.legal_moves)
            before = board.copy()
            lines = describe(board, "attacks", actions).splitlines()
            assert board == before
            plain = describe(board, "moves", actions).splitlines()
            assert [line[: len(each)] for line, each in zip(lines, plain, strict=True)] == plain
            for move, line, short in list(zip(board.legal_moves, lines[-len(actions) :], actions, strict=True))[::5]:
                words = line[len(short) :].split()
                mover = board.piece_at(move.from_square)
                expected = [f"{mover.symbol()}{chess.square_name(move.from_square)}"]
                if board.is_capture(move):
                    expected.append(
                        "takes" + ("p" if board.is_en_passant(move) else str(board.piece_at(move.to_square)).lower())
                    )
                board.push(move)
                end = move.to_square
                seen = {
                    "by": letters(board, board.attackers(chess.BLACK, end), chess.BLACK),
                    "with": letters(board, board.attackers(chess.WHITE, end), chess.WHITE),
                    "at": letters(board, board.attacks(end), chess.BLACK),
                    "hangs": letters(board, hanging(board), chess.WHITE),
                }
                board.pop()
                assert words == expected + [word + those for word, those in seen.items() if those]
        moves = list(board.legal_moves)
        board.push(moves[int(random.integers(len(moves)))])
