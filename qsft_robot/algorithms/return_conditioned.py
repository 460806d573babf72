"""Return-conditioned supervised learning: imitate, given the return that followed; act by asking for the best one.

    loss = - E_data [ sum_i log pi(a_i | s, R, a_1..a_{i-1}) ] / D,    R the episode's return

as in Decision Transformer (Chen et al. 2021) and RvS (Emmons et al. 2022), with the return as one more number of the
state. It cannot combine parts of different episodes (Brandfonbrener et al. 2022).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from qsft_robot.algorithms.base import TokenBatch
from qsft_robot.algorithms.bc import BehaviourCloning
from qsft_robot.errors import ConfigurationError
from qsft_robot.models.robotics_transformer import TransformerShape


class ReturnConditioned(BehaviourCloning):
    """Cross-entropy given the return; asks for the largest return of the data while acting."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        # A parameter, so that the return to ask for travels with the networks in the checkpoint.
        self.network("behaviour").register_parameter("asked_return", nn.Parameter(torch.zeros(()), requires_grad=False))

    def input_shape(self) -> TransformerShape:
        """One more number in `state`.

        Raises:
            ConfigurationError: the model takes no numbers.
        """
        if not isinstance(self.shape, TransformerShape):
            raise ConfigurationError(
                "algorithm=return_conditioned gives the return as a number of the state, which a model of text does "
                "not take; algorithm=filtered_bc imitates the best episodes of text"
            )
        return replace(self.shape, state_width=self.shape.state_width + 1)

    def observe_returns(self, episode_returns: np.ndarray) -> None:
        """Ask for what the best `1 - quantile` of the episodes reached."""
        asked = float(np.quantile(episode_returns, self.settings.quantile, method="higher"))
        self.network("behaviour").get_parameter("asked_return").data.fill_(asked)

    def logits(self, batch: TokenBatch) -> Tensor:
        """Logits (S * L, D, bins) given the return that each episode had."""
        observations, tokens = batch.current()
        network = self.network("behaviour")
        conditioned = self._with_return(observations, batch.episode_return.flatten())
        return network(network.encode(conditioned), tokens)

    def condition(self, observation: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Add the return to ask for."""
        first = next(iter(observation.values()))
        asked = self.network("behaviour").get_parameter("asked_return")
        return self._with_return(observation, asked.expand(len(first)))

    def _with_return(self, observation: Mapping[str, Tensor], returns: Tensor) -> dict[str, Tensor]:
        """Append returns (N,) to `state`, which is (N, H, n), or (N, n) for single frames."""
        dtype = self.network("behaviour").context_position.dtype
        state = observation.get("state")
        lead: tuple[int, ...]
        if state is None:
            image = next(iter(observation.values()))
            lead = image.shape[: image.ndim - 3]
            parts = []
        else:
            lead = state.shape[:-1]
            parts = [state.to(dtype)]
        column = returns.to(dtype).view(-1, *[1] * len(lead)).expand(*lead, 1)
        return {**observation, "state": torch.cat([*parts, column], dim=-1)}
