"""Seeded random histories of observations and commands for the safety filter; checks of every output.

The property tests run some of them; `PYTHONPATH=. python tests/hardware/safety_generator.py 1000000` runs a million and
prints one JSON line.
"""

from __future__ import annotations

import json
import logging
import math
import random
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable

import numpy as np

from qsft_robot.hardware.limits import JointLimits, JointSafety, SafetyLimits
from qsft_robot.hardware.safety import ArmingRefusedError, Decision, Kind, SafetyFilter
from qsft_robot.surroundings import surroundings

NAMES = ("lift", "swing", "grip")
ARM = (
    JointLimits("lift", -1.0, 2.0, 3.0, 10.0),
    JointLimits("swing", -3.0, 3.0, 2.0, 5.0),
    JointLimits("grip", 0.0, 0.05, 0.5, 4.0),
)
LIMITS = SafetyLimits(
    joints={
        "lift": JointSafety(0.05, 2.0, 8.0, 0.8, 0.3, 9.0),
        "swing": JointSafety(0.1, 1.5, 6.0, 0.8, 0.3, 5.0),
        "grip": JointSafety(0.002, 0.2, 2.0, 0.05, 0.03, 4.0),
    },
    workspace_lower=(0.1, -0.3, 0.05),
    workspace_upper=(0.64, 0.4, 0.4),
    joint_state_age=0.15,
    image_age=0.3,
    policy_age=0.25,
    future_tolerance=0.02,
    fault_seconds=0.1,
    slow_start_seconds=0.3,
    slow_start_speed=0.25,
    episode_seconds=3.0,
    longest_period=0.1,
)
SPEED = np.array([LIMITS.joints[name].velocity for name in NAMES])
ACCELERATION = np.array([LIMITS.joints[name].acceleration for name in NAMES])
MARGIN = np.array([LIMITS.joints[name].margin for name in NAMES])
LOWER = np.array([joint.lower for joint in ARM])
UPPER = np.array([joint.upper for joint in ARM])


def tool_position(positions: np.ndarray) -> np.ndarray:
    """Tool of a two-link arm with a lift and a swing joint: (3,) m."""
    reach = 0.3 + 0.35 * math.cos(positions[0])
    return np.array(
        [reach * math.cos(positions[1]), reach * math.sin(positions[1]), 0.1 + 0.35 * math.sin(positions[0])]
    )


def make_filter() -> SafetyFilter:
    """Return a fresh, disarmed filter of the test arm."""
    return SafetyFilter(ARM, LIMITS, tool_position, uses_camera=True)


class Checker:
    """Watches one filter's outputs; raises AssertionError when one breaks a promise."""

    def __init__(self, safety: SafetyFilter) -> None:
        self.safety = safety
        self.position: np.ndarray | None = None
        self.velocity: np.ndarray | None = None
        self.time = -math.inf
        self.start: np.ndarray | None = None
        self.hold: np.ndarray | None = None
        self.moved: np.ndarray | None = None
        """Last position that was sent as a motion since the arm was armed."""
        self.stopped = True

    def _begin(self) -> np.ndarray:
        """Where motion begins after arming or a hold."""
        measured = self.start if self.start is not None else self.safety._measured
        assert measured is not None
        return np.clip(measured, LOWER, UPPER)

    def armed(self, now: float) -> None:
        """The filter was armed at `now`."""
        self.stopped, self.hold = False, None
        self.position, self.moved, self.velocity, self.time = None, None, None, now
        self.start = self.safety._measured

    def see(self, decision: Decision, now: float) -> None:
        """Check a decision taken at `now`."""
        if self.safety.stop_reason is not None:
            self.stopped = True
        if decision.kind is Kind.NONE:
            assert decision.positions is None
            return
        positions = decision.positions
        assert positions is not None
        assert positions.shape == (3,)
        assert np.isfinite(positions).all()
        assert (positions >= LOWER).all()
        assert (positions <= UPPER).all()
        if decision.kind is Kind.HOLD:
            assert decision.reasons
            assert self.hold is None or np.array_equal(self.hold, positions), "a hold moved"
            self.hold, self.position, self.velocity, self.start = positions.copy(), None, None, None
            if math.isfinite(now):
                self.time = max(self.time, now)
            return
        assert not self.stopped, "motion while stopped"
        # Where motion goes on: from what was sent last; after a hold from where the arm is measured or was held, or,
        # where that is just outside the box, from the last position before it (within the margin of the measured one).
        before = [self._begin()] if self.position is None else [self.position]
        if self.position is None:
            before.extend(each for each in (self.hold, self.moved) if each is not None)
        self.hold = None
        # Whoever begins within the margin at the end of a joint's range moves inward only.
        lower, upper = np.minimum(LOWER + MARGIN, np.min(before, 0)), np.maximum(UPPER - MARGIN, np.max(before, 0))
        within = (positions >= lower) & (positions <= upper)
        assert within.all(), "outside the joint limits"
        tool = tool_position(positions)
        inside = (tool >= LIMITS.workspace_lower) & (tool <= LIMITS.workspace_upper)
        assert inside.all(), "outside the box"
        elapsed = now - self.time
        assert elapsed >= 0.0, "motion on a clock that went backwards"
        if self.position is not None and elapsed > 0.0:
            moved = positions - self.position
            assert (np.abs(moved) <= SPEED * elapsed + 1e-9).all(), "faster than the speed limit"
            velocity = moved / min(elapsed, LIMITS.longest_period)
            limit = ACCELERATION * min(elapsed, LIMITS.longest_period) + 1e-6 + 1e-14 / elapsed
            if self.velocity is not None and moved.any():  # only an abrupt stop may be harder
                assert (np.abs(velocity - self.velocity) <= limit).all(), "gained or turned speed too fast"
            self.velocity = velocity
        elif self.position is None:
            measured = self._begin()
            near = MARGIN + SPEED * LIMITS.longest_period
            assert (np.abs(positions - measured) <= near + 1e-9).all(), "started far from where the arm is measured"
        elif self.position is not None:
            assert np.array_equal(self.position, positions), "moved in no time"
        self.position, self.time = positions.copy(), now
        self.moved = self.position


BAD_NUMBERS: tuple[object, ...] = (math.nan, math.inf, -math.inf, 1e308, -1e308, None, "far", True, 10**400)


def run_history(random_source: random.Random, events: int, see: Callable[[str], None] | None = None) -> Counter[str]:
    """Drive a fresh filter through one random history and check every output.

    Args:
        random_source: decides everything.
        events: how many events.
        see: called with a line on every event, for reading a failure.

    Returns:
        How often each kind of decision and each reason occurred.
    """
    rng = random_source
    chaos = rng.choice((0.0, 0.03, 0.2, 1.0))  # how much of what happens is odd
    safety = make_filter()
    checker = Checker(safety)
    seen: Counter[str] = Counter()
    now = rng.choice((0.0, 1e-3, 1e6, 1e9))
    body = np.array([rng.uniform(0.0, 1.2), rng.uniform(-0.4, 0.6), rng.uniform(-0.001, 0.051)])
    target = body.copy()
    if rng.random() < 0.95:
        safety.observe(NAMES, body.tolist(), now, now)
        safety.observe_image(now, now)
        try:
            safety.arm(now)
            checker.armed(now)
        except ArmingRefusedError:
            seen["refused"] += 1
    for _ in range(events):
        kind = rng.random()
        odd = rng.random() < chaos
        step = rng.choice((0.0, 1e-6, 0.05, 0.1, 0.3, 2.0)) if odd else rng.choice((0.005, 0.01, 0.02))
        now += step * rng.uniform(0.5, 1.5)
        if odd and rng.random() < 0.03:
            now += rng.choice((-0.01, -1.0, -1e4, 1e4))
        if kind < 0.45:
            if rng.random() < 0.2:
                target = (checker.position if checker.position is not None else body) + np.array(
                    [rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5), rng.uniform(-0.03, 0.03)]
                )
            if rng.random() < 0.05 * chaos:
                target = np.where(np.array([rng.random() < 0.5 for _ in NAMES]), LOWER, UPPER)
            command: object = dict(zip(NAMES, target.tolist(), strict=True))
            if rng.random() < 0.4 * chaos:
                command = _spoil(rng, dict(zip(NAMES, target.tolist(), strict=True)))
            stamp = now
            if rng.random() < 0.4 * chaos:
                stamp -= rng.choice((0.05, 0.2, 0.24, 0.26, 5.0, -0.01, -0.05, -9.0, math.nan))
            clock = now if rng.random() < 1 - 0.02 * chaos else rng.choice((math.nan, math.inf, -math.inf))
            decision = safety.check(command, stamp, clock)
            checker.see(decision, clock)
        elif kind < 0.8:
            if checker.position is not None and rng.random() < 0.8:
                body = checker.position + np.array([rng.gauss(0, 0.01), rng.gauss(0, 0.01), rng.gauss(0, 0.0005)])
            elif rng.random() < 0.2 * chaos:
                body = body + np.array([rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5), rng.uniform(-0.02, 0.02)])
            _observe(rng, chaos, safety, body, now)
            decision = None
        elif kind < 0.9:
            decision = safety.supervise(now)
            checker.see(decision, now)
        elif kind < 0.9 + 0.03 * chaos:
            decision = safety.stop(now)
            checker.stopped = True
            checker.see(decision, now)
        elif kind < 0.94:
            safety.begin_episode(now)
            decision = None
        elif safety.armed and not odd:
            decision = None
        else:
            decision = None
            try:
                safety.arm(now)
                checker.armed(now)
            except ArmingRefusedError:
                seen["refused"] += 1
        if decision is not None:
            seen[decision.kind.value] += 1
            seen.update(reason.value for reason in decision.reasons)
        if see is not None:
            see(f"{now:.4f} event {kind:.3f}: {decision}")
    return seen


def _observe(rng: random.Random, chaos: float, safety: SafetyFilter, body: np.ndarray, now: float) -> None:
    names: list[object] = list(NAMES)
    values: list[object] = body.tolist()
    stamp = now
    if rng.random() < 0.4 * chaos:
        stamp -= rng.choice((0.01, 0.1, 0.14, 0.16, 3.0, -0.01, -0.03, -100.0, math.nan))
    efforts: list[float] | None = None
    if rng.random() < 0.3:
        efforts = [rng.uniform(-3.9, 3.9) * (2.0 if rng.random() < 0.3 * chaos else 1.0) for _ in NAMES]
    spoil = rng.random() / max(chaos, 1e-9)
    if spoil < 0.05:
        values[rng.randrange(3)] = rng.choice(BAD_NUMBERS)
    elif spoil < 0.07:
        values.pop()
    elif spoil < 0.09:
        names[rng.randrange(3)] = rng.choice(("lift", "other", 7, None))
    elif spoil < 0.3:
        order = rng.sample(range(3), 3)
        names, values = [names[index] for index in order], [values[index] for index in order]
        efforts = None
    safety.observe(names, values, stamp, now, efforts)  # type: ignore[arg-type]
    if rng.random() < 0.7:
        safety.observe_image(stamp, now)


def _spoil(rng: random.Random, command: dict[str, float]) -> object:
    choice = rng.randrange(7)
    if choice == 0:
        return {**command, rng.choice(NAMES): rng.choice(BAD_NUMBERS)}
    if choice == 1:
        command.pop(rng.choice(NAMES))
        return command
    if choice == 2:
        return {**command, "further": 0.0}
    if choice == 3:
        value = command.pop("lift")
        return {**command, "lift_2": value}
    if choice == 4:
        return list(command.values())
    if choice == 5:
        return rng.choice((None, math.nan, "stop", {}, 3.0))
    return {name: value * rng.choice((1.0, -1.0, 57.3, 1e-300)) for name, value in command.items()}


def main(count: int, first_seed: int, events: int) -> None:
    """Check `count` histories and print one JSON line."""
    logging.disable(logging.CRITICAL)
    total: Counter[str] = Counter()
    start = time.monotonic()
    for seed in range(first_seed, first_seed + count):
        try:
            total += run_history(random.Random(seed), events)
        except AssertionError as error:
            raise SystemExit(f"seed {seed}: {error}") from error
    print(
        json.dumps(
            {
                **surroundings(),
                "command": shlex.join(["PYTHONPATH=.", "python", *sys.argv]),
                "histories": count,
                "first_seed": first_seed,
                "events": count * events,
                "violations": 0,
                "seconds": round(time.monotonic() - start, 1),
                "decisions": dict(sorted(total.items())),
            }
        )
    )


if __name__ == "__main__":
    main(
        int(sys.argv[1]),
        int(sys.argv[2]) if len(sys.argv) > 2 else 0,
        int(sys.argv[3]) if len(sys.argv) > 3 else 40,
    )
