"""A robotics transformer after RT-1 (Brohan et al. 2022) whose action tokens condition on the earlier ones.

RT-1's released code replaces the embeddings of earlier action tokens by zeros, so that its action dimensions are
independent given the images. Q-learning over tokens needs the real conditional, so here token i sees a_1..a_{i-1}.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qsft_robot.models.image_encoder import IMAGE_ENCODERS
from qsft_robot.models.shape import Shape
from qsft_robot.models.transformer import KeyValueCache, Transformer

STATE_SCALE_FLOOR = 1e-3
"""Smallest standard deviation by which a state number is divided: constant entries stay near zero."""


@dataclass(frozen=True)
class TransformerShape(Shape):
    """Everything that determines the parameters' shapes.

    Attributes:
        images: observation key -> (H, W) of each camera.
        state_width: numbers in the `state` observation (0: none).
        dimensions: action dimensions D.
        outputs: logits per action token (the bins, and one more where an algorithm needs a dummy action).
        bins: tokens per action dimension.
        image_encoder: `dense` or `token_learner` (models/image_encoder.py).
        history: frames of observation the model sees.
    """

    images: dict[str, tuple[int, int]]
    state_width: int
    dimensions: int
    bins: int
    outputs: int
    width: int = 128
    layers: int = 2
    heads: int = 4
    feed_forward_factor: int = 2
    image_encoder: str = "dense"
    image_tokens: int = 4
    channels: tuple[int, ...] = (32, 64, 64)
    history: int = 1

    kind = "robotics_transformer"

    def network(self) -> RoboticsTransformer:
        """A network of this shape with fresh weights."""
        return RoboticsTransformer(self)


class RoboticsTransformer(nn.Module):
    """Logits of each action token given the observation and the earlier action tokens."""

    state_mean: Tensor
    state_scale: Tensor

    def __init__(self, shape: TransformerShape) -> None:
        super().__init__()
        self.shape = shape
        self.image_encoders = nn.ModuleDict(
            {
                key: IMAGE_ENCODERS[shape.image_encoder](size, shape.channels, shape.image_tokens, shape.width)
                for key, size in shape.images.items()
            }
        )
        self.register_buffer("state_mean", torch.zeros(shape.state_width))
        self.register_buffer("state_scale", torch.ones(shape.state_width))
        if shape.state_width:
            self.state_encoder = nn.Sequential(
                nn.Linear(shape.state_width, shape.width), nn.ReLU(), nn.Linear(shape.width, shape.width)
            )
        context_length = shape.history * self.tokens_per_frame
        self.context_position = nn.Parameter(0.02 * torch.randn(context_length, shape.width))
        # Row 0 starts the action; row 1 + i * bins + a says that dimension i got token a.
        self.action_embedding = nn.Embedding(1 + (shape.dimensions - 1) * shape.bins, shape.width)
        nn.init.normal_(self.action_embedding.weight, std=0.02)
        self.action_position = nn.Parameter(0.02 * torch.randn(shape.dimensions, shape.width))
        self.transformer = Transformer(shape.width, shape.layers, shape.heads, shape.feed_forward_factor)
        self.head_weight = nn.Parameter(0.02 * torch.randn(shape.dimensions, shape.width, shape.outputs))
        self.head_bias = nn.Parameter(torch.zeros(shape.dimensions, shape.outputs))

    @property
    def tokens_per_frame(self) -> int:
        """Context tokens that one frame of observation becomes."""
        return len(self.shape.images) * self.shape.image_tokens + (1 if self.shape.state_width else 0)

    def set_state_statistics(self, mean: Tensor, scale: Tensor) -> None:
        """Normalise `state` by these; they travel with the weights."""
        self.state_mean.copy_(mean)
        self.state_scale.copy_(scale.clamp_min(STATE_SCALE_FLOOR))

    def encode_frames(self, observation: Mapping[str, Tensor]) -> Tensor:
        """Encode single frames: each key (N, ...) -> (N, tokens_per_frame, width)."""
        parts = [encoder(observation[key]) for key, encoder in self.image_encoders.items()]
        if self.shape.state_width:
            state = (observation["state"].to(self.state_mean.dtype) - self.state_mean) / self.state_scale
            parts.append(self.state_encoder(state).unsqueeze(1))
        return torch.cat(parts, dim=1)

    def encode(self, observation: Mapping[str, Tensor]) -> Tensor:
        """Encode observations with history: each key (N, H, ...) -> context (N, H * tokens_per_frame, width)."""
        count, history = next(iter(observation.values())).shape[:2]
        frames = self.encode_frames({key: value.flatten(0, 1) for key, value in observation.items()})
        return self.join_frames(frames.unflatten(0, (count, history)))

    def join_frames(self, frames: Tensor) -> Tensor:
        """(N, H, tokens_per_frame, width) encoded frames, oldest first, to the context of the transformer."""
        return frames.flatten(1, 2) + self.context_position

    def forward(self, context: Tensor, tokens: Tensor) -> Tensor:
        """Logits (N, D, outputs) of every action token given the earlier ones of `tokens` (N, D) int64."""
        features = self.transformer(context, self._embed(tokens))
        return torch.einsum("ndw,dwo->ndo", features, self.head_weight) + self.head_bias

    def start(self, context: Tensor) -> tuple[KeyValueCache, Tensor]:
        """Begin decoding: return the cache and the logits (N, outputs) of the first action token."""
        cache = self.transformer.new_cache(len(context), context.shape[1] + self.shape.dimensions, context)
        self.transformer.extend(context, cache)
        begin = torch.zeros(len(context), dtype=torch.int64, device=context.device)
        return cache, self._decode_one(begin, 0, cache)

    def step(self, cache: KeyValueCache, token: Tensor, dimension: int) -> Tensor:
        """Given `token` (N,) of `dimension - 1`, return the logits (N, outputs) of `dimension`."""
        return self._decode_one(1 + (dimension - 1) * self.shape.bins + token, dimension, cache)

    def _embed(self, tokens: Tensor) -> Tensor:
        """Inputs at the D action positions: the start row, then the tokens of dimensions 0..D-2."""
        offsets = 1 + torch.arange(self.shape.dimensions - 1, device=tokens.device) * self.shape.bins
        rows = torch.cat([tokens.new_zeros(len(tokens), 1), tokens[:, :-1] + offsets], dim=1)
        return self.action_embedding(rows) + self.action_position

    def _decode_one(self, rows: Tensor, dimension: int, cache: KeyValueCache) -> Tensor:
        embedded = (self.action_embedding(rows) + self.action_position[dimension]).unsqueeze(1)
        features = self.transformer.extend(embedded, cache)
        return features @ self.head_weight[dimension] + self.head_bias[dimension]
