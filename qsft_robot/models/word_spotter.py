"""Which words a picture shows: a detector for each word at each cell of a feature map, pooled over the picture.

Where in the picture a thing lies says little about what it is, so the detectors are the same everywhere; a dense layer
over the whole map has to learn each thing's looks anew for each place. The pooled logit is the log of the sum of the
cells' exponentials, a smooth maximum, so that one cell is enough and all take part in learning (Pinheiro and Collobert,
"From Image-level to Pixel-level Labeling with Convolutional Networks", CVPR 2015).
"""

from __future__ import annotations

from torch import Tensor, nn

from qsft_robot.models.image_encoder import as_pixels, channels_last

CAPTION = "caption"
"""Key of what names a picture's contents: data may have it for training; nothing acts by it."""
CHANNELS = 48
RARE = -9.0
"""A cell's logit of each word at the start: over 256 cells a word is shown with a probability of about 3%."""
GAIN = 4.0
"""Factor on the detectors' outputs: they have a long way to go, from every word being rare, at the rate of the rest of
the network. Without it three times the rate was needed for the same loss."""


class WordSpotter(nn.Module):
    """(N, H, W, 3) uint8 images to (N, vocabulary) probabilities that each word's thing is in sight.

    A cell is 4 pixels wide and sees 25 of them.
    """

    def __init__(self, vocabulary: int, channels: int = CHANNELS) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        previous = 3
        for kernel, stride in ((5, 2), (3, 2), (3, 1), (3, 1)):
            convolution = nn.Conv2d(previous, channels, kernel, stride=stride, padding=kernel // 2)
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            layers += [convolution, nn.ReLU()]
            previous = channels
        self.convolutions = channels_last(layers)
        self.norm = nn.LayerNorm(channels)
        self.detectors = nn.Linear(channels, vocabulary)
        nn.init.constant_(self.detectors.bias, RARE / GAIN)

    def forward(self, images: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        """Whether each word is shown.

        Returns:
            Probabilities (N, vocabulary), zero for those not among `words` (vocabulary) bool, and the logits
            (N, number of words) of these.
        """
        weight, bias = self.detectors.weight[words], self.detectors.bias[words]
        cells = self.convolutions(as_pixels(images, weight.dtype)).permute(0, 2, 3, 1).flatten(1, 2)
        logits = (GAIN * nn.functional.linear(self.norm(cells), weight, bias)).logsumexp(dim=1)
        probabilities = logits.new_zeros(len(logits), len(words))
        probabilities[:, words] = logits.sigmoid()
        return probabilities, logits
