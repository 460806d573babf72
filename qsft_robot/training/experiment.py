"""From a configuration to a policy that was measured: collect, train pi_phi, train the algorithm, examine it, play.

Each stage leaves what it made in the run folder; with `resume=true` a stage that is done is not done again, and one
that was cut off goes on from its newest state.

    <run>/config.yaml           resolved configuration
    <run>/metrics.jsonl         and tensorboard/: every logged number
    <run>/behaviour/            the behaviour policy pi_phi, a checkpoint of its own
    <run>/policy/               the algorithm's policy
    <run>/evaluation/*.json     outcomes per episode and seed
    <run>/videos/               successes and failures
    <run>/result.json           what the command prints, with the diagnostics and what they advise
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from accelerate.utils import set_seed

from qsft_robot.algorithms import Algorithm, make_algorithm
from qsft_robot.collect import collect_as_configured
from qsft_robot.config import (
    TrainConfig,
    collection_options,
    dataset_path,
    differing_settings,
    evaluation_options,
    read_yaml,
    run_folder,
    to_dict,
    to_yaml,
)
from qsft_robot.config.algorithms import BehaviourCloningConfig
from qsft_robot.datasets.reader import read_header
from qsft_robot.errors import CheckpointError, ConfigurationError
from qsft_robot.evaluation.evaluate import Task, evaluate_scripted, log_summary
from qsft_robot.evaluation.play import decodings_of, evaluation_seeds, every_decoding, play_checkpoint, record_summary
from qsft_robot.evaluation.statistics import wilson_interval
from qsft_robot.models import NetworkShape, TransformerShape
from qsft_robot.surroundings import surroundings
from qsft_robot.tokenization import ActionTokenizer, TextTokenizer
from qsft_robot.training.data import (
    ExperimentData,
    behaviour_logits,
    held_out_batches,
    open_data,
    set_statistics,
)
from qsft_robot.training.diagnostics import diagnose, log_advice, write_tensorboard
from qsft_robot.training.loop import Stage, TrainingLoop
from qsft_robot.training.metrics import duration
from qsft_robot.training.policy_files import Policy, load_networks, load_policy, save_policy
from qsft_robot.training.precision import make_accelerator
from qsft_robot.training.shapes import network_shape, observation_keys
from qsft_robot.training.tensors import BatchConverter
from qsft_robot.training.text import TextConverter

T = TypeVar("T")

logger = logging.getLogger(__name__)

MAY_DIFFER_ON_RESUME = ("run", "resume", "workers", "evaluation")
TRAINING_BATCHES = 8
"""Batches of training episodes that diagnostics compare the held-out ones with: a mean needs no more."""


class Experiment:
    """One training run in one folder."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.folder = run_folder(config)
        self.started = time.monotonic()
        self.seconds: dict[str, float] = {}
        self.accelerator = make_accelerator(config.model, config.training)

    def run(self) -> dict[str, Any]:
        """Do every stage that is not done yet; return the result."""
        self._claim_folder()
        dataset = self._timed("collect", self._dataset)
        model = self.config.model
        data = self._timed("load", lambda: open_data(dataset, self.config, model.history, observation_keys(model)))
        rate, count = float(data.success.mean()), len(data.success)
        logger.info("data: %d episodes, %.1f%% of them successful", count, 100 * rate)
        needed = self._make(data).needs_behaviour_policy or self.config.algorithm.kind == "bc"
        behaviour = self._timed("behaviour", lambda: self._behaviour(data)) if needed else None
        self._timed("train", lambda: self._policy(data, behaviour))
        diagnostics = self._timed("diagnose", lambda: self._diagnose(data))
        result: dict[str, Any] = {
            **surroundings(),
            "seeds": {"run": self.config.seed, "evaluation": self.config.evaluation.seed},
            "run": str(self.folder),
            "dataset": {
                "paths": [str(path) for path in dataset],
                "episodes": count,
                "success_rate": rate,
                "success_interval": wilson_interval(int(data.success.sum()), count),
                "return": data.mean_return,
            },
            **self._timed("evaluate", self._evaluate),
        }
        result["diagnostics"] = diagnostics
        result["checkpoint"] = str(self.folder / "policy")
        result["seconds"] = {**{k: round(v, 1) for k, v in self.seconds.items()}, "total": round(self._elapsed(), 1)}
        (self.folder / "result.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
        self._say(result)
        return result

    def _timed(self, name: str, work: Callable[[], T]) -> T:
        begin = time.monotonic()
        try:
            return work()
        finally:
            self.seconds[name] = time.monotonic() - begin

    def _elapsed(self) -> float:
        return time.monotonic() - self.started

    def _claim_folder(self) -> None:
        saved = self.folder / "config.yaml"
        if saved.exists():
            if not self.config.resume:
                raise ConfigurationError(
                    f"{self.folder} holds a run already: add resume=true to go on with it, or choose another run="
                )
            before, now = to_dict(read_yaml(TrainConfig, saved)), to_dict(self.config)
            differ = differing_settings(before, now, MAY_DIFFER_ON_RESUME)
            if differ:
                raise ConfigurationError(
                    f"{self.folder} was started with other settings ({'; '.join(differ)}): repeat the command that "
                    "started it, with resume=true, or choose another run="
                )
        elif self.config.resume:
            raise ConfigurationError(f"there is no run to resume in {self.folder}: leave resume=true out to start one")
        for path in self._given_dataset():
            read_header(path)  # a folder that nothing was done in would be in the way of the next try
        self.folder.mkdir(parents=True, exist_ok=True)
        saved.write_text(to_yaml(self.config), encoding="utf-8")
        logger.info("run folder: %s", self.folder)

    def _dataset(self) -> list[Path]:
        given = self._given_dataset()
        if given:
            return given
        collect_as_configured(self.config)
        return [dataset_path(self.config)]

    def _given_dataset(self) -> list[Path]:
        """The stores that `dataset=` names; none where it is left out."""
        given = self.config.dataset or []
        return [Path(path) for path in ([given] if isinstance(given, str) else given)]

    def _behaviour(self, data: ExperimentData) -> Algorithm:
        """Train pi_phi, or read the one that an earlier process of this run trained."""
        folder = self.folder / "behaviour"
        if (folder / "policy.json").exists():
            return load_policy(folder, self.accelerator.device).algorithm
        set_seed(self.config.seed)
        settings = BehaviourCloningConfig(name="bc", kind="bc", discount=self.config.algorithm.discount)
        algorithm = make_algorithm(self._shape(data), settings, data.value_range)
        set_statistics(algorithm.networks["behaviour"], data)
        if self.config.initialise_from is not None:
            self._initialise(algorithm, data)
        stage = Stage("behaviour", self.config.training.behaviour_steps, early_stopping=True)
        self._loop(algorithm, stage, data, None, None).run()
        save_policy(folder, self._as_policy(algorithm, data))
        return algorithm

    def _initialise(self, algorithm: Algorithm, data: ExperimentData) -> None:
        policy = load_policy(str(self.config.initialise_from))
        sizes = ("dimensions", "room")  # they are no part of the weights
        ours, theirs = (
            {key: value for key, value in each.to_dict().items() if key not in sizes}
            for each in (data.tokenizer, policy.tokenizer)
        )
        if isinstance(data.tokenizer, TextTokenizer) and ours != theirs:
            raise CheckpointError(
                f"{self.config.initialise_from} numbers its tokens in another way than these data would: start from it "
                "with the data that it was trained on, or from a pretrained model"
            )
        source = policy.algorithm.networks
        if "behaviour" not in source:
            raise CheckpointError(f"{self.config.initialise_from} has no behaviour policy to start from")
        weights = source["behaviour"].state_dict()
        load_networks(algorithm.networks["behaviour"], weights, str(self.config.initialise_from))

    def _shape(self, data: ExperimentData) -> NetworkShape:
        return network_shape(data.stores[0].spec, data.tokenizer, self.config.model, self.config.name)

    def _make(self, data: ExperimentData) -> Algorithm:
        set_seed(self.config.seed + 1)
        algorithm = make_algorithm(self._shape(data), self.config.algorithm, data.value_range)
        algorithm.observe_returns(np.concatenate([store.episode_returns for store in data.stores]))
        return algorithm

    def _policy(self, data: ExperimentData, behaviour: Algorithm | None) -> None:
        """Train the algorithm, unless an earlier process of this run has.

        One that needs no pi_phi gets the steps that pi_phi would have taken as well: budgets are equal.
        """
        folder = self.folder / "policy"
        if (folder / "policy.json").exists():
            return
        if self.config.algorithm.kind == "bc" and behaviour is not None:
            save_policy(folder, self._as_policy(behaviour, data))
            return
        algorithm = self._make(data)
        for network in algorithm.networks.values():
            set_statistics(network, data)
        steps, name = self.config.training.steps, self.config.algorithm.name
        if behaviour is None:
            algorithm.prepare_training(None)
            steps += self.config.training.behaviour_steps
            self._loop(algorithm, Stage(name, steps, algorithm.early_stopping), data, None, None).run()
        else:
            pi_phi = behaviour.network("behaviour")
            algorithm.prepare_training(pi_phi)
            stage = Stage(name, steps, algorithm.early_stopping)
            if isinstance(data.tokenizer, TextTokenizer):
                pi_phi.to(self.accelerator.device).eval()
                self._loop(algorithm, stage, data, pi_phi, pi_phi).run()
            else:
                self._with_logits(algorithm, stage, data, pi_phi)
        algorithm.finish_training()
        save_policy(folder, self._as_policy(algorithm, data))

    def _with_logits(self, algorithm: Algorithm, stage: Stage, data: ExperimentData, pi_phi: Any) -> None:
        """Train with pi_phi's logits of the whole dataset, computed once."""
        assert isinstance(data.tokenizer, ActionTokenizer)
        logger.info("computing the behaviour policy's logits for the whole dataset once")
        caches = [self.folder / "training" / f"{part}_logits.npy" for part in ("training", "held_out")]
        logits = [
            behaviour_logits(pi_phi, sampler, data.tokenizer, cache, self.accelerator.device)
            for sampler, cache in zip((data.training, data.held_out), caches, strict=True)
        ]
        self._loop(algorithm, stage, data, *logits).run()
        for cache in caches:
            cache.unlink()

    def _converter(self, data: ExperimentData, shift: int, behaviour: Any = None) -> BatchConverter | TextConverter:
        """Makes tensors of batches; `behaviour`: pi_phi's logits of all rows, or for text pi_phi itself."""
        device = self.accelerator.device
        if isinstance(data.tokenizer, TextTokenizer):
            shape = self._shape(data)
            assert not isinstance(shape, TransformerShape)
            return TextConverter(data.tokenizer, shape.context, device, behaviour, getattr(shape, "pictures", None))
        return BatchConverter(data.tokenizer, shift, device, behaviour)

    def _loop(
        self, algorithm: Algorithm, stage: Stage, data: ExperimentData, logits: Any, held_out: Any
    ) -> TrainingLoop:
        convert = self._converter(data, self.config.training.image_shift, logits)
        convert_held_out = self._converter(data, 0, held_out)
        return TrainingLoop(
            algorithm,
            stage,
            lambda step, generator: convert(data.training.batch(step), generator),
            lambda: held_out_batches(data.held_out, convert_held_out),
            self.config.training,
            self.folder,
            self.config.seed,
            self.accelerator,
        )

    def _as_policy(self, algorithm: Algorithm, data: ExperimentData) -> Policy:
        sim = self.config.sim
        task = {"sim": sim.name, "env_id": sim.env_id, "options": evaluation_options(sim)}
        return Policy(algorithm, data.tokenizer, task, to_dict(self.config))

    def _diagnose(self, data: ExperimentData) -> dict[str, Any]:
        """Examine the policy as it lies on disk, on held-out episodes."""
        algorithm = load_policy(self.folder / "policy", self.accelerator.device).algorithm
        algorithm.observe_returns(np.concatenate([store.episode_returns for store in data.stores]))
        convert = self._converter(data, 0)
        training = held_out_batches(data.training, convert, TRAINING_BATCHES)
        with self.accelerator.autocast():
            figures = diagnose(algorithm, held_out_batches(data.held_out, convert), training)
        write_tensorboard(self.folder, figures, self.config.training.steps)
        return figures

    def _evaluate(self) -> dict[str, Any]:
        """Play the scripted policy, the behaviour clone (its best decoding) and the algorithm's."""
        sim, settings = self.config.sim, self.config.evaluation
        task = Task(sim.env_id, evaluation_options(sim))
        results = {}
        if settings.compare:
            scripted_task = Task(sim.env_id, collection_options(sim))
            outcomes = evaluate_scripted(scripted_task, sim.imperfections, evaluation_seeds(settings), settings.workers)
            results["scripted"] = record_summary(self.folder, "scripted", outcomes)
        cloning = self.config.algorithm.kind == "bc"
        if cloning or (settings.compare and (self.folder / "behaviour").exists()):
            clone = self.folder / "behaviour"
            results["behaviour_clone"] = play_checkpoint(clone, every_decoding(clone), task, settings, self.folder)
        if not cloning:
            policy = self.folder / "policy"
            results[self.config.algorithm.name] = play_checkpoint(
                policy, decodings_of(settings, policy), task, settings, self.folder
            )
        return {"evaluation": results}

    def _say(self, result: Mapping[str, Any]) -> None:
        logger.info("done in %s:", duration(self._elapsed()))
        for name, summary in result["evaluation"].items():
            log_summary(f"  {name}", summary)
        log_advice(result["diagnostics"])
