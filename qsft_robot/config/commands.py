"""The configuration of each command: just the keys that it takes.

A value that a YAML group or preset sets for a key that a command does not have is left aside there;
the same key on the command line is an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from qsft_robot.config.algorithms import AlgorithmConfig
from qsft_robot.config.fields import choice, section, setting, settings
from qsft_robot.config.language import ChessConfig
from qsft_robot.config.schema import (
    CountertopConfig,
    EvaluationConfig,
    LanguageModelConfig,
    LineTransformerConfig,
    ModelConfig,
    RoboticsTransformerConfig,
    SimConfig,
    TokenizationConfig,
    TrainingConfig,
)
from qsft_robot.config.suites import SuiteConfig


@settings
class CollectConfig:
    """python -m qsft_robot.collect: a scripted agent, or a policy, plays episodes into a trajectory store."""

    sim: SimConfig = choice("pick_place", "the environment")
    checkpoint: str | None = setting(None, "checkpoint or run folder of what plays; null: the scripted agent")
    decoding: Literal["greedy", "sample", "sharp", "mode"] | None = setting(
        None, "how actions are drawn from a checkpoint; null: sample"
    )
    temperature: float | None = setting(None, "of sharp and mode; null: that of training, there 0.2 and 1", above=0)
    preset: str = choice("default", "a set of sizes: default, smoke (seconds), full (hours)")
    dataset: str | None = setting(None, "path of the trajectory store; null: data/<sim>-<episodes>-<seed>.zarr")
    episodes: int = setting(8000, "episodes to collect", minimum=1)
    seed: int = setting(0, "seed of the collection; every episode has its own", minimum=0, maximum=2146)
    workers: int = setting(2, "processes that simulate", minimum=1)
    resume: bool = setting(False, "may be given as for train; a collection that was stopped goes on in any case")

    def check(self) -> Iterator[str]:
        """Rules between the fields."""
        if self.checkpoint is not None and dict(getattr(self.sim, "imperfections", {})):
            yield "sim.imperfections are the scripted agent's: leave them out, or checkpoint="
        if self.decoding is not None and self.checkpoint is None:
            yield f"decoding={self.decoding} is for what a checkpoint does: give checkpoint= too, or leave it out"
        if self.temperature is not None and (self.checkpoint is None or self.decoding not in ("sharp", "mode")):
            yield "temperature is for checkpoint= with decoding=sharp or mode: give both, or leave it out"


@settings
class TrainConfig:
    """python -m qsft_robot.train: collect where no dataset is given, train, and evaluate in closed loop."""

    sim: SimConfig = choice("pick_place", "the environment")
    algorithm: AlgorithmConfig = choice("qsft", "the algorithm")
    model: ModelConfig = choice("tiny", "the network")
    preset: str = choice("default", "a set of sizes: default, smoke (seconds), full (hours)")
    dataset: str | list[str] | None = setting(None, "trajectory store or stores to learn from; null: collect one")
    episodes: int = setting(8000, "episodes to collect when no dataset is given", minimum=1)
    seed: int = setting(0, "seed of collection and training", minimum=0, maximum=2146)
    workers: int = setting(2, "processes that simulate", minimum=1)
    run: str | None = setting(None, "run folder; null: runs/<sim>/<algorithm>/<time>")
    resume: bool = setting(False, "go on with the run in the folder run=...")
    initialise_from: str | None = setting(None, "checkpoint whose weights, and words of a text, training starts from")
    name: str | None = setting(None, "which pretrained model, for model=hf or llava_next: a name on a hub, or a folder")
    tokenization: TokenizationConfig = section(TokenizationConfig, "how actions become tokens")
    training: TrainingConfig = section(TrainingConfig, "the training loop")
    evaluation: EvaluationConfig = section(EvaluationConfig, "closed-loop evaluation")

    def check(self) -> Iterator[str]:
        """Rules between the fields."""
        if self.resume and self.run is None:
            yield "resume=true needs run=<the folder to go on with>"
        if isinstance(self.dataset, list) and not self.dataset:
            yield "dataset=[] names no store; leave the key out to collect one"
        if isinstance(self.model, LanguageModelConfig):
            if self.model.source is None and self.name is None:
                yield f"model={self.model.name} needs name=<name on a hub, or folder>"
        elif self.name is not None:
            yield f"name={self.name} says which pretrained model, but model={self.model.name} is not one: add model=hf"
        arm = isinstance(self.sim, CountertopConfig)
        if arm != isinstance(self.model, RoboticsTransformerConfig):
            sees = "numbers" if arm else "text"
            yield f"sim={self.sim.name} acts by {sees}, which model={self.model.name} does not: leave model= out"
        if self.evaluation.decoding == "mode" and not arm:
            yield (
                f"evaluation.decoding=mode is for actions of numbers, and sim={self.sim.name} acts by text: leave it "
                "out for sharp, or choose greedy or sample"
            )
        scores = isinstance(self.model, LineTransformerConfig) and self.model.candidates
        if scores and isinstance(self.sim, ChessConfig) and self.sim.options.notation in ("fen", "pieces"):
            yield (
                f"model.candidates=true scores moves that are listed, and sim.options.notation="
                f"{self.sim.options.notation} lists none: set model.candidates=false"
            )
        if self.evaluation.repetition_penalty and not self.evaluation.legal_only:
            yield (
                f"evaluation.repetition_penalty={self.evaluation.repetition_penalty:g} is for choosing among legal "
                "actions: set evaluation.legal_only=true, or evaluation.repetition_penalty=0"
            )


@settings
class ReActConfig:
    """A chat model behind an OpenAI-compatible endpoint, prompted to act; its key is in OPENAI_API_KEY."""

    address: str | None = setting(None, "base of the endpoint, such as http://127.0.0.1:8000/v1; null: no such agent")
    model: str | None = setting(None, "name of the model there")
    temperature: float = setting(0.0, "of the model's sampling", minimum=0)
    most_tokens: int = setting(200, "of one answer", minimum=1)

    def check(self) -> Iterator[str]:
        """Rules between the fields."""
        if (self.address is None) != (self.model is None):
            yield "react.address and react.model go together: give both"


@settings
class EvaluateConfig:
    """python -m qsft_robot.evaluate: play a checkpoint, or the scripted agent, in closed loop."""

    checkpoint: str | None = setting(None, "checkpoint or run folder; null plays the scripted agent")
    sim: SimConfig | None = choice(None, "the environment; null: the one that the checkpoint was trained for")
    preset: str = choice("default", "a set of sizes: default, smoke (seconds), full (hours)")
    options: dict[str, Any] = setting(
        {}, "environment options to change: options.object_set=held_out; with sim=, object_set=held_out will do"
    )
    beta: float | None = setting(None, "weigh values by this; null: by the algorithm.beta of the training", minimum=0)
    run: str | None = setting(None, "folder for results; null: beside the checkpoint")
    react: ReActConfig = section(ReActConfig, "a prompted chat model in place of a checkpoint")
    evaluation: EvaluationConfig = section(EvaluationConfig, "closed-loop evaluation")

    def check(self) -> Iterator[str]:
        """Rules between the fields."""
        if self.react.address is not None and (self.checkpoint is not None or self.sim is None):
            yield "react.address= plays a prompted model: give sim=<environment>, and no checkpoint"
        if self.checkpoint is None and self.sim is None:
            yield "give checkpoint=<run folder>, or sim=<environment> to play its scripted agent"
        if self.checkpoint is None and self.beta is not None:
            yield "beta= weighs the values of a checkpoint: give checkpoint=<run folder> too"


@settings
class DatasetConfig:
    """python -m qsft_robot.dataset ACTION PATH: look after a trajectory store."""

    action: Literal["info", "validate", "repair", "play"] = setting(help="what to do: info, validate, repair or play")
    dataset: str = setting(help="path of the trajectory store")
    output: str | None = setting(None, "where repair or play writes; null: beside the store")
    episode: int = setting(0, "index of the episode that play shows", minimum=0)
    format: Literal["mp4", "sheet"] = setting("mp4", "what play writes: a video or a contact sheet")
    checkpoint: str | None = setting(None, "play adds this checkpoint's Q-values")


@settings
class BenchmarkConfig:
    """python -m qsft_robot.benchmark suite=...: measure, and print the figures as JSON."""

    suite: SuiteConfig = choice("sim", "what to measure")
    sim: SimConfig = choice("pick_place", "the environment")
    algorithm: AlgorithmConfig = choice("qsft", "the algorithm")
    model: ModelConfig = choice("tiny", "the network")
    preset: str = choice("default", "a set of sizes: default, smoke (seconds), full (hours)")
    dataset: str | list[str] | None = setting(None, "trajectory store or stores, where a suite reads one")
    checkpoint: str | None = setting(None, "checkpoint or run folder, where a suite takes one")
    run: str | None = setting(None, "folder for results, where a suite writes some")
    seed: int = setting(0, "seed", minimum=0)
    workers: int = setting(2, "processes that simulate", minimum=1)
    tokenization: TokenizationConfig = section(TokenizationConfig, "how actions become tokens")
    training: TrainingConfig = section(TrainingConfig, "the training loop")
    evaluation: EvaluationConfig = section(EvaluationConfig, "closed-loop evaluation")


@settings
class ReportConfig:
    """python -m qsft_robot.report RUN: one HTML page about a run, or about several side by side."""

    run: str | None = setting(None, "run folder")
    runs: list[str] = setting([], "several run folders, to compare")
    output: str | None = setting(None, "file to write; null: report.html in the run folder, or here for several")

    def check(self) -> Iterator[str]:
        """Rules between the fields."""
        if self.run is None and not self.runs:
            yield "say which run: `python -m qsft_robot.report runs/...`, or runs=[a,b] to compare several"
        if self.run is not None and self.runs:
            yield "give run= or runs=, not both"
