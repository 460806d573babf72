"""Pictures of an episode: a video with curves, or a contact sheet, drawn with OpenCV alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from qsft_robot.datasets.episode import Episode
from qsft_robot.errors import QsftRobotError

FRAMES_PER_SECOND = 10
BROWSER_CODEC = "vp09"
"""VP9 in mp4: OpenCV's wheel can write it and browsers play it; it has no encoder for H.264."""

ARM_ACTION_NAMES = ("x", "y", "z", "turn x", "turn y", "turn z", "gripper")

_PAPER, _INK, _FAINT = (250, 250, 250), (40, 40, 40), (205, 205, 205)
_ACTION_COLOUR, _REWARD_COLOUR = (40, 90, 170), (200, 110, 20)
_VALUE_COLOUR, _CURSOR_COLOUR = (20, 130, 70), (190, 30, 30)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_MARGIN = 12


def write_video(path: Path, frames: Sequence[np.ndarray], frames_per_second: int = FRAMES_PER_SECOND) -> Path:
    """Write RGB frames (H, W, 3) uint8 to an mp4 that browsers play.

    Raises:
        QsftRobotError: the folder cannot be written, or OpenCV has no encoder for it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames[0].shape[:2]
    codec = cv2.VideoWriter.fourcc(*BROWSER_CODEC)
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, frames_per_second, (width, height))
    if not writer.isOpened():
        raise QsftRobotError(f"OpenCV cannot write {path}: check the folder, or write a contact sheet instead")
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def write_picture(path: Path, picture: np.ndarray) -> Path:
    """Write an RGB picture (H, W, 3) uint8 as png.

    Raises:
        QsftRobotError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)):
        raise QsftRobotError(f"the picture {path} cannot be written")
    return path


def camera_keys(episode: Episode) -> list[str]:
    """Return the observation keys that hold RGB pictures, (T, H, W, 3) uint8."""
    return [
        key
        for key, values in sorted(episode.observations.items())
        if values.ndim == 4 and values.shape[-1] == 3 and values.dtype == np.uint8
    ]


def video_frames(episode: Episode, title: str, values: np.ndarray | None = None) -> list[np.ndarray]:
    """Draw one frame for each observation, the final one included.

    Args:
        episode: what to show; without a camera only the curves are drawn.
        title: first line of text.
        values: (T, D) Q-value of each token of each action, or None.

    Returns:
        T + 1 pictures (H, W, 3) uint8, RGB, beside the camera the curves of all actions, rewards and values.
    """
    side = 384
    cameras = [_camera_strip(episode, key, side) for key in camera_keys(episode)]
    curves, columns = _curves(episode, values)
    left = side * len(cameras)
    height = max(side + 60, curves.shape[0])
    height, width = height + height % 2, left + curves.shape[1]
    frames = []
    for step in range(len(episode) + 1):
        frame = np.full((height, width + width % 2, 3), _PAPER, np.uint8)
        for number, strip in enumerate(cameras):
            frame[:side, number * side : (number + 1) * side] = strip[step]
        frame[: curves.shape[0], left : left + curves.shape[1]] = curves
        column = left + columns[min(step, len(episode) - 1)]
        cv2.line(frame, (column, _MARGIN), (column, curves.shape[0] - _MARGIN), _CURSOR_COLOUR, 1)
        for line, text in enumerate((title, _caption(episode, step, values))):
            _write(frame, text, (_MARGIN, height - 36 + 22 * line), 0.48)
        frames.append(frame)
    return frames


def contact_sheet(episode: Episode, title: str, values: np.ndarray | None = None, most: int = 40) -> np.ndarray:
    """Draw the episode as one picture: its observations in rows, each with the action taken there as bars.

    Args:
        episode: what to show.
        title: line of text above.
        values: (T, D) Q-value of each token of each action, or None.
        most: observations shown at most, evenly chosen, the last one among them.

    Returns:
        Picture (H, W, 3) uint8, RGB.
    """
    steps = np.unique(np.linspace(0, len(episode), min(most, len(episode) + 1)).round().astype(int))
    side, bars, gap = 132, 64, 10
    cameras = camera_keys(episode)
    strips = [_camera_strip(episode, key, side) for key in cameras]
    tile_width, tile_height = max(1, len(cameras)) * side, (side if cameras else 0) + bars + 22
    columns = max(1, min(len(steps), 1100 // (tile_width + gap)))
    rows = -(-len(steps) // columns)
    shape = (40 + rows * (tile_height + gap) + 20, max(560, gap + columns * (tile_width + gap)), 3)
    sheet = np.full(shape, _PAPER, np.uint8)
    _write(sheet, title, (gap, 24), 0.5)
    for place, step in enumerate(steps.tolist()):
        top = 40 + place // columns * (tile_height + gap)
        left = gap + place % columns * (tile_width + gap)
        for number, strip in enumerate(strips):
            sheet[top : top + side, left + number * side : left + (number + 1) * side] = strip[step]
        below = top + (side if cameras else 0)
        if step < len(episode):
            _bars(sheet, episode.actions[step], (left, below + 20), (tile_width, bars))
        text = f"{step}  r {episode.rewards[step]:g}" if step < len(episode) else f"{step}  {_ending(episode)}"
        if values is not None and step < len(episode):
            text += f"  Q {values[step].mean():.2f}"
        _write(sheet, text, (left, below + 15), 0.4)
    names = ", ".join(_action_names(episode.actions.shape[1]))
    _write(sheet, f"bars: action {names}, from -1 to 1", (gap, shape[0] - 8), 0.38)
    return sheet


def _curves(episode: Episode, values: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Draw all curves over time; returns the picture and the column of each step in it."""
    names = [*_action_names(episode.actions.shape[1]), "reward"]
    series = [*episode.actions.T, episode.rewards]
    colours = [_ACTION_COLOUR] * episode.actions.shape[1] + [_REWARD_COLOUR]
    ranges = [(-1.0, 1.0)] * episode.actions.shape[1]
    ranges.append((min(0.0, float(episode.rewards.min())), max(1.0, float(episode.rewards.max()))))
    if values is not None:
        names.append("Q (mean)")
        series.append(values.mean(axis=1))
        colours.append(_VALUE_COLOUR)
        ranges.append((min(0.0, float(values.min())), max(1.0, float(values.max()))))
    label, plot, row = 90, 330, 46
    picture = np.full((2 * _MARGIN + row * len(series), label + plot + _MARGIN, 3), _PAPER, np.uint8)
    columns = (label + (np.arange(len(episode)) + 0.5) / len(episode) * plot).round().astype(int)
    for number, (name, line, colour, (low, high)) in enumerate(zip(names, series, colours, ranges, strict=True)):
        top, bottom = _MARGIN + row * number + 4, _MARGIN + row * (number + 1) - 4
        cv2.rectangle(picture, (label, top), (label + plot, bottom), _FAINT, 1)
        middle = round(bottom - (0 - low) / (high - low) * (bottom - top))
        cv2.line(picture, (label, middle), (label + plot, middle), _FAINT, 1)
        scaled = bottom - (np.clip(line, low, high) - low) / (high - low) * (bottom - top)
        points = np.stack([columns, scaled.round().astype(int)], axis=1).astype(np.int32)
        cv2.polylines(picture, [points.reshape(-1, 1, 2)], False, colour, 1, cv2.LINE_AA)
        _write(picture, name, (_MARGIN, (top + bottom) // 2 + 5), 0.42)
    return picture, columns


def _bars(picture: np.ndarray, action: np.ndarray, place: tuple[int, int], size: tuple[int, int]) -> None:
    """Draw one bar per number of an action in [-1, 1], upwards where it is positive."""
    (left, top), (width, height) = place, size
    middle = top + height // 2
    cv2.line(picture, (left, middle), (left + width - 1, middle), _FAINT, 1)
    step = width / len(action)
    for number, value in enumerate(np.clip(action, -1, 1)):
        first, last = round(left + (number + 0.2) * step), round(left + (number + 0.8) * step)
        end = round(middle - float(value) * (height / 2 - 4))
        cv2.rectangle(picture, (first, min(middle, end)), (last, max(middle, end)), _ACTION_COLOUR, -1)


def _camera_strip(episode: Episode, key: str, side: int) -> list[np.ndarray]:
    """Return all pictures of one camera, the final one included, enlarged to `side` pixels without smoothing."""
    pictures = [*episode.observations[key], episode.final_observation[key]]
    return [cv2.resize(each, (side, side), interpolation=cv2.INTER_NEAREST) for each in pictures]


def _caption(episode: Episode, step: int, values: np.ndarray | None) -> str:
    """Return the second line of text of a video frame."""
    if step == len(episode):
        return f"after step {step}: {_ending(episode)}, return {episode.episode_return:g}"
    value = "" if values is None else f", Q {values[step].mean():.3f}"
    return f"step {step + 1} of {len(episode)}, reward {episode.rewards[step]:g}{value}"


def _ending(episode: Episode) -> str:
    return ("success" if episode.success else "failure") + (" (time limit)" if episode.truncated else "")


def _action_names(dimension: int) -> list[str]:
    return list(ARM_ACTION_NAMES) if dimension == len(ARM_ACTION_NAMES) else [f"a{n + 1}" for n in range(dimension)]


def _write(picture: np.ndarray, text: str, place: tuple[int, int], size: float) -> None:
    cv2.putText(picture, text, place, _FONT, size, _INK, 1, cv2.LINE_AA)
