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
    split: Literal["train", "held_out", "all"] = setting("train", "goals: the first 500 are held out of 2,000")
    max_episode_steps: int = setting(15, "actions until a visit is cut off", minimum=1)


@kind(SimConfig, "webshop")
@settings
class WebShopConfig(SimConfig):
    """WebShop."""

    options: WebShopOptions = section(WebShopOptions, "keywords of the environment's constructor")
    imperfections: dict[str, float] = imperfections_of("webshop:WebShopImperfections")
