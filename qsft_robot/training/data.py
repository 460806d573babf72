"""The data side of an experiment: stores, the split into training and held-out episodes, tokenizer, samplers."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from qsft_robot.algorithms import ValueRange
from qsft_robot.algorithms.base import TokenBatch
from qsft_robot.config import TrainConfig, collection_options, differently_told
from qsft_robot.config.schema import (
    LanguageModelConfig,
    LineTransformerConfig,
    TextTransformerConfig,
    VisionLanguageModelConfig,
)
from qsft_robot.datasets.sampler import SegmentSampler
from qsft_robot.datasets.store import TrajectoryStore
from qsft_robot.errors import CheckpointError, ConfigurationError, DataError, StoreError
from qsft_robot.models.line_transformer import LineTransformer
from qsft_robot.models.pretrained import tokenizer_of
from qsft_robot.models.robotics_transformer import RoboticsTransformer
from qsft_robot.models.word_spotter import CAPTION
from qsft_robot.tokenization import ActionTokenizer, TextTokenizer, Tokenizer
from qsft_robot.training.policy_files import load_policy
from qsft_robot.training.shapes import TEXT_MODELS, learn_tokenizer, picture_size, source_of
from qsft_robot.training.tensors import BatchConverter, observation_tensors
from qsft_robot.training.text import TextConverter

logger = logging.getLogger(__name__)

LARGEST_HELD_OUT_SHARE = 0.5
HELD_OUT_BATCHES = 24
"""Batches of held-out episodes whose mean loss decides early stopping: about 3,000 transitions at the default size."""
VOCABULARY_BATCH, VOCABULARY_BATCHES = 1000, 20
"""Observations from which the vocabulary of a text model is learned, at most, beside all the actions."""
SPLIT_SEED = 9173
"""Mixed with the run's seed, so that the split is not correlated with other draws of the same seed."""


@dataclass
class ExperimentData:
    """What training reads.

    Attributes:
        stores: opened for reading.
        training, held_out: samplers over disjoint episodes.
        tokenizer: fitted on the training episodes.
        value_range: of the discounted returns of the training episodes.
    """

    stores: list[TrajectoryStore]
    training: SegmentSampler
    held_out: SegmentSampler
    tokenizer: Tokenizer
    value_range: ValueRange

    @property
    def success(self) -> np.ndarray:
        """(episodes,) bool over all stores."""
        return np.concatenate([store.success for store in self.stores])

    @property
    def mean_return(self) -> float:
        """Mean undiscounted return of an episode over all stores."""
        return float(np.concatenate([store.episode_returns for store in self.stores]).mean())


def open_data(paths: Sequence[Path], config: TrainConfig, history: int, keys: Sequence[str] | None) -> ExperimentData:
    """Open the stores and prepare the samplers.

    Raises:
        StoreError: a store is missing, damaged, or made for another task.
        ConfigurationError: a store tells what there is in other words than the environment will.
        DataError: too few episodes to hold any out, or actions of several sizes.
    """
    stores = [TrajectoryStore.open(path, task=config.sim.name) for path in paths]
    options = collection_options(config.sim)
    for store in stores:
        found = store.attributes.get("options", {})
        for key in differently_told(found, options):
            raise ConfigurationError(
                f"{store.path} was collected with options.{key}={found[key]}, and a policy would play with "
                f"{options[key]}: add sim.options.{key}={found[key]}, or collect anew"
            )
    training_episodes, held_out_episodes = [], []
    for index, store in enumerate(stores):
        count = len(store)
        if count < 2:
            raise StoreError(f"{store.path} holds {count} episode(s): at least 2 are needed, one of them held out")
        order = np.random.default_rng([SPLIT_SEED, config.seed, index]).permutation(count)
        kept = int(np.clip(round(count * config.training.held_out_fraction), 1, count * LARGEST_HELD_OUT_SHARE))
        held_out_episodes.append(np.sort(order[:kept]))
        training_episodes.append(np.sort(order[kept:]))
    if any(store.spec.action != stores[0].spec.action for store in stores):
        raise DataError("the stores have actions of different kinds or sizes; they cannot be trained on together")
    if keys is not None and CAPTION in keys:
        bare = [str(store.path) for store in stores if CAPTION not in store.spec.observations]
        if bare:
            keys = [key for key in keys if key != CAPTION]
            logger.warning(
                "no captions in %s: model.image_words has to learn from actions alone what pictures show",
                ", ".join(bare),
            )
    common: dict[str, Any] = {
        "segment_length": config.training.segment_length,
        "history": history,
        "discount": config.algorithm.discount,
        "observation_keys": keys,
        "batch_size": config.training.batch_size,
    }
    if stores[0].spec.action.is_text and keys is not None and "image" in keys:
        picture_size(config.model, stores[0].spec)
    common["whole_episodes"] = _whole_episodes(config, stores, keys)
    budget = int(config.training.memory_budget_gigabytes * 2**30)
    share = int(budget * config.training.held_out_fraction)
    training = SegmentSampler(stores, training_episodes, seed=config.seed, memory_budget_bytes=budget - share, **common)
    held_out = SegmentSampler(stores, held_out_episodes, seed=config.seed, memory_budget_bytes=share, **common)
    table = training.table
    actions = table.actions[table.valid]
    tokenizer: Tokenizer
    if stores[0].spec.action.is_text:
        tokenizer = _text_tokenizer(config, training, actions)
    else:
        tokenizer = ActionTokenizer.fit(actions, config.tokenization.bins, config.tokenization.kind)
    value_range = ValueRange.of_returns(table.monte_carlo_return[table.valid])
    return ExperimentData(stores, training, held_out, tokenizer, value_range)


def _whole_episodes(config: TrainConfig, stores: Sequence[TrajectoryStore], keys: Sequence[str] | None) -> bool:
    """Whether every segment is an episode from its beginning.

    Raises:
        ConfigurationError: the model's streams are whole episodes, and segments are too short for them.
    """
    longest, length = max(int(store.episode_lengths.max()) for store in stores), config.training.segment_length
    model = config.model
    text = stores[0].spec.action.is_text
    if text and isinstance(model, VisionLanguageModelConfig) and model.stream == "episode":
        if longest > length:
            raise ConfigurationError(
                f"model.stream=episode wants whole episodes, of which the longest has {longest} actions, but "
                f"training.segment_length={length}: raise it (and training.batch_size to a multiple of it), or choose "
                "model.stream=observation"
            )
        return True
    return keys == ["text"] and longest <= length


def _text_tokenizer(config: TrainConfig, sampler: SegmentSampler, actions: np.ndarray) -> TextTokenizer:
    """Learn the vocabulary from the training episodes, or take that of the checkpoint that training starts from."""
    model = config.model
    if isinstance(model, LanguageModelConfig):
        return TextTokenizer.pretrained(tokenizer_of(source_of(model, config.name)), actions.tolist())
    if not isinstance(model, TextTransformerConfig | LineTransformerConfig):
        raise ConfigurationError(f"model={model.name} does not act by text; {TEXT_MODELS}")
    if config.initialise_from is not None:
        return _tokenizer_of_checkpoint(config.initialise_from, actions.tolist())
    observations = (
        str(text)
        for number, (_, frames, _) in enumerate(sampler.sequential(VOCABULARY_BATCH))
        if number < VOCABULARY_BATCHES
        for text in frames["text"][:, -1]
    )
    words = actions.tolist()
    texts = (text for part in (observations, words) for text in part)
    return learn_tokenizer(model, texts, words)


def _tokenizer_of_checkpoint(path: str, actions: Sequence[str]) -> TextTokenizer:
    """That of a checkpoint, with room for these actions; some of them it may not know.

    Raises:
        CheckpointError: the checkpoint is missing or damaged, or does not act by text.
        DataError: it knows none of the actions.
    """
    tokenizer = load_policy(path).tokenizer
    if not isinstance(tokenizer, TextTokenizer):
        raise CheckpointError(f"{path} does not act by text: training on text cannot start from it")
    unknown = [text for text in actions if not tokenizer.action(text)]
    if len(unknown) == len(actions):
        raise DataError(f"{path} knows none of the actions of these data, such as {actions[0]!r}")
    if unknown:
        logger.warning(
            "%s does not know %d of %d actions, such as %r; they are not learned", path, len(unknown), len(actions),
            unknown[0],
        )  # fmt: skip
    tokenizer.make_room(actions)
    return tokenizer


def set_statistics(network: torch.nn.Module, data: ExperimentData) -> None:
    """Tell the network what it takes from the training data as a whole.

    That is the mean and spread of `state`, where it takes one, and the words of actions, where it marks those of an
    instruction: what no action has, such as `a`, stands in a text whether it is asked for or not.
    """
    if isinstance(network, LineTransformer) and (network.shape.instruction_lines or network.shape.image_words):
        assert isinstance(data.tokenizer, TextTokenizer)
        actions = data.training.table.actions[data.training.table.valid]
        network.set_words(sorted(data.tokenizer.words(set(actions.tolist()))))
    if not isinstance(network, RoboticsTransformer):
        return
    width = data.stores[0].spec.observations["state"].shape[0] if "state" in data.stores[0].spec.observations else 0
    if not width:
        return
    total = np.zeros(width)
    squares = np.zeros_like(total)
    count = 0
    for _, observations, _ in data.training.sequential(4096):
        newest = observations["state"][:, -1].astype(np.float64)
        total += newest.sum(axis=0)
        squares += (newest**2).sum(axis=0)
        count += len(newest)
    mean = total / count
    scale = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
    # What an algorithm adds to the state behind the data's own numbers keeps its scale.
    added = network.shape.state_width - width
    network.set_state_statistics(
        torch.from_numpy(np.append(mean, np.zeros(added))).float(),
        torch.from_numpy(np.append(scale, np.ones(added))).float(),
    )


def held_out_batches(
    sampler: SegmentSampler, converter: BatchConverter | TextConverter, count: int = HELD_OUT_BATCHES
) -> Iterator[TokenBatch]:
    """The same batches of held-out episodes every time; no more than it takes to see each episode's rows once."""
    rows_per_batch = sampler.segments * (sampler.batch(0).rewards.shape[1])
    generator = torch.Generator()
    for step in range(min(count, max(1, len(sampler) // rows_per_batch))):
        yield converter(sampler.batch(step), generator)


@torch.inference_mode()
def behaviour_logits(
    network: RoboticsTransformer,
    sampler: SegmentSampler,
    tokenizer: ActionTokenizer,
    path: Path,
    device: torch.device,
    batch_size: int = 256,
) -> np.ndarray:
    """pi_phi's logits for every observation of `sampler`, computed once: (rows, D, bins) float16 in a file.

    The behaviour policy is fixed while theta is trained; reading its logits costs a memory copy where computing them
    in every step would cost two passes through a network.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (len(sampler), network.shape.dimensions, network.shape.bins)
    logits = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
    network = network.to(device).eval()
    for rows, observations, actions in sampler.sequential(batch_size):
        tokens = torch.from_numpy(tokenizer.encode(actions)).to(device)
        result = network(network.encode(observation_tensors(observations, device)), tokens)
        # Logits are shifted so that the largest is 0: float16 is finest there.
        result = (result.float() - result.float().amax(dim=-1, keepdim=True)).clamp_min(-60.0)
        logits[rows] = result.cpu().numpy().astype(np.float16)
    logits.flush()
    return logits
