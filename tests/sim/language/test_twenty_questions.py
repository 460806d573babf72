"""Twenty Questions: what is known, rules, returns, oracles, and what its scripted player reaches."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsft_robot import sim
from qsft_robot.agents.rollout import rollout
from qsft_robot.agents.scripted import make_scripted_agent
from qsft_robot.errors import ConfigurationError, MissingExtraError, QsftRobotError
from qsft_robot.sim.language import oracles, twenty_questions
from qsft_robot.sim.language.oracles import HuggingFaceOracle, ServedOracle, make_oracle, normal_form, table
from qsft_robot.sim.language.twenty_questions import guess_of, guesses

NAMES = [thing.name for thing in table().things]


def make(**options):
    return sim.make(sim.TWENTY_QUESTIONS, **options)


def meaning(env, name):
    """Start a game in which `name` is meant."""
    env.reset(seed=0)
    env.unwrapped.number = NAMES.index(name)
    return env


def test_what_is_known():
    things = table().things
    assert len(things) == len(set(NAMES)) == 158
    assert all(len(name) < 30 for thing in things for name in thing.names)
    assert set().union(*(thing.attributes for thing in things)) == set(table().keys)
    assert table().truth.shape == (158, len(table().keys))
    assert table().truth.any(axis=0).all()
    assert len(guesses()) == sum(len(thing.names) for thing in things)
    assert not set(guesses()) & set(table().meanings)


def test_any_object_can_be_told_from_all_others_in_time():
    def questions(left: np.ndarray) -> int:
        if len(left) == 1:
            return 1
        shares = table().truth[left].mean(axis=0)
        column = int(np.argmin(np.abs(shares - 0.5)))
        yes = table().truth[left, column]
        assert yes.any() and not yes.all(), [NAMES[each] for each in left]
        return 1 + max(questions(left[yes]), questions(left[~yes]))

    assert questions(np.arange(158)) <= 12


@pytest.mark.parametrize(
    ("name", "question", "yes"),
    [
        ("Dog", "Is the object alive?", True),
        ("Dog", "is it a living thing", True),
        ("Dog", "Does it have fur?", True),
        ("Dog", "Can it fly?", False),
        ("Eagle", "Can it fly?", True),
        ("Piano", "Is it a musical instrument?", True),
        ("Piano", "Can it be held in one hand?", False),
        ("Carrot", "Does the object grow underground?", True),
        ("Carrot", "Is it a fruit?", False),
        ("Sofa", "Can people sit or lie on it?", True),
        ("Smartphone", "Does it have a screen?", True),
    ],
)
def test_answers(name, question, yes):
    observation, reward, terminated, _, info = meaning(make(), name).step(question + "\n")
    assert observation.endswith("Yes.\n" if yes else "No.\n")
    assert (reward, terminated, info["valid"], info["success"]) == (-1.0, False, True, False)


def test_it_is_a_proper_game(checked):
    checked(make, make_scripted_agent)


@pytest.mark.parametrize("guess", ["Is the object a sofa?\n", "is it a COUCH", "Is it the object couch?\n"])
def test_guesses(guess):
    env = meaning(make(), "Sofa")
    observation, reward, terminated, _, info = env.step("Is the object a bed?\n")
    assert (reward, terminated, info["valid"]) == (-1.0, False, True)
    observation, reward, terminated, _, info = env.step(guess)
    right = "the object couch" not in guess
    assert (reward, terminated, info["success"]) == ((0.0, True, True) if right else (-1.0, False, False))
    assert observation.startswith("Questions:\nIs the object a bed?\nNo.\n")
    assert observation.endswith("Yes.\n" if right else "No.\n")


def test_twenty_wrong_questions_lose_twenty():
    env = meaning(make(), "Sofa")
    steps = [env.step(question) for question in ["What is it?", "Is it alive?", "x" * 900, ""] * 5]
    assert sum(step[1] for step in steps) == -20
    assert [step[2] for step in steps] == [False] * 19 + [True]
    assert [step[4]["valid"] for step in steps[:4]] == [False, True, False, False]
    assert steps[-1][0].count("No.\n") == 20


@given(st.sampled_from(sorted(table().questions)), st.sampled_from(table().things))
def test_wordings_do_not_matter(question, thing):
    oracle = make_oracle("table", None, None)
    for wording in (question, question.upper(), question.replace("the object", "it"), question[:-1] + " \n"):
        assert oracle.understands(wording)
        assert oracle.answer(thing, wording) == (table().questions[question] in thing.attributes)
    assert normal_form(guess_of(thing)) in guesses()


class TalkingOracle(oracles._ModelOracle):
    def __init__(self, replies):
        super().__init__()
        self.replies, self.asked = replies, []

    def _complete(self, prompt):
        self.asked.append(prompt)
        return self.replies[len(self.asked) - 1]


def test_models_are_asked_once_and_answer_no_when_in_doubt(monkeypatch):
    oracle = TalkingOracle([" Yes, it is.", "I do not know", "nothing. NO"])
    dog = table().things[0]
    assert [oracle.answer(dog, q) for q in ("Is it alive?", "is it alive", "Is it old?", "Is it new?")] == [
        True,
        True,
        False,
        False,
    ]
    assert oracle.asked[0].endswith("object: Dog\nquestion: Is it alive?\nanswer (yes or no): ")
    assert oracle.understands("Could it be a dog?")
    assert not oracle.understands("What is it?")
    assert not oracle.understands("Is " + "very " * 60)
    monkeypatch.setattr(twenty_questions, "make_oracle", lambda *_: TalkingOracle(["yes"] * 20))
    env = make(oracle="hf", oracle_model="any")
    assert meaning(env, "Dog").reset(seed=0)[1]["legal_actions"] is None
    assert env.step("Is it something nobody listed?")[0].endswith("Yes.\n")


def test_a_served_oracle_asks_the_endpoint(monkeypatch):
    calls = []

    class Client:
        def __init__(self, base_url):
            create = SimpleNamespace(create=self.create)
            self.chat = SimpleNamespace(completions=create)
            calls.append(base_url)

        def create(self, **request):
            calls.append(request)
            if len(calls) > 2:
                raise OSError("refused")
            return SimpleNamespace(choices=[SimpleNamespace(message=SimpleNamespace(content="Yes"))])

    monkeypatch.setitem(sys.modules, "openai", SimpleNamespace(OpenAI=Client, OpenAIError=OSError))
    oracle = ServedOracle("http://127.0.0.1:1/v1", "small")
    assert oracle.answer(table().things[0], "Is it alive?")
    assert (calls[0], calls[1]["model"], calls[1]["temperature"]) == ("http://127.0.0.1:1/v1", "small", 0.0)
    with pytest.raises(QsftRobotError, match="did not answer: refused"):
        oracle.answer(table().things[0], "Is it old?")
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(MissingExtraError, match=r"qsft_robot\[language\]"):
        ServedOracle("http://127.0.0.1:1/v1", "small")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"oracle": "hf"}, "oracle=hf needs oracle_model"),
        ({"oracle": "openai", "oracle_model": "x"}, "needs oracle_model and oracle_address"),
        ({"oracle": "gpt"}, "expected table, hf or openai"),
        ({"oracle": "hf", "oracle_model": "/absent/folder"}, "/absent/folder cannot be loaded"),
    ],
)
def test_mistakes(options, message, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConfigurationError, match=message):
        make(**options)


def test_a_local_model_answers(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    words = {word: number for number, word in enumerate(["?", "yes", "no", "object", "question", "answer", ":"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="?", eos_token="?").save_pretrained(tmp_path)
    shape = {"n_positions": 128, "n_embd": 8, "n_layer": 1, "n_head": 2}
    GPT2LMHeadModel(GPT2Config(vocab_size=7, eos_token_id=0, bos_token_id=0, **shape)).save_pretrained(tmp_path)
    oracle = HuggingFaceOracle(str(tmp_path))
    assert oracle.answer(table().things[0], "Is it alive?") in (True, False)


def returns(agent, env, count):
    return np.array([rollout(agent, env, seed).episode_return for seed in range(count)])


def test_the_scripted_player_returns_what_the_papers_data_do():
    env = make()
    assert abs(returns(make_scripted_agent(env), env, 500).mean() - -17.3) < 0.7  # standard error 0.18
    perfect = returns(make_scripted_agent(env, perfect=True), env, 100)
    assert perfect.mean() > -7.6
    assert perfect.min() > -13
