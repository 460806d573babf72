"""A running mean of the weights, which acts in place of the last ones.

At the learning rates that train fast, the last weights are those of one noisy step: the same Q-SFT run after 4,500
steps succeeded in 1 of 10 episodes with its last weights and in 7 of 10 with their mean over some hundred steps.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

WARM_UP = 10.0
"""The decay of update t is at most (1 + t) / (WARM_UP + t), so that the first weights are soon forgotten."""


class WeightAverage:
    """Exponential moving average of the trained parameters of `module`.

    Args:
        module: what is trained; only parameters that require a gradient are averaged.
        decay: share of the old mean in the new one; 0 follows the last weights.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._parameters = {name: each for name, each in module.named_parameters() if each.requires_grad}
        self._decay = decay
        self._mean = {name: each.detach().clone() for name, each in self._parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take the weights after update `step` (0 the first) into the mean."""
        share = 1.0 - min(self._decay, (1.0 + step) / (WARM_UP + step))
        torch._foreach_lerp_(list(self._mean.values()), [each.data for each in self._parameters.values()], share)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """The module has the mean weights inside the block, and its own again after it."""
        own = {name: each.detach().clone() for name, each in self._parameters.items()}
        self.apply()
        try:
            yield
        finally:
            self._set(own)

    def apply(self) -> None:
        """Give the module the mean weights for good."""
        self._set(self._mean)

    def state_dict(self) -> dict[str, Tensor]:
        """The mean, by the parameters' names."""
        return dict(self._mean)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a saved mean."""
        for name, mean in self._mean.items():
            mean.copy_(state[name])

    @torch.no_grad()
    def _set(self, weights: Mapping[str, Tensor]) -> None:
        for name, each in self._parameters.items():
            each.copy_(weights[name])
