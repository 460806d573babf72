"""Full-text search with BM25 (Robertson and Zaragoza 2009), in the variant of Lucene and with its constants."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

SATURATION = 0.9
"""k1: how fast further occurrences of a word stop to count."""

LENGTH_WEIGHT = 0.4
"""b: how much a long document is held against it."""


def stems(text: str) -> list[str]:
    """The words of a text in small letters, without an ending of the plural."""
    return [_stem(word) for word in re.findall(r"[a-z0-9]+", text.lower())]


def _stem(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("ches", "shes", "sses", "xes")):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


class Index:
    """Documents that can be searched.

    Args:
        documents: their texts.
    """

    def __init__(self, documents: Sequence[str]) -> None:
        counted = [Counter(stems(document)) for document in documents]
        lengths = np.array([sum(each.values()) for each in counted], dtype=np.float64)
        norms = SATURATION * (1 - LENGTH_WEIGHT + LENGTH_WEIGHT * lengths / max(1.0, lengths.mean()))
        places: dict[str, list[tuple[int, int]]] = {}
        for number, counts in enumerate(counted):
            for word, count in counts.items():
                places.setdefault(word, []).append((number, count))
        self._size = len(documents)
        self._weights: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for word, found in places.items():
            numbers = np.array([number for number, _ in found])
            counts_ = np.array([count for _, count in found], dtype=np.float64)
            rarity = np.log1p((self._size - len(found) + 0.5) / (len(found) + 0.5))
            self._weights[word] = (numbers, rarity * counts_ / (counts_ + norms[numbers]))

    def search(self, query: str, most: int) -> list[int]:
        """Numbers of the documents that hold a word of `query`, the best first, at most `most`; equals by number."""
        scores = np.zeros(self._size)
        for word in stems(query):
            if word in self._weights:
                numbers, weights = self._weights[word]
                scores[numbers] += weights
        ranked = np.argsort(-np.round(scores, 9), kind="stable")[:most]
        return [int(number) for number in ranked if scores[number] > 0]
