"""Scripted customer of `WebShopEnv`: knows what is wanted, and shops in a hurry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from qsft_robot.agents.base import Observation
from qsft_robot.agents.scripted.text import ScriptedPlayer
from qsft_robot.sim.language.shop.catalogue import Product, kinds
from qsft_robot.sim.language.shop.reward import worth
from qsft_robot.sim.language.webshop import BUY, DESCRIPTION, FEATURES, NEXT, PREVIOUS, WebShopEnv, click


@dataclass(frozen=True)
class WebShopImperfections:
    """What goes wrong in `webshop`; all zero makes the customer buy the best of the first page, as it is wanted.

    Attributes:
        vague_search: probability of searching for the kind of product alone.
        careless_choice: probability of taking any product of the page.
        next_page: probability of looking at the second page of the results.
        skipped_option: probability, for each option, of not choosing it.
        wrong_option: probability, for each option, of choosing any value.
        idle_look: probability of reading about the product before buying it.
    """

    vague_search: float = 0.4
    careless_choice: float = 0.8
    next_page: float = 0.15
    skipped_option: float = 0.55
    wrong_option: float = 0.5
    idle_look: float = 0.25


class ScriptedWebShop(ScriptedPlayer[WebShopEnv]):
    """Searches, picks a product by what it would be worth, chooses options, buys.

    Args:
        env: a `WebShopEnv`, or a wrapper around one.
        imperfections: what goes wrong.
    """

    name = "scripted_webshop"

    def __init__(self, env: Any, imperfections: WebShopImperfections | None = None) -> None:
        super().__init__(env)
        self._imperfections = WebShopImperfections() if imperfections is None else imperfections
        self._plan: Iterator[str] = iter(())

    def reset(self, seed: int) -> None:
        """Start an episode; call it after the environment's reset."""
        super().reset(seed)
        self._plan = self._shop()

    def act(self, observation: Observation) -> str:
        """The next action; the observation is not used."""
        return next(self._plan)

    def _happens(self, probability: float) -> bool:
        return bool(self._random.uniform() < probability)

    def _shop(self) -> Iterator[str]:
        game, wrong = self._game, self._imperfections
        wanted = game.goal
        words = [kinds()[wanted.query].name]
        if not self._happens(wrong.vague_search):
            words += wanted.attributes
        yield f"search[{' '.join(words)}]"
        if self._happens(wrong.next_page) and NEXT in game.buttons():
            yield click(NEXT)
        shown = game.shown()
        product = shown[int(self._random.integers(len(shown)))]
        if not self._happens(wrong.careless_choice):
            product = max(shown, key=self._best_worth)
        yield click(product.code)
        for key, values in product.options.items():
            if self._happens(wrong.skipped_option):
                continue
            value = values[int(self._random.integers(len(values)))]
            if not self._happens(wrong.wrong_option):
                value = max(values, key=lambda each: worth(product, {key: each}, wanted).options)
            yield click(value)
        if self._happens(wrong.idle_look):
            yield click(DESCRIPTION if self._happens(0.5) else FEATURES)
            yield click(PREVIOUS)
        yield click(BUY)

    def _best_worth(self, product: Product) -> float:
        """What the product would be worth with the best options."""
        chosen = {value: value for values in product.options.values() for value in values}
        return worth(product, chosen, self._game.goal).total
