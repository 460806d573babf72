"""What acting and learning on text cost: parts of `benchmark suite=inference` and of `suite=training`.

`batched_decoding` times Q-SFT (pi_phi and p_theta together, with their caches) on one game and on sixteen at once.
`peak_memory` trains in processes of their own, behaviour cloning with one adapter and Q-SFT with its three, over the
pretrained model that they share, and reports the most memory that each process held.
"""

from __future__ import annotations

import multiprocessing
import resource
from concurrent.futures import ProcessPoolExecutor
from time import perf_counter
from typing import Any

import numpy as np
import torch

from qsft_robot.agents.base import as_observation
from qsft_robot.agents.token_agent import TokenAgent
from qsft_robot.algorithms import Algorithm, ValueRange, make_algorithm
from qsft_robot.config import AlgorithmConfig, BehaviourCloningConfig, ModelConfig
from qsft_robot.config.build import build
from qsft_robot.config.commands import BenchmarkConfig
from qsft_robot.config.schema import LanguageModelConfig, LineTransformerConfig, TextTransformerConfig
from qsft_robot.datasets.batch import Batch
from qsft_robot.models.pretrained import tokenizer_of
from qsft_robot.tokenization import TextTokenizer
from qsft_robot.training.policy_files import Policy
from qsft_robot.training.shapes import learn_tokenizer, source_of, text_shape
from qsft_robot.training.text import TextConverter

BATCH = 16
TURNS, LETTERS = 6, 5
"""Of the made-up games, which look like Wordle."""
LONG_ACTION = 24
"""Letters of an action as long as a question of Twenty Questions."""
MEMORY_STEPS = 3
KIBIBYTE, GIBIBYTE = 2**10, 2**30


def batched_decoding(config: BenchmarkConfig, decisions: int) -> dict[str, Any]:
    """Rates alone and in a batch, of `model=` where it is one of text, else of tiny_text.

    `generation`: long actions after a short text, which is decoding with the cache and little else. `game`: short
    actions in the middle of a game, where reading what was said so far is most of the work, alone or not.
    """
    model = config.model
    if not isinstance(model, TextTransformerConfig | LineTransformerConfig | LanguageModelConfig):
        model = build(TextTransformerConfig, {"name": "tiny_text", "kind": "text_transformer"})
    return {
        "model": model.name,
        "generation": _rates(model, config, decisions, LONG_ACTION, 0),
        "game": _rates(model, config, decisions, LETTERS, TURNS // 2),
    }


def _rates(model: ModelConfig, config: BenchmarkConfig, decisions: int, letters: int, turn: int) -> dict[str, float]:
    games = _games(np.random.default_rng(config.seed), BATCH, letters)
    torch.manual_seed(config.seed)
    algorithm, tokenizer = _algorithm(model, config.algorithm, games)
    agent = TokenAgent(Policy(algorithm, tokenizer, {}, {}), "greedy")
    observations = [as_observation(texts[turn]) for texts, _ in games]
    rounds = max(1, decisions // BATCH)
    seconds = {1: 0.0, BATCH: 0.0}
    for number in range(rounds + 1):
        for size in seconds:
            begin = perf_counter()
            for first in range(0, BATCH, size):
                part = observations[first : first + size]
                agent.act_batch(part, [agent.new_memory(0) for _ in part])
            # The first round warms up.
            seconds[size] += perf_counter() - begin if number else 0.0
    rates = {size: rounds * BATCH / spent for size, spent in seconds.items()}
    return {
        "tokens_per_action": agent.shape.dimensions,
        "actions_per_second": rates[1],
        f"actions_per_second_batch_{BATCH}": rates[BATCH],
        "rate_ratio": rates[BATCH] / rates[1],
    }


def peak_memory(config: BenchmarkConfig) -> dict[str, Any]:
    """Peak resident memory of a few training steps of `model=`, BC against `algorithm=`, each in a fresh process."""
    assert isinstance(config.model, LanguageModelConfig)
    clone = BehaviourCloningConfig(name="bc", kind="bc", discount=config.algorithm.discount)
    context = multiprocessing.get_context("spawn")
    games = max(1, config.training.batch_size // TURNS)
    results: dict[str, Any] = {"model": config.model.name, "batch_size": games * TURNS}
    for settings in (clone, config.algorithm):
        # Unlike a Pool, it says so where a process was ended for want of memory.
        with ProcessPoolExecutor(1, mp_context=context) as executor:
            results[settings.name] = executor.submit(_train, config.model, settings, games).result()
    results["memory_ratio_to_bc"] = results[config.algorithm.name]["peak_gibibytes"] / results["bc"]["peak_gibibytes"]
    return results


def _train(model: LanguageModelConfig, settings: AlgorithmConfig, count: int) -> dict[str, float]:
    before = _peak()
    games = _games(np.random.default_rng(0), count)
    torch.manual_seed(0)
    algorithm, tokenizer = _algorithm(model, settings, games)
    behaviour = algorithm.networks["behaviour"] if algorithm.needs_behaviour_policy else None
    algorithm.prepare_training(behaviour)
    convert = TextConverter(tokenizer, model.context, torch.device("cpu"), behaviour)
    optimizer = torch.optim.AdamW(algorithm.trained_parameters(), lr=1e-4)
    milliseconds = []
    for _ in range(MEMORY_STEPS):
        begin = perf_counter()
        optimizer.zero_grad(set_to_none=True)
        algorithm.loss(convert(_batch(games), torch.Generator()))["loss"].backward()
        optimizer.step()
        algorithm.after_step()
        milliseconds.append(1e3 * (perf_counter() - begin))
    return {
        "peak_gibibytes": _peak() / GIBIBYTE,
        "before_the_model_gibibytes": before / GIBIBYTE,
        "milliseconds": float(np.median(milliseconds)),
    }


def _peak() -> int:
    """Most memory that this process has held, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIBIBYTE


def _algorithm(
    model: ModelConfig, settings: AlgorithmConfig, games: list[tuple[list[str], list[str]]]
) -> tuple[Algorithm, TextTokenizer]:
    """An algorithm and the tokenizer for these games."""
    actions = [action for _, acted in games for action in acted]
    if isinstance(model, LanguageModelConfig):
        tokenizer = TextTokenizer.pretrained(tokenizer_of(source_of(model, None)), actions)
    else:
        assert isinstance(model, TextTransformerConfig | LineTransformerConfig)
        tokenizer = learn_tokenizer(model, (texts[-1] for texts, _ in games), actions)
    shape = text_shape(tokenizer, model, None, None)
    return make_algorithm(shape, settings, ValueRange(-6.0, 0.0)), tokenizer


def _games(chance: np.random.Generator, count: int, letters: int = LETTERS) -> list[tuple[list[str], list[str]]]:
    """Observations (TURNS + 1 each) and actions (TURNS each) of made-up games."""
    games = []
    for _ in range(count):
        texts, actions = ["Wordle:\n"], []
        for _ in range(TURNS):
            action = " ".join(chr(letter) for letter in chance.integers(ord("a"), ord("z") + 1, letters)) + "\n"
            actions.append(action)
            texts.append(texts[-1] + action + " ".join("bgy"[mark] for mark in chance.integers(0, 3, LETTERS)) + "\n")
        games.append((texts, actions))
    return games


def _batch(games: list[tuple[list[str], list[str]]]) -> Batch:
    zeros = np.zeros((len(games), TURNS), dtype=np.float32)
    texts = np.array([texts for texts, _ in games], dtype=object)[:, :, None]
    return Batch(
        observations={"text": texts},
        actions=np.array([actions for _, actions in games], dtype=object),
        rewards=zeros - 1.0,
        terminal=zeros > 0,
        truncated=zeros > 0,
        valid=zeros == 0,
        monte_carlo_return=zeros - 3.0,
        episode_return=zeros - 6.0,
        row=np.zeros((len(games), TURNS + 1), dtype=np.int64),
    )
