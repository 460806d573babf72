"""The products of the embedded shop and what customers want of them; all of it follows from a seed.

Brands, titles and instructions are put together from the word lists below. A product has attributes (some named in its
title, the others among its features), options to choose from, and a price.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from qsft_robot.errors import ConfigurationError

GOALS = 12_087
"""As many as the original has human instructions: of fewer, a network learns by heart who wants what."""
HELD_OUT_GOALS = 500
"""The first so many of the goals are kept for evaluation, as in the original."""

SMALLEST = 100
"""Products that a catalogue holds at least."""

COLOURS = ("black", "white", "red", "blue", "green", "yellow", "pink", "purple", "orange", "brown", "grey", "gold")
SHADES = ("", "", "", "light ", "dark ", "pale ", "deep ")
LETTER_SIZES = ("x-small", "small", "medium", "large", "x-large", "xx-large")
SHOE_SIZES = ("6", "7", "8", "9", "10", "11", "12")
BRANDS = tuple(
    first + second
    for first in ("Nor", "Vel", "Ari", "Kes", "Lum", "Tor", "Bel", "Oak", "Sun", "Mar")
    for second in ("field", "wick", "dale", "ora", "ex", "ton", "haven")
)


@dataclass(frozen=True)
class Kind:
    """One kind of product: what its products are called, what they can be, and what they cost."""

    name: str
    query: str
    category: tuple[str, ...]
    attributes: tuple[str, ...]
    options: Mapping[str, tuple[str, ...]]
    prices: tuple[float, float]


def _kind(line: str) -> Kind:
    name, query, path, attributes, options, prices = (part.strip() for part in line.split("|"))
    choices = {"color": COLOURS, "size": LETTER_SIZES, "shoe size": SHOE_SIZES}
    parsed = {}
    for option in filter(None, options.split(";")):
        key, _, values = option.strip().partition("=")
        parsed[key.removeprefix("shoe ")] = choices[key] if not values else tuple(values.split(","))
    low, high = prices.split("-")
    return Kind(name, query, tuple(path.split(" > ")), tuple(attributes.split(", ")), parsed, (float(low), float(high)))


@cache
def kinds() -> dict[str, Kind]:
    """The kinds of products, by what they are searched by: assets/products.txt."""
    text = files("qsft_robot.sim.language").joinpath("assets/products.txt").read_text(encoding="utf-8")
    parsed = [_kind(line) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return {kind.query: kind for kind in parsed}


@dataclass(frozen=True)
class Product:
    """What the shop sells.

    Attributes:
        code: name of the product on the pages.
        title: brand, kind and some attributes.
        query: what its kind is searched by.
        category: path of the category, coarsest first.
        nouns: nouns of its name, in small letters.
        attributes: what is true of it.
        options: option -> values to choose from.
        price: dollars.
        features: bullet points.
        description: a sentence or two.
    """

    code: str
    title: str
    query: str
    category: tuple[str, ...]
    nouns: tuple[str, ...]
    attributes: tuple[str, ...]
    options: Mapping[str, tuple[str, ...]]
    price: float
    features: tuple[str, ...]
    description: str

    @property
    def searchable(self) -> str:
        """What the search looks through."""
        values = " ".join(value for values in self.options.values() for value in values)
        return " ".join([self.title, self.query, *self.features, self.description, values])


@dataclass(frozen=True)
class Goal:
    """What a customer wants: like a product, with the options to choose and the most to pay, dollars."""

    instruction: str
    code: str
    query: str
    category: tuple[str, ...]
    nouns: tuple[str, ...]
    attributes: tuple[str, ...]
    options: Mapping[str, str]
    price_limit: float


@cache
def catalogue(size: int, seed: int) -> tuple[Product, ...]:
    """The `size` products that follow from `seed`.

    Raises:
        ConfigurationError: there would be too few of each kind to choose from.
    """
    if size < SMALLEST:
        raise ConfigurationError(f"products={size} is too few for a shop: choose at least {SMALLEST}")
    return tuple(_product(number, np.random.default_rng([seed, 1, number])) for number in range(size))


def _product(number: int, random: np.random.Generator) -> Product:
    kind = list(kinds().values())[number % len(kinds())]
    brand = str(random.choice(BRANDS))
    attributes = [str(each) for each in random.permutation(kind.attributes)[: random.integers(3, 6)]]
    in_title = int(random.integers(1, 3))
    options = {key: _values(key, values, random) for key, values in kind.options.items()}
    low, high = kind.prices
    price = round(float(low * (high / low) ** random.uniform()), 2)
    letters = "ABCDEFGHJKLMNPQRSTUVWXYZ0123456789"
    code = "B0" + "".join(letters[int(place)] for place in random.integers(len(letters), size=4)) + f"{number:04d}"
    features = tuple(f"{each.capitalize()}: made for everyday use." for each in attributes)
    return Product(
        code=code,
        title=f"{brand} {kind.name.title()}, {', '.join(each.title() for each in attributes[:in_title])}".replace(
            "'S", "'s"
        ),
        query=kind.query,
        category=kind.category,
        nouns=tuple(kind.name.replace("'s", "").split()),
        attributes=tuple(attributes),
        options=options,
        price=price,
        features=features,
        description=f"{brand} {kind.name}: {', '.join(attributes[in_title:])}. For {kind.category[-1].lower()}.",
    )


def _capitals(text: str) -> str:
    return " ".join(word[:1].upper() + word[1:] for word in text.split(" "))


def _values(key: str, values: tuple[str, ...], random: np.random.Generator) -> tuple[str, ...]:
    """Some of the values of an option, in their order; colours come in shades."""
    count = min(len(values), int(random.integers(3, 6)))
    chosen = sorted(random.permutation(len(values))[:count].tolist())
    shade = str(random.choice(SHADES)) if key == "color" else ""
    return tuple(shade + values[place] for place in chosen)


@cache
def goal(number: int, size: int, seed: int) -> Goal:
    """Goal `number` of the shop with `size` products of `seed`: somebody describes one of its products."""
    random = np.random.default_rng([seed, 2, number])
    product = catalogue(size, seed)[int(random.integers(size))]
    attributes = tuple(str(each) for each in random.permutation(product.attributes)[: random.integers(1, 4)])
    options = {key: str(random.choice(values)) for key, values in product.options.items()}
    limit = float(10 * int(product.price // 10 + random.integers(1, 5)))
    name = kinds()[product.query].name
    chosen = ", ".join(f"{key}: {value}" for key, value in options.items())
    wording = WORDINGS[int(random.integers(len(WORDINGS)))]
    return Goal(
        instruction=wording.format(name=name, attributes=" and ".join(attributes), options=chosen, limit=limit),
        code=product.code,
        query=product.query,
        category=product.category,
        nouns=product.nouns,
        attributes=attributes,
        options=options,
        price_limit=limit,
    )


WORDINGS = (
    "i am looking for {name} that is {attributes}, with {options}, and price lower than {limit:.2f} dollars",
    "find me {name}, {attributes}, with {options}, price lower than {limit:.2f} dollars",
    "i need {name} with {attributes}; {options}. it should cost less than {limit:.2f} dollars",
    "i want to buy {name} that has {attributes} and comes in {options}, for less than {limit:.2f} dollars",
)
