"""What a purchase is worth: WebShop's formula (Yao et al. 2022, appendix A.5), written anew.

    r = r_type * (attributes matched + options matched + [price within the limit]) / (attributes + options + 1)

Texts match when their token set ratio is above 85, as in the original, which takes it from the package thefuzz; here it
is computed without it. r_type is 1, and less for a purchase of another kind: 0.5 where neither the product's query,
nor two steps of its category, nor more than a fifth of the nouns agree; 0.1 where less than a tenth of the nouns does;
0 where none does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from qsft_robot.sim.language.shop.catalogue import COLOURS, Goal, Product

MATCH = 85
"""A token set ratio above this is a match."""


@dataclass(frozen=True)
class Worth:
    """The parts of a reward.

    Attributes:
        kind: r_type, in [0, 1].
        attributes: how many of the goal's attributes the product has.
        options: how many of the goal's options were chosen.
        price: the price is within the limit.
        total: the reward, in [0, 1].
    """

    kind: float
    attributes: int
    options: int
    price: bool
    total: float


def worth(product: Product, chosen: Mapping[str, str], goal: Goal) -> Worth:
    """What buying `product` with the options `chosen` is worth to somebody who wants `goal`."""
    kind = kind_factor(product, goal)
    attributes = sum(has_attribute(product, wanted) for wanted in goal.attributes)
    options = count_options(chosen.values(), goal.options.values())
    price = product.price <= goal.price_limit
    share = (attributes + options + price) / (len(goal.attributes) + len(goal.options) + 1)
    return Worth(kind, attributes, options, price, kind * share)


def kind_factor(product: Product, goal: Goal) -> float:
    """r_type: how much the product is of the kind that is wanted."""
    nouns = len(set(product.nouns) & set(goal.nouns)) / len(goal.nouns) if goal.nouns else 0.2
    same_category = len(set(product.category) & set(goal.category)) >= 2
    if nouns == 0.0:
        return 0.0
    if nouns < 0.1:
        return 0.1
    return 1.0 if product.query == goal.query or same_category or nouns > 0.2 else 0.5


def has_attribute(product: Product, wanted: str) -> bool:
    """Whether one of the product's attributes matches, or its title, features or description hold the words."""
    if any(token_set_ratio(each, wanted) > MATCH for each in product.attributes):
        return True
    return any(wanted in text.lower() for text in (product.title, " ".join(product.features), product.description))


def count_options(chosen: Iterable[str], wanted: Iterable[str]) -> int:
    """How many of the options that are wanted match one that was chosen."""
    taken = [plain_colour(each) for each in chosen]
    return sum(any(token_set_ratio(each, plain_colour(want)) > MATCH for each in taken) for want in wanted)


def plain_colour(option: str) -> str:
    """The plain colour that an option names (`navy blue stripes` is `blue`), or the option as it is."""
    return next((colour for colour in COLOURS if colour in option), option)


@lru_cache(maxsize=100_000)
def token_set_ratio(one: str, other: str) -> int:
    """Likeness of two texts as sets of words, 0 to 100: 100 where one's words are among the other's.

    As in rapidfuzz and thefuzz: with the common words C and what each has beyond them, A and B (all sorted), the
    largest likeness among (C A, C B), (C, C A) and (C, C B); the likeness of two texts is the share of letters outside
    of insertions and deletions.
    """
    first, second = _words(one), _words(other)
    if not first or not second:
        return 0
    common, left, right = sorted(first & second), " ".join(sorted(first - second)), " ".join(sorted(second - first))
    if common and (not left or not right):
        return 100
    shared = len(" ".join(common))
    gap = bool(shared)
    with_left, with_right = shared + gap + len(left), shared + gap + len(right)
    distance = len(left) + len(right) - 2 * _common_subsequence(left, right)
    best = 1 - distance / (with_left + with_right)
    if shared:
        best = max(best, 1 - (1 + len(left)) / (shared + with_left), 1 - (1 + len(right)) / (shared + with_right))
    return round(100 * best)


def _words(text: str) -> frozenset[str]:
    return frozenset(re.sub(r"[\W_]+", " ", text.lower()).split())


def _common_subsequence(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(other) + 1)
    for letter in one:
        diagonal = 0
        for place, against in enumerate(other, start=1):
            above = row[place]
            row[place] = diagonal + 1 if letter == against else max(above, row[place - 1])
            diagonal = above
    return row[-1]
