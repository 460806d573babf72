"""The sections of the configuration that commands share: environment, model, tokens, training, evaluation.

A new key is one line `name: type = setting(default, "what it means", limits...)`. A new kind of environment
or model is one class decorated with `kind`, and a YAML file in config/<group>/ that names the kind.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Literal

from qsft_robot.config.fields import kind, section, setting, settings

Camera = Literal["front", "wrist"]


@settings
class SimConfig:
    """An environment (group `sim`): which one, and how data are collected and policies evaluated in it."""

    name: str = setting("", "name of the option, set from sim=...")
    kind: str = setting("", "which class of the configuration describes it")
    env_id: str = setting(help="registered Gymnasium id")
    model: str | None = setting(None, "the option of model= where none is chosen; null: tiny")
    collection: dict[str, Any] = setting({}, "options that differ while data are collected", partial_of="options")
    evaluation: dict[str, Any] = setting({}, "options that differ while policies are evaluated", partial_of="options")
    imperfections: dict[str, float] = setting({}, "what the scripted agent does wrong", minimum=0)


@settings
class CountertopOptions:
    """Keywords of a countertop environment's constructor."""

    observation: Literal["image", "state"] = setting("image", "state is privileged: it holds the object's pose")
    image_size: int = setting(48, "side of the square image, pixels", minimum=8, maximum=1024)
    cameras: list[Camera] = setting(["front"], "the first one's key is `image`, further ones `image_<name>`")
    object_set: Literal["train", "held_out"] = setting("train", "which object kinds appear")
    max_episode_steps: int | None = setting(None, "time limit, actions; null: the task's own", minimum=1)

    def check(self) -> Iterator[str]:
        """Rules between the fields."""
        if self.observation == "image" and not self.cameras:
            yield "observation=image needs at least one of cameras=[front,wrist]"
        if len(set(self.cameras)) != len(self.cameras):
            yield f"cameras={list(self.cameras)} names one twice"


@settings
class DrawerOptions(CountertopOptions):
    """Keywords of the drawer environment's constructor."""

    drawer: Literal["open", "closed", "blocked", "mixed"] = setting("mixed", "the drawer's state at the start")


@kind(SimConfig, "countertop")
@settings
class CountertopConfig(SimConfig):
    """A task of the countertop."""

    options: CountertopOptions = section(CountertopOptions, "keywords of the environment's constructor")
    imperfections: dict[str, float] = setting(
        {},
        "what the scripted agent does wrong, where it differs from its own defaults",
        minimum=0,
        keys_of="qsft_robot.agents.scripted.pick_place:PickPlaceImperfections",
    )


@kind(SimConfig, "drawer")
@settings
class DrawerConfig(CountertopConfig):
    """The drawer task of the countertop."""

    options: DrawerOptions = section(DrawerOptions, "keywords of the environment's constructor")
    imperfections: dict[str, float] = setting(
        {},
        "what the scripted agent does wrong, where it differs from its own defaults",
        minimum=0,
        keys_of="qsft_robot.agents.scripted.drawer_grasp:DrawerGraspImperfections",
    )


@settings
class ModelConfig:
    """A sequence model over action tokens (group `model`)."""

    name: str = setting("", "name of the option, set from model=...")
    kind: str = setting("", "which class of the configuration describes it")
    history: int = setting(1, "observations that the model sees, the newest included", minimum=1)


def _heads_share_the_width(width: int, heads: int) -> Iterator[str]:
    if width % heads:
        yield f"width={width} must be a multiple of heads={heads}"


@kind(ModelConfig, "robotics_transformer")
@settings
class RoboticsTransformerConfig(ModelConfig):
    """Images to tokens by convolutions and a dense layer or TokenLearner, then a causal transformer over all tokens."""

    image_encoder: Literal["dense", "token_learner"] = setting(
        "dense", "what makes tokens of the convolutions' map: one dense layer, or RT-1's TokenLearner"
    )
    channels: list[int] = setting([32, 64, 64], "channels of the convolutions", minimum=1)
    image_tokens: int = setting(4, "tokens made of each image", minimum=1)
    width: int = setting(128, "width of the transformer", minimum=8)
    layers: int = setting(2, "layers of the transformer", minimum=1)
    heads: int = setting(4, "attention heads", minimum=1)
    feed_forward: int = setting(2, "width of the feed-forward part, in multiples of width", minimum=1)

    def check(self) -> Iterator[str]:
        """Rules between the fields."""
        yield from _heads_share_the_width(self.width, self.heads)


@kind(ModelConfig, "text_transformer")
@settings
class TextTransformerConfig(ModelConfig):
    """A causal transformer over text, and a picture if asked for, from scratch; its vocabulary is learned from data."""

    vocabulary: int = setting(1024, "most tokens of the vocabulary, the 256 bytes included", minimum=258)
    context: int = setting(256, "most tokens of text that it sees", minimum=16)
    image_tokens: int = setting(0, "tokens made of the picture; 0: it sees text alone", minimum=0)
    channels: list[int] = setting([32, 64, 64], "channels of the convolutions that look at the picture", minimum=1)
    width: int = setting(128, "width of the transformer", minimum=8)
    layers: int = setting(4, "layers of the transformer", minimum=1)
    heads: int = setting(4, "attention heads", minimum=1)
    feed_forward: int = setting(4, "width of the feed-forward part, in multiples of width", minimum=1)

    def check(self) -> Iterator[str]:
        """Rules between the fields."""
        yield from _heads_share_the_width(self.width, self.heads)


@kind(ModelConfig, "line_transformer")
@settings
class LineTransformerConfig(ModelConfig):
    """A causal transformer over lines of text, and a picture if asked for, from scratch."""

    actions: Literal["whole", "written"] = setting(
        "whole", "whole: each action that the data hold is one token; written: token by token, new ones too"
    )

    vocabulary: int = setting(320, "most tokens of the text, the 256 bytes included", minimum=258)
    context: int = setting(256, "most tokens of text that it sees", minimum=16)
    image_tokens: int = setting(0, "vectors made of the picture; 0: it sees text alone", minimum=0)
    image_words: bool = setting(False, "a vector more says which words the picture shows; image_tokens=0: none")
    channels: list[int] = setting([32, 64, 64], "channels of the convolutions that look at the picture", minimum=1)
    above: bool = setting(True, "take each token together with the one above it, as in a table")
    pairs: bool = setting(False, "take each line together with the one above, as an answer with its question")
    instruction_lines: int = setting(
        0, "first lines of an observation, whose words are marked where they occur again", minimum=0
    )
    pointers: int = setting(
        0,
        "attention heads that copy from lines: tokens of written actions, or whole actions they begin with",
        minimum=0,
    )
    candidates: bool = setting(False, "score lines that begin with a whole action as candidates")
    columns: int = setting(8, "places in a line that it tells apart; later ones count as the last", minimum=1)
    width: int = setting(128, "width of the transformer", minimum=8)
    layers: int = setting(2, "layers of the transformer", minimum=1)
    heads: int = setting(8, "attention heads", minimum=1)
    feed_forward: int = setting(4, "width of the feed-forward part, in multiples of width", minimum=1)

    def check(self) -> Iterator[str]:
        """Rules between the fields."""
        yield from _heads_share_the_width(self.width, self.heads)
        if self.pointers and self.width % self.pointers:
            yield f"width={self.width} must be a multiple of pointers={self.pointers}"
        if self.candidates and self.actions == "written":
            yield "candidates=true scores whole actions: choose actions=whole, or candidates=false"
        if self.image_words and self.instruction_lines > 1:
            yield "image_words=true marks what one instruction line asks for: choose instruction_lines=0 or 1"


@kind(ModelConfig, "language_model")
@settings
class LanguageModelConfig(ModelConfig):
    """A pretrained causal language model, with adapters or as a whole. Needs the extra `language`."""

    source: str | None = setting(None, "name on a hub, folder, or smollm2; null: what name= says")
    context: int = setting(512, "most tokens that it sees", minimum=16)
    adapters: Literal["lora", "none"] = setting("lora", "low-rank adapters over one shared model, or all weights")
    rank: int = setting(16, "rank of the adapters", minimum=1)
    alpha: int = setting(32, "scale of the adapters, divided by the rank", minimum=1)
    gradient_checkpointing: bool = setting(False, "compute activations again in the backward pass: slower, less memory")


@kind(ModelConfig, "vision_language_model")
@settings
class VisionLanguageModelConfig(LanguageModelConfig):
    """A pretrained vision-language model, with adapters or as a whole. Needs the extra `language`."""

    source: str | None = setting(None, "name on a hub, folder, or llava_smol; null: what name= says")
    context: int = setting(3072, "most tokens that it sees, those of pictures included", minimum=16)
    stream: Literal["episode", "observation"] = setting(
        "episode", "it sees the episode so far, every observation with its picture, or one observation at a time"
    )
    trained: list[str] = setting(
        [], "parts trained as a whole beside the adapters, for example [multi_modal_projector]"
    )


@settings
class TokenizationConfig:
    """How continuous actions become tokens."""

    bins: int = setting(256, "tokens per action dimension", minimum=2, maximum=65536)
    kind: Literal["uniform", "quantile"] = setting("uniform", "equally wide bins, or equally filled ones")


@settings
class TrainingConfig:
    """The training loop."""

    behaviour_steps: int = setting(
        5000, "most steps for the behaviour policy; early stopping may end sooner", minimum=0
    )
    steps: int = setting(14000, "steps of the algorithm after the behaviour policy", minimum=0)
    batch_size: int = setting(128, "transitions per step", minimum=1)
    segment_length: int = setting(4, "consecutive transitions per sampled segment", minimum=1)
    learning_rate: float = setting(1e-3, "peak learning rate", above=0, maximum=1)
    weight_decay: float = setting(1e-4, "decoupled weight decay", minimum=0)
    warmup_steps: int = setting(200, "steps of linear warm-up", minimum=0)
    gradient_clip: float = setting(1.0, "largest norm of the gradient", above=0)
    weight_average: float = setting(
        0.998, "decay of the running mean of the weights that acts; 0: the last weights act", minimum=0, below=1
    )
    held_out_fraction: float = setting(0.1, "share of episodes kept for early stopping", above=0, below=1)
    evaluation_period: int = setting(250, "steps between two looks at the held-out episodes", minimum=1)
    early_stopping: bool = setting(
        True, "the behaviour policy acts by the weights of the lowest held-out loss, not by the last ones"
    )
    patience: int = setting(4, "looks without improvement before the behaviour policy stops", minimum=1)
    precision: Literal["auto", "float32", "bfloat16"] = setting("auto", "auto takes bfloat16 where it is faster")
    compile: bool = setting(False, "compile the model with torch.compile")
    image_shift: int = setting(0, "random shift of images, pixels; 0 for none", minimum=0)
    log_period: int = setting(50, "steps between two lines of metrics", minimum=1)
    checkpoint_period: int = setting(500, "steps between two checkpoints", minimum=1)
    memory_budget_gigabytes: float = setting(4.0, "memory that the sampler may fill with data, GB", above=0)

    def check(self) -> Iterator[str]:
        """Rules between the fields."""
        if self.batch_size % self.segment_length:
            near = max(1, self.batch_size // self.segment_length) * self.segment_length
            yield f"batch_size={self.batch_size} must be a multiple of segment_length, for example {near}"


@settings
class EvaluationConfig:
    """Closed-loop evaluation."""

    episodes: int = setting(200, "episodes to play", minimum=1)
    environments: int = setting(8, "environments played at a time", minimum=1)
    workers: int = setting(2, "processes that simulate them", minimum=0)
    decoding: Literal["greedy", "sample", "sharp", "mode", "all"] | None = setting(
        None,
        "the likeliest token, one drawn, one drawn near the likeliest, the top of the hill that one drawn lies on, or "
        "every way, of which the best counts; null: mode where actions are numbers, sharp where they are text",
    )
    temperature: float | None = setting(None, "of sharp and mode; null: that of training, there 0.2 and 1", above=0)
    repetition_penalty: float | None = setting(
        None,
        "taken from the log-probability of a legal action each time it was taken; null: as for the training, there 0",
        minimum=0,
    )
    seed: int = setting(
        0, "base seed of the evaluation episodes, which never meet those of collection", minimum=0, maximum=2146
    )
    videos: int = setting(4, "episodes to record as video", minimum=0)
    legal_only: bool | None = setting(
        None,
        "choose among the texts that the environment lists as legal; null: as for the training; there false",
    )
    compare: bool = setting(True, "after training, also play the scripted agent and the behaviour clone")

    def completed_by(self, training: EvaluationConfig) -> EvaluationConfig:
        """These settings, with what they leave open about acting as it was when the policy was trained."""
        legal_only = training.legal_only if self.legal_only is None else self.legal_only
        penalty = training.repetition_penalty if self.repetition_penalty is None else self.repetition_penalty
        return dataclasses.replace(
            self,
            temperature=training.temperature if self.temperature is None else self.temperature,
            legal_only=legal_only,
            # Who frees a policy from the legal actions leaves nothing to penalise, unless they ask for it.
            repetition_penalty=penalty if legal_only or self.repetition_penalty else 0.0,
        )
