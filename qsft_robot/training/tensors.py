"""From the sampler's NumPy batches to the tensors that an algorithm's loss takes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from qsft_robot.algorithms.base import TokenBatch
from qsft_robot.datasets.batch import Batch
from qsft_robot.tokenization import ActionTokenizer


def shift_images(images: Tensor, pixels: int, generator: torch.Generator) -> Tensor:
    """Shift each image (..., H, W, 3) by up to `pixels` in both directions, repeating the border.

    Random shifts keep a small network from memorising the frames (DrQ, Kostrikov et al. 2021).
    """
    if pixels == 0:
        return images
    flat = images.reshape(-1, *images.shape[-3:])
    count, height, width = flat.shape[:3]
    shifts = torch.randint(-pixels, pixels + 1, (2, count, 1), generator=generator).to(images.device)
    rows = (torch.arange(height, device=images.device) + shifts[0]).clamp_(0, height - 1)
    columns = (torch.arange(width, device=images.device) + shifts[1]).clamp_(0, width - 1)
    cells = (torch.arange(count, device=images.device)[:, None] * height + rows)[:, :, None] * width
    shifted = flat.reshape(-1, 3)[(cells + columns[:, None, :]).flatten()]
    return shifted.view(images.shape)


def observation_tensors(observations: Mapping[str, np.ndarray], device: torch.device) -> dict[str, Tensor]:
    """Arrays to tensors on `device`, dtypes unchanged."""
    return {key: torch.from_numpy(np.ascontiguousarray(value)).to(device) for key, value in observations.items()}


def transition_tensors(batch: Batch, device: torch.device) -> dict[str, Tensor]:
    """What a TokenBatch says of each transition, whatever is seen and done in it."""
    names = ("rewards", "terminal", "valid", "monte_carlo_return", "episode_return")
    return observation_tensors({name: getattr(batch, name) for name in names}, device)


class BatchConverter:
    """Tokenises actions, shifts images, and looks up pi_phi's logits.

    Args:
        tokenizer: actions to tokens.
        image_shift: largest random shift in pixels; 0 for held-out batches.
        device: where the tensors go.
        behaviour_logits: (rows, D, bins) array of pi_phi's logits for every observation of the dataset, or None.
    """

    def __init__(
        self,
        tokenizer: ActionTokenizer,
        image_shift: int,
        device: torch.device,
        behaviour_logits: np.ndarray | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.image_shift = image_shift
        self.device = device
        self.behaviour_logits = behaviour_logits

    def __call__(self, batch: Batch, generator: torch.Generator) -> TokenBatch:
        """Convert `batch`; `generator` decides the shifts."""
        observations = observation_tensors(batch.observations, self.device)
        for key, value in observations.items():
            if value.dtype == torch.uint8:
                observations[key] = shift_images(value, self.image_shift, generator)
        tokens = self.tokenizer.encode(batch.actions)
        # The observation after the segment has no action here; its first token's logits need none.
        tokens = np.concatenate([tokens, np.zeros_like(tokens[:, :1])], axis=1)
        logits = None
        if self.behaviour_logits is not None:
            logits = torch.from_numpy(self.behaviour_logits[batch.row]).to(self.device, torch.float32)
        return TokenBatch(
            observations=observations,
            tokens=torch.from_numpy(tokens).to(self.device),
            behaviour_logits=logits,
            **transition_tensors(batch, self.device),
        )
