"""Wordle: marks, rules, returns, and what its scripted players reach."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsft_robot import sim
from qsft_robot.agents.rollout import rollout
from qsft_robot.agents.scripted import make_scripted_agent
from qsft_robot.agents.scripted.wordle import EntropyWordle
from qsft_robot.errors import ConfigurationError, DataError
from qsft_robot.sim.language.wordle import Vocabulary, mark_counted, mark_lmrl, spell

words = st.text("abcd", min_size=5, max_size=5)


def make(**options):
    return sim.make(sim.WORDLE, **options)


def play(env, *guesses):
    return [env.step(guess) for guess in guesses]


@pytest.mark.parametrize(
    ("word", "guess", "lmrl", "counted"),
    [
        ("shire", "shire", "ggggg", "ggggg"),
        ("shire", "crane", "bybbg", "bybbg"),
        ("abbey", "babes", "yyggb", "yyggb"),
        ("crane", "error", "ygyby", "ygbbb"),  # one r, guessed three times
        ("robot", "floor", "bbygy", "bbygy"),
        ("level", "eerie", "ygbby", "ygbbb"),
        ("other", "otter", "ggygg", "ggbgg"),  # the t is found: its double is nothing more
        ("abide", "speed", "bbyyy", "bbyby"),
        ("llama", "alloy", "ygybb", "ygybb"),
    ],
)
def test_marks(word, guess, lmrl, counted):
    assert mark_lmrl(word, guess) == lmrl
    assert mark_counted(word, guess) == counted


@given(words, words)
def test_marks_in_general(word, guess):
    lmrl, counted = mark_lmrl(word, guess), mark_counted(word, guess)
    for here, letter, one, two in zip(word, guess, lmrl, counted, strict=True):
        assert (one == "g") == (two == "g") == (here == letter)
        assert (one == "b") == (letter not in word)
        assert two in (one, "b")
    for letter in set(guess):
        marked = sum(1 for place, mark in enumerate(counted) if guess[place] == letter and mark != "b")
        assert marked == min(word.count(letter), guess.count(letter))


@pytest.mark.parametrize(("rule", "mark"), [("lmrl", mark_lmrl), ("counted", mark_counted)])
def test_the_table_of_marks_is_the_rule(rule, mark):
    vocabulary = Vocabulary(Vocabulary.read(None, rule).words[:60], rule)
    numbers: dict[str, int] = {}
    for row, guess in enumerate(vocabulary.words):
        for column, hidden in enumerate(vocabulary.words):
            number = int(vocabulary.marks[row, column])
            assert numbers.setdefault(mark(hidden, guess), number) == number
    assert len(set(numbers.values())) == len(numbers)


def test_it_is_a_proper_game(checked):
    checked(make, make_scripted_agent)


def test_vocabulary():
    env = make()
    actions = env.reset(seed=0)[1]["legal_actions"]
    assert len(set(actions)) == 431
    assert all(len(action) == 10 and action.endswith("\n") for action in actions)


def test_what_is_seen_and_returned():
    env = make()
    assert env.reset(seed=0)[0] == "Wordle:\n"
    env.unwrapped.hide("shirt")
    steps = play(env, "s h a r e\n", "ZZZZZ", " shirt ")
    assert steps[0][0] == "Wordle:\ns h a r e\ng g b g b\n"
    assert steps[1][0] == "Wordle:\ns h a r e\ng g b g b\nZZZZZ\n\n"
    assert steps[2][0].endswith("s h i r t\ng g g g g\n")
    assert [step[1:4] for step in steps] == [(-1.0, False, False), (-1.0, False, False), (0.0, True, False)]
    assert [step[4]["valid"] for step in steps] == [True, False, True]
    assert steps[2][4]["success"]
    assert str(env.unwrapped.candidates()) == f"[{env.unwrapped.vocabulary.index['shirt']}]"


@pytest.mark.parametrize("wrong", ["zzzzz", "about"])
def test_six_wrong_guesses_lose_six(wrong):
    env = make()
    env.reset(seed=0)
    env.unwrapped.hide("shirt")
    steps = play(env, *[wrong] * 6)
    assert sum(step[1] for step in steps) == -6
    assert [step[2] for step in steps] == [False] * 5 + [True]
    assert not steps[-1][4]["success"]
    assert len(steps[-1][0]) <= 128


def test_another_vocabulary(tmp_path):
    file = tmp_path / "words.txt"
    file.write_text("Apple\nmaple\n")
    env = make(vocabulary=str(file), marks="counted")
    assert env.reset(seed=0)[1]["legal_actions"] == (spell("apple"), spell("maple"))
    for text, message in (
        ("apples maple", "'apples' is no word"),
        ("apple", "holds 1 words"),
        (None, "cannot be read"),
    ):
        bad = tmp_path / f"{message[:3]}.txt"
        if text is not None:
            bad.write_text(text)
        with pytest.raises(ConfigurationError, match=message):
            make(vocabulary=str(bad))
    with pytest.raises(ConfigurationError, match="marks is 'odd'"):
        make(marks="odd")
    with pytest.raises(DataError, match="cannot be hidden"):
        env.unwrapped.hide("chess")


def returns(agent, env, count):
    return np.array([rollout(agent, env, seed).episode_return for seed in range(count)])


def test_the_random_mixture_returns_what_the_papers_data_do():
    env = make()
    played = returns(make_scripted_agent(env), env, 600)
    assert abs(played.mean() - -4.12) < 0.25  # standard error 0.065


def test_better_players_return_more():
    env = make()
    assert abs(returns(make_scripted_agent(env, perfect=True), env, 200).mean() - -2.36) < 0.3
    assert abs(returns(EntropyWordle(env), env, 200).mean() - -1.92) < 0.2
    assert returns(make_scripted_agent(env, random_guess=1.0), env, 200).mean() < -5.8
