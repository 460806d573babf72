"""How pictures come into the stream of tokens that a pretrained vision-language model reads.

Some tokens stand for a picture, where the observation begins that it belongs to; the model puts what it sees in their
place. Training and acting make both, the tokens and the numbers of the pictures, by one object of this class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from qsft_robot.errors import ConfigurationError
from qsft_robot.models.pretrained import processor_of

PREFIX = "picture/"
"""Of the keys of a batch's observations that hold the numbers of its pictures."""


@dataclass(frozen=True)
class Pictures:
    """What a vision-language model is shown of the pictures of an episode.

    Attributes:
        source: what the model and its processor are loaded from.
        tokens: what stands for one picture.
        episode: the observations of an episode follow one another in a stream; else each begins one of its own.
    """

    source: str
    tokens: tuple[int, ...]
    episode: bool

    def inputs(self, images: Sequence[np.ndarray] | np.ndarray, device: torch.device) -> dict[str, Tensor]:
        """What the model takes of n pictures (H, W, 3) uint8, in the order of their tokens: tensors (n, ...)."""
        processor = processor_of(self.source).image_processor
        made = processor(images=list(images), return_tensors="pt", input_data_format="channels_last")
        return {PREFIX + name: value.to(device) for name, value in made.items() if isinstance(value, Tensor)}

    @staticmethod
    def given(observation: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of `inputs` in a batch's observation, by the names of the model's arguments."""
        return {name.removeprefix(PREFIX): value for name, value in observation.items() if name.startswith(PREFIX)}


def picture_tokens(source: str, size: tuple[int, int]) -> tuple[int, ...]:
    """The tokens that stand for a picture of `size` (H, W) pixels.

    Raises:
        ConfigurationError: the model's processor does not say.
    """
    processor = processor_of(source)
    blank = np.zeros((*size, 3), dtype=np.uint8)
    try:
        made = processor(
            images=[blank], text=processor.image_token, add_special_tokens=False, input_data_format="channels_last"
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"model.source={source}: its processor does not say which tokens stand for a picture ({error}). Folders of "
            "older versions of transformers lack its patch_size: save the processor anew with it"
        ) from error
    tokens = made["input_ids"]
    return tuple(int(token) for token in (tokens[0] if isinstance(tokens[0], Sequence) else tokens))
