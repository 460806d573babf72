"""The one training loop: every algorithm, every task.

Step k draws batch k of the sampler, seeds every random choice from (seed, k), and is therefore the same step
whether or not the process was killed before it: a resumed run ends with the same weights, bit for bit, on the same
machine with the same number of threads.
"""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from qsft_robot.algorithms.base import Algorithm, TokenBatch
from qsft_robot.errors import TrainingError
from qsft_robot.training.metrics import MetricsLog, Progress
from qsft_robot.training.state_files import read_description, read_tensors, write_folder
from qsft_robot.training.weight_average import WeightAverage

logger = logging.getLogger(__name__)

FINAL_LEARNING_RATE = 0.1
"""Share of the peak learning rate at which the cosine schedule ends."""
CAPTION_WEIGHT = 0.1
"""Of the cross-entropy of captions, where data have them, beside an algorithm's own loss."""
KEPT_STATES = 2
"""Training states kept on disk: the newest, and the one before in case that one is damaged."""


@dataclass(frozen=True)
class Stage:
    """What distinguishes one run of the loop from another.

    Attributes:
        name: for example "behaviour"; names folders and metrics.
        steps: how many at most.
        early_stopping: keep the weights of the best held-out loss, and stop after `patience` looks without a better,
            where the settings do not say otherwise.
    """

    name: str
    steps: int
    early_stopping: bool


class TrainingLoop:
    """Trains `algorithm` for one stage.

    Args:
        batch_at: step -> batch of that step, converted with a generator seeded for it.
        held_out: returns the batches of held-out episodes to measure the loss on, the same every time.
        settings: a TrainingConfig.
        folder: run folder; training states lie in `<folder>/training/<stage>/`.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        stage: Stage,
        batch_at: Callable[[int, torch.Generator], TokenBatch],
        held_out: Callable[[], Iterable[TokenBatch]],
        settings: Any,
        folder: Path,
        seed: int,
        accelerator: Accelerator,
    ) -> None:
        self.stage, self.batch_at, self.held_out = stage, batch_at, held_out
        self.early_stopping = stage.early_stopping and settings.early_stopping
        self.settings, self.folder, self.seed, self.accelerator = settings, folder, seed, accelerator
        self.algorithm = algorithm.to(accelerator.device)
        self.parameters = algorithm.trained_parameters()
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        self.average = WeightAverage(algorithm.networks, settings.weight_average)
        self.loss = torch.compile(algorithm.loss) if settings.compile else algorithm.loss
        self.step = 0
        self.best = math.inf
        self.best_step = 0
        self.best_weights: dict[str, Tensor] = {}
        self.states = folder / "training" / stage.name

    def run(self) -> dict[str, float]:
        """Train to the end of the stage, from the newest state on disk if there is one.

        Returns:
            The last record of metrics, with the step whose weights were kept.

        Raises:
            TrainingError: the loss or the gradient is not finite; the states written before stay.
        """
        self._restore()
        first = self.step
        progress = Progress(self.stage.name, self.stage.steps, first)
        record: dict[str, float] = {}
        with MetricsLog(self.folder, self.stage.name, first) as log:
            while self.step < self.stage.steps and not self._out_of_patience():
                terms = self._one_step()
                self.step += 1
                looked = self.step % self.settings.evaluation_period == 0 or self.step == self.stage.steps
                if looked:
                    terms["held_out_loss"] = self._held_out_loss()
                if looked or self.step % self.settings.log_period == 0:
                    record = {key: float(value) for key, value in terms.items()}
                    log.write(self.step, record)
                    progress.update(self.step, record)
                if self.step % self.settings.checkpoint_period == 0 or self.step == self.stage.steps:
                    self._save()
        if self.early_stopping and self.best_weights:
            self._load_weights(self.best_weights)
            logger.info(
                "%s: kept the weights of step %d (held-out loss %.4f)", self.stage.name, self.best_step, self.best
            )
            record["kept_step"] = float(self.best_step)
            record["held_out_loss"] = self.best
        else:
            self.average.apply()
        self.algorithm.eval()
        return record

    def _one_step(self) -> dict[str, Tensor | float]:
        generator = torch.Generator().manual_seed(_seed_of(self.seed, self.stage.name, self.step))
        torch.manual_seed(_seed_of(self.seed, self.stage.name + "/network", self.step))
        rate = self._learning_rate()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.algorithm.train()
        batch = self.batch_at(self.step, generator)
        with self.accelerator.autocast():
            terms = dict(self.loss(batch))
            caption = self.algorithm.caption_loss(batch)
        total = terms["loss"]
        if caption is not None:
            terms["caption_loss"] = caption
            total = total + CAPTION_WEIGHT * caption
        self.optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(total)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.gradient_clip)
        if not torch.isfinite(norm) or not torch.isfinite(total):
            raise TrainingError(
                f"{self.stage.name}: the loss or its gradient is not finite at step {self.step} "
                f"(loss {float(total.detach()):.4g}, gradient norm {float(norm):.4g}). Check the data with "
                f"`python -m qsft_robot.dataset validate`, or lower training.learning_rate (now "
                f"{self.settings.learning_rate:g}); the state before is in {self.states}"
            )
        self.optimizer.step()
        self.average.update(self.step)
        self.algorithm.after_step()
        return {**{key: value.detach() for key, value in terms.items()}, "gradient_norm": norm, "learning_rate": rate}

    def _learning_rate(self) -> float:
        warmup = min(1.0, (self.step + 1) / max(1, self.settings.warmup_steps))
        cosine = 0.5 * (1.0 + math.cos(math.pi * self.step / max(1, self.stage.steps)))
        return self.settings.learning_rate * warmup * (FINAL_LEARNING_RATE + (1.0 - FINAL_LEARNING_RATE) * cosine)

    @torch.no_grad()
    def _held_out_loss(self) -> float:
        self.algorithm.eval()
        losses, weights = [], []
        with self.average.applied():
            for batch in self.held_out():
                with self.accelerator.autocast():
                    losses.append(float(self.algorithm.loss(batch)["loss"]))
                weights.append(float(batch.valid.sum()))
            loss = float(np.average(losses, weights=weights)) if losses else math.inf
            if loss < self.best:
                self.best, self.best_step = loss, self.step
                if self.early_stopping:
                    networks = self.algorithm.networks.state_dict()
                    self.best_weights = {key: value.clone() for key, value in networks.items()}
        return loss

    def _out_of_patience(self) -> bool:
        waited = self.step - self.best_step
        return self.early_stopping and waited >= self.settings.patience * self.settings.evaluation_period

    def _load_weights(self, weights: dict[str, Tensor]) -> None:
        self.algorithm.networks.load_state_dict(weights)

    def _save(self) -> None:
        tensors = {f"algorithm/{key}": value for key, value in self.algorithm.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{index}/{key}": value for key, value in state.items()}
        tensors |= {f"average/{key}": value for key, value in self.average.state_dict().items()}
        tensors |= {f"best/{key}": value for key, value in self.best_weights.items()}
        description = {
            "step": self.step,
            "best": None if math.isinf(self.best) else self.best,
            "best_step": self.best_step,
        }
        write_folder(self.states / f"step_{self.step:08d}", tensors, description, "state")
        for old in sorted(self.states.glob("step_*"))[:-KEPT_STATES]:
            shutil.rmtree(old)

    def _restore(self) -> None:
        newest = sorted(self.states.glob("step_*"))[-1:]
        for folder in newest:
            description = read_description(folder, "state")
            tensors = read_tensors(folder, "state", self.accelerator.device)
            self.algorithm.load_state_dict(_under("algorithm/", tensors))
            self.average.load_state_dict(_under("average/", tensors))
            self.best_weights = _under("best/", tensors)
            slots: dict[int, dict[str, Tensor]] = {}
            for key, value in _under("optimizer/", tensors).items():
                index, name = key.split("/", 1)
                # The step count must stay on the CPU unless the optimiser is capturable.
                slots.setdefault(int(index), {})[name] = value
            self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": slots})
            self.step, self.best_step = description["step"], description["best_step"]
            self.best = math.inf if description["best"] is None else description["best"]
            logger.info("%s: going on after step %d", self.stage.name, self.step)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _seed_of(seed: int, purpose: str, step: int) -> int:
    words = [seed, step, *purpose.encode()]
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> np.uint64(1))
