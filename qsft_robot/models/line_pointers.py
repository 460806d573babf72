"""Logits for what the lines hold: names are copied, not learned one by one, and listed actions weighed as candidates.

A token is one that actions are written in, or a whole action that the line begins with.

With w(h, l) the attention of head h to line l, and x the token at place c of a line,

    logit(x) += GAIN_SCALE * sum over h, l, c with x at place c of l of   w(h, l) * gain(h, c)

After pointer-generator networks (See et al. 2017), but added to the logits, so that it also serves an algorithm whose
logits are values.

With f the features and k(l) the key of a line l that begins with the whole action x, candidates add

    logit(x) += sum over l that begin with x of   f Q k(l) / sqrt(width) + GAIN_SCALE * listed
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

GAIN_SCALE = 16.0
"""Gains start at zero and should reach logits of a few units within as many optimiser steps as other weights matter."""


class LinePointers(nn.Module):
    """See the module's docstring.

    Args:
        width: of the features.
        heads: attention heads, each with gains of its own.
        bins: number of tokens.
    """

    def __init__(self, width: int, heads: int, bins: int) -> None:
        super().__init__()
        self.heads, self.bins = heads, bins
        self.norm = nn.LayerNorm(width)
        self.key = nn.Linear(width, width, bias=False)
        self.query = nn.Linear(width, width, bias=False)

    def forward(
        self, features: Tensor, row: Tensor, lines: Tensor, visible: Tensor, tokens: Tensor, place: Tensor, gain: Tensor
    ) -> Tensor:
        """What is added to the logits (N, blocks * bins).

        Args:
            features: (N, width) of what decides.
            row: (N,) int64, the stream of each.
            lines: (R, E, width) of each stream.
            visible: (N, E) bool, which lines it may copy from.
            tokens: (R, T) int64 of each stream.
            place: (R, T) int64, the line of each token times the number of columns, plus its column; negative where
                there is nothing to copy.
            gain: (blocks, heads, columns).
        """
        count = len(visible)
        query = self.query(features).view(count, self.heads, 1, -1)
        key = self.key(self.norm(lines)).view(*lines.shape[:2], self.heads, -1).transpose(1, 2)
        scores = (query * key[row]).sum(dim=-1) / math.sqrt(query.shape[-1])
        seen = visible[:, None]
        # Not minus infinity: where there is nothing to copy from, the gradient must be a number all the same.
        weights = scores.masked_fill(~seen, -1e4).softmax(dim=-1) * seen
        weighted = torch.einsum("nhe,bhc->nbec", weights, GAIN_SCALE * gain.to(weights.dtype)).flatten(2)
        index = place[row][:, None].expand(-1, len(gain), -1)
        of_tokens = weighted.gather(2, index.clamp_min(0)).masked_fill(index < 0, 0.0)
        added = of_tokens.new_zeros(count, len(gain), self.bins)
        return added.scatter_add(2, tokens[row][:, None].expand_as(index), of_tokens).flatten(1)


class LineCandidates(nn.Module):
    """A score for each line that begins with a whole action, added to that action's logit.

    Attention has one unit of weight to share, so that of thirty lines each gets little; a score is a line's own, as in
    DRRN (He et al. 2016).

    Args:
        width: of the features.
        bins: number of actions.
    """

    def __init__(self, width: int, bins: int) -> None:
        super().__init__()
        self.bins = bins
        self.norm = nn.LayerNorm(width)
        self.key = nn.Linear(width, width, bias=False)

    def forward(
        self,
        features: Tensor,
        row: Tensor,
        lines: Tensor,
        visible: Tensor,
        actions: Tensor,
        query: Tensor,
        listed: Tensor,
    ) -> Tensor:
        """What is added to the logits (N, blocks * bins).

        Args:
            features: (N, width) of what decides.
            row: (N,) int64, the stream of each.
            lines: (R, E, width) of each stream.
            visible: (N, E) bool, which lines it may choose from.
            actions: (R, E) int64, the action that each line begins with; negative for none.
            query: (blocks, width, width), by which features ask for lines.
            listed: (blocks,), what every line that begins with an action adds.
        """
        asked = torch.einsum("nw,bwv->nbv", features, query.to(features.dtype))
        scores = torch.einsum("nbv,nev->nbe", asked, self.key(self.norm(lines))[row]) / math.sqrt(features.shape[-1])
        scores = scores + GAIN_SCALE * listed[:, None].to(scores.dtype)
        actions = actions[row][:, None].expand_as(scores)
        scores = scores.masked_fill(~visible[:, None] | (actions < 0), 0.0)
        added = scores.new_zeros(*scores.shape[:2], self.bins)
        return added.scatter_add(2, actions.clamp_min(0), scores).flatten(1)
