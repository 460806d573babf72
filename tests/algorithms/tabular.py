"""A small stitching problem over two-token actions with known values, as logged segments and a network that fits it.

States 0..n-1 stand on a line; each action is two tokens in {0, 1}. Only the action (1, 1) moves one state to the right;
the last state's (1, 1) ends the episode with reward 1, (0, 0) ends it with nothing, the others stay.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from qsft_robot.algorithms import TokenBatch
from qsft_robot.config.algorithms import QsftConfig
from qsft_robot.models.robotics_transformer import TransformerShape

STATES, DISCOUNT = 3, 0.8
SHAPE = TransformerShape(
    images={}, state_width=STATES, dimensions=2, bins=2, outputs=2, width=32, layers=1, heads=2, history=1
)


def qsft_settings(**changes: Any) -> QsftConfig:
    """The default options of Q-SFT for a small problem, with no Monte-Carlo mixing unless `changes` says so."""
    settings: dict[str, Any] = {
        "kind": "qsft", "name": "qsft", "discount": DISCOUNT, "backup": "max", "monte_carlo_mixture": 0.0, "beta": 20.0,
        "support_threshold": 0.0, "target_rate": 0.05,
    }  # fmt: skip
    return QsftConfig(**{**settings, **changes})


def optimal_values() -> np.ndarray:
    """Q* (STATES, 2, 2) of every action, by value iteration."""
    q = np.zeros((STATES, 2, 2))
    for _ in range(200):
        value = q.max(axis=(1, 2))
        q[:, 0, 0] = 0.0
        q[:, 0, 1] = q[:, 1, 0] = DISCOUNT * value
        q[:, 1, 1] = [*(DISCOUNT * value[1:]), 1.0]
    return q


def all_transitions(copies: int = 1) -> TokenBatch:
    """Every (state, action) equally often, as segments of one transition, under the uniform behaviour policy."""
    rows = []
    for state in range(STATES):
        for first in (0, 1):
            for second in (0, 1):
                reward, terminal, following = 0.0, False, state
                if (first, second) == (0, 0):
                    terminal = True
                elif (first, second) == (1, 1):
                    terminal = state == STATES - 1
                    reward, following = float(terminal), min(state + 1, STATES - 1)
                rows.append((state, following, first, second, reward, terminal))
    rows = rows * copies
    columns = np.array(rows, dtype=np.float32)
    states = torch.eye(STATES)[torch.from_numpy(columns[:, :2]).long()]
    tokens = torch.from_numpy(columns[:, 2:4]).long()
    count = len(rows)
    return TokenBatch(
        observations={"state": states.unsqueeze(2)},
        tokens=torch.stack([tokens, torch.zeros_like(tokens)], dim=1),
        rewards=torch.from_numpy(columns[:, 4:5]),
        terminal=torch.from_numpy(columns[:, 5:6] > 0),
        valid=torch.ones(count, 1, dtype=torch.bool),
        monte_carlo_return=torch.zeros(count, 1),
        episode_return=torch.zeros(count, 1),
        behaviour_logits=torch.full((count, 2, 2, 2), float(np.log(0.5))),
    )
