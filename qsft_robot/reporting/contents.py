"""What a run folder holds that a report shows. Whatever is missing (a run still going on, an older one) is left out."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from qsft_robot.agents.base import DECODINGS
from qsft_robot.errors import DataError
from qsft_robot.training.metrics import read_metrics

PLAYED_BY_BROWSERS = ("vp09", "vp90", "avc1", "h264", "av01")
"""Codecs, as OpenCV names them, that browsers play inside mp4; MPEG-4 part 2 (`mp4v`, `FMP4`), for one, is not."""

MOST_VIDEOS = 4
"""Of one policy with one ending: an evaluation that was repeated leaves many, and each weighs about 100 kB."""


@dataclass(frozen=True)
class Played:
    """The outcomes of one policy, decoded in one way.

    Attributes:
        policy: for example "qsft", "bc" or "scripted".
        decoding: "greedy", "sample", "sharp", "mode", or "" where there is nothing to decode.
        summary: success_rate, success_interval, episodes, return, length.
        success: evaluation seed -> whether that episode succeeded.
    """

    policy: str
    decoding: str
    summary: Mapping[str, Any]
    success: Mapping[int, bool]


@dataclass(frozen=True)
class Video:
    """One episode on video.

    Attributes:
        policy: the policy and its decoding, for example "qsft_greedy".
        success: how it ended.
        seed: the evaluation seed that makes it.
        mp4: the file's content, in a codec that browsers play.
        trace: `q_values` (T, D) or None, `rewards` (T,), `action_names` (D,) or None, `frames_per_second`; empty
            where none was recorded.
    """

    policy: str
    success: bool
    seed: int
    mp4: bytes
    trace: Mapping[str, Any]


@dataclass(frozen=True)
class RunContents:
    """Everything that a report shows of one run.

    Attributes:
        folder: the run folder.
        config: resolved configuration as it was written, whatever version wrote it.
        result: result.json, empty while the run is not finished.
        metrics: the records of metrics.jsonl.
        played: evaluated policies.
        videos: policies with Q-values first, and of each its successes.
    """

    folder: Path
    config: Mapping[str, Any]
    result: Mapping[str, Any]
    metrics: Sequence[Mapping[str, Any]]
    played: Sequence[Played]
    videos: Sequence[Video]

    @property
    def sim(self) -> str:
        """Name of the environment."""
        return str((self.config.get("sim") or {}).get("name", "unknown"))

    @property
    def algorithm(self) -> str:
        """Name of the algorithm."""
        return str((self.config.get("algorithm") or {}).get("name", "unknown"))

    @property
    def diagnostics(self) -> Mapping[str, Any]:
        """Figures of training/diagnostics.py; empty where there are none."""
        return self.result.get("diagnostics") or {}


def read_run(folder: str | Path) -> RunContents:
    """Read a run folder.

    Raises:
        DataError: it is no run folder, or a file in it is damaged.
    """
    folder = Path(folder)
    saved = folder / "config.yaml"
    if not saved.is_file():
        reason = "does not exist" if not folder.exists() else "holds no config.yaml"
        raise DataError(f"{folder} is no run folder: it {reason}. Give the folder that train named in its log as run=")
    try:
        config = yaml.safe_load(saved.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{saved} is damaged: {error}") from error
    if not isinstance(config, dict):
        raise DataError(f"{saved} is damaged: it holds no configuration")
    result = _read_json(folder / "result.json") if (folder / "result.json").exists() else {}
    played = [_played(path) for path in sorted((folder / "evaluation").glob("*.json"))]
    # The scripted agent first: it is what the others are compared with.
    played.sort(key=lambda each: (each.policy != "scripted", each.policy, each.decoding))
    videos = [_video(path) for path in _newest((folder / "videos").glob("*_*_*.mp4"))]
    # What has Q-values to look at comes first.
    videos.sort(key=lambda each: (not each.trace.get("q_values"), each.policy, not each.success, each.seed))
    return RunContents(folder, config, result, read_metrics(folder), played, videos)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is damaged ({error}): play the policy again with `evaluate`, or remove it") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} is damaged: it holds no JSON object")
    return content


def _played(path: Path) -> Played:
    summary = _read_json(path)
    policy, _, decoding = path.stem.rpartition("_")
    if decoding not in DECODINGS:
        policy, decoding = path.stem, ""
    try:
        success = {int(each["seed"]): bool(each["success"]) for each in summary.pop("outcomes")}
        low, high = summary["success_interval"]
        numbers = [summary["success_rate"], summary["episodes"], low, high]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is damaged ({error}): play the policy again with `evaluate`, or remove it") from error
    if not all(isinstance(number, (int, float)) for number in numbers):
        raise DataError(f"{path} is damaged: a success rate in it is no number")
    return Played(policy, decoding, summary, success)


def _newest(paths: Iterable[Path]) -> list[Path]:
    """Of each policy and each ending the MOST_VIDEOS that were written last."""
    chosen: dict[str, list[Path]] = {}
    for path in sorted(paths, key=lambda each: (-each.stat().st_mtime, each.name)):
        chosen.setdefault(path.stem.rpartition("_")[0], []).append(path)
    return [path for group in chosen.values() for path in group[:MOST_VIDEOS]]


def _video(path: Path) -> Video:
    policy, ending, seed = path.stem.rsplit("_", 2)
    trace = _read_json(path.with_suffix(".json")) if path.with_suffix(".json").exists() else {}
    return Video(policy, ending == "success", int(seed) if seed.isdigit() else 0, _playable(path), trace)


def _playable(path: Path) -> bytes:
    """The file's content, written anew where its codec is one that browsers do not play."""
    capture = cv2.VideoCapture(str(path))
    try:
        # -1 where the file cannot be read.
        code = (int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF).to_bytes(4, "little").decode("latin1").lower()
        if code in PLAYED_BY_BROWSERS:
            return path.read_bytes()
        frames: list[np.ndarray] = []
        rate = capture.get(cv2.CAP_PROP_FPS)
        while True:
            read, frame = capture.read()
            if not read:
                break
            frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    finally:
        capture.release()
    if not frames:
        raise DataError(f"{path} is damaged: no frame of it can be read; remove it, or play the policy again")
    from qsft_robot.evaluation.videos import FRAMES_PER_SECOND, write_video

    with tempfile.TemporaryDirectory() as scratch:
        return write_video(Path(scratch) / "video.mp4", frames, round(rate) or FRAMES_PER_SECOND).read_bytes()
