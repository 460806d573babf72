"""A pretrained causal language model as a policy over text, with nothing new on top of it.

The networks of an algorithm are LoRA adapters (Hu et al. 2022) over one frozen model that they share: memory is one
model's, not one for pi_phi, p_theta and the target each. `adapters=none` trains a whole copy for each instead.
"""

from __future__ import annotations

import copy
import warnings
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from qsft_robot.errors import MissingExtraError
from qsft_robot.models.pretrained import load_model
from qsft_robot.models.shape import Shape

_bases: dict[tuple[Any, ...], nn.Module] = {}
_acting: weakref.WeakKeyDictionary[nn.Module, weakref.ref[LanguageModel]] = weakref.WeakKeyDictionary()
"""The network that each pretrained model computes for."""
_numbers = count()


@dataclass(frozen=True)
class LanguageModelShape(Shape):
    """Everything that determines the parameters' shapes.

    Attributes:
        dimensions: most tokens of an action D.
        bins: tokens of the vocabulary.
        outputs: logits per token; where they are not the vocabulary's, a new linear layer makes them.
        context: most tokens of a stream.
        source: what the model is loaded from.
        adapters: `lora`, or `none` to train all weights.
        rank: of the adapters.
        alpha: scale of the adapters, divided by the rank.
        gradient_checkpointing: compute activations again in the backward pass instead of keeping them.
        new_head: a new linear layer makes the logits, though they are as many as the vocabulary's.
    """

    dimensions: int
    bins: int
    outputs: int
    context: int
    source: str
    adapters: str = "lora"
    rank: int = 16
    alpha: int = 32
    gradient_checkpointing: bool = False
    new_head: bool = False

    kind = "language_model"

    def network(self) -> LanguageModel:
        """A network of this shape: the pretrained model, as it was pretrained."""
        return LanguageModel(self)

    def load(self) -> nn.Module:
        """The pretrained model; see `load_model`."""
        return load_model(self.source)

    @property
    def shared(self) -> tuple[Any, ...]:
        """What is the same for networks that share one frozen model."""
        return (self.kind, self.source, self.gradient_checkpointing)


@dataclass
class LanguageCache:
    """What the model keeps of N prompts that end at the same place.

    Attributes:
        past: the model's own cache.
        mask: (N, length) int64, 0 where a shorter prompt is filled up in front.
    """

    past: Any
    mask: Tensor


class LanguageModel(nn.Module):
    """Logits of each token of each action, given the stream before it; see TextTransformer for the arguments."""

    def __init__(self, shape: LanguageModelShape) -> None:
        super().__init__()
        self.shape = shape
        self.name = f"network_{next(_numbers)}"
        own = shape.adapters == "none"
        base = shape.load() if own else _shared(shape)
        if shape.gradient_checkpointing:
            settings: dict[str, Any] = {"use_reentrant": False}
            if not own:
                settings["context_fn"] = partial(_recomputing, weakref.ref(base))
            base.gradient_checkpointing_enable(settings)  # type: ignore[operator]
        self._base: tuple[nn.Module, ...] = (base,)  # in a tuple, so that its weights do not count as this network's
        self._layers: list[Any] = []
        if own:
            self.model = base
        else:
            self.adapter = self._inject(base)
        self.has_head = shape.new_head or shape.outputs != shape.bins
        if self.has_head:
            width = base.config.get_text_config().hidden_size  # type: ignore[union-attr, operator]
            self.head_weight = nn.Parameter(0.02 * torch.randn(width, shape.outputs))
            self.head_bias = nn.Parameter(torch.zeros(shape.outputs))

    @property
    def base(self) -> Any:
        """The pretrained model with this network's adapter switched on."""
        (base,) = self._base
        self.switch_on()
        _acting[base] = weakref.ref(self)
        if self._layers and self.shape.gradient_checkpointing:
            for layer in base.modules():
                if hasattr(layer, "gradient_checkpointing"):
                    layer.training = self.training  # it keeps activations otherwise; the parts of it stay as they are
        return base

    def switch_on(self) -> None:
        """Let the shared model compute with this network's adapter."""
        for layer in self._layers:
            layer._active_adapter = [self.name]  # set_adapter() would also decide what is trained

    def _apply(self, function: Any, recurse: bool = True) -> LanguageModel:
        """Move as every module does; the shared model goes where this network's parameters go."""
        super()._apply(function, recurse)
        self._base[0].to(next(self.parameters()).device)
        return self

    def frozen_copy(self) -> LanguageModel:
        """A network of its own with the same weights, which no optimiser moves."""
        if self.shape.adapters == "none":
            other = copy.deepcopy(self)
        else:
            other = self.shape.network()
            other.load_state_dict(self.state_dict())
            other.to(next(self.parameters()).device)
        return other.requires_grad_(False)

    def encode(self, observation: Mapping[str, Tensor]) -> Tensor:
        """Features (N, D, width) before each token of N actions; see TextTransformer.encode."""
        base = self.base
        trunk = getattr(base, base.base_model_prefix)
        seen = self.seen(observation)
        features = trunk(input_ids=observation["stream"], use_cache=False, **seen).last_hidden_state
        chosen = features.flatten(0, 1)[observation["positions"].flatten()]
        return chosen.view(*observation["positions"].shape, -1)

    def forward(self, context: Tensor, tokens: Tensor) -> Tensor:
        """Logits (N, D, outputs); the stream that `encode` read holds the tokens already."""
        return self._logits(context)

    def start(self, observation: Mapping[str, Tensor]) -> tuple[LanguageCache, Tensor]:
        """Begin decoding after `prompt` (N, P), of which the first `padding` (N,) places hold nothing."""
        prompt, padding = observation["prompt"], observation["padding"]
        places = torch.arange(prompt.shape[1], device=prompt.device)
        mask = (places >= padding[:, None]).long()
        cache = LanguageCache(None, mask)
        places = (places - padding[:, None]).clamp_min(0)
        return cache, self._extend(prompt, places, cache, self.seen(observation))

    def step(self, cache: LanguageCache, token: Tensor, dimension: int) -> Tensor:
        """Given `token` (N,) of `dimension - 1`, return the logits (N, outputs) of `dimension`."""
        cache.mask = torch.cat([cache.mask, torch.ones_like(cache.mask[:, :1])], dim=1)
        return self._extend(token[:, None], cache.mask.sum(dim=1, keepdim=True) - 1, cache)

    def seen(self, observation: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the model is given beside tokens, by the name of its argument: nothing."""
        del observation
        return {}

    def adapted(self, base: Any) -> dict[str, Any]:
        """Which parts of the model an adapter changes, as arguments of a LoraConfig: every linear layer."""
        del base
        return {"target_modules": "all-linear", "exclude_modules": r".*lm_head"}

    def _extend(
        self, tokens: Tensor, places: Tensor, cache: LanguageCache, seen: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        base = self.base
        output = getattr(base, base.base_model_prefix)(
            input_ids=tokens,
            attention_mask=cache.mask,
            position_ids=places,
            past_key_values=cache.past,
            use_cache=True,
            **(seen or {}),
        )
        cache.past = output.past_key_values
        return self._logits(output.last_hidden_state[:, -1])

    def _logits(self, features: Tensor) -> Tensor:
        if self.has_head:
            return features.to(self.head_weight.dtype) @ self.head_weight + self.head_bias
        logits: Tensor = self._base[0].get_output_embeddings()(features)  # type: ignore[operator]
        return logits[..., : self.shape.bins]

    def _inject(self, base: nn.Module) -> nn.ModuleDict:
        """Put an adapter of this network's name into the model; return its parts by the layer's name."""
        try:
            from peft import LoraConfig, TaskType, inject_adapter_in_model
            from peft.tuners.lora import LoraLayer
            from peft.utils import ModulesToSaveWrapper
        except ImportError as error:
            raise MissingExtraError("language", "training adapters of a language model") from error
        config = LoraConfig(
            r=self.shape.rank,
            lora_alpha=self.shape.alpha,
            task_type=TaskType.CAUSAL_LM,
            **self.adapted(base),
        )
        trained = {id(each): each.requires_grad for each in base.parameters()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that there are other adapters is the point
            inject_adapter_in_model(config, base, self.name)
        for each in base.parameters():
            each.requires_grad_(trained.get(id(each), True))  # the new adapter's, and what was trained before
        weakref.finalize(self, _remove, base, self.name)
        parts = nn.ModuleDict()
        for path, layer in base.named_modules():
            if isinstance(layer, LoraLayer):
                self._layers.append(layer)
                down, up = layer.lora_A[self.name], layer.lora_B[self.name]
                parts[path.replace(".", "/")] = nn.ModuleList([down, up])
            elif isinstance(layer, ModulesToSaveWrapper):
                self._layers.append(layer)
                parts[path.replace(".", "/")] = layer.modules_to_save[self.name]
        return parts


def _recomputing(base: weakref.ref[nn.Module]) -> tuple[Any, Any]:
    """For torch's checkpoint: what is computed again is so with the adapter of the first time."""
    return nullcontext(), _switched_on(_acting[base()])  # type: ignore[index]


@contextmanager
def _switched_on(network: weakref.ref[LanguageModel]) -> Iterator[None]:
    own = network()
    if own is not None:
        own.switch_on()
    yield


def _remove(base: nn.Module, name: str) -> None:
    """Take an adapter out of the shared model when its network is gone."""
    for layer in base.modules():
        parts = getattr(layer, "lora_A", None)
        if isinstance(parts, nn.ModuleDict) and name in parts:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # that another one is switched on then
                layer.delete_adapter(name)  # type: ignore[operator]
        copies = getattr(layer, "modules_to_save", None)
        if isinstance(copies, nn.ModuleDict) and name in copies:
            layer.delete_adapter(name, None)  # type: ignore[operator]


def _shared(shape: LanguageModelShape) -> nn.Module:
    """The one frozen model that all adapters of this process use."""
    key = shape.shared
    if key not in _bases:
        _bases[key] = shape.load().requires_grad_(False)
    return _bases[key]
