"""A small transformer over the lines of a text, trained from scratch.

Where a text is a table, such as a Wordle's guesses with the marks below them, what a token means depends on its place
in its line and on what stands above it. Each line becomes one vector,

    v = sum over its tokens x with y above, at place c, of   E[c, x] * G[c, y] + A[c, y]

and a causal transformer runs over these. Its sequence is several times shorter than that of tokens, and it has not to
learn where the line above is. Where lines are items of a list, what stands above says nothing: with `above=False` a
line is the sum of its E[c, x]. With `pairs`, for talk of questions and answers, the vectors are

    v + J p + S (sum of p up to here),   p = (O v) * (P w),   where w is that of the line above

so that an answer counts as what its question makes of it, and answers add up. With `instruction_lines`, for talk that
begins with what is asked for, every later token that occurs in those lines adds a vector I[x] + P[r] to its line: what
is wanted need not be found again by attention. It is the r-th of the instruction's words from its end, which tells the
thing that is asked for from where to put it; words that no action is made of, such as `a`, do not count (`set_words`).

An action is one token, predicted from the line before it, or it is written token by token: then the line as far as it
is written, with the same formula, is what the next token is predicted from. A picture, where there is one, becomes a
few vectors in front of the lines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from qsft_robot.models.image_encoder import DenseImageEncoder
from qsft_robot.models.line_pointers import LineCandidates, LinePointers
from qsft_robot.models.shape import Shape
from qsft_robot.models.transformer import TransformerBlock, before_last, last_features
from qsft_robot.models.word_spotter import CAPTION, WordSpotter

TOKEN_SCALE = 0.3
"""Standard deviation of the tokens' vectors at the start. A line's is the sum of a few."""
INSTRUCTION_PLACES = 6
"""Words of an instruction that are told apart, from its end; those before count as the first of them."""


@dataclass(frozen=True)
class LineTransformerShape(Shape):
    """Everything that determines the parameters' shapes.

    Attributes:
        bins: actions to choose among, or tokens that they are written in.
        outputs: logits per token of an action (the bins, and more where an algorithm needs it).
        vocabulary: tokens of the text.
        end_of_line, padding: two of them.
        context: most tokens of a stream.
        dimensions: most tokens of an action D; 1 where it is chosen as a whole.
        above: whether a token is taken together with the one above it.
        pairs: whether a line is taken together with the one above as a whole.
        instruction_lines: first lines of a stream, whose tokens are marked where they occur again.
        pointers: attention heads that copy tokens of lines (line_pointers.py); 0 for none. With these or candidates,
            the last `bins` of the vocabulary are those that actions are made of.
        candidates: whether lines that begin with a whole action are scored as candidates (line_pointers.py).
        columns: places in a line that are told apart; all later ones count as the last.
        image: (H, W) of the picture that comes with each stream, or None.
        image_tokens: vectors made of it.
        image_words: whether one more says which words it shows.
        channels: of the convolutions.
    """

    bins: int
    outputs: int
    vocabulary: int
    end_of_line: int
    padding: int
    context: int
    dimensions: int = 1
    above: bool = True
    pairs: bool = False
    instruction_lines: int = 0
    pointers: int = 0
    candidates: bool = False
    columns: int = 8
    width: int = 128
    layers: int = 2
    heads: int = 8
    feed_forward_factor: int = 4
    image: tuple[int, int] | None = None
    image_tokens: int = 0
    image_words: bool = False
    channels: tuple[int, ...] = (32, 64, 64)

    kind = "line_transformer"

    def network(self) -> LineTransformer:
        """A network of this shape with fresh weights."""
        return LineTransformer(self)


@dataclass
class LineCache:
    """What is read again for every token of an action: the streams (N, T), and vectors of their pictures."""

    stream: Tensor
    pictures: Tensor | None


class LinePairs(nn.Module):
    """What lines make of the line above each, alone and added up; see the module's docstring."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.own = nn.Linear(width, width, bias=False)
        self.previous = nn.Linear(width, width, bias=False)
        self.joined = nn.Linear(width, width, bias=False)
        self.summed = nn.Linear(width, width, bias=False)

    def forward(self, lines: Tensor, whole: Tensor) -> Tensor:
        """`lines` (R, elements, width) with their pairs; only those that are `whole` (R, elements) stand above one."""
        rows = torch.arange(len(lines), device=lines.device)[:, None]
        number = torch.arange(1, lines.shape[1] + 1, device=lines.device)
        newest = torch.where(whole, number, 0).cummax(dim=1).values
        # The whole line before each element: 0 stands for none.
        before = functional.pad(newest, (1, -1))
        product = self.own(lines) * self.previous(functional.pad(lines, (0, 0, 1, 0))[rows, before])
        part = ~whole[..., None]
        summed = product.masked_fill(part, 0.0).cumsum(dim=1) + product * part
        return lines + self.joined(product) + self.summed(summed)


class LineTransformer(nn.Module):
    """Logits of each token of each action, given the stream before it; see TextTransformer for the arguments."""

    words: Tensor

    def __init__(self, shape: LineTransformerShape) -> None:
        super().__init__()
        self.shape = shape
        count = shape.columns * shape.vocabulary
        self.token = nn.Embedding(count, shape.width)
        self.gate, self.above = (nn.Embedding(count, shape.width) if shape.above else None for _ in range(2))
        nn.init.normal_(self.token.weight, std=TOKEN_SCALE)
        if self.gate is not None and self.above is not None:
            nn.init.normal_(self.above.weight, std=TOKEN_SCALE)
            nn.init.normal_(self.gate.weight, mean=1.0)
        self.pairs = LinePairs(shape.width) if shape.pairs else None
        self.asked: nn.Embedding | None = None
        if shape.instruction_lines or shape.image_words:
            self.register_buffer("words", torch.ones(shape.vocabulary, dtype=torch.bool))
        if shape.instruction_lines:
            self.asked = nn.Embedding(shape.vocabulary, shape.width)
            self.asked_place = nn.Embedding(INSTRUCTION_PLACES, shape.width)
            nn.init.normal_(self.asked_place.weight, std=TOKEN_SCALE)
            with torch.no_grad():
                # Alike at first: that something is asked for is easier to learn than what it is.
                self.asked.weight.copy_((TOKEN_SCALE * torch.randn(shape.width)).expand_as(self.asked.weight))
        self.picture: nn.Module | None = None
        if shape.image is not None:
            self.picture = DenseImageEncoder(shape.image, shape.channels, shape.image_tokens, shape.width)
        self.spotter: WordSpotter | None = None
        if shape.image is not None and shape.image_words:
            self.spotter = WordSpotter(shape.vocabulary)
            self._spotted: tuple[Tensor, Tensor] | None = None
            self.spotted = nn.Embedding(shape.vocabulary, shape.width)
            nn.init.normal_(self.spotted.weight, std=TOKEN_SCALE)
        self.position = nn.Parameter(0.02 * torch.randn(shape.context, shape.width))
        self.blocks = nn.ModuleList(
            TransformerBlock(shape.width, shape.heads, shape.feed_forward_factor) for _ in range(shape.layers)
        )
        self.output_norm = nn.LayerNorm(shape.width)
        self.head_weight = nn.Parameter(0.02 * torch.randn(shape.width, shape.outputs))
        self.head_bias = nn.Parameter(torch.zeros(shape.outputs))
        self.pointers: LinePointers | None = None
        blocks = shape.outputs // shape.bins
        self.candidates: LineCandidates | None = None
        if shape.candidates:
            self.candidates = LineCandidates(shape.width, shape.bins)
            self.head_query = nn.Parameter(torch.zeros(blocks, shape.width, shape.width))
            self.head_listed = nn.Parameter(torch.zeros(blocks))
        if shape.pointers:
            self.pointers = LinePointers(shape.width, shape.pointers, shape.bins)
            self.head_gain = nn.Parameter(torch.zeros(blocks, shape.pointers, shape.columns))

    def set_words(self, tokens: Sequence[int]) -> None:
        """Mark these tokens alone, where an instruction's occur again, and look for them alone in a picture.

        For a shape with `instruction_lines` or `image_words`.
        """
        self.words.zero_()
        self.words[list(tokens)] = True

    def encode(self, observation: Mapping[str, Tensor]) -> Tensor:
        """Features (N, D, ...) before each token of N actions; what pointers or candidates add follows the width.

        `observation` holds `stream` (R, T) int64, `positions` (N, D) int64, places in the flattened stream, and where
        the shape has a picture `image` (R, H, W, 3) uint8. Streams that begin with the same tokens may say so by
        `shared`, how many, as whole lines: these are read once, and `image` is one (1, H, W, 3).
        """
        shared = int(observation["shared"]) if "shared" in observation else 0
        pictures = self._pictures(observation, observation["stream"])
        return self._encode(observation["stream"], observation["positions"], pictures, shared)

    def forward(self, context: Tensor, tokens: Tensor) -> Tensor:
        """Logits (N, D, outputs); the stream that `encode` read holds the tokens already."""
        logits = context[..., : self.shape.width] @ self.head_weight + self.head_bias
        if self.pointers is None and self.candidates is None:
            return logits
        copied = context[..., self.shape.width :]
        return logits + functional.pad(copied, (0, self.shape.outputs - copied.shape[-1]))

    def caption_loss(self, observation: Mapping[str, Tensor]) -> Tensor | None:
        """Cross-entropy (), summed over words, of which of them `image` (R, H, W, 3) shows.

        `caption` (R, vocabulary) bool says it. None for a network that does not spot words, or without captions. What
        `encode` saw in the same pictures just before is not looked for again.
        """
        if self.spotter is None:
            return None
        images, logits = self._spotted or (None, None)
        self._spotted = None
        if CAPTION not in observation:
            return None
        if logits is None or images is not observation["image"]:
            _, logits = self.spotter(observation["image"], self.words)
        shown = observation[CAPTION][:, self.words].to(logits.dtype)
        return functional.binary_cross_entropy_with_logits(logits, shown, reduction="none").sum(dim=1).mean()

    def start(self, observation: Mapping[str, Tensor]) -> tuple[LineCache, Tensor]:
        """The cache, and logits (N, outputs) of the first token after `prompt` (N, P), filled up in front."""
        cache = LineCache(observation["prompt"], self._pictures(observation, observation["prompt"]))
        return cache, self._last(cache)

    def step(self, cache: LineCache, token: Tensor, dimension: int) -> Tensor:
        """Given `token` (N,) of `dimension - 1`, return the logits (N, outputs) of `dimension`."""
        cache.stream = torch.cat([cache.stream, token[:, None]], dim=1)
        return self._last(cache)

    def _last(self, cache: LineCache) -> Tensor:
        rows, length = cache.stream.shape
        last = torch.arange(1, rows + 1, device=cache.stream.device) * length - 1
        return self(self._encode(cache.stream, last, cache.pictures), last)

    def _pictures(self, observation: Mapping[str, Tensor], stream: Tensor) -> Tensor | None:
        """Vectors (R, number, width) of the pictures that come with the streams (R, T); None without pictures."""
        if self.picture is None:
            return None
        images = observation["image"]
        vectors: Tensor = self.picture(images)
        if self.spotter is None:
            return vectors
        shown, logits = self.spotter(images, self.words)
        self._spotted = (images, logits) if self.training else None
        line = shown @ self.spotted.weight
        if self.asked is not None:
            stream = stream[: len(images)]
            word = self._asked_words(stream, stream != self.shape.padding)
            wanted = shown * (word < INSTRUCTION_PLACES)
            places = functional.one_hot(word, INSTRUCTION_PLACES + 1)[..., :INSTRUCTION_PLACES].to(shown.dtype)
            line = line + wanted @ self.asked.weight + (wanted[:, None] @ places).squeeze(1) @ self.asked_place.weight
        return torch.cat([vectors, line[:, None]], dim=1)

    def _encode(self, stream: Tensor, positions: Tensor, pictures: Tensor | None, shared: int = 0) -> Tensor:
        """Features (..., width) at `positions` (...) of the flattened stream (R, T)."""
        ends = stream == self.shape.end_of_line
        place, number = self._elements(ends, positions, shared)
        whole = ends.flatten()[place]
        start = self._starts(ends | (stream == self.shape.padding))
        # Where actions are chosen as wholes, their tokens are the last of the vocabulary.
        actions = stream - (self.shape.vocabulary - self.shape.bins)
        first = self._first(start, place)
        features = self._vectors(stream, start, place, first, whole, shared)
        row, line, number = positions // stream.shape[1], number, number.flatten()[positions]
        if shared:
            row, stream, line = torch.zeros_like(row), stream[:1, :shared], line[:1, :shared]
        shown = 0
        if pictures is not None:
            shown = pictures.shape[1]
            features = torch.cat([pictures, features], dim=1)
            whole = functional.pad(whole, (shown, 0), value=True)
            number = number + shown
        mask = None
        if self.shape.dimensions > 1:
            # Nothing but itself sees a part of a line: the whole line says it all.
            itself = torch.eye(whole.shape[1], dtype=torch.bool, device=stream.device)
            mask = (whole[:, None] & torch.ones_like(itself).tril() | itself)[:, None]
        size = features.shape[1]
        chosen, inverse = (row * size + number).unique(return_inverse=True)
        lines = before_last(self.blocks, features, mask)
        found = self.output_norm(last_features(self.blocks, lines, chosen, mask))
        if self.pointers is None and self.candidates is None:
            return found[inverse]
        row, number = chosen // size, chosen % size
        before = torch.arange(size, device=stream.device) <= number[:, None]
        # Where streams share their lines, these come first; parts of lines are nothing to copy from.
        copied = slice(shown, shown + int(line.max()) + 1 if shared else size)
        visible = (before & whole[row])[:, copied]
        lines, added = lines[:, copied], []
        if self.candidates is not None:
            begun = functional.pad(actions.flatten()[first], (shown, 0), value=-1)[:, copied]
            scores = self.candidates(found, row, lines, visible, begun, self.head_query, self.head_listed)
            added.append(scores)
        if self.pointers is not None:
            rows, length = stream.shape
            column = self._columns(start)[:rows, :length] + line * self.shape.columns
            token = actions[:rows, :length]
            column = column.masked_fill((stream == self.shape.padding) | (token < 0), -1)
            added.append(self.pointers(found, row, lines, visible, token.clamp_min(0), column, self.head_gain))
        return torch.cat([found, sum(added).to(found.dtype)], dim=-1)[inverse]

    def _elements(self, ends: Tensor, positions: Tensor, shared: int) -> tuple[Tensor, Tensor]:
        """What the transformer's sequences are made of: lines, and those parts from which something is predicted.

        Streams that share their first `shared` tokens make one sequence: the lines of these, then the parts of every
        stream's action.

        Returns:
            Places (sequences, elements) in the flattened streams (R, T) where elements end, and (R, T) for each token
            how many elements of its sequence end before it.
        """
        elements = ends.clone()
        if shared:
            elements[1:] = False
            elements[:, shared:] = False
        if self.shape.dimensions > 1:
            elements.view(-1)[positions.flatten()] = True
        if shared:
            counted = elements.flatten().cumsum(dim=0).view_as(elements)
            return elements.flatten().nonzero().T, counted - elements.long()
        number = elements.cumsum(dim=1) - elements.long()
        count = int(elements.sum(dim=1).max())
        places = torch.arange(elements.numel(), device=ends.device).view_as(elements)
        # Sequences are filled up with their stream's first place, which nothing sees.
        place = places[:, :1].repeat(1, count + 1)
        place.scatter_(1, torch.where(elements, number, count), places)
        return place[:, :count], number

    def _columns(self, start: Tensor) -> Tensor:
        """(R, T) the place of each token in its line, as far as places are told apart; `start` (R, T) of the lines."""
        place = torch.arange(start.shape[1], device=start.device)
        return (place - start).clamp_max(self.shape.columns - 1)

    def _first(self, start: Tensor, place: Tensor) -> Tensor:
        """(sequences, elements) where the lines that these places are in begin, in the flattened streams."""
        return (start + torch.arange(len(start), device=start.device)[:, None] * start.shape[1]).flatten()[place]

    def _vectors(
        self, stream: Tensor, start: Tensor, place: Tensor, first: Tensor, whole: Tensor, shared: int
    ) -> Tensor:
        """Vectors (sequences, elements, width) of the lines up to these places of the flattened streams (R, T)."""
        written = stream != self.shape.padding
        needed = written.clone()
        if shared:
            needed[1:, :shared] = False
        tokens = self._tokens(stream, start, written, needed)
        # Each element is the sum of a run of tokens: a bag of them, none where nothing is written.
        lengths = ((place - first + 1) * written.flatten()[place]).flatten()
        number = needed.flatten().cumsum(dim=0) - needed.flatten().long()
        offsets = lengths.cumsum(dim=0) - lengths
        shift = (number[first].flatten() - offsets).repeat_interleave(lengths)
        runs = torch.arange(len(shift), device=stream.device) + shift
        lines = functional.embedding_bag(runs, tokens, offsets, mode="sum").view(*place.shape, self.shape.width)

        ends = stream == self.shape.end_of_line
        line = (ends.cumsum(dim=1) - ends.long()).flatten()[place]
        paired = lines if self.pairs is None else self.pairs(lines, whole)
        return paired + self.position[line]

    def _starts(self, breaks: Tensor) -> Tensor:
        """(R, T) where the line of each token starts: behind the newest end of a line, or padding, before it."""
        behind = torch.arange(1, breaks.shape[1] + 1, device=breaks.device)
        return functional.pad(torch.where(breaks, behind, 0).cummax(dim=1).values, (1, -1))

    def _tokens(self, stream: Tensor, start: Tensor, written: Tensor, needed: Tensor) -> Tensor:
        """What each `needed` token (R, T) of those `written` adds to its line: (their number, width)."""
        place = torch.arange(stream.shape[1], device=stream.device)
        offset = self._columns(start) * self.shape.vocabulary
        vectors = self.token((stream + offset)[needed])
        if self.gate is not None and self.above is not None:
            above = (self._above(stream, start, place) + offset)[needed]
            vectors = torch.addcmul(self.above(above), vectors, self.gate(above))
        if self.asked is not None:
            word = self._asked_again(stream, written)[needed]
            again = (word < INSTRUCTION_PLACES).nonzero().squeeze(1)
            marks = self.asked(stream[needed][again]) + self.asked_place(word[again])
            vectors = vectors.index_add(0, again, marks)
        return vectors

    def _asked_again(self, stream: Tensor, written: Tensor) -> Tensor:
        """(R, T) for tokens that occur in the instruction, and are no part of it, which of its words from its end."""
        elsewhere = written & ~self._instruction(stream, written)
        return self._asked_words(stream, written).gather(1, stream).masked_fill(~elsewhere, INSTRUCTION_PLACES)

    def _asked_words(self, stream: Tensor, written: Tensor) -> Tensor:
        """(R, vocabulary) which of the instruction's words each token is, from its end; INSTRUCTION_PLACES for none."""
        words = self._instruction(stream, written) & (stream != self.shape.end_of_line) & self.words[stream]
        from_end = (words.sum(dim=1, keepdim=True) - words.cumsum(dim=1)).clamp_max(INSTRUCTION_PLACES - 1)
        asked = stream.new_full((len(stream), self.shape.vocabulary), INSTRUCTION_PLACES)
        return asked.scatter_reduce_(1, stream, from_end.masked_fill(~words, INSTRUCTION_PLACES), "amin")

    def _instruction(self, stream: Tensor, written: Tensor) -> Tensor:
        """(R, T) whether each token is a part of the instruction."""
        ends = stream == self.shape.end_of_line
        return written & (ends.cumsum(dim=1) - ends.long() < self.shape.instruction_lines)

    def _above(self, stream: Tensor, start: Tensor, place: Tensor) -> Tensor:
        """(R, T) the token at the same place of the line before; padding where that is shorter or missing."""
        end_above = (start - 1).clamp_min(0)
        above = start.gather(1, end_above) + place - start
        missing = (start == 0) | (stream.gather(1, end_above) == self.shape.padding) | (above >= start)
        return stream.gather(1, above.clamp_min(0).minimum(place)).masked_fill(missing, self.shape.padding)
