"""Which words a picture shows: a detector for each word at each cell of a feature map, pooled over the picture.

Where in the picture a thing lies says little about what it is, so the detectors are the same everywhere; a dense layer
over the whole map has to learn each thing's looks anew for each place. The pooled logit is the log of the sum of the
cells' exponentials, a smooth maximum, so that one cell is enough and all take part in learning (Pinheiro and Collobert,
"From Image-level to Pixel-level Labeling with Convolutional Networks", CVPR 2015).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qsft_robot.models.image_encoder import as_pixels

CAPTION = "caption"
"""Key of what names a picture's contents: data may have it for training; nothing acts by it."""
CHANNELS = 48
RARE = -9.0
"""Bias of a cell's logit at the start: over 256 cells a word is shown with a probability of about 3%."""


class WordSpotter(nn.Module):
    """(N, H, W, 3) uint8 images to (N, vocabulary) probabilities that each word's thing is in sight.

    A cell is 4 pixels wide and sees 25 of them.
    """

    def __init__(self, vocabulary: int, channels: int = CHANNELS) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(3, channels, 5, stride=2, padding=2), nn.ReLU(),
            nn.Conv2d(channels, channels, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(),
        ).to(memory_format=torch.channels_last)  # fmt: skip  # type: ignore[call-overload]
        self.detectors = nn.Linear(channels, vocabulary)
        nn.init.constant_(self.detectors.bias, RARE)

    def forward(self, images: Tensor, words: Tensor) -> Tensor:
        """Probabilities (N, vocabulary); zero for those not among `words` (vocabulary) bool."""
        shown = self.logits(images, words).sigmoid()
        probabilities = shown.new_zeros(len(shown), len(words))
        probabilities[:, words] = shown
        return probabilities

    def logits(self, images: Tensor, words: Tensor) -> Tensor:
        """Logits (N, number of words) of those among `words` (vocabulary) bool."""
        weight, bias = self.detectors.weight[words], self.detectors.bias[words]
        cells = self.convolutions(as_pixels(images, weight.dtype)).permute(0, 2, 3, 1).flatten(1, 2)
        return nn.functional.linear(cells, weight, bias).logsumexp(dim=1)
