"""The test suite that every arm adapter passes; for adapters of one's own as well.

    from qsft_robot.hardware.conformance import ArmConformance

    class TestMyArm(ArmConformance):
        def make_arm(self):
            return MyArm(RobotDescription.load("my_arm.yaml"))

and `pytest` runs it. It moves the first joint by `distance` towards the middle of its range, so on a real arm it wants
room around it and a hand on the stop. It needs pytest (the extra `development`).
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from qsft_robot.hardware.adapter import ArmAdapter, ArmError
from qsft_robot.hardware.reasons import Reason
from qsft_robot.hardware.safety import ArmingRefusedError


class ArmConformance:
    """Tests of one adapter; a subclass says how it is made."""

    distance = 0.1
    """How far the first joint is moved, rad (m)."""

    tolerance = 0.03
    """How near it must come, rad (m)."""

    patience = 8.0
    """How long the arm may take for a move, s."""

    moves = True
    """Whether commands move the arm (not in a dry run)."""

    def make_arm(self) -> ArmAdapter:
        """Return a new, disconnected adapter."""
        raise NotImplementedError("a conformance test defines make_arm()")

    def wait(self, seconds: float) -> None:
        """Let time pass; an adapter on a clock of its own overrides it."""
        time.sleep(seconds)

    @pytest.fixture
    def disconnected(self) -> Iterator[ArmAdapter]:
        """A disconnected adapter, disconnected again whatever happens."""
        arm = self.make_arm()
        yield arm
        arm.disconnect()

    @pytest.fixture
    def arm(self, disconnected: ArmAdapter) -> ArmAdapter:
        """A connected, disarmed adapter that has seen its arm."""
        disconnected.connect()
        self._until(lambda: self._complete(disconnected), "no complete observation came")
        return disconnected

    def test_features_are_readable_while_disconnected(self, disconnected: ArmAdapter) -> None:
        """Names and shapes are known without an arm."""
        names = [f"{name}.pos" for name in disconnected.description.names]
        assert list(disconnected.action_features) == names
        assert set(names) <= set(disconnected.observation_features)
        assert not disconnected.is_connected

    def test_nothing_works_while_disconnected(self, disconnected: ArmAdapter) -> None:
        """Reading and sending need a connection, leaving does not."""
        with pytest.raises(ArmError, match="not connected"):
            disconnected.get_observation()
        with pytest.raises(ArmError, match="not connected"):
            disconnected.send_action({})
        with pytest.raises(ArmError, match="not connected"):
            disconnected.arm()
        disconnected.disconnect()

    def test_connects_once_and_again_after_disconnecting(self, arm: ArmAdapter) -> None:
        """A second connect is an error; disconnect and connect is not."""
        with pytest.raises(ArmError, match="already"):
            arm.connect()
        arm.disconnect()
        arm.disconnect()
        assert not arm.is_connected
        arm.connect()
        assert arm.is_connected
        self._until(lambda: self._complete(arm), "no complete observation after connecting again")

    def test_the_observation_is_what_the_features_say(self, arm: ArmAdapter) -> None:
        """Every feature is there, with its type and shape, and nothing else."""
        observation = arm.get_observation()
        assert set(observation) == set(arm.observation_features)
        for name, feature in arm.observation_features.items():
            if isinstance(feature, tuple):
                assert observation[name].shape == feature
                assert observation[name].dtype == np.uint8
            else:
                assert isinstance(observation[name], float)
                assert math.isfinite(observation[name])

    def test_stamps_are_fresh_and_never_go_back(self, arm: ArmAdapter) -> None:
        """Joint states keep coming, stamped on the adapter's clock."""
        stamps = []
        for _ in range(10):
            stamps.append(arm.state().stamp)
            assert arm.clock() - stamps[-1] <= arm.description.safety.joint_state_age
            self.wait(0.03)
        assert stamps == sorted(stamps)
        assert stamps[-1] > stamps[0]

    def test_nothing_moves_before_arming(self, arm: ArmAdapter) -> None:
        """A connected arm is disarmed: nothing is sent."""
        before = self._first(arm)
        assert arm.send_action(self._target(arm)) == {}
        assert arm.safety.counts[Reason.NOT_ARMED] == 0 or not arm.safety.armed
        self.wait(0.2)
        assert abs(self._first(arm) - before) < 0.01

    def test_moves_to_a_target_and_returns_what_was_sent(self, arm: ArmAdapter) -> None:
        """The arm goes where it is sent, through positions inside the limits and at a bounded speed."""
        target, name = self._target(arm), next(iter(arm.action_features))
        arm.arm()
        sent: list[float] = []
        times: list[float] = []

        def step() -> bool:
            result = arm.send_action(target)
            assert set(result) == set(arm.action_features)
            sent.append(result[name])
            times.append(arm.clock())
            return abs(result[name] - target[name]) < 1e-3 and (
                not self.moves or abs(self._first(arm) - target[name]) < self.tolerance
            )

        self._until(step, "the arm did not reach its target")
        limit = arm.description.safety.joints[arm.description.names[0]].velocity
        span = arm.description.safety.longest_period
        for (a, b), (s, t) in zip(itertools.pairwise(sent), itertools.pairwise(times), strict=True):
            assert abs(b - a) <= limit * max(t - s + 0.05, span)

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None])
    def test_a_senseless_command_moves_nothing(self, arm: ArmAdapter, value: float) -> None:
        """NaN, infinity or a missing number: refused and counted; what is sent is where the arm stays."""
        arm.arm()
        command = {**self._target(arm), next(iter(arm.action_features)): value}
        before = self._first(arm)
        sent = arm.send_action(command)
        assert arm.safety.counts[Reason.NOT_FINITE] == 1
        assert all(math.isfinite(each) for each in sent.values())
        assert abs(sent[next(iter(sent))] - before) < 0.02

    def test_wrong_names_are_refused(self, arm: ArmAdapter) -> None:
        """A command for another arm moves nothing."""
        arm.arm()
        arm.send_action({f"{key}_other": value for key, value in self._target(arm).items()})
        arm.send_action({})
        assert arm.safety.counts[Reason.WRONG_NAMES] == 1
        assert arm.safety.counts[Reason.WRONG_SIZE] == 1

    def test_a_stop_is_latched_until_arming(self, arm: ArmAdapter) -> None:
        """After a stop nothing is sent; arming makes motion possible again."""
        arm.arm()
        target = self._target(arm)
        assert arm.send_action(target)
        arm.stop("conformance test")
        self.wait(0.3)
        place = self._first(arm)
        for _ in range(5):
            assert arm.send_action(target) == {}
            self.wait(0.05)
        assert abs(self._first(arm) - place) < 0.01
        assert arm.safety.stop_reason is Reason.EMERGENCY_STOP
        arm.arm()
        assert arm.send_action(target)

    def test_the_arm_is_held_when_the_policy_falls_silent(self, arm: ArmAdapter) -> None:
        """Supervision alone, without any command, holds the arm; a fresh command releases it."""
        arm.arm()
        arm.send_action(self._target(arm))
        self._until(lambda: arm.supervise().kind.value == "hold", "no hold", arm.description.safety.policy_age + 3.0)
        assert Reason.STALE_POLICY in arm.safety.hold_reasons
        arm.send_action(self._target(arm))
        assert arm.safety.hold_reasons == ()

    def test_disconnecting_stops_the_arm(self, arm: ArmAdapter) -> None:
        """An arm that was left does not move on; it must be armed after connecting again."""
        arm.arm()
        for _ in range(5):
            arm.send_action(self._target(arm))
            self.wait(0.02)
        arm.disconnect()
        arm.connect()
        self._until(lambda: self._complete(arm), "no observation")
        place = self._first(arm)
        self.wait(0.3)
        assert abs(self._first(arm) - place) < 0.02
        assert not arm.safety.armed

    def test_arming_needs_fresh_joint_states(self, arm: ArmAdapter) -> None:
        """The filter refuses to arm on old news."""
        with pytest.raises(ArmingRefusedError):
            arm.safety.arm(arm.clock() + 10.0)

    def test_send_action_cannot_be_overridden(self, disconnected: ArmAdapter) -> None:
        """No adapter gets around the safety filter by accident."""
        with pytest.raises(TypeError, match="overrides send_action"):
            type("Careless", (type(disconnected),), {"send_action": lambda self, action: action})

    def _until(self, done: Callable[[], bool], message: str, patience: float | None = None) -> None:
        """Repeat `done` every 20 ms of the adapter's time until it is true."""
        for _ in range(round((self.patience if patience is None else patience) / 0.02)):
            if done():
                return
            self.wait(0.02)
        pytest.fail(message)

    @staticmethod
    def _complete(arm: ArmAdapter) -> bool:
        state = arm.state()
        return state.positions is not None and (arm.description.camera is None or bool(state.images))

    @staticmethod
    def _first(arm: ArmAdapter) -> float:
        positions = arm.state().positions
        assert positions is not None
        return float(positions[0])

    def _target(self, arm: ArmAdapter) -> dict[str, float]:
        """The measured position, inside the limits, with the first joint moved towards the middle of its range."""
        positions = arm.state().positions
        assert positions is not None
        target = np.clip(positions, arm.safety.lower, arm.safety.upper)
        middle = (arm.safety.lower[0] + arm.safety.upper[0]) / 2.0
        target[0] += self.distance if target[0] <= middle else -self.distance
        return dict(zip(arm.action_features, target.tolist(), strict=True))
