"""Actions to tokens and back: numbers by bins, text by a vocabulary."""

from __future__ import annotations

from typing import Any, TypeAlias

from qsft_robot.tokenization.action_tokenizer import ActionTokenizer
from qsft_robot.tokenization.text_tokenizer import TextTokenizer
from qsft_robot.tokenization.whole_actions import WholeActionTokenizer

Tokenizer: TypeAlias = ActionTokenizer | TextTokenizer


def tokenizer_from_dict(description: dict[str, Any]) -> Tokenizer:
    """Restore what the `to_dict` of a tokenizer described.

    Raises:
        CheckpointError: the description lacks a part or is damaged.
    """
    for each in (TextTokenizer, WholeActionTokenizer):
        if description.get("kind") == each.kind:
            return each.from_dict(description)
    return ActionTokenizer.from_dict(description)


__all__ = ["ActionTokenizer", "TextTokenizer", "Tokenizer", "WholeActionTokenizer", "tokenizer_from_dict"]
