"""The safety filter: between every policy and every arm, on by default, without ROS.

It is plain code on plain numbers: observations and commands go in with their stamps on one monotonic clock, a
`Decision` comes out. It starts disarmed. Three kinds of intervention exist (`hardware.reasons`): a command is
changed, a command is refused and the arm brakes along its path, or the arm holds where it is measured. A
latched stop ends every motion until `arm` is called again.

What the filter guarantees for every sequence of calls (tests/hardware/safety_generator.py):

- a MOVE lies inside the joint ranges less their margins (a joint that starts within its margin moves inward) and
  inside the workspace box, moves no joint faster than its limit, and changes speed no faster than its acceleration
  limit (except where only an abrupt stop keeps the tool inside the workspace);
- a HOLD is one constant, measured, finite position for as long as the hold lasts;
- after a stop there is no MOVE before `arm`.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from numbers import Real

import numpy as np

from qsft_robot.errors import QsftRobotError
from qsft_robot.hardware.limits import JointLimits, SafetyLimits, check_limits
from qsft_robot.hardware.motion import bounded_step, stopping_point
from qsft_robot.hardware.reasons import EXPLANATIONS, Reason

logger = logging.getLogger(__name__)

ForwardKinematics = Callable[[np.ndarray], np.ndarray]
"""Joint positions (J,) in the order of the arm's joints -> tool position (3,) in the base frame, m."""


class ArmingRefusedError(QsftRobotError):
    """The arm cannot be armed now; the message says why and what to do."""


class Kind(StrEnum):
    """What is to be done with a decision's positions."""

    MOVE = "move"
    HOLD = "hold"
    NONE = "none"


@dataclass(frozen=True)
class Decision:
    """What the filter lets through.

    Attributes:
        kind: MOVE (send the positions), HOLD (send them to stop there), NONE (send nothing).
        positions: (J,) float64 joint positions, rad (m); None with NONE.
        reasons: why this is not the command as it was asked for; empty when nothing was changed.
    """

    kind: Kind
    positions: np.ndarray | None
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class Intervention:
    """One entry of the filter's log: when (monotonic, s), why, and details in words."""

    time: float
    reason: Reason
    detail: str


class SafetyFilter:
    """Keeps the limits of one arm; safe to call from several threads.

    Args:
        arm: the arm's joints in the driver's order, with its own limits.
        limits: what we allow; checked against the arm's own limits.
        forward_kinematics: joint positions -> tool position, for the workspace box.
        uses_camera: whether a fresh image is needed for motion.

    Raises:
        ConfigurationError: a limit is missing, negative, not a number, or beyond the arm's own.
    """

    def __init__(
        self,
        arm: Sequence[JointLimits],
        limits: SafetyLimits,
        forward_kinematics: ForwardKinematics,
        uses_camera: bool,
    ) -> None:
        check_limits(arm, limits)
        self.names = tuple(joint.name for joint in arm)
        self.limits = limits
        self.lock = threading.RLock()
        self.counts: Counter[Reason] = Counter()
        self.stops = 0  # calls of stop(), so that who waits to arm notices one
        self.log: deque[Intervention] = deque(maxlen=10_000)
        self._forward_kinematics = forward_kinematics
        self._uses_camera = uses_camera
        entries = [limits.joints[name] for name in self.names]
        self._own_lower = np.array([joint.lower for joint in arm])
        self._own_upper = np.array([joint.upper for joint in arm])
        self._margin = np.array([entry.margin for entry in entries])
        self.lower = self._own_lower + self._margin
        self.upper = self._own_upper - self._margin
        self._speed = np.array([entry.velocity for entry in entries])
        self._acceleration = np.array([entry.acceleration for entry in entries])
        self._jump = np.array([entry.jump for entry in entries])
        self._following = np.array([entry.following_error for entry in entries])
        self._effort = np.array([entry.effort for entry in entries])
        self._box = np.array([limits.workspace_lower, limits.workspace_upper])
        self._latched: Reason | None = Reason.NOT_ARMED
        self._latch_sent = True
        self._holding: tuple[Reason, ...] = ()
        self._hold_position: np.ndarray | None = None
        self._position: np.ndarray | None = None  # last MOVE, the filter's own state
        self._velocity = np.zeros(len(entries))
        self._measured: np.ndarray | None = None
        self._measured_stamp = -math.inf
        self._image_stamp = -math.inf
        self._accepted_stamp = -math.inf
        self._time = -math.inf
        self._slow_until = -math.inf
        self._episode_end = -math.inf
        self._fault_since: dict[Reason, float] = {}
        self._last_reasons: frozenset[Reason] = frozenset()

    @property
    def armed(self) -> bool:
        """Whether motion is possible at all."""
        return self._latched is None

    @property
    def stop_reason(self) -> Reason | None:
        """What keeps the arm stopped until it is armed again; None while it is armed."""
        return self._latched

    @property
    def hold_reasons(self) -> tuple[Reason, ...]:
        """What keeps the arm in place right now; empty while it may move."""
        return self._holding

    @property
    def interventions(self) -> int:
        """How many interventions there have been so far."""
        return self.counts.total()

    # Observations.

    def observe(
        self,
        names: Sequence[str],
        positions: Sequence[float] | np.ndarray,
        stamp: float,
        now: float,
        efforts: Sequence[float] | np.ndarray | None = None,
    ) -> tuple[Reason, ...]:
        """Take in a joint state.

        Args:
            names: joint names as the driver gave them, in any order; further joints are ignored.
            positions: positions in the order of `names`, rad (m).
            stamp: when it was measured, s on the monotonic clock.
            now: the clock.
            efforts: efforts in the order of `names`, or None where the driver reports none.

        Returns:
            The reasons of this call, empty if the observation is good.
        """
        with self.lock:
            if not _is_time(stamp) or not _is_time(now):
                return self._report(now, Reason.BAD_OBSERVATION, "a stamp that is no number")
            if stamp > now + self.limits.future_tolerance:
                return self._report(now, Reason.FUTURE_OBSERVATION, f"joint state {stamp - now:.3f} s ahead")
            values = _ordered(self.names, names, positions)
            if values is None:
                return self._report(now, Reason.BAD_OBSERVATION, "wrong names, sizes or values in a joint state")
            forces = None
            if efforts is not None:
                forces = _ordered(self.names, names, efforts)
                if forces is None:
                    return self._report(now, Reason.BAD_OBSERVATION, "wrong sizes or values in the efforts")
            if stamp < self._measured_stamp <= now + self.limits.future_tolerance:
                return ()  # an older message that arrived late; the newer one stands
            self._measured, self._measured_stamp = values, stamp
            return self._supervise_measurement(values, forces, now)

    def observe_image(self, stamp: float, now: float) -> tuple[Reason, ...]:
        """Take in that a camera image was taken at `stamp` (s, monotonic)."""
        with self.lock:
            if not _is_time(stamp) or not _is_time(now):
                return self._report(now, Reason.BAD_OBSERVATION, "an image stamp that is no number")
            if stamp > now + self.limits.future_tolerance:
                return self._report(now, Reason.FUTURE_OBSERVATION, f"image {stamp - now:.3f} s ahead")
            if not stamp < self._image_stamp <= now + self.limits.future_tolerance:
                self._image_stamp = stamp
            return ()

    # The operator.

    def arm(self, now: float) -> None:
        """Allow motion, also after a stop; the only way out of one.

        Raises:
            ArmingRefusedError: no fresh joint state, or the arm is outside its limits or its workspace.
        """
        with self.lock:
            if not _is_time(now):
                raise ArmingRefusedError("the arm cannot be armed: the clock is no number")
            measured = self._measured
            if measured is None or not self._fresh(self._measured_stamp, self.limits.joint_state_age, now):
                raise ArmingRefusedError("the arm cannot be armed: no fresh joint state; is its driver running?")
            outside = [
                f"{name} at {value:.3f} (allowed {low:.3f} to {high:.3f})"
                for name, value, low, high, margin in zip(
                    self.names, measured, self._own_lower, self._own_upper, self._margin, strict=True
                )
                if not low - margin <= value <= high + margin
            ]
            start = self._clip_to_arm(measured)
            tool = self._forward_kinematics(start)
            if not outside and not self._inside(start):
                outside = [f"the tool at {np.round(tool, 3).tolist()} outside the workspace box"]
            if outside:
                raise ArmingRefusedError(
                    "the arm cannot be armed: " + "; ".join(outside) + "; move the arm by hand or by its own tools"
                )
            self._latched, self._holding, self._hold_position = None, (), None
            self._fault_since.clear()
            self._start_from(start, now)
            self._time = now
            self._episode_end = now + self.limits.episode_seconds
            logger.info("armed")

    def begin_episode(self, now: float) -> None:
        """Start the time of a new episode; it does not arm."""
        with self.lock:
            self._episode_end = now + self.limits.episode_seconds
            self._accepted_stamp = now

    def stop(self, now: float, reason: Reason = Reason.EMERGENCY_STOP, detail: str = "") -> Decision:
        """Stop until `arm` is called again; returns what to send now (nothing if nothing was measured)."""
        with self.lock:
            self.stops += 1
            self._latch(now, reason, detail)
            return self._latched_decision()

    # Commands.

    def check(self, command: object, stamp: float, now: float) -> Decision:
        """Turn a policy's command into what may be sent.

        Args:
            command: mapping of every joint's name to its target position, rad (m).
            stamp: when the policy decided it, s on the monotonic clock.
            now: the clock.

        Returns:
            The decision; never raises for a bad command.
        """
        with self.lock:
            if self._latched is not None:
                return self._latched_decision()
            target, refusal = self._admit(command, stamp, now)
            if refusal is None:
                self._accepted_stamp = max(self._accepted_stamp, stamp)
            cause = self._cause_to_hold(now)
            if not cause and refusal is None and not self._fresh(stamp, self.limits.policy_age, now):
                cause = (Reason.STALE_POLICY,)
            if not cause and self._holding and refusal is not None:
                cause = (refusal,)  # only an acceptable command ends a hold
            if cause:
                return self._hold(now, cause)
            if self._holding and not self._release(now):
                return self._latched_decision()
            return self._step(target, refusal, now)

    def supervise(self, now: float) -> Decision:
        """What the watchdog asks, without a command: HOLD where the arm has to be held now, else NONE."""
        with self.lock:
            if self._latched is not None:
                return self._latched_decision()
            cause = self._cause_to_hold(now)
            return self._hold(now, cause) if cause else Decision(Kind.NONE, None, ())

    def admit(self, command: object, stamp: float, now: float) -> tuple[np.ndarray | None, tuple[Reason, ...]]:
        """Check a target before it is interpolated: (J,) positions, or None with the reason."""
        with self.lock:
            target, refusal = self._admit(command, stamp, now)
            return target, () if refusal is None else (refusal,)

    # Inside.

    def _admit(self, command: object, stamp: float, now: float) -> tuple[np.ndarray | None, Reason | None]:
        if not _is_time(stamp) or not _is_time(now) or stamp > now + self.limits.future_tolerance:
            return None, Reason.FUTURE_COMMAND
        if not isinstance(command, Mapping):
            return None, Reason.WRONG_NAMES
        if len(command) != len(self.names):
            return None, Reason.WRONG_SIZE
        if set(command) != set(self.names):
            return None, Reason.WRONG_NAMES
        values = _numbers([command[name] for name in self.names])
        if values is None:
            return None, Reason.NOT_FINITE
        reference = self._hold_position if self._holding else self._position
        if reference is None or (np.abs(values - reference) > self._jump).any():
            return None, Reason.JUMP
        return values, None

    def _step(self, target: np.ndarray | None, refusal: Reason | None, now: float) -> Decision:
        assert self._position is not None  # armed: set by _start_from
        reasons: list[Reason] = [] if refusal is None else [refusal]
        elapsed = now - self._time
        period = min(elapsed, self.limits.longest_period)
        if elapsed > self.limits.longest_period:
            reasons.append(Reason.LATE_COMMAND)
        self._time = now
        speed = self._speed
        slow = now < self._slow_until
        if slow:
            speed = speed * self.limits.slow_start_speed
        if target is not None:
            clipped = np.clip(target, self.lower, self.upper)
            if (clipped != target).any():
                reasons.append(Reason.JOINT_LIMIT)
            target = clipped
        # An arm that starts at the very end of a joint's range, within the margin, moves inward only.
        lower, upper = np.minimum(self.lower, self._position), np.maximum(self.upper, self._position)
        bounds = (lower, upper, speed, self._acceleration, period)
        position, velocity, fast, hard = bounded_step(self._position, self._velocity, target, *bounds)
        if fast:
            reasons.append(Reason.SLOW_START if slow else Reason.VELOCITY)
        if hard and not fast:
            reasons.append(Reason.ACCELERATION)
        if not (self._inside(position) and self._inside(stopping_point(position, velocity, self._acceleration))):
            reasons.append(Reason.WORKSPACE)
            position, velocity, _, _ = bounded_step(self._position, self._velocity, None, *bounds)
            if not self._inside(position):
                position, velocity = self._position.copy(), np.zeros_like(velocity)
        self._position, self._velocity = position, velocity
        self._note(now, reasons)
        return Decision(Kind.MOVE, position.copy(), tuple(reasons))

    def _cause_to_hold(self, now: float) -> tuple[Reason, ...]:
        if not _is_time(now) or now < self._time:
            # Until the clock has passed its old value again, ages mean nothing.
            return (Reason.CLOCK_STEP,)
        limits = self.limits
        causes = []
        if not self._fresh(self._measured_stamp, limits.joint_state_age, now):
            causes.append(Reason.STALE_JOINT_STATE)
        if self._uses_camera and not self._fresh(self._image_stamp, limits.image_age, now):
            causes.append(Reason.STALE_IMAGE)
        if not self._holding and not self._fresh(self._accepted_stamp, limits.policy_age, now):
            causes.append(Reason.STALE_POLICY)
        if now > self._episode_end:
            causes.append(Reason.EPISODE_LIMIT)
        return tuple(causes)

    def _hold(self, now: float, reasons: tuple[Reason, ...]) -> Decision:
        if not self._holding:
            # A stale measurement lies behind a moving arm: then it stops where it was last sent.
            silent = Reason.STALE_JOINT_STATE in reasons or Reason.CLOCK_STEP in reasons
            place = self._position if silent else self._measured
            self._hold_position = None if place is None else self._clip_to_arm(place)
            self._velocity = np.zeros_like(self._velocity)
            logger.warning("hold: %s", "; ".join(EXPLANATIONS[reason] for reason in reasons))
        self._holding = reasons
        if _is_time(now):
            self._time = max(self._time, now)
        self._note(now, reasons)
        if self._hold_position is None:
            return Decision(Kind.NONE, None, reasons)
        return Decision(Kind.HOLD, self._hold_position.copy(), reasons)

    def _release(self, now: float) -> bool:
        """Leave a hold: motion starts again, slowly, from where the arm is measured."""
        assert self._measured is not None  # a hold is left only with a fresh joint state
        for start in (self._clip_to_arm(self._measured), self._position):
            if start is None or (np.abs(start - self._measured) > self._margin).any():
                continue
            if self._inside(start):
                self._holding, self._hold_position = (), None
                self._start_from(start, now)
                return True
        self._latch(now, Reason.MEASURED_LIMIT, "the arm left its limits during a hold")
        return False

    def _start_from(self, position: np.ndarray, now: float) -> None:
        self._position = position.copy()
        self._velocity = np.zeros_like(position)
        self._slow_until = now + self.limits.slow_start_seconds
        self._accepted_stamp = now

    def _latch(self, now: float, reason: Reason, detail: str) -> None:
        if self._latched is None or self._latched is Reason.NOT_ARMED:
            self._latched = reason
            if not self._holding:
                measured = self._measured
                self._hold_position = None if measured is None else self._clip_to_arm(measured)
            self._velocity = np.zeros_like(self._velocity)
            self._holding = ()
            self._latch_sent = False
        self._report(now, reason, detail)
        level = logging.INFO if reason is Reason.NOT_ARMED else logging.ERROR
        logger.log(level, "stopped (%s): %s %s", reason.value, EXPLANATIONS[reason], detail)

    def _latched_decision(self) -> Decision:
        """After a stop the hold goes out once; then nothing is sent until the arm is armed again."""
        assert self._latched is not None
        reasons = (self._latched,)
        if self._latch_sent or self._hold_position is None:
            return Decision(Kind.NONE, None, reasons)
        self._latch_sent = True
        return Decision(Kind.HOLD, self._hold_position.copy(), reasons)

    def _supervise_measurement(self, values: np.ndarray, forces: np.ndarray | None, now: float) -> tuple[Reason, ...]:
        faults: dict[Reason, str] = {}
        if forces is not None and (np.abs(forces) > self._effort).any():
            faults[Reason.EFFORT] = self._worst(np.abs(forces) - self._effort)
        sent = self._hold_position if self._holding else self._position
        if sent is not None and (np.abs(values - sent) > self._following).any():
            faults[Reason.FOLLOWING_ERROR] = self._worst(np.abs(values - sent) - self._following)
        beyond = np.maximum(self._own_lower - values, values - self._own_upper)
        if (beyond > self._margin).any():
            faults[Reason.MEASURED_LIMIT] = self._worst(beyond)
        for reason in list(self._fault_since):
            if reason not in faults:
                del self._fault_since[reason]
        stopped: list[Reason] = []
        for reason, joint in faults.items():
            since = self._fault_since.setdefault(reason, now)
            if self._latched is None and now - since >= self.limits.fault_seconds:
                self._latch(now, reason, f"joint {joint}")
                stopped.append(reason)
        return tuple(stopped)

    def _worst(self, excess: np.ndarray) -> str:
        return self.names[int(np.argmax(excess))]

    def _clip_to_arm(self, position: np.ndarray) -> np.ndarray:
        return np.clip(position, self._own_lower, self._own_upper)

    def _inside(self, position: np.ndarray) -> bool:
        tool = self._forward_kinematics(position)
        return bool((tool >= self._box[0]).all() and (tool <= self._box[1]).all())

    def _fresh(self, stamp: float, age: float, now: float) -> bool:
        return -self.limits.future_tolerance <= now - stamp <= age

    def _report(self, now: float, reason: Reason, detail: str) -> tuple[Reason, ...]:
        self.counts[reason] += 1
        self.log.append(Intervention(now, reason, detail))
        return (reason,)

    def _note(self, now: float, reasons: Sequence[Reason]) -> None:
        """Count every intervention; log its beginning, not each repetition."""
        for reason in reasons:
            self.counts[reason] += 1
            if reason not in self._last_reasons:
                self.log.append(Intervention(now, reason, EXPLANATIONS[reason]))
                logger.info("safety: %s (%s)", reason.value, EXPLANATIONS[reason])
        self._last_reasons = frozenset(reasons)


def _is_time(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _numbers(values: Sequence[object]) -> np.ndarray | None:
    """Return the values as (n,) float64, or None if any is not a finite number."""
    try:
        numbers = np.array([float(value) for value in values], dtype=np.float64)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return numbers if np.isfinite(numbers).all() else None


def _ordered(wanted: Sequence[str], names: Sequence[str], values: Sequence[float] | np.ndarray) -> np.ndarray | None:
    """Return the values of the wanted names, or None if one is missing, doubled, or not finite."""
    if not all(isinstance(name, str) for name in names):
        return None
    if len(names) != len(values) or len(set(names)) != len(names):
        return None
    by_name = dict(zip(names, values, strict=True))
    if any(name not in by_name for name in wanted):
        return None
    return _numbers([by_name[name] for name in wanted])
