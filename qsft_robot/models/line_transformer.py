"""A small transformer over the lines of a text, trained from scratch, that scores whole actions.

Where a text is a table, such as a Wordle's guesses with the marks below them, what a token means depends on its place
in its line and on what stands above it. Each line becomes one vector,

    v = sum over its tokens x with y above, at place c, of   E[c, x] * G[c, y] + A[c, y]
    v + J p + S (sum of p up to here),   p = (O v) * (P w),   where w is that of the line above

so that an answer counts as what its question makes of it, and answers add up. A causal transformer runs over these.
Its sequence is several times shorter than that of tokens, and it has not to learn where the line above is. An action
is one token, predicted from the line before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qsft_robot.models.shape import Shape
from qsft_robot.models.transformer import TransformerBlock, features_at

TOKEN_SCALE = 0.3
"""Standard deviation of the tokens' vectors at the start. A line's is the sum of a few."""


@dataclass(frozen=True)
class LineTransformerShape(Shape):
    """Everything that determines the parameters' shapes.

    Attributes:
        bins: actions to choose among.
        outputs: logits per action (the bins, and more where an algorithm needs it).
        vocabulary: tokens of the text.
        end_of_line, padding: two of them.
        context: most tokens of a stream.
        columns: places in a line that are told apart; all later ones count as the last.
        dimensions: tokens of an action, which is 1.
    """

    bins: int
    outputs: int
    vocabulary: int
    end_of_line: int
    padding: int
    context: int
    columns: int = 8
    width: int = 128
    layers: int = 2
    heads: int = 8
    feed_forward_factor: int = 4
    dimensions: int = 1

    kind = "line_transformer"

    def network(self) -> LineTransformer:
        """A network of this shape with fresh weights."""
        return LineTransformer(self)


class LineTransformer(nn.Module):
    """Logits of each action, given the stream before it; see TextTransformer for the arguments."""

    def __init__(self, shape: LineTransformerShape) -> None:
        super().__init__()
        self.shape = shape
        count = shape.columns * shape.vocabulary
        self.token = nn.Embedding(count, shape.width)
        self.gate = nn.Embedding(count, shape.width)
        self.above = nn.Embedding(count, shape.width)
        for table in (self.token, self.above):
            nn.init.normal_(table.weight, std=TOKEN_SCALE)
        nn.init.normal_(self.gate.weight, mean=1.0)
        self.own, self.previous, self.joined, self.summed = (
            nn.Linear(shape.width, shape.width, bias=False) for _ in range(4)
        )
        self.position = nn.Parameter(0.02 * torch.randn(shape.context, shape.width))
        self.blocks = nn.ModuleList(
            TransformerBlock(shape.width, shape.heads, shape.feed_forward_factor) for _ in range(shape.layers)
        )
        self.output_norm = nn.LayerNorm(shape.width)
        self.head_weight = nn.Parameter(0.02 * torch.randn(shape.width, shape.outputs))
        self.head_bias = nn.Parameter(torch.zeros(shape.outputs))

    def encode(self, observation: Mapping[str, Tensor]) -> Tensor:
        """Features (N, 1, width) before each of N actions.

        `observation` holds `stream` (R, T) int64 and `positions` (N, 1) int64, places of ends of lines in the
        flattened stream.
        """
        lines, line_of = self._lines(observation["stream"])
        rows, positions = lines.shape[1], observation["positions"]
        row = positions // observation["stream"].shape[1]
        return self._features(lines, row * rows + line_of.flatten()[positions])

    def forward(self, context: Tensor, tokens: Tensor) -> Tensor:
        """Logits (N, 1, outputs)."""
        return context @ self.head_weight + self.head_bias

    def start(self, observation: Mapping[str, Tensor]) -> tuple[None, Tensor]:
        """Logits (N, outputs) of the action after `prompt` (N, P) int64, filled up with padding in front."""
        lines, line_of = self._lines(observation["prompt"])
        last = torch.arange(len(lines), device=lines.device) * lines.shape[1] + line_of[:, -1]
        return None, self._features(lines, last) @ self.head_weight + self.head_bias

    def step(self, cache: None, token: Tensor, dimension: int) -> Tensor:
        """There is no second token of an action.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError("an action of this model is one token")

    def _lines(self, stream: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors (R, lines, width) of the lines of streams (R, T), and (R, T) which line a token is in."""
        ends = stream == self.shape.end_of_line
        empty = stream == self.shape.padding
        line_of = ends.cumsum(dim=1) - ends.long()
        place = torch.arange(stream.shape[1], device=stream.device)
        # A line starts behind the newest end of a line, or padding, before it.
        breaks = torch.where(ends | empty, place + 1, 0).cummax(dim=1).values
        start = torch.cat([torch.zeros_like(breaks[:, :1]), breaks[:, :-1]], dim=1)
        column = (place - start).clamp_max(self.shape.columns - 1)
        count = int(line_of.max()) + 1
        offset = column * self.shape.vocabulary
        written = ~empty
        token, above = (stream + offset)[written], (self._above(stream, start, place) + offset)[written]
        vectors = torch.addcmul(self.above(above), self.token(token), self.gate(above))
        row = torch.arange(len(stream), device=stream.device)[:, None] * count
        lines = vectors.new_zeros(len(stream) * count, self.shape.width)
        lines = lines.index_add(0, (row + line_of)[written], vectors)
        return lines.view(len(stream), count, -1), line_of

    def _above(self, stream: Tensor, start: Tensor, place: Tensor) -> Tensor:
        """(R, T) the token at the same place of the line before; padding where that is shorter or missing."""
        end_above = (start - 1).clamp_min(0)
        above = start.gather(1, end_above) + place - start
        missing = (start == 0) | (stream.gather(1, end_above) == self.shape.padding) | (above >= start)
        return stream.gather(1, above.clamp_min(0).minimum(place)).masked_fill(missing, self.shape.padding)

    def _features(self, lines: Tensor, places: Tensor) -> Tensor:
        """Features (..., width) at `places` (...) among the flattened lines (R, lines, width)."""
        joined = self.own(lines) * self.previous(nn.functional.pad(lines, (0, 0, 1, -1)))
        features = lines + self.joined(joined) + self.summed(joined).cumsum(dim=1) + self.position[: lines.shape[1]]
        return self.output_norm(features_at(self.blocks, features, places))
