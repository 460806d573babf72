"""WebShop: catalogue, search, reward formula, pages, and what its scripted customer reaches."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsft_robot import sim
from qsft_robot.agents.rollout import rollout
from qsft_robot.agents.scripted import make_scripted_agent
from qsft_robot.errors import ConfigurationError
from qsft_robot.sim.language.shop.catalogue import GOALS, Goal, Product, catalogue, goal
from qsft_robot.sim.language.shop.reward import plain_colour, token_set_ratio, worth
from qsft_robot.sim.language.shop.search import Index, stems
from qsft_robot.sim.language.webshop import SPLITS


def make(**options):
    return sim.make(sim.WEBSHOP, **options)


def test_the_catalogue_follows_from_its_seed():
    products = catalogue(1000, 0)
    assert products == catalogue.__wrapped__(1000, 0)
    assert len({product.code for product in products}) == 1000
    assert len({product.title for product in products}) > 900
    assert catalogue(1000, 1)[0] != products[0]
    assert all(product.options and len(product.attributes) >= 3 and product.price > 0 for product in products)
    assert all(values == tuple(dict.fromkeys(values)) for each in products for values in each.options.values())
    with pytest.raises(ConfigurationError, match="choose at least 100"):
        catalogue(10, 0)


def test_every_goal_can_be_met():
    by_code = {product.code: product for product in catalogue(1000, 0)}
    for number in range(0, GOALS, 100):
        wanted = goal(number, 1000, 0)
        assert worth(by_code[wanted.code], wanted.options, wanted).total == 1.0
        for words in (*wanted.attributes, *wanted.options.values(), f"{wanted.price_limit:.2f}"):
            assert words in wanted.instruction
    assert not set(SPLITS["train"]) & set(SPLITS["held_out"])


PRODUCT = Product(
    code="B0",
    title="Norton Men's Shirt, Slim Fit",
    query="men's shirts",
    category=("Clothing", "Men", "Shirts"),
    nouns=("men", "shirt"),
    attributes=("slim fit", "machine washable"),
    options={"color": ("navy blue", "red"), "size": ("small", "large")},
    price=30.0,
    features=("Slim fit: made for everyday use.", "Machine washable: yes."),
    description="A shirt with a hidden zipper.",
)
GOAL = Goal("", "B0", "men's shirts", ("Clothing", "Men", "Shirts"), ("men", "shirt"), ("slim fit",),
            {"color": "light blue", "size": "large"}, 40.0)  # fmt: skip
ELSE = {"query": "teas", "category": ("Grocery", "Drinks", "Tea")}


@pytest.mark.parametrize(
    ("product", "wanted", "chosen", "total"),
    [
        ({}, {}, {"color": "navy blue", "size": "large"}, 1.0),
        ({}, {}, {"color": "navy blue"}, 3 / 4),
        ({}, {}, {"color": "red", "size": "small"}, 2 / 4),
        ({}, {}, {}, 2 / 4),
        ({"price": 40.0}, {}, {}, 2 / 4),
        ({"price": 40.01}, {}, {}, 1 / 4),
        ({}, {"attributes": ("fit slim", "hidden zipper", "steel toe")}, {"size": "large"}, 4 / 6),
        ({}, {"attributes": ("machine washable fabric",)}, {}, 2 / 4),  # one set of words holds the other
        ({}, {"attributes": ("washable by hand",)}, {}, 1 / 4),
        ({**ELSE, "nouns": ("men", "tea")}, {}, {}, 2 / 4),  # half of the nouns agree
        ({**ELSE, "nouns": ("a",)}, {"nouns": ("a", *"bcdefg")}, {}, 0.5 * 2 / 4),  # a seventh
        ({**ELSE, "nouns": ("a",)}, {"nouns": ("a", *"bcdefghijkl")}, {}, 0.1 * 2 / 4),  # a twelfth
        ({"nouns": ("a",)}, {"nouns": ("a", *"bcdefg")}, {}, 2 / 4),  # the same query
        ({"query": "x", "nouns": ("a",)}, {"nouns": ("a", *"bcdefg")}, {}, 2 / 4),  # the same category
        ({"nouns": ("tea",)}, {}, {"color": "navy blue", "size": "large"}, 0.0),  # no noun agrees
    ],
)
def test_reward_formula(product, wanted, chosen, total):
    result = worth(dataclasses.replace(PRODUCT, **product), chosen, dataclasses.replace(GOAL, **wanted))
    assert result.total == pytest.approx(total)


def test_colours_count_as_their_plain_ones():
    assert (plain_colour("navy blue"), plain_colour("large")) == ("blue", "large")


@pytest.mark.parametrize(
    ("one", "other", "ratio"),
    [
        ("slim fit", "Fit, slim!", 100),
        ("slim fit", "slim fit shirt", 100),
        ("water resistant", "scratch resistant", 75),
        ("long sleeve", "short sleeve", 71),
        ("abc", "abd", 67),
        ("abc", "xyz", 0),
        ("", "abc", 0),
        ("!!", "!!", 0),
    ],
)
def test_token_set_ratio(one, other, ratio):
    assert token_set_ratio(one, other) == token_set_ratio(other, one) == ratio


@given(st.text("ab c,", max_size=14), st.text("ab c,", max_size=14))
def test_token_set_ratio_is_that_of_rapidfuzz(one, other):
    fuzz = pytest.importorskip("rapidfuzz.fuzz", reason="the package rapidfuzz is not installed")
    utils = pytest.importorskip("rapidfuzz.utils")
    expected = fuzz.token_set_ratio(one, other, processor=utils.default_process)
    assert abs(token_set_ratio(one, other) - expected) <= 0.5 + 1e-6


def test_search():
    index = Index(["red running shoes", "blue shoe", "red red red lamps", "green boxes and glasses"])
    assert index.search("shoes", 10) == [1, 0]  # the shorter document first
    assert index.search("red lamp", 10) == [2, 0]
    assert index.search("red lamp", 1) == [2]
    assert index.search("tables", 10) == []
    assert stems("Boxes, glasses; dress teas berries") == ["box", "glass", "dress", "tea", "berry"]
    ties = Index(["tea", "tea", "tea"])
    assert ties.search("tea", 2) == [0, 1]


def test_it_is_a_proper_game(checked):
    checked(make, make_scripted_agent)


def test_a_visit():
    env = make(split="all")
    page, info = env.reset(seed=4)
    shop = env.unwrapped
    assert info["legal_actions"] is None
    assert page == f"WebShop\nInstruction:\n{shop.goal.instruction}\n[button] Search [button_]\n"
    for action in ("click[search]", "click[b0]", "search[]", "buy", "search"):
        assert env.step(action)[1:4] == (0.0, False, False)
        assert env.step(action)[4]["valid"] is False
    env.reset(seed=4)
    page, _, _, _, info = env.step("search[zzzz]")
    assert "Page 1 (Total results: 0)" in page
    assert info["legal_actions"] == ("click[back to search]",)
    env.step("click[Back to Search]")
    product = next(each for each in shop.products if each.code == shop.goal.code)
    page, _, _, _, info = env.step(f"search[{product.title}]\n")
    assert page.count("$") - shop.goal.instruction.count("$") == 10
    assert "click[next >]" in info["legal_actions"]
    second = env.step("click[next >]")[0]
    assert "Page 2 (Total results: 50)" in second
    assert env.step("click[< prev]")[0] == page
    assert env.step("search[again]")[4]["valid"] is False
    shop.product = product
    first_value = next(iter(product.options.values()))[0]
    page, *_, info = env.step(f"click[{first_value}]")
    assert f"[clicked button] {first_value} [button_]" in page
    assert info["valid"]
    assert product.description in env.step("click[description]")[0]
    assert env.step("click[buy now]")[4]["valid"] is False
    assert f"[clicked button] {first_value} [button_]" in env.step("click[< prev]")[0]


def test_lines_begin_with_what_can_be_done():
    env = make(notation="actions")
    page, _ = env.reset(seed=4)
    shop = env.unwrapped
    wanted = shop.goal.instruction.lower()
    assert page == f"{wanted}\nsearch\n"

    def shown(action):
        page, *_, info = env.step(action)
        first, *lines = page.splitlines()
        assert first == wanted and page == page.lower() and info["valid"]
        legal = [
            action for action in info["legal_actions"] if any(f"{line} ".startswith(f"{action} ") for line in lines)
        ]
        return page, set(info["legal_actions"]) - set(legal)

    page, hidden = shown("search[electric toothbrush]")
    assert not hidden
    product = shop.results[0]
    assert f"click[{product.code}] {product.title}, ${product.price:.2f}\n".lower() in page
    page, hidden = shown(f"click[{product.code}]")
    assert not hidden and f"click[buy now] {product.title}".lower() in page
    key, (value, *_) = next(iter(product.options.items()))
    assert f"click[{value}] {key}: {value}\n" in page
    page, hidden = shown(f"click[{value}]")
    assert hidden == {f"click[{value}]"} and f"chosen {key}: {value}\n" in page
    page, hidden = shown("click[features]")
    assert not hidden and product.features[0].lower() in page and "buy now" not in page
    with pytest.raises(ConfigurationError, match="expected one of page, actions"):
        make(notation="pictures")


def test_buying_what_is_wanted_wins():
    env = make()
    env.reset(seed=2)
    shop = env.unwrapped
    product = next(each for each in shop.products if each.code == shop.goal.code)
    env.step(f"search[{product.title}]")
    shop.product = product
    for value in shop.goal.options.values():
        env.step(f"click[{value}]")
    page, reward, terminated, _, info = env.step("click[buy now]")
    assert (reward, terminated, info["success"], info["legal_actions"]) == (1.0, True, True, ())
    assert "Your score: 1.000" in page


def test_time_is_limited():
    env = make(max_episode_steps=3)
    env.reset(seed=0)
    assert [env.step("search[")[3] for _ in range(3)] == [False, False, True]


def test_mistakes():
    with pytest.raises(ConfigurationError, match="expected one of train, held_out, all"):
        make(split="test")
    with pytest.raises(ConfigurationError, match="max_episode_steps is 0"):
        make(max_episode_steps=0)


def test_the_scripted_customer_earns_a_bit_more_than_half():
    env = make()

    def mean(count, **imperfections):
        agent = make_scripted_agent(env, **imperfections)
        return np.mean([rollout(agent, env, seed).episode_return for seed in range(count)])

    assert abs(mean(400) - 0.55) < 0.045  # standard error 0.011
    assert mean(60, perfect=True) > 0.97
