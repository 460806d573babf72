"""The household games (a kind of the group `sim`): keywords of their environment, and mistakes of their expert."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

from qsft_robot.config.fields import kind, section, setting, settings
from qsft_robot.config.schema import SimConfig

TaskType = Literal[
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "pick_two_obj_and_place",
]
ALL_TASK_TYPES = list(get_args(TaskType))


@settings
class HouseholdOptions:
    """Keywords of the household environment's constructor."""

    split: Literal["train", "seen", "unseen", "valid_seen", "valid_unseen"] = setting(
        "train", "games of the training rooms, other games there, or games in other rooms (official names serve too)"
    )
    data: str | None = setting(
        None,
        "folder made by alfworld-download; generated: games from the floor plans; null: ALFWORLD_DATA, else generated",
    )
    task_types: list[TaskType] = setting(ALL_TASK_TYPES, "which of the six task types to play")
    text: Literal["engine", "notes", "pictured"] = setting(
        "engine",
        "what the official environment says; that and the task, what is held, what was seen where; "
        "or notes and commands that leave to the picture what lies in a place",
    )
    observation: Literal["text_image", "text", "captioned"] = setting(
        "text_image", "text alone is faster; captioned: a third part names what is in sight, to learn to see by"
    )
    image_size: int = setting(96, "side of the square image, pixels", minimum=16, maximum=1024)
    max_episode_steps: int | None = setting(None, "time limit, commands; null: 30", minimum=1)
    engine: Literal["text", "thor"] = setting("text", "thor: AI2-THOR and its pictures, which needs a display and data")

    def check(self) -> Iterator[str]:
        """Rules between the fields."""
        if not self.task_types:
            yield "task_types=[] leaves nothing to play"


@kind(SimConfig, "household")
@settings
class HouseholdConfig(SimConfig):
    """ALFWorld's household games."""

    options: HouseholdOptions = section(HouseholdOptions, "keywords of the environment's constructor")
    imperfections: dict[str, float] = setting(
        {},
        "what the hand-coded expert does wrong, where it differs from its own defaults",
        minimum=0,
        keys_of="qsft_robot.agents.scripted.household:HouseholdImperfections",
    )
