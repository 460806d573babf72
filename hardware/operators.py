"""Who begins and ends episodes on an arm and says whether they succeeded: a person, a service, or the scene itself."""

from __future__ import annotations

import contextlib
import select
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from qsft_robot.hardware.adapter import ArmAdapter
from qsft_robot.hardware.reasons import Reason


class Operator:
    """Begins every episode at once, never ends one early, never reports success; others derive from it."""

    def begin_episode(self, arm: ArmAdapter, seed: int) -> None:
        """Prepare the scene; returns when the arm may be armed."""

    def ended(self, arm: ArmAdapter) -> bool:
        """Whether the operator wants the episode to end now."""
        return False

    def succeeded(self, arm: ArmAdapter) -> bool:
        """Whether the task is solved now."""
        return False

    def end_episode(self, arm: ArmAdapter, success: bool) -> bool:
        """The episode is over; returns the final word on its success."""
        return success


class SceneOperator(Operator):
    """For simulated and virtual arms: the scene is reset by its seed and detects success itself."""

    def begin_episode(self, arm: ArmAdapter, seed: int) -> None:
        """Reset the scene to the episode of that seed; the arm is disarmed while it jumps."""
        arm.stop("new episode", Reason.NOT_ARMED)
        _scene(arm).reset_scene(seed)

    def succeeded(self, arm: ArmAdapter) -> bool:
        """Whether the scene has detected success."""
        return bool(_scene(arm).succeeded)


class KeyboardOperator(Operator):
    """A person at a terminal: Enter starts and ends an episode, s is success, f is failure, Space is the stop, q quits.

    A ROS service can do the same (`Ros2Arm` offers start_episode, end_episode, emergency_stop, arm).
    Keys are read as lines, so that it works over any connection: a letter, then Enter.

    Args:
        lines: where lines come from; standard input by default.
        say: shows a line to the person.
    """

    def __init__(self, lines: TextIO | None = None, say: Callable[[str], None] | None = None) -> None:
        self._lines = sys.stdin if lines is None else lines
        self._say = say or (lambda line: print(line, file=sys.stderr, flush=True))
        self._keys: list[str] = []
        self._lock = threading.Lock()
        self._ended = False
        self._success: bool | None = None
        self._closed = False

    def begin_episode(self, arm: ArmAdapter, seed: int) -> None:
        """Wait until the person says that the scene is ready."""
        self._ended, self._success = False, None
        self._say(f"episode {seed}: arrange the scene, then Enter to start (q to quit)")
        while True:
            key = self._key(wait=0.1)
            if key == "q" or self._closed:
                raise KeyboardInterrupt
            if key == "" or _requested(arm, "start_requested"):
                self._say("running: Enter ends, s success, f failure, space (then Enter) stops the arm")
                return

    def ended(self, arm: ArmAdapter) -> bool:
        """Whether the person, or the service, has ended the episode."""
        key = None if self._ended else self._key()
        if key is not None:
            if key == " ":
                arm.stop("operator")
            elif key == "q":
                raise KeyboardInterrupt
            else:
                self._success = {"s": True, "f": False}.get(key)
            self._ended = True
        return self._ended or _requested(arm, "end_requested")

    def succeeded(self, arm: ArmAdapter) -> bool:
        """Success that the person has entered."""
        self.ended(arm)
        return self._success is True

    def end_episode(self, arm: ArmAdapter, success: bool) -> bool:
        """Ask for the outcome where it was not entered."""
        if self._success is None and not success:
            self._say("did it succeed? y or n, then Enter")
            while self._success is None and not self._closed:
                key = self._key(wait=0.1)
                if key in ("y", "s", "n", "f"):
                    self._success = key in ("y", "s")
        return bool(self._success) or success

    def _key(self, wait: float = 0.0) -> str | None:
        """The next line without its end (a single space stays), or None if there is none within `wait` s."""
        with self._lock:
            if self._closed:
                return None
            with contextlib.suppress(ValueError, OSError, TypeError):
                ready, _, _ = select.select([self._lines], [], [], wait)
                if not ready:
                    return None
            line = self._lines.readline()
            if line == "":
                self._closed = True
                return None
            text = line.rstrip("\r\n")
            return " " if text and not text.strip() else text.strip().lower()


def _scene(arm: ArmAdapter) -> Any:
    """The part of the adapter that can reset its scene: itself, or the arm that a dry run wraps."""
    return getattr(arm, "inner", arm)


def _requested(arm: ArmAdapter, name: str) -> bool:
    take = getattr(_scene(arm), name, None)
    return bool(take()) if callable(take) else False


def numbered(first_seed: int, episodes: int) -> Iterator[int]:
    """Seeds of a row of episodes."""
    yield from range(first_seed, first_seed + episodes)
