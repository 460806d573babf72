"""The command loop and the watchdog: two threads between a policy that takes its time and an arm that must not wait.

The policy's side calls `set_target` whenever it has decided. The command thread sends, at a fixed rate on the
monotonic clock, the point on the straight line from the last setpoint to the target (from the setpoint, not from
where the arm is measured: that would feed noise back). The watchdog thread asks the safety filter a hundred times
a second whether anything has grown stale; it depends on neither of the others. Every way out of the loop tells the
arm to hold where it is measured.
"""

from __future__ import annotations

import logging
import threading
from types import TracebackType
from typing import Any, Self

import numpy as np

from qsft_robot.errors import QsftRobotError
from qsft_robot.hardware.adapter import ArmAdapter
from qsft_robot.hardware.reasons import Reason
from qsft_robot.hardware.timing import Punctuality, StageTimes

logger = logging.getLogger(__name__)

WATCHDOG_RATE = 100.0


class Interpolator:
    """Straight lines between targets: from the setpoint of the moment to the new target, in a given time."""

    def __init__(self) -> None:
        self._from: np.ndarray | None = None
        self._to: np.ndarray | None = None
        self._begin = 0.0
        self._seconds = 0.0

    def clear(self) -> None:
        """Forget the target: there is nothing to follow."""
        self._from = self._to = None

    def aim(self, target: np.ndarray, now: float, seconds: float, start: np.ndarray) -> None:
        """Go to `target` (J,) within `seconds`, from the present setpoint, or from `start` (J,) if there is none."""
        here = self.at(now)
        self._from = start.copy() if here is None else here
        self._to, self._begin, self._seconds = target.copy(), now, seconds

    def at(self, now: float) -> np.ndarray | None:
        """The setpoint (J,) at `now`; None without a target."""
        if self._from is None or self._to is None:
            return None
        share = 1.0 if self._seconds <= 0.0 else min(1.0, max(0.0, (now - self._begin) / self._seconds))
        return self._from + share * (self._to - self._from)


class ControlLoop:
    """Runs command and watchdog threads over a connected arm; a context manager.

    Args:
        arm: a connected adapter.
        command_rate: commands per second.
        blend: time in which a new target is reached, s; the policy's period, as a rule.
    """

    def __init__(self, arm: ArmAdapter, command_rate: float, blend: float) -> None:
        self.arm = arm
        self.blend = blend
        self.times = StageTimes()
        self.punctuality = Punctuality(1.0 / command_rate)
        self.watchdog_punctuality = Punctuality(1.0 / WATCHDOG_RATE)
        self.error: BaseException | None = None
        self._interpolator = Interpolator()
        self._stamp: float | None = None
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.close(type(error).__name__, Reason.EMERGENCY_STOP)

    def start(self) -> None:
        """Start both threads; the arm stays as armed or disarmed as it is."""
        self._ended.clear()
        for name, work, rate in (
            ("command", self._command, self.punctuality),
            ("watchdog", self.arm.supervise, self.watchdog_punctuality),
        ):
            thread = threading.Thread(target=self._run, args=(name, work, rate), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self, why: str = "end", reason: Reason = Reason.NOT_ARMED) -> None:
        """End both threads and tell the arm to hold where it is measured."""
        self._ended.set()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(timeout=2.0)
        self._threads.clear()
        if self.arm.is_connected and self.arm.safety.stop_reason is None:
            self.arm.stop(f"control loop: {why}", reason)

    def set_target(self, positions: np.ndarray, stamp: float) -> tuple[Reason, ...]:
        """Follow a new target.

        Args:
            positions: (J,) joint positions, rad (m).
            stamp: when the observation was taken that the policy decided on, s, monotonic.

        Returns:
            Why the target was refused (the last one then stays in force and grows stale); empty if it was accepted.

        Raises:
            QsftRobotError: a thread of the loop has ended on this error.
        """
        self.check()
        now = self.arm.clock()
        command = dict(zip(self.arm.description.names, np.asarray(positions).tolist(), strict=True))
        with self._lock:
            target, refused = self.arm.safety.admit(command, stamp, now)
            if target is None:
                for reason in refused:
                    self.arm.safety.counts[reason] += 1
                return refused
            start = self.arm.state().positions
            assert start is not None
            if self.arm.safety.hold_reasons:
                self._interpolator.clear()
            inside = np.clip(start, self.arm.safety.lower, self.arm.safety.upper)
            self._interpolator.aim(target, now, self.blend, inside)
            self._stamp = stamp
            return ()

    def clear_target(self) -> None:
        """Follow nothing: no command goes out until the next target (the watchdog then holds the arm)."""
        with self._lock:
            self._interpolator.clear()
            self._stamp = None

    def check(self) -> None:
        """Raise the error that ended a thread, if one did."""
        if self.error is not None:
            raise self.error

    def report(self) -> dict[str, Any]:
        """What the loop measured of itself: punctuality, time per stage, interventions."""
        return {
            "command": self.punctuality.summary(),
            "watchdog": self.watchdog_punctuality.summary(),
            "stages_ms": self.times.summary(),
            "interventions": {reason.value: count for reason, count in sorted(self.arm.safety.counts.items())},
        }

    def _command(self) -> None:
        with self._lock:
            setpoint = self._interpolator.at(self.arm.clock())
            stamp = self._stamp
        if setpoint is None:
            return
        command = dict(zip(self.arm.description.names, setpoint.tolist(), strict=True))
        with self.times.measure("filter_and_send"):
            self.arm.command(command, stamp)

    def _run(self, name: str, work: Any, punctuality: Punctuality) -> None:
        clock, period = self.arm.clock, punctuality.period
        due = clock()
        try:
            while not self._ended.is_set():
                punctuality.step(due, clock())
                work()
                due += period
                left = due - clock()
                if left > 0:
                    self._ended.wait(left)
                elif left < -period:
                    due = clock()  # what was missed is not made up for
        except BaseException as error:
            if self._ended.is_set():
                return
            self.error = error
            logger.error("the %s thread ended: %s", name, error)
            self._ended.set()
            try:
                self.arm.stop(f"{name} thread: {error}", Reason.CONNECTION_LOST)
            except QsftRobotError:
                logger.error("the arm could not be told to hold: it has to stop by its own timeout")
