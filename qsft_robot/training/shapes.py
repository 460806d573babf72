"""What a `model=` says about the networks for given data."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from qsft_robot.config.schema import (
    LanguageModelConfig,
    LineTransformerConfig,
    ModelConfig,
    RoboticsTransformerConfig,
    TextTransformerConfig,
    VisionLanguageModelConfig,
)
from qsft_robot.datasets.layout import StoreSpec
from qsft_robot.errors import ConfigurationError, DataError
from qsft_robot.models import (
    LanguageModelShape,
    LineTransformerShape,
    NetworkShape,
    TextTransformerShape,
    TransformerShape,
    VisionLanguageShape,
)
from qsft_robot.models.pictures import picture_tokens
from qsft_robot.models.word_spotter import CAPTION
from qsft_robot.tokenization import TextTokenizer, Tokenizer, WholeActionTokenizer
from qsft_robot.tokenization.text_tokenizer import lines_of

QUOTING_TEXTS = 1000
"""Observations among which a line that begins with an action is looked for."""
TEXT_MODELS = "choose model=tiny_text, model=tiny_lines, model=smollm2 or model=hf"


def network_shape(spec: StoreSpec, tokenizer: Tokenizer, model: ModelConfig, name: str | None = None) -> NetworkShape:
    """The shape of the networks for these data and this `model=`.

    Raises:
        ConfigurationError: the model is of another kind.
        DataError: the observations hold neither images nor a state vector.
    """
    if isinstance(tokenizer, TextTokenizer):
        return text_shape(tokenizer, model, name, spec)
    images = {}
    state_width = 0
    for key, array in spec.observations.items():
        shape = tuple(array.shape)
        if len(shape) == 3 and shape[-1] == 3:
            images[key] = (shape[0], shape[1])
        elif key == "state" and len(shape) == 1:
            state_width = shape[0]
        else:
            raise DataError(f"observation '{key}' of shape {shape} is neither an image (H, W, 3) nor `state` (n,)")
    return TransformerShape(
        images=images,
        state_width=state_width,
        dimensions=spec.action_dimension,
        bins=tokenizer.bins,
        outputs=tokenizer.bins,
        **shape_of_model(model),
    )


def source_of(model: LanguageModelConfig, name: str | None) -> str:
    """Where a pretrained model comes from.

    Raises:
        ConfigurationError: nothing says so.
    """
    source = name or model.source
    if source is None:
        raise ConfigurationError(f"model={model.name} needs name=<name on a hub, or folder>, or model.source=")
    return source


def observation_keys(model: ModelConfig) -> list[str] | None:
    """What a model reads of an observation; None for everything that there is.

    Captions are read for training where data have them, and never while acting.
    """
    looks = isinstance(model, TextTransformerConfig | LineTransformerConfig) and model.image_tokens
    if looks or isinstance(model, VisionLanguageModelConfig):
        spots = isinstance(model, LineTransformerConfig) and model.image_words
        return ["text", "image", *([CAPTION] if spots else [])]
    return None if isinstance(model, RoboticsTransformerConfig) else ["text"]


def learn_tokenizer(
    model: TextTransformerConfig | LineTransformerConfig, texts: Iterator[str], actions: Sequence[str]
) -> TextTokenizer:
    """The tokenizer that a model which is trained from scratch on text learns from `texts`, seen and done.

    Raises:
        ConfigurationError: a vocabulary that is too small, or pointers or candidates where no line begins with an
            action.
        DataError: no actions.
    """
    if not isinstance(model, LineTransformerConfig) or model.actions == "written":
        return TextTokenizer.fit(texts, actions, model.vocabulary)
    if not (model.pointers or model.candidates):
        return WholeActionTokenizer.fit(texts, actions, model.vocabulary)
    first = list(itertools.islice(texts, QUOTING_TEXTS))
    tokenizer = WholeActionTokenizer.fit(itertools.chain(first, texts), actions, model.vocabulary, quotes=True)
    seen = set(first).difference(actions)
    asked = "model.candidates=true" if model.candidates else f"model.pointers={model.pointers}"
    if not any(tokenizer.quoted(line) for text in seen for line in lines_of(text)):
        raise ConfigurationError(
            f"{asked} with model.actions=whole is for lines that begin with an action, and these data show none: "
            "choose model.pointers=0 model.candidates=false, or model.actions=written"
        )
    return tokenizer


def text_shape(tokenizer: TextTokenizer, model: ModelConfig, name: str | None, spec: StoreSpec | None) -> NetworkShape:
    """The shape of the networks that act by text; `spec` is read for a picture's size alone.

    Raises:
        ConfigurationError: the model is of another kind, or its context too short for an action.
        DataError: it looks at a picture, and the data have none.
    """
    context = getattr(model, "context", None)
    if context is not None and tokenizer.room >= context:
        raise ConfigurationError(
            f"model.context={context} leaves no room for what is seen: an action of these data takes up to "
            f"{tokenizer.room} tokens. Raise model.context"
        )
    if isinstance(model, LanguageModelConfig):
        sizes: dict[str, Any] = {
            "dimensions": tokenizer.dimensions,
            "bins": tokenizer.bins,
            "outputs": tokenizer.bins,
            "context": model.context,
            "source": source_of(model, name),
            "adapters": model.adapters,
            "rank": model.rank,
            "alpha": model.alpha,
            "gradient_checkpointing": model.gradient_checkpointing,
        }
        if not isinstance(model, VisionLanguageModelConfig):
            return LanguageModelShape(**sizes)
        return _with_pictures(tokenizer, model, spec, sizes)
    if not isinstance(model, TextTransformerConfig | LineTransformerConfig):
        raise ConfigurationError(f"model={model.name} does not act by text; {TEXT_MODELS}")
    picture = None
    if model.image_tokens:
        picture = picture_size(model, spec)
    if isinstance(model, LineTransformerConfig):
        return LineTransformerShape(
            dimensions=tokenizer.dimensions,
            image=picture,
            image_tokens=model.image_tokens,
            image_words=model.image_words,
            channels=tuple(model.channels),
            bins=tokenizer.bins,
            outputs=tokenizer.bins,
            vocabulary=tokenizer.vocabulary,
            end_of_line=tokenizer.end_of_line,
            padding=tokenizer.padding,
            context=model.context,
            above=model.above,
            pairs=model.pairs,
            instruction_lines=model.instruction_lines,
            pointers=model.pointers,
            candidates=model.candidates,
            columns=model.columns,
            width=model.width,
            layers=model.layers,
            heads=model.heads,
            feed_forward_factor=model.feed_forward,
        )
    return TextTransformerShape(
        dimensions=tokenizer.dimensions,
        bins=tokenizer.bins,
        outputs=tokenizer.bins,
        context=model.context,
        width=model.width,
        layers=model.layers,
        heads=model.heads,
        feed_forward_factor=model.feed_forward,
        image=picture,
        image_tokens=model.image_tokens,
        channels=tuple(model.channels),
    )


def _with_pictures(
    tokenizer: TextTokenizer, model: VisionLanguageModelConfig, spec: StoreSpec | None, sizes: dict[str, Any]
) -> VisionLanguageShape:
    """The shape of a vision-language model, given the `sizes` of its language model."""
    size = picture_size(model, spec)
    picture = picture_tokens(sizes["source"], size)
    if len(picture) + tokenizer.room >= model.context:
        raise ConfigurationError(
            f"model.context={model.context} leaves no room for text: a picture takes {len(picture)} tokens and an "
            f"action of these data up to {tokenizer.room}. Raise model.context"
        )
    if tokenizer.padding in picture:
        raise ConfigurationError(
            f"model.source={sizes['source']}: its tokenizer has no special token, other than a picture's, that could "
            "stand for nothing; add one, such as <pad>"
        )
    return VisionLanguageShape(**sizes, image=size, picture=picture, stream=model.stream, trained=tuple(model.trained))


def picture_size(model: ModelConfig, spec: StoreSpec | None) -> tuple[int, int]:
    """(H, W) of the pictures of these data, which the model looks at.

    Raises:
        DataError: they have none.
    """
    if spec is None or "image" not in spec.observations:
        instead = "model=smollm2 or model=hf" if isinstance(model, LanguageModelConfig) else "model=tiny_text"
        raise DataError(f"model={model.name} looks at a picture, and these data have none; choose {instead}")
    height, width = spec.observations["image"].shape[:2]
    return height, width


def shape_of_model(model: ModelConfig) -> dict[str, Any]:
    """What the configuration of a model says about a TransformerShape.

    Raises:
        ConfigurationError: it is a model of another kind.
    """
    if not isinstance(model, RoboticsTransformerConfig):
        raise ConfigurationError(
            f"model={model.name} does not act on images and states; choose model=tiny or model=rt1"
        )
    return {
        "width": model.width,
        "layers": model.layers,
        "heads": model.heads,
        "feed_forward_factor": model.feed_forward,
        "image_encoder": model.image_encoder,
        "image_tokens": model.image_tokens,
        "channels": tuple(model.channels),
        "history": model.history,
    }
