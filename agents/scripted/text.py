"""What the scripted players of text games share: the game they look into, and seeded random numbers."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import numpy as np

from qsft_robot.agents.base import Agent
from qsft_robot.agents.scripted.base import STREAM
from qsft_robot.sim.language.game import TextGame

Game = TypeVar("Game", bound=TextGame)


class ScriptedPlayer(Agent, Generic[Game]):
    """Plays a text game; a subclass has `act`, which may look into `self._game`.

    Args:
        env: the game, or a wrapper around it.
    """

    def __init__(self, env: Any) -> None:
        self._game: Game = env.unwrapped
        self._random = np.random.default_rng(0)

    def reset(self, seed: int) -> None:
        """Start an episode; call it after the environment's reset."""
        self._random = np.random.default_rng([STREAM, seed])
