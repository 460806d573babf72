"""The autoregressive token models, each made by its shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from qsft_robot.models.language_model import LanguageModelShape
from qsft_robot.models.line_transformer import LineTransformerShape
from qsft_robot.models.robotics_transformer import TransformerShape
from qsft_robot.models.text_transformer import TextTransformerShape
from qsft_robot.models.vision_language_model import VisionLanguageShape

NetworkShape: TypeAlias = (
    TransformerShape | TextTransformerShape | LineTransformerShape | LanguageModelShape | VisionLanguageShape
)


def shape_from_dict(description: Mapping[str, Any]) -> NetworkShape:
    """Restore what the `to_dict` of a shape described.

    Raises:
        KeyError, TypeError: the description is damaged.
    """
    shapes = (TransformerShape, TextTransformerShape, LineTransformerShape, LanguageModelShape, VisionLanguageShape)
    kinds: dict[str, Any] = {each.kind: each for each in shapes}
    shape: NetworkShape = kinds[description.get("kind", TransformerShape.kind)].from_dict(description)
    return shape
