"""Cost of one training step: `python -m qsft_robot.benchmark suite=training`.

BC and the algorithm of `algorithm=` train on the same random data with the same network and batch. Reported: median
milliseconds of a step and of its parts outside the model (drawing and converting the batch), the model's own count of
floating-point operations, and the share that it reaches of this machine's matrix-product rate, measured
in the same run. For a pretrained language model the figure is memory (text.py).
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch.utils.flop_counter import FlopCounterMode

from qsft_robot.algorithms import Algorithm, ValueRange, make_algorithm
from qsft_robot.algorithms.base import TokenBatch
from qsft_robot.benchmarks.text import peak_memory
from qsft_robot.config import BehaviourCloningConfig
from qsft_robot.config.commands import BenchmarkConfig
from qsft_robot.config.schema import LanguageModelConfig
from qsft_robot.config.suites import TrainingSuiteConfig
from qsft_robot.datasets.batch import Batch
from qsft_robot.errors import ConfigurationError
from qsft_robot.models.robotics_transformer import TransformerShape
from qsft_robot.tokenization import ActionTokenizer
from qsft_robot.training.precision import make_accelerator
from qsft_robot.training.shapes import shape_of_model
from qsft_robot.training.tensors import BatchConverter

DIMENSIONS, STATE_WIDTH, IMAGE_SIZE = 7, 7, 48
ROWS = 2000
"""Observations of the made-up dataset: enough that a batch does not stay in the processor's cache."""
MATRIX_SIZE = 2048
WARM_UP = 3


def run(config: BenchmarkConfig) -> dict[str, Any]:
    """Time the steps; see the module's docstring."""
    suite = config.suite
    if not isinstance(suite, TrainingSuiteConfig):
        raise ConfigurationError(f"suite={suite.name} is not a suite of this module")
    if isinstance(config.model, LanguageModelConfig):
        return peak_memory(config)
    shape = TransformerShape(
        images={"image": (IMAGE_SIZE, IMAGE_SIZE)},
        state_width=STATE_WIDTH,
        dimensions=DIMENSIONS,
        bins=config.tokenization.bins,
        outputs=config.tokenization.bins,
        **shape_of_model(config.model),
    )
    discount = config.algorithm.discount
    accelerator = make_accelerator(config.model, config.training)
    precision = torch.bfloat16 if accelerator.narrow else torch.float32
    peak = _matrix_rate(precision)
    clone = make_algorithm(shape, BehaviourCloningConfig(name="bc", kind="bc", discount=discount), ValueRange())
    algorithm = make_algorithm(shape, config.algorithm, ValueRange())
    algorithm.prepare_training(clone.network("behaviour") if algorithm.needs_behaviour_policy else None)
    timers = {each.settings.name: _Timer(each, config, shape, accelerator) for each in (clone, algorithm)}
    for _ in range(WARM_UP + suite.steps):
        for timer in timers.values():  # in turn, so that what else the machine does falls on both
            timer.step()
    results = {name: timer.result(peak) for name, timer in timers.items()}
    ratio = results[config.algorithm.name]["milliseconds"] / results["bc"]["milliseconds"]
    return {
        "model": config.model.name,
        "batch_size": config.training.batch_size,
        "threads": torch.get_num_threads(),
        "precision": str(precision).removeprefix("torch."),
        "matrix_gflops_per_second": peak / 1e9,
        **results,
        "time_ratio_to_bc": ratio,
    }


class _Timer:
    """One algorithm's training on random data, step by step."""

    def __init__(
        self, algorithm: Algorithm, config: BenchmarkConfig, shape: TransformerShape, accelerator: Accelerator
    ) -> None:
        self._algorithm, self._config, self._accelerator = algorithm, config, accelerator
        self._batches = _RandomBatches(config, shape)
        self._parameters = algorithm.trained_parameters()
        self._optimizer = torch.optim.AdamW(self._parameters, lr=config.training.learning_rate, fused=True)
        self._generator = torch.Generator().manual_seed(config.seed)
        self._outside: list[float] = []
        self._whole: list[float] = []
        with FlopCounterMode(display=False) as counter:
            self._learn(self._batches.draw(self._generator))
        self._operations = counter.get_total_flops()

    def step(self) -> None:
        """Time a step."""
        begin = perf_counter()
        batch = self._batches.draw(self._generator)
        middle = perf_counter()
        self._learn(batch)
        self._outside.append(middle - begin)
        self._whole.append(perf_counter() - begin)

    def result(self, peak: float) -> dict[str, float]:
        """What the steps after the first few took; `peak` is the machine's operations per second."""
        median = float(np.median(self._whole[WARM_UP:]))
        return {
            "milliseconds": 1e3 * median,
            "share_outside_model": float(np.median(self._outside[WARM_UP:]) / median),
            "gflops": self._operations / 1e9,
            "share_of_matrix_rate": self._operations / median / peak,
            "samples_per_second": self._config.training.batch_size / median,
        }

    def _learn(self, batch: TokenBatch) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        with self._accelerator.autocast():
            loss = self._algorithm.loss(batch)["loss"]
        self._accelerator.backward(loss)
        torch.nn.utils.clip_grad_norm_(self._parameters, self._config.training.gradient_clip)
        self._optimizer.step()
        self._algorithm.after_step()


class _RandomBatches:
    """Draws segments from made-up rows, through the converter that training uses."""

    def __init__(self, config: BenchmarkConfig, shape: TransformerShape) -> None:
        self.chance = np.random.default_rng(config.seed)
        self.length = config.training.segment_length
        self.segments = config.training.batch_size // self.length
        self.history = shape.history
        self.images = self.chance.integers(0, 256, (ROWS, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
        self.states = self.chance.normal(size=(ROWS, STATE_WIDTH)).astype(np.float32)
        self.actions = self.chance.uniform(-1, 1, (ROWS, DIMENSIONS)).astype(np.float32)
        logits = self.chance.normal(size=(ROWS, DIMENSIONS, shape.bins)).astype(np.float16)
        tokenizer = ActionTokenizer.fit(self.actions, shape.bins)
        self.convert = BatchConverter(tokenizer, config.training.image_shift, torch.device("cpu"), logits)

    def draw(self, generator: torch.Generator) -> TokenBatch:
        """A converted batch."""
        start = self.chance.integers(0, ROWS - self.length - 1, self.segments)
        row = start[:, None] + np.arange(self.length + 1)
        frames = (row[:, :, None] + np.arange(1 - self.history, 1)).clip(0)
        here = row[:, :-1]
        zeros = np.zeros(here.shape, dtype=np.float32)
        batch = Batch(
            observations={"image": self.images[frames], "state": self.states[frames]},
            actions=self.actions[here],
            rewards=zeros,
            terminal=zeros > 0,
            truncated=zeros > 0,
            valid=zeros == 0,
            monte_carlo_return=zeros,
            episode_return=zeros,
            row=row,
        )
        return self.convert(batch, generator)


def _matrix_rate(precision: torch.dtype) -> float:
    """Floating-point operations per second of a large matrix product of these numbers."""
    first, second = torch.randn(2, MATRIX_SIZE, MATRIX_SIZE, dtype=precision).unbind()
    seconds = []
    for _ in range(WARM_UP + 5):
        begin = perf_counter()
        first @ second
        seconds.append(perf_counter() - begin)
    return 2 * MATRIX_SIZE**3 / min(seconds)
