"""A small causal transformer over text, trained from scratch (as the Q-SFT paper does for chess and Wordle).

It can be given a picture with each stream, of which convolutions make a few tokens that stand in front of the text.

The rows of a batch are streams of tokens: what was seen, what was done, what was seen then. One pass scores the tokens
of all actions in them; `positions` says which place of which stream predicts which token of which action.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qsft_robot.models.image_encoder import DenseImageEncoder
from qsft_robot.models.shape import Shape
from qsft_robot.models.transformer import KeyValueCache, TransformerBlock, features_at


@dataclass(frozen=True)
class TextTransformerShape(Shape):
    """Everything that determines the parameters' shapes.

    Attributes:
        dimensions: most tokens of an action D.
        bins: tokens of the vocabulary.
        outputs: logits per token (the vocabulary, and more where an algorithm needs it).
        context: most tokens of a stream.
        image: (H, W) of the picture that comes with each stream, or None.
        image_tokens: tokens made of it.
        channels: of the convolutions.
    """

    dimensions: int
    bins: int
    outputs: int
    context: int
    width: int = 128
    layers: int = 4
    heads: int = 4
    feed_forward_factor: int = 4
    image: tuple[int, int] | None = None
    image_tokens: int = 0
    channels: tuple[int, ...] = (32, 64, 64)

    kind = "text_transformer"

    def network(self) -> TextTransformer:
        """A network of this shape with fresh weights."""
        return TextTransformer(self)


@dataclass
class TextCache:
    """Keys and values of prompts that end at the same place, and which of those places hold nothing.

    Attributes:
        cells: keys and values.
        missing: (N, 1, 1, capacity) bool, padding in front of the shorter texts.
        padding: (N,) int64, how much of it.
    """

    cells: KeyValueCache
    missing: Tensor
    padding: Tensor


class TextTransformer(nn.Module):
    """Logits of each token of each action, given the stream before it."""

    def __init__(self, shape: TextTransformerShape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.bins, shape.width)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.picture: nn.Module | None = None
        if shape.image is not None:
            self.picture = DenseImageEncoder(shape.image, shape.channels, shape.image_tokens, shape.width)
        self.position = nn.Parameter(0.02 * torch.randn(shape.context, shape.width))
        self.blocks = nn.ModuleList(
            TransformerBlock(shape.width, shape.heads, shape.feed_forward_factor) for _ in range(shape.layers)
        )
        self.output_norm = nn.LayerNorm(shape.width)
        self.head_weight = nn.Parameter(0.02 * torch.randn(shape.width, shape.outputs))
        self.head_bias = nn.Parameter(torch.zeros(shape.outputs))

    def encode(self, observation: Mapping[str, Tensor]) -> Tensor:
        """Features (N, D, width) before each token of N actions.

        `observation` holds `stream` (R, T) int64, `positions` (N, D) int64, places in the flattened stream, and
        where the shape has a picture `image` (R, H, W, 3) uint8, or one (1, H, W, 3) for all.
        """
        stream, positions = observation["stream"], observation["positions"]
        features = self.embedding(stream) + self.position[: stream.shape[1]]
        if self.picture is not None:
            pictures = self.picture(observation["image"]).expand(len(stream), -1, -1)
            features = torch.cat([pictures, features], dim=1)
            positions = positions + (positions // stream.shape[1] + 1) * pictures.shape[1]
        return self.output_norm(features_at(self.blocks, features, positions))

    def forward(self, context: Tensor, tokens: Tensor) -> Tensor:
        """Logits (N, D, outputs); the stream that `encode` read holds the tokens already."""
        return context @ self.head_weight + self.head_bias

    def start(self, observation: Mapping[str, Tensor]) -> tuple[TextCache, Tensor]:
        """Begin decoding after `prompt` (N, P) int64, of which the first `padding` (N,) places hold nothing.

        Returns:
            The cache, and the logits (N, outputs) of the first token.
        """
        prompt, padding = observation["prompt"], observation["padding"]
        pictures = self.picture(observation["image"]) if self.picture is not None else None
        shown = 0 if pictures is None else pictures.shape[1]
        count, length = len(prompt), prompt.shape[1] + shown
        capacity = length + self.shape.dimensions
        places = torch.arange(capacity, device=prompt.device)
        missing = (places >= shown) & (places < shown + padding[:, None])
        cells = KeyValueCache(
            len(self.blocks), count, self.shape.heads, capacity, self.shape.width // self.shape.heads, self.position
        )
        cache = TextCache(cells, missing[:, None, None], padding)
        causal = torch.ones(length, length, dtype=torch.bool, device=prompt.device).tril()
        # A place that holds nothing looks at itself, so that no row of the mask is empty.
        visible = causal & (
            ~missing[:, None, None, :length] | torch.eye(length, dtype=torch.bool, device=prompt.device)
        )
        embedded = self._embed(prompt, places[: prompt.shape[1]] - padding[:, None])
        if pictures is not None:
            embedded = torch.cat([pictures, embedded], dim=1)
        return cache, self._extend(embedded, visible, cache)

    def step(self, cache: TextCache, token: Tensor, dimension: int) -> Tensor:
        """Given `token` (N,) of `dimension - 1`, return the logits (N, outputs) of `dimension`."""
        end = cache.cells.length + 1
        visible = ~cache.missing[..., :end]
        embedded = self._embed(token[:, None], end - 1 - self.shape.image_tokens - cache.padding[:, None])
        return self._extend(embedded, visible, cache)

    def _embed(self, tokens: Tensor, places: Tensor) -> Tensor:
        return self.embedding(tokens) + self.position[places.clamp(0, self.shape.context - 1)]

    def _extend(self, features: Tensor, visible: Tensor, cache: TextCache) -> Tensor:
        for layer, block in enumerate(self.blocks):
            features = block(features, visible, cache.cells, layer)
        return self.output_norm(features[:, -1]) @ self.head_weight + self.head_bias
