"""Speed of closed-loop decoding: `python -m qsft_robot.benchmark suite=inference`.

Times `TokenAgent.act` of a Q-SFT policy (pi_phi and p_theta together) of `model=` with fresh weights, and the same
greedy decision without any cache: every frame encoded and the whole sequence run anew for each action token. Both
decode the same random observations in float64, and their tokens are compared; the rate is that of float32 with cache.
`text` is what decoding sixteen games of text at once gains over one at a time (text.py).
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np
import torch

from qsft_robot.agents.token_agent import TokenAgent
from qsft_robot.algorithms import ValueRange, make_algorithm
from qsft_robot.benchmarks.text import batched_decoding
from qsft_robot.config import with_changes
from qsft_robot.config.commands import BenchmarkConfig
from qsft_robot.config.schema import LanguageModelConfig, LineTransformerConfig, TextTransformerConfig
from qsft_robot.config.suites import InferenceSuiteConfig
from qsft_robot.errors import ConfigurationError
from qsft_robot.models.robotics_transformer import TransformerShape
from qsft_robot.tokenization import ActionTokenizer
from qsft_robot.training.policy_files import Policy
from qsft_robot.training.shapes import shape_of_model

DIMENSIONS, STATE_WIDTH, IMAGE_SIZE = 7, 7, 48
LONG_HISTORY = 6
DECISIONS_WITHOUT_CACHE = 10
WARM_UP = 5


def run(config: BenchmarkConfig) -> dict[str, Any]:
    """Time decoding at the model's own history and at six frames; see the module's docstring."""
    suite = config.suite
    if not isinstance(suite, InferenceSuiteConfig):
        raise ConfigurationError(f"suite={suite.name} is not a suite of this module")
    before = torch.get_num_threads()
    torch.set_num_threads(suite.threads)
    try:
        own_history = getattr(config.model, "history", 1)
        results: dict[str, Any] = {"text": batched_decoding(config, suite.decisions)}
        if isinstance(config.model, TextTransformerConfig | LineTransformerConfig | LanguageModelConfig):
            return {"threads": suite.threads, **results}
        results |= {
            f"history_{history}": _measure(config, history, suite.decisions)
            for history in sorted({own_history, LONG_HISTORY})
        }
    finally:
        torch.set_num_threads(before)
    return {"model": config.model.name, "threads": suite.threads, "bins": config.tokenization.bins, **results}


def _measure(config: BenchmarkConfig, history: int, decisions: int) -> dict[str, Any]:
    policy = _policy(config, history)
    generator = np.random.default_rng(config.seed)
    observations: list[dict[str, np.ndarray]] = [
        {
            "image": generator.integers(0, 256, (IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8),
            "state": generator.normal(size=STATE_WIDTH).astype(np.float32),
        }
        for _ in range(history + max(decisions, DECISIONS_WITHOUT_CACHE) + WARM_UP)
    ]
    parameters = sum(each.numel() for each in policy.algorithm.networks.parameters())
    agent = TokenAgent(policy, "greedy", torch.float64)
    agent.reset(0)
    with_cache, tokens = [], []
    for observation in observations[: history + DECISIONS_WITHOUT_CACHE]:
        begin = perf_counter()
        action = agent.act(observation)
        with_cache.append(perf_counter() - begin)
        tokens.append(policy.tokenizer.encode(action))
    without_cache, same = [], True
    for step in range(history, history + DECISIONS_WITHOUT_CACHE):
        begin = perf_counter()
        decided = _decide_without_cache(policy, observations[step - history + 1 : step + 1])
        without_cache.append(perf_counter() - begin)
        same = same and decided == np.asarray(tokens[step]).tolist()
    single = TokenAgent(policy, "greedy", torch.float32)
    single.reset(0)
    milliseconds = []
    for observation in observations:
        begin = perf_counter()
        single.act(observation)
        milliseconds.append(1e3 * (perf_counter() - begin))
    milliseconds = milliseconds[-decisions:]
    median = float(np.median(milliseconds))
    return {
        "parameters": parameters,
        "same_tokens_without_cache": same,
        "time_ratio_to_no_cache": float(np.median(with_cache[history:]) / np.median(without_cache)),
        "milliseconds_median": median,
        "milliseconds_95": float(np.percentile(milliseconds, 95)),
        "rate_hz": 1e3 / median,
    }


def _policy(config: BenchmarkConfig, history: int) -> Policy:
    shape = TransformerShape(
        images={"image": (IMAGE_SIZE, IMAGE_SIZE)},
        state_width=STATE_WIDTH,
        dimensions=DIMENSIONS,
        bins=config.tokenization.bins,
        outputs=config.tokenization.bins,
        **shape_of_model(with_changes(config.model, {"history": history})),
    )
    torch.manual_seed(config.seed)
    algorithm = make_algorithm(shape, config.algorithm, ValueRange()).eval()
    for network in algorithm.networks.values():
        # Fresh heads are nearly flat: spread them, so that comparing tokens means something.
        torch.nn.init.normal_(network.head_weight)
        torch.nn.init.normal_(network.action_embedding.weight)
    extremes = np.array([[-1.0] * DIMENSIONS, [1.0] * DIMENSIONS])
    return Policy(algorithm, ActionTokenizer.fit(extremes, config.tokenization.bins), {}, {})


@torch.inference_mode()
def _decide_without_cache(policy: Policy, frames: list[dict[str, np.ndarray]]) -> list[int]:
    stacked = {key: torch.from_numpy(np.stack([frame[key] for frame in frames]))[None] for key in frames[0]}
    tokens: list[int] = []
    for _ in range(DIMENSIONS):
        prefix = torch.tensor([tokens], dtype=torch.int64).reshape(1, len(tokens))
        tokens.append(int(policy.algorithm.score(stacked, prefix).argmax()))
    return tokens
