"""Everything but sending: reads an arm, runs the whole stack on it, and keeps what would have been sent."""

from __future__ import annotations

import numpy as np

from qsft_robot.hardware.adapter import ArmAdapter


class DryRunArm(ArmAdapter):
    """Wraps an adapter; observations come from its arm, commands end here.

    Attributes:
        would_have_sent: the positions (J,) of every command, in order, and whether each was a hold.
    """

    def __init__(self, inner: ArmAdapter) -> None:
        super().__init__(inner.description, inner.clock)
        self.name = f"dry_run({inner.name})"
        self.inner = inner
        self.would_have_sent: list[tuple[np.ndarray, bool]] = []

    @property
    def is_connected(self) -> bool:
        """Whether the wrapped arm is connected."""
        return self.inner.is_connected

    def _connect(self) -> None:
        self.inner.connect()

    def _disconnect(self) -> None:
        # Not disconnect(): that would tell the arm to hold, and nothing is sent here.
        self.inner._disconnect()

    def _poll(self) -> None:
        state = self.inner.state()
        if state.positions is not None and state.stamp > self._state.stamp:
            self._received_joint_state(self.description.names, state.positions, state.stamp, state.efforts)
        for key, image in state.images.items():
            if state.image_stamps[key] > self._state.image_stamps.get(key, -np.inf):
                self._received_image(image, state.image_stamps[key])

    def _write(self, positions: np.ndarray, hold: bool) -> None:
        self.would_have_sent.append((positions.copy(), hold))
