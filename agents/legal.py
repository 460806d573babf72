"""Decoding that writes nothing but legal text: a trie of the tokens of the actions to choose among."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from qsft_robot.errors import DataError
from qsft_robot.tokenization import TextTokenizer, Tokenizer

if TYPE_CHECKING:
    from qsft_robot.agents.token_agent import EpisodeMemory

Trie = dict[int, Any]
"""Token -> the trie of what may follow; empty after the last token."""


@lru_cache(256)
def token_trie(actions: tuple[tuple[int, ...], ...]) -> Trie:
    """The trie of sequences of tokens."""
    root: Trie = {}
    for tokens in actions:
        node = root
        for token in tokens:
            node = node.setdefault(token, {})
    return root


def _trie_of(tokenizer: TextTokenizer, actions: tuple[str, ...]) -> Trie:
    trie = token_trie(tuple(tokenizer.action(each) for each in actions))
    if not trie:
        raise DataError(
            f"the policy knows none of the {len(actions)} legal actions, such as {actions[0]!r}: its data hold none of "
            "them. A model that writes its actions (model=tiny_text) can"
        )
    return trie


def _among(logits: Tensor, allowed: Tensor) -> Tensor:
    """Logits (..., bins) with those that are not `allowed` at minus infinity."""
    masked = logits.masked_fill(~allowed, -torch.inf)
    # What the policy itself rules out everywhere has to be chosen among all the same.
    lost = ~masked.isfinite().any(dim=-1, keepdim=True)
    return torch.where(lost & allowed, 0.0, masked)


def legal_scores(policy: Tensor, tokens: Tensor, lengths: Sequence[int]) -> Tensor:
    """Log-probabilities (C,) of C whole actions, each token's among those that one of the actions goes on with.

    A token that must follow has probability 1, so a long action is not less likely for being long.

    Args:
        policy: logits (C, D, bins), each given the tokens of the action before it.
        tokens: (C, D) int64 of the actions, filled up with anything.
        lengths: how many tokens each has.
    """
    # Each token itself, also those that fill a row up: alone in their place, they cost nothing.
    allowed = torch.zeros(policy.shape, dtype=torch.bool, device=policy.device).scatter_(-1, tokens[..., None], True)
    rows = tuple(tuple(row[:length]) for row, length in zip(tokens.tolist(), lengths, strict=True))
    trie = token_trie(rows)
    for number, row in enumerate(rows):
        node = trie
        for place, token in enumerate(row):
            allowed[number, place, list(node)] = True
            node = node[token]
    return _among(policy, allowed).log_softmax(dim=-1).gather(-1, tokens[..., None]).squeeze(-1).sum(dim=-1)


def _least(actions: Sequence[tuple[tuple[int, ...], float]]) -> dict[int, float]:
    """First token of some -> the least penalty of these, beyond the least of all."""
    least: dict[int, float] = {}
    for tokens, cost in actions:
        if tokens:
            least[tokens[0]] = min(cost, least.get(tokens[0], cost))
    everywhere = min(least.values(), default=0.0)
    return {token: cost - everywhere for token, cost in least.items() if cost > everywhere}


class LegalTokens:
    """What each of N episodes may still write of its next action.

    An episode without a list of legal actions may write anything up to the end of a line.

    Args:
        tokenizer: text to tokens.
        legal: the actions of each episode, or None.
        penalties: for each of them, what to take from its logit; None for nothing at all. A beginning bears the least
            of the actions that begin so, so that the tokens of an action bear its own together, beyond the least of
            all. What that takes from a token goes to those that could stand in its place.
    """

    def __init__(
        self,
        tokenizer: TextTokenizer,
        legal: Sequence[tuple[str, ...] | None],
        penalties: Sequence[Sequence[float]] | None = None,
    ) -> None:
        self.end, self.padding, self.never = tokenizer.end_of_line, tokenizer.padding, tokenizer.never
        self.nodes: list[Trie | None] = [None if actions is None else _trie_of(tokenizer, actions) for actions in legal]
        self.finished = [False] * len(legal)
        self._left: list[list[tuple[tuple[int, ...], float]]] = [[] for _ in legal]
        """The actions that begin as each episode's does so far: what follows, and the penalty."""
        for left, actions, taken in zip(self._left, legal, penalties or [()] * len(legal), strict=True):
            if actions is not None and any(taken):
                left.extend((tokenizer.action(each), cost) for each, cost in zip(actions, taken, strict=True))

    @classmethod
    def of(cls, tokenizer: Tokenizer, memories: Sequence[EpisodeMemory], penalty: float = 0.0) -> LegalTokens | None:
        """For one action of each of these episodes; None where actions are numbers, which are all legal.

        `penalty` is for each time that the episode has an action already.
        """
        if not isinstance(tokenizer, TextTokenizer):
            return None
        return cls(tokenizer, [memory.legal for memory in memories], [memory.penalties(penalty) for memory in memories])

    def mask(self, logits: Tensor) -> Tensor:
        """Set the logits (N, tokens) of what may not follow to minus infinity, and take off penalties."""
        allowed = torch.ones_like(logits, dtype=torch.bool)
        for row, node in enumerate(self.nodes):
            if self.finished[row]:
                allowed[row] = False
                allowed[row, self.padding] = True
            elif node is None:
                if self.never is not None:
                    allowed[row, self.never] = False
            else:
                allowed[row] = False
                allowed[row, list(node)] = True
        masked = _among(logits, allowed)
        for row, left in enumerate(self._left):
            costs = _least(left)
            if costs:
                masked[row, list(costs)] -= masked.new_tensor(list(costs.values()))
        return masked

    def advance(self, tokens: Tensor) -> bool:
        """Note the chosen tokens (N,); returns whether every action is complete."""
        for row, token in enumerate(tokens.tolist()):
            node = self.nodes[row]
            self.finished[row] = self.finished[row] or token == self.end
            if node is not None and not self.finished[row]:
                self.nodes[row] = node[token]
            self._left[row] = [(rest[1:], cost) for rest, cost in self._left[row] if rest and rest[0] == token]
        return all(self.finished)
