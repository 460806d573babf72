"""The original WebShop (github.com/princeton-nlp/WebShop), where a user has it, as a text game of ours.

It is no package of an index: clone it, run its set-up, and put its folder on PYTHONPATH. Goals are the human
instructions, split as in its own baselines: 0 to 499 test, 500 to 1499 evaluation, the others training.
"""

from __future__ import annotations

import random
from typing import Any

from qsft_robot.errors import ConfigurationError, QsftRobotError
from qsft_robot.sim.language.game import CHARACTERS, TextGame

OBSERVATION_LENGTH = 50_000
ACTION_LENGTH = 500
EPISODE_STEPS = 15
CATALOGUE_SEED = 233
"""Seed of the prices and instructions that the original draws while it loads."""

SPLITS = {"held_out": (0, 500), "evaluation": (500, 1500), "train": (1500, None)}


class OriginalWebShopEnv(TextGame):
    """One customer's visit to the original shop; actions and pages are its own (`text_rich`).

    Args:
        products: how many it loads (100, 1000, 100000), or None for all.
        split: which of the human instructions: `train`, `evaluation` or `held_out`.
        max_episode_steps: actions until the visit is cut off.
        render_mode: None or `ansi`.

    Raises:
        ConfigurationError: an option has an impossible value, or the original is not installed.
    """

    def __init__(
        self,
        *,
        products: int | None = 1000,
        split: str = "train",
        max_episode_steps: int | None = EPISODE_STEPS,
        render_mode: str | None = None,
    ) -> None:
        if split not in SPLITS:
            raise ConfigurationError(f"split is '{split}', expected one of {', '.join(SPLITS)}")
        super().__init__(
            observation_length=OBSERVATION_LENGTH,
            action_length=ACTION_LENGTH,
            max_episode_steps=EPISODE_STEPS if max_episode_steps is None else max_episode_steps,
            render_mode=render_mode,
        )
        try:
            from web_agent_site.envs.web_agent_text_env import WebAgentTextEnv
        except ImportError as error:
            raise ConfigurationError(
                f"the original WebShop cannot be imported ({error}): clone github.com/princeton-nlp/WebShop, run its "
                "set-up and put its folder on PYTHONPATH, or take sim=webshop, whose shop is built in"
            ) from error
        state = random.getstate()
        random.seed(CATALOGUE_SEED)  # price limits are drawn from the global generator before the original seeds it
        try:
            self._shop: Any = WebAgentTextEnv(observation_mode="text_rich", num_products=products, human_goals=True)
        finally:
            random.setstate(state)
        first, last = SPLITS[split]
        self._goals = range(len(self._shop.server.goals))[first:last]
        if not self._goals:
            raise ConfigurationError(
                f"split={split}: the shop has only {len(self._shop.server.goals)} goals for its products; load more"
            )
        self._page = ""
        self._earned = 0.0

    def _start(self) -> None:
        number = self._goals[int(self.np_random.integers(len(self._goals)))]
        self._page = self._shop.reset(session=number)[0]
        self._earned = 0.0

    def _play(self, action: str) -> tuple[float, bool, bool]:
        valid = self._knows(action.strip())
        try:
            self._page, reward, done, _ = self._shop.step(action.strip())
        except Exception as error:  # the original lets errors of its pages through
            raise QsftRobotError(f"the original WebShop failed on {action!r}: {error}") from error
        self._earned += float(reward)
        return float(reward), bool(done), valid

    def _knows(self, action: str) -> bool:
        if action.startswith("search[") and action.endswith("]"):
            return bool(self._shop.get_available_actions()["has_search_bar"]) and len(action) > len("search[]")
        return action in (self.legal_actions() or ())

    def text(self) -> str:
        """The page; characters that are no printable ASCII become `?`."""
        page = self._page[:OBSERVATION_LENGTH]
        return "".join(letter if letter in CHARACTERS else "?" for letter in page)

    @property
    def won(self) -> bool:
        """Whether what was bought is worth the whole reward."""
        return self._earned > 1 - 1e-9

    def legal_actions(self) -> tuple[str, ...] | None:
        """The clicks that the page has; None on the page with the search bar, which takes any words."""
        available = self._shop.get_available_actions()
        if available["has_search_bar"]:
            return None
        return tuple(f"click[{button}]" for button in available["clickables"])
