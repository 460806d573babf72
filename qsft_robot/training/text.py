"""From the sampler's episodes of text to streams of tokens: text is stored, tokens are made when it is read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qsft_robot.algorithms.base import TokenBatch
from qsft_robot.datasets.batch import Batch
from qsft_robot.errors import DataError
from qsft_robot.models.pictures import Pictures
from qsft_robot.models.word_spotter import CAPTION
from qsft_robot.tokenization.text_tokenizer import TextTokenizer
from qsft_robot.training.tensors import observation_tensors, transition_tensors


@dataclass(frozen=True)
class TextBatch(TokenBatch):
    """A TokenBatch whose observations are `stream` (R, T) int64 and `positions` (S, L + 1, D) int64 in it.

    Where the data have pictures, `image` (R, H, W, 3) is the one that each stream begins with, or there are the tensors
    that `Pictures.inputs` makes of all pictures of the streams. With captions, `caption` (R, vocabulary) bool says
    which tokens that of `image` has; the end of its line does not count.
    """

    def current(self) -> tuple[dict[str, Tensor], Tensor]:
        """The streams with the positions (S * L, D) of the transitions' tokens, and these."""
        return self._part(slice(None, -1))

    def everything(self) -> tuple[dict[str, Tensor], Tensor]:
        """The same with the position of the observation after each segment."""
        return self._part(slice(None))

    def _part(self, steps: slice) -> tuple[dict[str, Tensor], Tensor]:
        positions = self.observations["positions"][:, steps].flatten(0, 1)
        return {**self.observations, "positions": positions}, self.tokens[:, steps].flatten(0, 1)


class Streams:
    """Rows of tokens under construction; none is longer than `context`.

    Args:
        tokenizer: text to tokens.
        context: most tokens of a row.
        growing: an observation may go on where the one before it stopped; else each has a row of its own.
        pictures: what stands for the picture of each observation, and whether all that an episode's observations say
            follows one another; None: no tokens stand for pictures.
    """

    def __init__(
        self, tokenizer: TextTokenizer, context: int, growing: bool = True, pictures: Pictures | None = None
    ) -> None:
        self.tokenizer = tokenizer
        self.context = context
        self.episode = pictures is not None and pictures.episode
        self.growing = growing if pictures is None else self.episode
        self.picture = () if pictures is None else pictures.tokens
        self.rows: list[list[int]] = []
        self.begun: list[int] = []
        """For each row the number of the observation, counted by `see`, that it began with."""
        self._seen = 0
        self._expected: str | None = None

    def see(self, text: str) -> None:
        """Go on with `text`: in the newest row where it begins with all that this holds, else in a new one.

        Raises:
            DataError: the text holds a token that stands for a picture.
        """
        text = text if text.endswith("\n") else text + "\n"
        self._seen += 1
        added = self._added(text)
        if added is not None:
            tokens = [*self.picture, *(self._checked(self.tokenizer.observation(added)) if added else [])]
            if len(self.rows[-1]) + len(tokens) + self.tokenizer.room <= self.context:
                self.rows[-1].extend(tokens)
                self._expected = text
                return
        kept = prompt_tokens(self.tokenizer, text, self.context - len(self.picture))
        self.rows.append([*self.picture, *self._checked(kept)])
        self.begun.append(self._seen - 1)
        self._expected = text

    def _added(self, text: str) -> str | None:
        """What `text` says beyond the newest row, or None where it does not go on there."""
        if not self.growing or self._expected is None:
            return None
        if text.startswith(self._expected):
            return text[len(self._expected) :]
        return text if self.episode else None

    def _checked(self, tokens: list[int]) -> list[int]:
        if not set(self.picture).isdisjoint(tokens):
            raise DataError(
                "the text of an observation holds a word that stands for a picture in this model's stream, such as "
                f"{self.tokenizer.encoding.id_to_token(self.picture[0])!r}: take it out of the text"
            )
        return tokens

    def act(self, text: str) -> None:
        """Go on with an action, a line of text."""
        self.rows[-1].extend(self.tokenizer.written(text))
        line = text.split("\n", 1)[0]
        self._expected = f"{self._expected}{line}\n"

    def forget(self) -> None:
        """Let the next observation begin a new row."""
        self._expected = None

    def here(self) -> tuple[int, int]:
        """Row and place of the newest token."""
        return len(self.rows) - 1, len(self.rows[-1]) - 1

    def tensor(self) -> Tensor:
        """(R, T) int64, filled up with padding."""
        width = max(map(len, self.rows))
        filled = np.full((len(self.rows), width), self.tokenizer.padding, dtype=np.int64)
        for row, tokens in zip(filled, self.rows, strict=True):
            row[: len(tokens)] = tokens
        return torch.from_numpy(filled)


def prompt_tokens(tokenizer: TextTokenizer, text: str, context: int) -> list[int]:
    """Tokens of an observation; the oldest lines are left out where an action would no longer fit."""
    tokens = tokenizer.observation(text)
    kept = tokens[-(context - tokenizer.room) :]
    if len(kept) < len(tokens) and tokenizer.end_of_line in kept[:-1]:
        kept = kept[kept.index(tokenizer.end_of_line) + 1 :]
    return kept


def prompts(tokenizer: TextTokenizer, texts: Sequence[str], context: int, device: torch.device) -> dict[str, Tensor]:
    """What a network's `start` takes: `prompt` (N, P) int64, filled up in front, and `padding` (N,) int64."""
    return padded_prompts(tokenizer, [prompt_tokens(tokenizer, text, context) for text in texts], device)


def padded_prompts(tokenizer: TextTokenizer, rows: Sequence[list[int]], device: torch.device) -> dict[str, Tensor]:
    """The same for streams of tokens, each as far as it goes."""
    width = max(map(len, rows))
    filled = np.full((len(rows), width), tokenizer.padding, dtype=np.int64)
    for row, tokens in zip(filled, rows, strict=True):
        row[width - len(tokens) :] = tokens
    padding = np.array([width - len(tokens) for tokens in rows], dtype=np.int64)
    return {"prompt": torch.from_numpy(filled).to(device), "padding": torch.from_numpy(padding).to(device)}


def scored_actions(
    tokenizer: TextTokenizer,
    texts: Iterable[str],
    actions: Sequence[str],
    context: int,
    device: torch.device,
    pictures: np.ndarray | None = None,
    shown: Pictures | None = None,
) -> tuple[dict[str, Tensor], Tensor, np.ndarray]:
    """The actions (T,) taken in an episode's texts and pictures (T, H, W, 3), as what `Algorithm.all_logits` takes.

    `shown` says how pictures stand in the streams, where they do.

    Returns:
        Streams and positions, tokens (T, D), and (T,) how many tokens each action has.
    """
    tokens, lengths = tokenizer.encode(actions)
    streams = Streams(tokenizer, context, pictures is None, shown)
    places = np.zeros((*tokens.shape, 2), dtype=np.int64)
    for step, (text, action) in enumerate(zip(texts, actions, strict=True)):
        streams.see(str(text))
        places[step] = _places(streams, tokens.shape[1], int(lengths[step]))
        streams.act(str(action))
    stream = streams.tensor().to(device)
    positions = torch.from_numpy(places[..., 0] * stream.shape[1] + places[..., 1]).to(device)
    observation = {"stream": stream, "positions": positions}
    if pictures is not None and shown is not None:
        observation |= shown.inputs(pictures, device)
    elif pictures is not None:
        observation["image"] = torch.from_numpy(np.ascontiguousarray(pictures)).to(device)
    return observation, torch.from_numpy(tokens).to(device), lengths


def scored_alternatives(
    tokenizer: TextTokenizer,
    text: str,
    actions: Sequence[str],
    context: int,
    device: torch.device,
    picture: np.ndarray | None = None,
) -> tuple[dict[str, Tensor], Tensor, np.ndarray]:
    """As `scored_actions`, for actions that could all be taken in one text with one picture (H, W, 3).

    `shared`, beside the streams, is how many of their tokens are the text's and so the same in all. Actions that begin
    alike are predicted from the same places.
    """
    observation, tokens, lengths = scored_actions(tokenizer, [text] * len(actions), actions, context, device)
    # The first token of every action is predicted from the last one of the text.
    observation["shared"] = observation["positions"][0, 0] + 1
    written, places = tokens.tolist(), observation["positions"].tolist()
    known: dict[tuple[int, ...], int] = {}
    for row, action in enumerate(written):
        for count in range(len(action)):
            places[row][count] = known.setdefault(tuple(action[: min(count, lengths[row] - 1)]), places[row][count])
    observation["positions"] = torch.tensor(places, device=device)
    if picture is not None:
        observation["image"] = torch.from_numpy(np.ascontiguousarray(picture[None])).to(device)
    return observation, tokens, lengths


class TextConverter:
    """Builds the streams of a batch and lets pi_phi score them.

    Args:
        tokenizer: text to tokens.
        context: most tokens of a stream.
        device: where the tensors go.
        behaviour: the trained pi_phi, or None while it is being trained.
        shown: how pictures stand in the streams, where they do.
    """

    def __init__(
        self,
        tokenizer: TextTokenizer,
        context: int,
        device: torch.device,
        behaviour: Any | None = None,
        shown: Pictures | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.context = context
        self.device = device
        self.behaviour = behaviour
        self.shown = shown

    def __call__(self, batch: Batch, generator: torch.Generator) -> TextBatch:
        """Convert `batch`; nothing here is random."""
        segments, length = batch.actions.shape
        tokens, lengths = self.tokenizer.encode(batch.actions.ravel().tolist())
        tokens = tokens.reshape(segments, length, -1)
        lengths = np.where(batch.valid, lengths.reshape(segments, length), 0)
        pictures = batch.observations.get("image")
        streams = Streams(self.tokenizer, self.context, pictures is None, self.shown)
        captions = batch.observations.get(CAPTION)
        seen: list[np.ndarray] = []
        named: list[str] = []
        follows = batch.valid[:, -1] & ~batch.terminal[:, -1]
        places = np.zeros((segments, length + 1, tokens.shape[2], 2), dtype=np.int64)
        for segment in range(segments):
            streams.forget()
            texts = batch.observations["text"][segment, :, 0].tolist()
            actions = batch.actions[segment].tolist()
            for step, text in enumerate(texts):
                last = step == length
                # Nothing is asked of what was seen at the end of an episode, or beyond it.
                if not (follows[segment] if last else batch.valid[segment, step]):
                    streams.forget()
                    continue
                streams.see(text)
                if pictures is not None:
                    seen.append(pictures[segment, step, -1])
                    if captions is not None:
                        named.append(str(captions[segment, step, -1]))
                count = 1 if last else int(lengths[segment, step])
                places[segment, step] = _places(streams, tokens.shape[2], count)
                if not last:
                    streams.act(actions[step])
        stream = streams.tensor().to(self.device)
        positions = torch.from_numpy(places[..., 0] * stream.shape[1] + places[..., 1]).to(self.device)
        tokens = np.concatenate([tokens, np.zeros_like(tokens[:, :1])], axis=1)
        observations = {"stream": stream, "positions": positions}
        if pictures is not None and self.shown is not None:
            observations |= self.shown.inputs(seen, self.device)
        elif pictures is not None:
            shown = np.stack([seen[number] for number in streams.begun])
            observations |= observation_tensors({"image": shown}, self.device)
            if captions is not None:
                observations[CAPTION] = self._captions([named[number] for number in streams.begun])
        result = TextBatch(
            observations=observations,
            tokens=torch.from_numpy(tokens).to(self.device),
            token_counts=torch.from_numpy(lengths).to(self.device),
            **transition_tensors(batch, self.device),
        )
        if self.behaviour is not None:
            with torch.no_grad():
                inputs, everything = result.everything()
                logits = self.behaviour(self.behaviour.encode(inputs), everything)
            return replace(result, behaviour_logits=logits.float().view(segments, length + 1, *logits.shape[1:]))
        return result

    def _captions(self, texts: Sequence[str]) -> Tensor:
        """(R, vocabulary) bool: which tokens each of these texts has."""
        has = np.zeros((len(texts), self.tokenizer.vocabulary), dtype=bool)
        for row, text in zip(has, texts, strict=True):
            row[self.tokenizer.observation(text)] = True
        has[:, self.tokenizer.end_of_line] = False
        return torch.from_numpy(has).to(self.device)


def _places(streams: Streams, dimensions: int, count: int) -> np.ndarray:
    """(D, 2) row and place from which each of the `count` tokens to come is predicted."""
    row, place = streams.here()
    # Places beyond the action repeat its last one; nothing is asked there.
    return np.stack([np.full(dimensions, row), place + np.minimum(np.arange(dimensions), max(count - 1, 0))], axis=-1)
