"""Images to a few tokens: convolutions, then either one dense layer or TokenLearner (Ryoo et al. 2021)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

ATTENTION_GAIN = 8.0
"""Factor on TokenLearner's last weights at the start. With 1 every token begins as the mean of the picture, which
hardly differs between pictures: beside a state vector that explains most of the actions, cloning then never learned
to look (correlation of the first action with the logged one after 600 steps: 0.0; with a gain of 8: over 0.8)."""


class DenseImageEncoder(nn.Module):
    """(N, H, W, 3) uint8 images to (N, tokens, width) features: convolutions and one dense layer over the whole map.

    The convolutions are those of Mnih et al. 2015 (Nature): 8x8 with stride 4, 4x4 with stride 2, then 3x3 with
    stride 1. On a CPU a training step takes half the time of three 5x5 and 3x3 convolutions and TokenLearner, and the
    loss of cloning falls faster per step.

    Args:
        image_size: (H, W) in pixels.
        channels: output channels of the convolutions.
        tokens: number of tokens per image.
        width: features per token.
    """

    def __init__(self, image_size: tuple[int, int], channels: tuple[int, ...], tokens: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        previous = 3
        for index, current in enumerate(channels):
            kernel, stride = {0: (8, 4), 1: (4, 2)}.get(index, (3, 1))
            padding = (kernel - stride + 1) // 2
            layers += [nn.Conv2d(previous, current, kernel, stride=stride, padding=padding), nn.ReLU()]
            previous = current
        self.convolutions = channels_last(layers)
        with torch.no_grad():
            features = self.convolutions(torch.zeros(1, 3, *image_size)).numel()
        self.norm = nn.LayerNorm(features)
        self.output = nn.Linear(features, tokens * width)
        self.tokens = tokens

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, tokens, width)."""
        features = self.convolutions(as_pixels(images, self.output.weight.dtype))
        return self.output(self.norm(features.permute(0, 2, 3, 1).flatten(1))).unflatten(1, (self.tokens, -1))


class TokenLearnerEncoder(nn.Module):
    """(N, H, W, 3) uint8 images to (N, tokens, width) features, as RT-1 does: every token attends to some cells.

    Every `stride 2` convolution halves the picture. A learned position is added to each cell of the feature
    map before TokenLearner pools it: a weighted mean of cells without it would forget where things are.

    Args:
        image_size: (H, W) in pixels.
        channels: output channels of the convolutions; all but the last halve the picture.
        tokens: number of tokens per image.
        width: features per token.
    """

    def __init__(self, image_size: tuple[int, int], channels: tuple[int, ...], tokens: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        previous = 3
        for index, current in enumerate(channels):
            stride = 2 if index < len(channels) - 1 else 1
            kernel = 5 if index == 0 else 3
            layers += [nn.Conv2d(previous, current, kernel, stride=stride, padding=kernel // 2), nn.ReLU()]
            previous = current
        self.convolutions = channels_last(layers)
        with torch.no_grad():
            height, width_cells = self.convolutions(torch.zeros(1, 3, *image_size)).shape[-2:]
        self.position = nn.Parameter(0.1 * torch.randn(height * width_cells, previous))
        self.norm = nn.LayerNorm(previous)
        self.attention = nn.Sequential(nn.Linear(previous, 64), nn.ReLU(), nn.Linear(64, tokens))
        with torch.no_grad():
            cast(nn.Linear, self.attention[-1]).weight.mul_(ATTENTION_GAIN)
        self.output = nn.Linear(previous, width)

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, tokens, width)."""
        features = self.convolutions(as_pixels(images, self.output.weight.dtype))
        cells = self.norm(features.permute(0, 2, 3, 1).flatten(1, 2) + self.position)
        weights = self.attention(cells).softmax(dim=1)
        return self.output(weights.transpose(1, 2) @ cells)


IMAGE_ENCODERS: dict[str, type[DenseImageEncoder] | type[TokenLearnerEncoder]] = {
    "dense": DenseImageEncoder,
    "token_learner": TokenLearnerEncoder,
}


def as_pixels(images: Tensor, dtype: torch.dtype) -> Tensor:
    """(N, H, W, 3) uint8 to (N, 3, H, W) in [-1, 1]."""
    pixels = images.permute(0, 3, 1, 2).to(dtype).sub(127.5).div_(127.5)
    return pixels.contiguous(memory_format=torch.channels_last)


def channels_last(layers: list[nn.Module]) -> nn.Sequential:
    """The layers in a row, their weights in the order of memory in which convolutions are fastest on a CPU."""
    # ReLU rather than GELU: on a CPU the exact GELU took a fifth of a whole training step.
    sequence: nn.Sequential = nn.Sequential(*layers).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return sequence
