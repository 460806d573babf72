"""WebShop: find and buy, in a web shop made of text, what an instruction describes.

Actions: `search[words]` on the page that has a search bar, `click[button]` on the others. Anything else changes nothing
and brings nothing. Reward: 0 until something is bought, which ends the episode and brings its worth in [0, 1]
(shop/reward.py). On a `page`, buttons are written `[button] Buy Now [button_]`, an option that was chosen `[clicked
button] ...`. With the notation `actions` there is a line for each thing that can be done, in small letters: the action
as it must be written, and what stands on the page beside its button. Options that were chosen have `chosen` instead of
it, the first page has `search`, and the number of a page is not told.

After WebShop (Yao et al. 2022), written anew: the same pages, buttons, search of 50 results in pages of 10, and formula
of the reward. The products are ours (shop/catalogue.py); the original's are a download that is not embedded.
"""

from __future__ import annotations

import re
from functools import cache

from qsft_robot.errors import ConfigurationError
from qsft_robot.sim.language.game import TextGame
from qsft_robot.sim.language.shop.catalogue import GOALS, HELD_OUT_GOALS, Goal, Product, catalogue, goal
from qsft_robot.sim.language.shop.reward import worth
from qsft_robot.sim.language.shop.search import Index

PAGE = 10
RESULTS = 50
EPISODE_STEPS = 15
OBSERVATION_LENGTH = 4000
ACTION_LENGTH = 200

SEARCH, BACK, PREVIOUS, NEXT = "Search", "Back to Search", "< Prev", "Next >"
DESCRIPTION, FEATURES, BUY = "Description", "Features", "Buy Now"
_ACTION = re.compile(r"\s*(search|click)\[(.*)\]\s*", re.DOTALL)

NOTATIONS = ("page", "actions")
SPLITS = {"train": range(HELD_OUT_GOALS, GOALS), "held_out": range(HELD_OUT_GOALS), "all": range(GOALS)}


@cache
def index_of(size: int, seed: int) -> Index:
    """The search over a catalogue."""
    return Index([product.searchable for product in catalogue(size, seed)])


class WebShopEnv(TextGame):
    """One customer's visit; see the module's docstring.

    Args:
        products: how many the shop sells.
        catalogue_seed: which products and goals there are.
        split: which of the 12,087 goals: `held_out` is the first 500, `train` the others, `all` both.
        notation: `page`: the original's; `actions`: see the module's docstring.
        max_episode_steps: actions until the visit is cut off.
        render_mode: None or `ansi`.

    Raises:
        ConfigurationError: an option has an impossible value.
    """

    def __init__(
        self,
        *,
        products: int = 1000,
        catalogue_seed: int = 0,
        split: str = "train",
        notation: str = "page",
        max_episode_steps: int | None = EPISODE_STEPS,
        render_mode: str | None = None,
    ) -> None:
        if split not in SPLITS:
            raise ConfigurationError(f"split is '{split}', expected one of {', '.join(SPLITS)}")
        if notation not in NOTATIONS:
            raise ConfigurationError(f"notation is '{notation}', expected one of {', '.join(NOTATIONS)}")
        super().__init__(
            observation_length=OBSERVATION_LENGTH,
            action_length=ACTION_LENGTH,
            max_episode_steps=EPISODE_STEPS if max_episode_steps is None else max_episode_steps,
            render_mode=render_mode,
        )
        self.notation = notation
        self.products = catalogue(products, catalogue_seed)
        self._by_code = {product.code.lower(): product for product in self.products}
        self._index = index_of(products, catalogue_seed)
        self._shop = (products, catalogue_seed)
        self._goals = SPLITS[split]
        self.goal: Goal = goal(self._goals[0], *self._shop)
        self._clear()

    def _clear(self) -> None:
        """Go to the first page, with nothing looked at or chosen."""
        self.results: list[Product] = []
        """What the search found."""
        self.page = 0
        """Page of the results."""
        self.product: Product | None = None
        """What is looked at."""
        self.chosen: dict[str, str] = {}
        """Options chosen for it."""
        self._searched = False
        self._detail: str | None = None
        self._paid: float | None = None

    def _start(self) -> None:
        number = self._goals[int(self.np_random.integers(len(self._goals)))]
        self.goal = goal(number, *self._shop)
        self._clear()

    def _play(self, action: str) -> tuple[float, bool, bool]:
        match = _ACTION.fullmatch(action) if len(action) <= ACTION_LENGTH else None
        if match is None:
            return 0.0, False, False
        kind, words = match[1], match[2].strip()
        if kind == "search":
            return 0.0, False, self._search(words)
        button = next((each for each in self.buttons() if each.lower() == words.lower()), None)
        if button is None:
            return 0.0, False, False
        self._press(button)
        return self._paid or 0.0, self._paid is not None, True

    def _search(self, words: str) -> bool:
        """Search, on the page with the search bar; returns whether that could be done."""
        if self._searched or not words:
            return False
        self._clear()
        self._searched = True
        self.results = [self.products[number] for number in self._index.search(words, RESULTS)]
        return True

    def _press(self, button: str) -> None:
        if button == BACK:
            self._clear()
        elif button == NEXT:
            self.page += 1
        elif button == PREVIOUS:
            self._go_back()
        elif button in (DESCRIPTION, FEATURES):
            self._detail = button
        elif self.product is None:
            self.product = self._by_code[button.lower()]
        elif button == BUY:
            self._paid = worth(self.product, self.chosen, self.goal).total
        else:
            key = next(key for key, values in self.product.options.items() if button in values)
            self.chosen[key] = button

    def _go_back(self) -> None:
        """From a detail to its product, from a product to the results, from a page of results to the one before."""
        if self._detail is not None:
            self._detail = None
        elif self.product is not None:
            self.product, self.chosen = None, {}
        else:
            self.page -= 1

    def buttons(self) -> list[str]:
        """What can be clicked now, as it is written on the page."""
        if self._paid is not None or not self._searched:
            return []
        if self._detail is not None:
            return [BACK, PREVIOUS]
        if self.product is not None:
            values = [value for values in self.product.options.values() for value in values]
            return [BACK, PREVIOUS, *values, DESCRIPTION, FEATURES, BUY]
        pages = -(-len(self.results) // PAGE)
        turning = [PREVIOUS] * (self.page > 0) + [NEXT] * (self.page + 1 < pages)
        return [BACK, *turning, *(product.code for product in self.shown())]

    def shown(self) -> list[Product]:
        """The products on this page of the results."""
        return self.results[PAGE * self.page : PAGE * (self.page + 1)]

    def legal_actions(self) -> tuple[str, ...] | None:
        """The clicks that this page has; None on the page with the search bar, which takes any words."""
        return tuple(click(button) for button in self.buttons()) if self._searched else None

    @property
    def won(self) -> bool:
        """Whether what was bought is worth the whole reward."""
        return self._paid is not None and self._paid > 1 - 1e-9

    def text(self) -> str:
        """The page, or what can be done on it."""
        if self._paid is not None:
            return f"Thank you for shopping with us!\nYour score: {self._paid:.3f}\n"
        return "\n".join(self._page() if self.notation == "page" else self._list()) + "\n"

    def _list(self) -> list[str]:
        """The instruction, and a line for each thing that can be done."""
        offers = {button: click(button) for button in self.buttons()}
        detail: list[str] = []
        if self.product is None:
            for product in self.shown():
                offers[product.code] += f" {product.title}, ${product.price:.2f}"
        elif self._detail is not None:
            detail = self._about(self.product)
        else:
            offers[BUY] += f" {self.product.title}, ${self.product.price:.2f}"
            for key, values in self.product.options.items():
                for value in values:
                    done = "chosen" if self.chosen.get(key) == value else click(value)
                    offers[value] = f"{done} {key}: {value}"
        return [line.lower() for line in (self.goal.instruction, *detail, *(offers.values() or [SEARCH]))]

    def _about(self, product: Product) -> list[str]:
        return [*product.features] if self._detail == FEATURES else [product.description]

    def _page(self) -> list[str]:
        lines = ["Instruction:", self.goal.instruction]
        if not self._searched:
            lines = ["WebShop", *lines, _button(SEARCH)]
        elif self._detail is not None and self.product is not None:
            lines += [_button(BACK), _button(PREVIOUS), *self._about(self.product)]
        elif self.product is not None:
            lines += [_button(BACK), _button(PREVIOUS), *self._options(self.product), self.product.title]
            lines += [f"Price: ${self.product.price:.2f}", _button(DESCRIPTION), _button(FEATURES), _button(BUY)]
        else:
            lines += [_button(BACK), f"Page {self.page + 1} (Total results: {len(self.results)})"]
            lines += [_button(each) for each in (PREVIOUS, NEXT) if each in self.buttons()]
            for product in self.shown():
                lines += [_button(product.code), product.title, f"${product.price:.2f}"]
        return lines

    def _options(self, product: Product) -> list[str]:
        lines = []
        for key, values in product.options.items():
            lines.append(key)
            lines += [_button(value, self.chosen.get(key) == value) for value in values]
        return lines


def _button(name: str, clicked: bool = False) -> str:
    return f"[{'clicked ' if clicked else ''}button] {name} [button_]"


def click(button: str) -> str:
    """The action that clicks a button of this name."""
    return f"click[{button.lower()}]"
