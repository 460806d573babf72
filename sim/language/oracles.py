"""Who answers in Twenty Questions: a table of attributes, a local language model, or a served one.

All answer `Oracle.answer(thing, question) -> bool`. The table is built in and always right about what it knows; the
models take any question, and are as right as they are. Their prompt is LMRL-Gym's.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from qsft_robot.errors import ConfigurationError, MissingExtraError, QsftRobotError

SUBJECT = "the object"
PROMPT = "Answer the question about the object truthfully.\nobject: {thing}\nquestion: {question}\nanswer (yes or no): "
QUESTION_WORDS = ("is", "does", "can", "do", "are", "could")
LONGEST_QUESTION = 40
"""Words of a question that a model is asked, as in LMRL-Gym."""


@dataclass(frozen=True)
class Thing:
    """Something to guess: all its names, the first one first, and the keys of what is true of it."""

    names: tuple[str, ...]
    attributes: frozenset[str]

    @property
    def name(self) -> str:
        """The name it is shown by."""
        return self.names[0]


@dataclass(frozen=True)
class Table:
    """The built-in knowledge.

    Attributes:
        things: the 158 objects.
        questions: question about an attribute, as an action without its end of line -> key of the attribute.
        meanings: the same in normal form (`normal_form`), with both subjects.
        truth: (things, attributes) bool, in the order of `things` and `keys`.
        keys: keys of the attributes.
    """

    things: tuple[Thing, ...]
    questions: Mapping[str, str]
    meanings: Mapping[str, str]
    truth: np.ndarray
    keys: tuple[str, ...]


def normal_form(question: str) -> str:
    """A question without case, punctuation and articles, with `the object` for `it`."""
    words = re.sub(r"[^a-z0-9' -]+", " ", question.lower()).split()
    words = ["the object" if word == "it" else word for word in words if word not in ("a", "an", "some")]
    return " ".join(words).replace("this object", "the object")


@cache
def table() -> Table:
    """Read the built-in table: assets/attributes.txt and assets/objects.txt."""
    questions: dict[str, str] = {}
    keys = []
    for line in _lines("attributes.txt"):
        key, first, others = (part.strip() for part in line.split("|"))
        keys.append(key)
        for wording in (first, *(each.strip() for each in others.split(";") if each.strip())):
            questions[wording.replace("{it}", SUBJECT)] = key
    things = []
    shared: set[str] = set()
    for line in _lines("objects.txt"):
        if line.startswith("["):
            shared = set(line.split("]")[1].split())
            continue
        names, _, own = line.partition("=")
        things.append(Thing(tuple(name.strip() for name in names.split(";")), frozenset(shared | set(own.split()))))
    truth = np.array([[key in thing.attributes for key in keys] for thing in things])
    meanings = {normal_form(question): key for question, key in questions.items()}
    return Table(tuple(things), questions, meanings, truth, tuple(keys))


def _lines(asset: str) -> list[str]:
    text = files("qsft_robot.sim.language").joinpath(f"assets/{asset}").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


class Oracle(ABC):
    """Answers questions about a thing."""

    @abstractmethod
    def understands(self, question: str) -> bool:
        """Whether this is a question that can be answered; any other is answered with no."""

    @abstractmethod
    def answer(self, thing: Thing, question: str) -> bool:
        """Whether the answer is yes."""


class AttributeOracle(Oracle):
    """Looks the question up among the wordings that the table knows."""

    def understands(self, question: str) -> bool:
        return normal_form(question) in table().meanings

    def answer(self, thing: Thing, question: str) -> bool:
        return table().meanings.get(normal_form(question)) in thing.attributes


class _ModelOracle(Oracle):
    """Asks a language model; the same question about the same thing is asked once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], bool] = {}

    def understands(self, question: str) -> bool:
        words = question.split()
        return 1 < len(words) <= LONGEST_QUESTION and words[0].lower() in QUESTION_WORDS

    def answer(self, thing: Thing, question: str) -> bool:
        asked = (thing.name, normal_form(question))
        if asked not in self._known:
            reply = self._complete(PROMPT.format(thing=thing.name, question=question.strip()))
            found = re.search(r"\b(yes|no)\b", reply.lower())
            self._known[asked] = found is not None and found[1] == "yes"
        return self._known[asked]

    @abstractmethod
    def _complete(self, prompt: str) -> str:
        """What the model writes after `prompt`, a few tokens."""


class HuggingFaceOracle(_ModelOracle):
    """A local Hugging Face model, a causal one or one with an encoder (such as a fine-tuned T5).

    Args:
        model: name on the hub, or a folder.

    Raises:
        ConfigurationError: the model cannot be loaded.
    """

    def __init__(self, model: str) -> None:
        super().__init__()
        from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

        try:
            self._encodes = bool(AutoConfig.from_pretrained(model).is_encoder_decoder)
            loader: Any = AutoModelForSeq2SeqLM if self._encodes else AutoModelForCausalLM
            self._model: Any = loader.from_pretrained(model).eval()
            self._tokenizer: Any = AutoTokenizer.from_pretrained(model)
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"oracle_model={model} cannot be loaded: {error}") from error

    def _complete(self, prompt: str) -> str:
        tokens = self._tokenizer(prompt, return_tensors="pt")
        written = self._model.generate(**tokens, max_new_tokens=4, do_sample=False)[0]
        rest = written if self._encodes else written[tokens["input_ids"].shape[1] :]
        return str(self._tokenizer.decode(rest, skip_special_tokens=True))


class ServedOracle(_ModelOracle):
    """A model behind an OpenAI-compatible endpoint; its key comes from the variable OPENAI_API_KEY.

    Args:
        address: base of the endpoint, for example `http://127.0.0.1:8000/v1`.
        model: name of the model there.

    Raises:
        MissingExtraError: the client is not installed.
    """

    def __init__(self, address: str, model: str) -> None:
        super().__init__()
        try:
            import openai
        except ImportError as error:
            raise MissingExtraError("language", "a served oracle") from error
        self._error: type[Exception] = openai.OpenAIError
        self._address, self._name = address, model
        try:
            self._client = openai.OpenAI(base_url=address)
        except openai.OpenAIError as error:
            raise ConfigurationError(f"the oracle at {address} cannot be used: {error}") from error

    def _complete(self, prompt: str) -> str:
        try:
            reply = self._client.chat.completions.create(
                model=self._name, messages=[{"role": "user", "content": prompt}], max_tokens=4, temperature=0.0
            )
        except self._error as error:
            raise QsftRobotError(f"the oracle at {self._address} did not answer: {error}") from error
        return reply.choices[0].message.content or ""


def make_oracle(kind: str, model: str | None, address: str | None) -> Oracle:
    """The oracle of that kind: `table`, `hf` (needs a model) or `openai` (needs an address and a model).

    Raises:
        ConfigurationError: the kind is unknown, or something that it needs is missing.
    """
    if kind == "table":
        return AttributeOracle()
    if kind == "hf" and model:
        return HuggingFaceOracle(model)
    if kind == "openai" and model and address:
        return ServedOracle(address, model)
    if kind in ("hf", "openai"):
        raise ConfigurationError(f"oracle={kind} needs oracle_model" + (" and oracle_address" * (kind == "openai")))
    raise ConfigurationError(f"oracle is '{kind}', expected table, hf or openai")
