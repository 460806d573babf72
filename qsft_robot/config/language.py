"""The text games (kinds of the group `sim`): the keywords of their environments, and what their players do wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from qsft_robot.config.fields import kind, section, setting, settings
from qsft_robot.config.schema import SimConfig

players = "qsft_robot.agents.scripted"


def imperfections_of(location: str) -> dict[str, float]:
    """Declare what the scripted player does wrong: a mapping with the fields of the dataclass at "module:Class"."""
    mistakes: dict[str, float] = setting(
        {},
        "what the scripted player does wrong, where it differs from its own defaults",
        minimum=0,
        keys_of=f"{players}.{location}",
    )
    return mistakes


@settings
class WordleOptions:
    """Keywords of Wordle's constructor."""

    marks: Literal["lmrl", "counted"] = setting(
        "lmrl", "repeated letters: each marked as present (LMRL-Gym), or each one of the word once (the published game)"
    )
    vocabulary: str | None = setting(None, "file with one word of five letters per line; null: 431 common ones")


@kind(SimConfig, "wordle")
@settings
class WordleConfig(SimConfig):
    """Wordle."""

    options: WordleOptions = section(WordleOptions, "keywords of the environment's constructor")
    imperfections: dict[str, float] = imperfections_of("wordle:WordleImperfections")


@settings
class TwentyQuestionsOptions:
    """Keywords of Twenty Questions' constructor."""

    oracle: Literal["table", "hf", "openai"] = setting(
        "table", "who answers: the built-in table, a Hugging Face model, an OpenAI-compatible endpoint"
    )
    oracle_model: str | None = setting(None, "name or folder of the model that answers, for hf and openai")
    oracle_address: str | None = setting(None, "base of the endpoint, for openai, such as http://127.0.0.1:8000/v1")

    def check(self) -> Iterator[str]:
        """Rules between the fields."""
        if self.oracle != "table" and self.oracle_model is None:
            yield f"oracle={self.oracle} needs oracle_model="
        if self.oracle == "openai" and self.oracle_address is None:
            yield "oracle=openai needs oracle_address="


@kind(SimConfig, "twenty_questions")
@settings
class TwentyQuestionsConfig(SimConfig):
    """Twenty Questions."""

    options: TwentyQuestionsOptions = section(TwentyQuestionsOptions, "keywords of the environment's constructor")
    imperfections: dict[str, float] = imperfections_of("twenty_questions:TwentyQuestionsImperfections")


@settings
class WebShopOptions:
    """Keywords of WebShop's constructor."""

    products: int = setting(1000, "products that the shop sells", minimum=100, maximum=9999)
    catalogue_seed: int = setting(0, "which products and goals there are", minimum=0)
    split: Literal["train", "held_out", "all"] = setting("train", "goals: the first 500 are held out of 12,087")
    notation: Literal["page", "actions"] = setting(
        "page", "the original's page, or a line for each action that it offers, as it must be written"
    )
    max_episode_steps: int = setting(15, "actions until a visit is cut off", minimum=1)


@kind(SimConfig, "webshop")
@settings
class WebShopConfig(SimConfig):
    """WebShop."""

    options: WebShopOptions = section(WebShopOptions, "keywords of the environment's constructor")
    imperfections: dict[str, float] = imperfections_of("webshop:WebShopImperfections")


@settings
class ChessOptions:
    """Keywords of the constructor of chess."""

    opponent: Literal["elo", "sampled"] = setting(
        "elo", "Stockfish by its own Elo setting, or by drawing among its best moves, which repeats with the seed"
    )
    opponent_elo: int = setting(
        1350, "Elo of the opponent; 1350 is the least that Stockfish 15.1 takes", minimum=1320, maximum=3190
    )
    opponent_temperature: float = setting(100.0, "of the draw among its best moves, centipawns (sampled)", above=0)
    opponent_random: float = setting(0.0, "probability that it makes any legal move", minimum=0, maximum=1)
    nodes: int = setting(200, "positions that Stockfish may look at for a move", minimum=1)
    illegal: Literal["continue", "terminate"] = setting("continue", "an illegal move costs 1 and is asked for again")
    notation: Literal["fen", "pieces", "moves", "attacks"] = setting(
        "fen", "of the position: Forsyth-Edwards; a line for each piece; and for each legal move; with attacks"
    )
    loss_reward: float = setting(-1.0, "reward of a loss", minimum=-1, maximum=0)
    max_episode_steps: int = setting(400, "actions, illegal ones too, until a game is cut off", minimum=1)
    stockfish: str | None = setting(None, "path of Stockfish; null: on the PATH or in /usr/games")


@settings
class ChessEndgameOptions(ChessOptions):
    """Keywords of the constructor of endgames."""

    pieces: list[Literal["Q", "R", "QQ", "QR", "RR"]] = setting(
        ["Q", "R", "QR", "RR"], "what White may have besides the king"
    )

    def check(self) -> Iterator[str]:
        """Rules between the fields."""
        if not self.pieces:
            yield "pieces=[] leaves nothing to play with"


@kind(SimConfig, "chess")
@settings
class ChessConfig(SimConfig):
    """Chess."""

    options: ChessOptions = section(ChessOptions, "keywords of the environment's constructor")
    imperfections: dict[str, float] = imperfections_of("chess:ChessImperfections")


@kind(SimConfig, "chess_endgame")
@settings
class ChessEndgameConfig(ChessConfig):
    """Endgames of chess."""

    options: ChessEndgameOptions = section(ChessEndgameOptions, "keywords of the environment's constructor")
    imperfections: dict[str, float] = imperfections_of("chess:ChessEndgameImperfections")
