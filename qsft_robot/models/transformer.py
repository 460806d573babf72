"""A causal transformer over a bidirectional context, with a small preallocated key/value cache."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class KeyValueCache:
    """Keys and values of the positions seen so far, one preallocated buffer per layer.

    Args:
        layers, heads, head_width: shape of the transformer.
        batch: number of sequences.
        capacity: most positions that will be stored.
    """

    def __init__(self, layers: int, batch: int, heads: int, capacity: int, head_width: int, like: Tensor) -> None:
        shape = (layers, batch, heads, capacity, head_width)
        self.keys = torch.empty(shape, dtype=like.dtype, device=like.device)
        self.values = torch.empty_like(self.keys)
        self.length = 0

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store (batch, heads, new, head_width) keys and values of `layer`; return all of them so far.

        `length` advances when the last layer has appended.
        """
        end = self.length + keys.shape[2]
        self.keys[layer, :, :, self.length : end] = keys
        self.values[layer, :, :, self.length : end] = values
        if layer == self.keys.shape[0] - 1:
            self.length = end
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    """Attention of (batch, heads, length, head_width) queries, as PyTorch's `scaled_dot_product_attention`."""
    if mask is None or query.device.type != "cpu" or query.dtype != torch.bfloat16:
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)
    # PyTorch's own takes ten times as long over a dozen positions in bfloat16 on a CPU, most of it backwards. Queries
    # are columns here: a softmax over short rows takes three times as long as one over columns.
    scores = (key @ (query * query.shape[-1] ** -0.5).transpose(-2, -1)).float()
    scores = scores.masked_fill(~mask.transpose(-2, -1), -torch.inf)
    return scores.softmax(dim=-2).to(value.dtype).transpose(-2, -1) @ value


class TransformerBlock(nn.Module):
    """Pre-norm attention and feed-forward block of `width` features."""

    def __init__(self, width: int, heads: int, feed_forward_factor: int) -> None:
        super().__init__()
        self.heads = heads
        hidden = feed_forward_factor * width
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_output = nn.Linear(width, width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))

    def forward(
        self,
        tokens: Tensor,
        mask: Tensor | None,
        cache: KeyValueCache | None,
        layer: int,
        causal: bool = False,
        chosen: Tensor | None = None,
    ) -> Tensor:
        """Return (batch, length, width); `mask` (..., length, length) is True where attention is allowed.

        `causal` stands for the mask that shows each token the ones up to it. With `chosen` (N,), places in the
        flattened sequences, it is only these that go on: (N, width).
        """
        batch, length, width = tokens.shape
        projected = self.query_key_value(self.attention_norm(tokens))
        query, key, value = projected.view(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        if cache is not None:
            key, value = cache.append(layer, key, value)
        attended = attend(query, key, value, mask, causal)
        attended = attended.transpose(1, 2).reshape(batch, length, width)
        if chosen is not None:
            tokens, attended = tokens.flatten(0, 1)[chosen], attended.flatten(0, 1)[chosen]
        tokens = tokens + self.attention_output(attended)
        return tokens + self.feed_forward(self.feed_forward_norm(tokens))


def features_at(blocks: nn.ModuleList, features: Tensor, places: Tensor, mask: Tensor | None = None) -> Tensor:
    """What causal blocks make of `features` (batch, length, width) at `places` (...), in the flattened sequences.

    `mask` shows less than what came before. The last block does no more work than these places need. Returns
    (..., width).
    """
    chosen, inverse = places.unique(return_inverse=True)
    return last_features(blocks, before_last(blocks, features, mask), chosen, mask)[inverse]


def before_last(blocks: nn.ModuleList, features: Tensor, mask: Tensor | None = None) -> Tensor:
    """What all blocks but the last make of `features` (batch, length, width)."""
    for layer in range(len(blocks) - 1):
        features = blocks[layer](features, mask, None, layer, causal=mask is None)
    return features


def last_features(blocks: nn.ModuleList, features: Tensor, chosen: Tensor, mask: Tensor | None = None) -> Tensor:
    """What the last block makes of them at the places `chosen` (N,) in the flattened sequences: (N, width)."""
    last = len(blocks) - 1
    result: Tensor = blocks[last](features, mask, None, last, causal=mask is None, chosen=chosen)
    return result


class Transformer(nn.Module):
    """Context tokens attend to one another; action tokens attend to the context and to earlier action tokens.

    The context comes first in the sequence and never sees an action token, so its keys and values can be
    cached once per environment step and reused for every action token.
    """

    def __init__(self, width: int, layers: int, heads: int, feed_forward_factor: int) -> None:
        super().__init__()
        self.heads = heads
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, feed_forward_factor) for _ in range(layers))
        self.output_norm = nn.LayerNorm(width)

    def forward(self, context: Tensor, actions: Tensor) -> Tensor:
        """Return the features (batch, actions, width) at the action positions."""
        context_length, action_length = context.shape[1], actions.shape[1]
        length = context_length + action_length
        mask = torch.ones(length, length, dtype=torch.bool, device=context.device).tril()
        mask[:context_length, :context_length] = True
        tokens = torch.cat([context, actions], dim=1)
        for layer, block in enumerate(self.blocks):
            tokens = block(tokens, mask, None, layer)
        return self.output_norm(tokens[:, context_length:])

    def new_cache(self, batch: int, capacity: int, like: Tensor) -> KeyValueCache:
        """Return an empty cache for `batch` sequences of at most `capacity` positions."""
        return KeyValueCache(len(self.blocks), batch, self.heads, capacity, like.shape[-1] // self.heads, like)

    def extend(self, tokens: Tensor, cache: KeyValueCache) -> Tensor:
        """Append the whole context, or one action token, to `cache`; return the features of the last position."""
        for layer, block in enumerate(self.blocks):
            tokens = block(tokens, None, cache, layer)
        return self.output_norm(tokens[:, -1])
