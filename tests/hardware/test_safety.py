"""The safety filter, one promise per test, and many random histories."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safety_generator import ARM, LIMITS, NAMES, make_filter, run_history, tool_position

from qsft_robot.hardware.motion import bounded_step
from qsft_robot.hardware.reasons import EXPLANATIONS, LATCHED, Reason
from qsft_robot.hardware.safety import ArmingRefusedError, Kind, SafetyFilter

HOME = np.array([0.4, 0.1, 0.02])


class Bench:
    """A filter with a body that follows it perfectly, on a clock that the test moves."""

    def __init__(self, armed: bool = True) -> None:
        self.safety, self.now, self.body = make_filter(), 100.0, HOME.copy()
        self.observe()
        if armed:
            self.safety.arm(self.now)

    def observe(self, image: bool = True, efforts: list[float] | None = None) -> None:
        self.safety.observe(NAMES, self.body.tolist(), self.now, self.now, efforts)
        if image:
            self.safety.observe_image(self.now, self.now)

    def command(self, target: np.ndarray, stamp: float | None = None):
        command = dict(zip(NAMES, target.tolist(), strict=True))
        return self.safety.check(command, self.now if stamp is None else stamp, self.now)

    def run(self, target: np.ndarray, seconds: float, **options: bool):
        """Ask for `target` at 50 Hz with fresh observations; return the decisions."""
        decisions = []
        for _ in range(round(seconds * 50)):
            self.now += 0.02
            self.observe(**options)
            decisions.append(self.command(target))
            if decisions[-1].kind is Kind.MOVE:
                self.body = decisions[-1].positions.copy()
        return decisions


def test_reaches_a_target_without_overshoot() -> None:
    bench, target = Bench(), HOME + np.array([0.3, 0.2, 0.01])
    decisions = bench.run(target, 2.0)
    path = np.array([decision.positions for decision in decisions])
    assert np.allclose(path[-1], target, atol=1e-4)
    assert (path <= target + 1e-9).all()
    assert decisions[0].reasons == (Reason.SLOW_START,)


def test_does_not_move_before_it_is_armed() -> None:
    bench = Bench(armed=False)
    decision = bench.command(HOME)
    assert decision.kind is Kind.NONE
    assert decision.reasons == (Reason.NOT_ARMED,)


def test_arming_needs_a_fresh_joint_state_inside_limits_and_workspace() -> None:
    bench = Bench(armed=False)
    with pytest.raises(ArmingRefusedError, match="no fresh joint state"):
        bench.safety.arm(bench.now + 1.0)
    with pytest.raises(ArmingRefusedError, match="no fresh joint state"):
        bench.safety.arm(bench.now - 1.0)
    bench.body = np.array([0.4, 3.15, 0.02])
    bench.observe()
    with pytest.raises(ArmingRefusedError, match=r"swing at 3\.150"):
        bench.safety.arm(bench.now)
    bench.body = np.array([0.4, 1.5, 0.02])
    bench.observe()
    with pytest.raises(ArmingRefusedError, match="workspace"):
        bench.safety.arm(bench.now)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (dict(zip(NAMES, [math.nan, 0.1, 0.02], strict=True)), Reason.NOT_FINITE),
        (dict(zip(NAMES, [math.inf, 0.1, 0.02], strict=True)), Reason.NOT_FINITE),
        (dict(zip(NAMES, [None, 0.1, 0.02], strict=True)), Reason.NOT_FINITE),
        (dict(zip(NAMES, [10**400, 0.1, 0.02], strict=True)), Reason.NOT_FINITE),
        ({"lift": 0.4, "swing": 0.1}, Reason.WRONG_SIZE),
        ({"lift": 0.4, "swing": 0.1, "claw": 0.02}, Reason.WRONG_NAMES),
        ([0.4, 0.1, 0.02], Reason.WRONG_NAMES),
        (None, Reason.WRONG_NAMES),
        (dict(zip(NAMES, [1.7, 0.1, 0.02], strict=True)), Reason.JUMP),
    ],
)
def test_refuses_a_bad_command_and_does_not_move_for_it(command: object, reason: Reason) -> None:
    bench = Bench()
    bench.now += 0.02
    decision = bench.safety.check(command, bench.now, bench.now)
    assert decision.reasons == (reason,)
    assert decision.kind is Kind.MOVE
    assert np.array_equal(decision.positions, HOME)
    assert bench.safety.counts[reason] == 1


def test_a_refused_command_brakes_along_the_path() -> None:
    bench = Bench()
    moving = bench.run(HOME + np.array([0.5, 0.0, 0.0]), 0.6)
    speed = (moving[-1].positions - moving[-2].positions)[0] / 0.02
    assert speed > 0.5
    positions = [moving[-1].positions[0]]
    for _ in range(12):
        bench.now += 0.02
        bench.observe()
        positions.append(bench.safety.check(None, bench.now, bench.now).positions[0])
    steps = np.diff(positions)
    assert (np.diff(steps) <= 1e-12).all()
    assert steps[-1] == 0.0


@pytest.mark.parametrize("stamp", [math.nan, math.inf, 101.0])
def test_refuses_a_command_from_the_future(stamp: float) -> None:
    bench = Bench()
    assert bench.command(HOME, stamp=stamp).reasons == (Reason.FUTURE_COMMAND,)


@pytest.mark.parametrize(
    ("silent", "reason"),
    [
        ("joint_state", Reason.STALE_JOINT_STATE),
        ("image", Reason.STALE_IMAGE),
        ("policy", Reason.STALE_POLICY),
    ],
)
def test_holds_while_something_is_stale_and_starts_slowly_again(silent: str, reason: Reason) -> None:
    bench, target = Bench(), HOME + np.array([0.3, 0.0, 0.0])
    bench.run(target, 0.5)
    stamp = bench.now
    decisions = []
    for _ in range(30):
        bench.now += 0.02
        if silent != "joint_state":
            bench.observe(image=silent != "image")
        else:
            bench.safety.observe_image(bench.now, bench.now)
        decisions.append(bench.command(target, stamp if silent == "policy" else bench.now))
    holds = [decision for decision in decisions if decision.kind is Kind.HOLD]
    assert holds
    assert all(decision.reasons == (reason,) for decision in holds)
    assert all(np.array_equal(decision.positions, holds[0].positions) for decision in holds)
    assert decisions[-1].kind is Kind.HOLD
    bench.body = holds[-1].positions.copy()
    resumed = bench.run(target, 0.1)
    assert resumed[0].kind is Kind.MOVE
    assert abs(resumed[0].positions[0] - bench.body[0]) <= 2.0 * 0.25 * 0.02 + 0.1


def test_the_watchdog_sees_staleness_without_any_command() -> None:
    bench = Bench()
    assert bench.safety.supervise(bench.now + 0.1).kind is Kind.NONE
    decision = bench.safety.supervise(bench.now + 0.5)
    assert decision.kind is Kind.HOLD
    assert Reason.STALE_JOINT_STATE in decision.reasons
    assert Reason.STALE_POLICY in decision.reasons


def test_emergency_stop_is_latched_until_arm() -> None:
    bench = Bench()
    bench.run(HOME + np.array([0.3, 0.0, 0.0]), 0.3)
    bench.observe()
    stop = bench.safety.stop(bench.now)
    assert stop.kind is Kind.HOLD
    assert np.array_equal(stop.positions, bench.body)
    assert all(decision.kind is Kind.NONE for decision in bench.run(HOME, 1.0))
    assert bench.safety.stop_reason is Reason.EMERGENCY_STOP
    assert not bench.safety.armed
    bench.safety.arm(bench.now)
    assert bench.run(HOME, 0.1)[-1].kind is Kind.MOVE


@pytest.mark.parametrize("reason", [Reason.EFFORT, Reason.FOLLOWING_ERROR, Reason.MEASURED_LIMIT])
def test_a_lasting_fault_stops_and_a_short_one_does_not(reason: Reason) -> None:
    for seconds, stops in ((0.04, False), (0.3, True)):
        bench = Bench()
        for _ in range(round(seconds / 0.02)):
            bench.now += 0.02
            if reason is Reason.FOLLOWING_ERROR:
                bench.body[1] = HOME[1] + 0.35
            if reason is Reason.MEASURED_LIMIT:
                bench.body[2] = -0.01
            bench.observe(efforts=[9.5, 0.0, 0.0] if reason is Reason.EFFORT else [0.0, 0.0, 0.0])
        assert (bench.safety.stop_reason is reason) == stops


def test_stays_in_the_workspace_box() -> None:
    bench = Bench()
    for _ in range(20):
        bench.safety.begin_episode(bench.now)
        decisions = bench.run(bench.body + np.array([0.0, 0.7, 0.0]), 0.2)
    assert any(Reason.WORKSPACE in decision.reasons for decision in decisions)
    assert tool_position(bench.body)[1] <= LIMITS.workspace_upper[1]


def test_a_target_beyond_a_joint_limit_is_clipped() -> None:
    bench = Bench()
    decisions = bench.run(np.array([0.4, 0.1, 0.06]), 1.0)
    assert decisions[-1].reasons == (Reason.JOINT_LIMIT,)
    assert decisions[-1].positions[2] == pytest.approx(0.048, abs=1e-6)


def test_a_late_command_makes_no_large_step() -> None:
    bench = Bench()
    bench.run(HOME, 1.0)
    bench.now += 0.14
    bench.observe()
    decision = bench.command(HOME + np.array([0.7, 0.0, 0.0]))
    assert Reason.LATE_COMMAND in decision.reasons
    assert np.abs(decision.positions - HOME).max() <= 2.0 * LIMITS.longest_period


def test_an_episode_is_bounded() -> None:
    bench = Bench()
    assert bench.run(HOME, LIMITS.episode_seconds + 0.1)[-1].reasons == (Reason.EPISODE_LIMIT,)
    bench.safety.begin_episode(bench.now)
    assert bench.run(HOME, 0.1)[-1].kind is Kind.MOVE


def test_a_clock_that_steps_back_holds_and_needs_arming() -> None:
    bench = Bench()
    bench.run(HOME, 0.2)
    bench.now -= 50.0
    bench.observe()
    assert bench.command(HOME).reasons == (Reason.CLOCK_STEP,)
    bench.safety.arm(bench.now)
    assert bench.run(HOME, 0.1)[-1].kind is Kind.MOVE


def test_joint_states_are_read_by_name() -> None:
    bench = Bench(armed=False)
    shuffled = ["grip", "extra", "lift", "swing"]
    assert bench.safety.observe(shuffled, [0.02, 9.0, 0.4, 0.1], bench.now, bench.now) == ()
    bench.safety.arm(bench.now)
    assert np.array_equal(bench.safety.stop(bench.now).positions, HOME)


def test_every_reason_is_explained_and_sorted() -> None:
    assert set(EXPLANATIONS) == set(Reason)
    assert set(Reason) >= LATCHED


@given(
    st.lists(st.floats(-1.0, 1.0), min_size=2, max_size=2),
    st.lists(st.tuples(st.floats(-5.0, 5.0), st.floats(-5.0, 5.0), st.floats(0.0, 0.2)), min_size=1, max_size=30),
)
@settings(max_examples=100, deadline=None)
def test_bounded_steps_never_pass_a_limit(start: list[float], steps: list[tuple[float, float, float]]) -> None:
    position, velocity = np.array(start), np.zeros(2)
    speed, acceleration = np.array([1.0, 3.0]), np.array([4.0, 0.5])
    lower, upper = np.array([-1.0, -1.0]), np.array([1.0, 1.0])
    for first, second, period in steps:
        target = None if first > 4.0 else np.array([first, second])
        new, faster, _, _ = bounded_step(position, velocity, target, lower, upper, speed, acceleration, period)
        assert (new >= lower).all()
        assert (new <= upper).all()
        assert (np.abs(faster) <= speed + 1e-9).all()
        assert (np.abs(faster - velocity) <= acceleration * period + 1e-7).all()
        assert (np.abs(new - position) <= speed * period + 1e-9).all()
        position, velocity = new, faster


@given(st.integers(0, 2**63))
@settings(max_examples=150, deadline=None)
def test_no_history_breaks_a_promise(seed: int) -> None:
    run_history(random.Random(seed), 40)


def test_random_histories_reach_every_kind_of_intervention() -> None:
    seen = run_history(random.Random(0), 1)
    for seed in range(800):
        seen += run_history(random.Random(seed), 40)
    expected = {reason.value for reason in Reason} - {
        "unreachable", "connection_lost", "bad_observation", "future_observation", "measured_limit",
    }  # fmt: skip
    assert expected <= set(seen)
    assert seen["move"] > 1000


def test_the_filter_cannot_be_made_with_bad_limits() -> None:
    from dataclasses import replace

    from qsft_robot.errors import ConfigurationError

    with pytest.raises(ConfigurationError, match="slow_start_speed"):
        SafetyFilter(ARM, replace(LIMITS, slow_start_speed=1.5), tool_position, uses_camera=True)
