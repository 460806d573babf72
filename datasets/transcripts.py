"""Episodes of text: as a list of turns, and drawn as a video or a contact sheet like other episodes (pictures.py)."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from qsft_robot.datasets.episode import TEXT, Episode

WIDTH = 960
COLUMNS = 104
"""Letters in a line of a picture."""

LINE = 19
_MARGIN = 14
_PAPER, _INK = (250, 250, 250), (40, 40, 40)
_ACTION_COLOUR, _TITLE_COLOUR = (40, 90, 170), (110, 110, 110)
Values = Sequence[Sequence[float]] | np.ndarray | None
_Lines = list[tuple[str, tuple[int, int, int]]]


def is_text(episode: Episode) -> bool:
    """Whether the actions of an episode are text."""
    return episode.actions.dtype == TEXT


def turns(episode: Episode) -> list[dict[str, Any]]:
    """Return each turn as `{"observation", "action", "reward"}`, and last what was seen in the end."""
    seen = _seen(episode)
    played = zip(seen[:-1], episode.actions.tolist(), episode.rewards.tolist(), strict=True)
    listed: list[dict[str, Any]] = [{"observation": o, "action": a, "reward": r} for o, a, r in played]
    return [*listed, {"observation": seen[-1]}]


def video_frames(episode: Episode, title: str, values: Values = None) -> list[np.ndarray]:
    """Draw one frame for each observation, the final one included; each is shown long enough to read.

    Args:
        episode: what to show; its actions are text.
        title: first line.
        values: T rows of the Q-values of each action's tokens (NaN: no token), or None.

    Returns:
        Pictures (H, W, 3) uint8, RGB, of equal size.
    """
    pages = [[(title, _TITLE_COLOUR), *_turn(episode, step, values)] for step in range(len(episode) + 1)]
    height = 2 * _MARGIN + LINE * max(len(page) for page in pages)
    frames = [_draw(page, height + height % 2) for page in pages]
    return [frame for frame in frames for _ in range(15)]


def contact_sheet(episode: Episode, title: str, values: Values = None) -> np.ndarray:
    """Draw the whole episode as one picture (H, W, 3) uint8, RGB; arguments as for `video_frames`."""
    lines: _Lines = [(title, _TITLE_COLOUR)]
    for step in range(len(episode) + 1):
        lines += [("", _INK), *_turn(episode, step, values)]
    return _draw(lines, 2 * _MARGIN + LINE * len(lines))


def _seen(episode: Episode) -> list[str]:
    return [*episode.observations["text"].tolist(), str(episode.final_observation["text"])]


def _turn(episode: Episode, step: int, values: Values) -> _Lines:
    """The lines of one turn: what was seen, what was done, what that brought."""
    lines: _Lines = [(line, _INK) for line in _wrap(_seen(episode)[step])]
    if step == len(episode):
        ending = ("success" if episode.success else "failure") + (" (time limit)" if episode.truncated else "")
        return [*lines, (f"{ending}, return {episode.episode_return:g}", _TITLE_COLOUR)]
    result = f"reward {episode.rewards[step]:g}"
    if values is not None:
        result += f", Q {np.nanmean(values[step]):.3f}"
    lines += [(f"> {line}", _ACTION_COLOUR) for line in _wrap(str(episode.actions[step]))]
    return [*lines, (result, _TITLE_COLOUR)]


def _wrap(text: str) -> list[str]:
    return [piece for line in text.splitlines() or [""] for piece in textwrap.wrap(line, COLUMNS) or [""]]


def _draw(lines: _Lines, height: int) -> np.ndarray:
    picture = np.full((height, WIDTH, 3), _PAPER, np.uint8)
    for number, (line, colour) in enumerate(lines):
        place = (_MARGIN, _MARGIN + LINE * number + 13)
        cv2.putText(picture, line, place, cv2.FONT_HERSHEY_SIMPLEX, 0.46, colour, 1, cv2.LINE_AA)
    return picture
