"""Continuous actions to tokens and back."""

from qsft_robot.tokenization.action_tokenizer import ActionTokenizer

__all__ = ["ActionTokenizer"]
