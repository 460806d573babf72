"""An arm in this process: the simulated countertop behind the adapter's interface."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from qsft_robot.hardware.adapter import ArmAdapter
from qsft_robot.hardware.description import RobotDescription
from qsft_robot.hardware.simulated_countertop import SimulatedCountertop

LONGEST_CATCH_UP = 0.25
"""Simulated time that one call makes up for at most, s: a pause is no reason to simulate all of it."""


class SimulatedArm(ArmAdapter):
    """A WidowX 250 S on the simulated countertop; simulated time follows the adapter's clock.

    Args:
        description: a description of that arm.
        env_id: registered id of a countertop environment.
        options: keywords of its constructor.
        clock: monotonic clock, s; with a clock that a test moves, everything is exact and repeatable.
    """

    name = "simulated"

    def __init__(
        self,
        description: RobotDescription,
        env_id: str = "qsft_robot/PickPlace-v0",
        options: dict[str, Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(description, clock)
        self._env_id = env_id
        camera = description.camera
        size = {"image_size": camera.height} if camera is not None else {}
        self._options = {**size, **(options or {})}
        self.countertop: SimulatedCountertop | None = None
        self._time = 0.0
        self._image_due = 0.0

    @property
    def is_connected(self) -> bool:
        """Whether the simulation runs."""
        return self.countertop is not None

    @property
    def succeeded(self) -> bool:
        """Whether the task was solved since the last reset."""
        return self.countertop is not None and self.countertop.succeeded

    def choose_scene(self, env_id: str, options: dict[str, Any]) -> None:
        """Be the scene of another task from the next connection on; pictures stay of the size of the description's."""
        self._env_id = env_id
        self._options = {**options, **self._options}

    def reset_scene(self, seed: int) -> None:
        """Start the episode of that seed: scene and arm are put back."""
        self._require_connection()
        assert self.countertop is not None
        with self.safety.lock:
            self.countertop.reset(seed)
            self._time = self._image_due = self.clock()
            self._state.positions = None
            self._report()

    def _connect(self) -> None:
        self.countertop = SimulatedCountertop(self._env_id, self._options, self.description.names)
        self._time = self._image_due = self.clock()
        self._report()

    def _disconnect(self) -> None:
        if self.countertop is not None:
            self.countertop.close()
            self.countertop = None

    def _poll(self) -> None:
        with self.safety.lock:
            now = self.clock()
            if self.countertop is not None and now > self._time:
                self.countertop.advance(min(now - self._time, LONGEST_CATCH_UP))
                self._time = now
                self._report()

    def _report(self) -> None:
        assert self.countertop is not None
        names, positions = self.description.names, self.countertop.positions()
        efforts = self.countertop.efforts() if self.description.reports_effort else None
        self._received_joint_state(names, positions, self._time, efforts)
        if self.description.camera is not None and self._time >= self._image_due:
            self._received_image(self.countertop.picture(), self._time)
            self._image_due = max(self._image_due, self._time - 0.5) + 1.0 / self.description.rates.images

    def _write(self, positions: np.ndarray, hold: bool) -> None:
        assert self.countertop is not None
        self.countertop.set_targets(positions)
