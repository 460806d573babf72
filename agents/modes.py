"""Decoding by modes: what to do is drawn, how it is done is the middle of that way of doing it.

The logged actions at one observation are a few things to do (go on waiting, lift the hand), each with the noise of
whoever did it. Drawing an action draws that noise too; the likeliest action is without it, but never does what is
likely soon and likeliest never. Here an action is drawn, and the hill of probability on which it lies is climbed to its
top: each thing is done as often as the policy says, and each without the noise.
"""

from __future__ import annotations

import torch
from torch import Tensor

MODE_WIDTH = 0.05
"""Standard deviation of the kernel that smooths probabilities into hills, as a share of the range of a dimension.
Narrower, every bin that was logged once too often is a hill; wider, things to do run into one another. On `pick_place`
0.08 does as well."""
MODE_STEPS = 10
"""Steps uphill; each goes a good part of the way that is left."""


def nearest_mode(logits: Tensor, drawn: Tensor, centres: Tensor) -> Tensor:
    """The tokens on top of the hills on which drawn tokens lie.

    By mean shift with a Gaussian kernel (Comaniciu and Meer 2002, Sec. 2).

    Args:
        logits: (N, bins) of the policy.
        drawn: (N,) int64, tokens of positive probability.
        centres: (bins,) float64, values of the bins, non-decreasing.

    Returns:
        (N,) int64.
    """
    weights = logits.double().softmax(dim=-1)
    width = MODE_WIDTH * (centres[-1] - centres[0])
    values = centres[drawn]
    for _ in range(MODE_STEPS):
        near = weights * torch.exp(-0.5 * ((centres - values.unsqueeze(-1)) / width) ** 2)
        values = (near * centres).sum(dim=-1) / near.sum(dim=-1)
    return torch.bucketize(values, (centres[1:] + centres[:-1]) / 2)
