"""The interface of every arm, with the method names of LeRobot's `Robot`.

Whoever adds an arm writes five short methods (`_connect`, `_disconnect`, `_poll`, `_write`, and `is_connected`) and
gets the rest: `send_action` runs the safety filter and returns what was really sent, and cannot be overridden, so that
no policy reaches an arm around the filter. Feature names are LeRobot's: `<joint>.pos` for every commanded joint,
the camera's key for its image. Positions are in rad (m for sliding joints), stamps in s on the adapter's
monotonic clock.
"""

from __future__ import annotations

import importlib.metadata
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, final

import numpy as np

from qsft_robot.errors import ConfigurationError, QsftRobotError
from qsft_robot.hardware.description import RobotDescription
from qsft_robot.hardware.reasons import Reason
from qsft_robot.hardware.safety import ArmingRefusedError, Decision, Kind

logger = logging.getLogger(__name__)

ENTRY_POINTS = "qsft_robot.arms"
"""Group of entry points under which further adapters are found: name -> callable(RobotDescription) -> ArmAdapter."""

Feature = type | tuple[int, int, int]

ARMING_PATIENCE = 2.0
"""How long episodes and check_robot wait for an arm that can be armed, s."""


class ArmError(QsftRobotError):
    """The arm or its driver is not there, was lost, or does not answer as it should."""


@dataclass
class ArmState:
    """The newest that is known of the arm.

    Attributes:
        positions: (J,) measured positions in the order of the description's names, rad (m); None before the first.
        efforts: (J,) measured efforts, or None where the driver reports none.
        stamp: when they were measured, s, monotonic.
        images: camera key -> (height, width, 3) uint8 RGB.
        image_stamps: camera key -> when it was taken, s, monotonic.
    """

    positions: np.ndarray | None = None
    efforts: np.ndarray | None = None
    stamp: float = -np.inf
    images: dict[str, np.ndarray] = field(default_factory=dict)
    image_stamps: dict[str, float] = field(default_factory=dict)


class ArmAdapter(ABC):
    """One arm with its gripper, its camera, and its own safety filter.

    Args:
        description: what the arm is.
        clock: monotonic clock, s; another one is for tests.
    """

    name: str = "arm"
    _final = ("send_action", "hold", "stop", "arm", "supervise", "get_observation")

    def __init__(self, description: RobotDescription, clock: Callable[[], float] = time.monotonic) -> None:
        self.description = description
        self.clock = clock
        self.kinematics = description.kinematics()
        self.safety = description.safety_filter(self.kinematics)
        self._state = ArmState()
        self._state_lock = threading.Lock()
        self.last_sent: np.ndarray | None = None
        self.on_decision: list[Callable[[float, Decision], None]] = []

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        overridden = [name for name in ArmAdapter._final if name in vars(cls)]
        if overridden:
            raise TypeError(
                f"{cls.__name__} overrides {', '.join(overridden)}: an adapter writes to its arm in _write only, "
                "which the safety filter calls"
            )

    # What an adapter defines.

    @property
    @abstractmethod
    def is_connected(self) -> bool:
        """Whether the arm can be read and commanded."""

    @abstractmethod
    def _connect(self) -> None:
        """Open the connection; returns when the first joint state (and image) has come, or raises ArmError."""

    @abstractmethod
    def _disconnect(self) -> None:
        """Close the connection; must work after a failure too."""

    def _poll(self) -> None:  # noqa: B027  (a driver that pushes needs none)
        """Fetch what is new and hand it to `_received_joint_state` and `_received_image`.

        Adapters whose driver pushes messages do that in their callbacks and leave this empty.
        """

    @abstractmethod
    def _write(self, positions: np.ndarray, hold: bool) -> None:
        """Send joint positions (J,), which the safety filter has let through; must not wait.

        Args:
            positions: in the order of the description's names, rad (m).
            hold: the arm is to stop there, not to pass through.
        """

    # What a user calls: LeRobot's names.

    @property
    def observation_features(self) -> dict[str, Feature]:
        """Name -> float, or (height, width, 3) for an image; readable while disconnected."""
        features: dict[str, Feature] = {f"{name}.pos": float for name in self.description.names}
        camera = self.description.camera
        if camera is not None:
            features[camera.key] = (camera.height, camera.width, 3)
        return features

    @property
    def action_features(self) -> dict[str, Feature]:
        """Name -> float of every commanded joint; readable while disconnected."""
        return {f"{name}.pos": float for name in self.description.names}

    def connect(self) -> None:
        """Connect; the arm stays disarmed.

        Raises:
            ArmError: the arm or its driver does not answer; the message says what was missing.
        """
        if self.is_connected:
            raise ArmError(f"{self.name} is connected already")
        try:
            self._connect()
        except BaseException:
            self._disconnect()
            raise

    def disconnect(self) -> None:
        """Tell the arm to hold where it is measured, then leave it; harmless when not connected."""
        try:
            if self.is_connected:
                self.stop("disconnecting", Reason.NOT_ARMED)
        except QsftRobotError as error:
            logger.error("the arm could not be told to hold (%s): it has to stop by its own timeout", error)
        finally:
            self._disconnect()

    def get_observation(self) -> dict[str, Any]:
        """The newest observation: `<joint>.pos` -> float, camera key -> (height, width, 3) uint8 RGB.

        Raises:
            ArmError: not connected, or nothing has been measured yet.
        """
        state = self.state()
        if state.positions is None:
            raise ArmError(f"{self.name} has not reported its joints yet")
        observation: dict[str, Any] = {
            f"{name}.pos": float(value) for name, value in zip(self.description.names, state.positions, strict=True)
        }
        observation.update(state.images)
        return observation

    def send_action(self, action: Mapping[str, float], stamp: float | None = None) -> dict[str, float]:
        """Send joint targets through the safety filter.

        Args:
            action: `<joint>.pos` -> target, rad (m), for every commanded joint.
            stamp: when the policy decided this, s, monotonic; None for now.

        Returns:
            What was really sent, empty if nothing was.

        Raises:
            ArmError: not connected, or the connection broke on sending.
        """
        command: object = action
        if isinstance(action, Mapping):
            command = {str(key).removesuffix(".pos"): value for key, value in action.items()}
        decision = self.command(command, stamp)
        if decision.positions is None:
            return {}
        return {
            f"{name}.pos": float(value) for name, value in zip(self.description.names, decision.positions, strict=True)
        }

    # What the control loop calls.

    @final
    def command(self, command: object, stamp: float | None = None) -> Decision:
        """As `send_action`, with bare joint names and the filter's whole decision."""
        self._refresh()
        with self.safety.lock:
            now = self.clock()
            return self._carry_out(self.safety.check(command, now if stamp is None else stamp, now), now)

    def supervise(self) -> Decision:
        """What the watchdog calls: hold the arm if anything has grown stale."""
        self._refresh()
        with self.safety.lock:
            now = self.clock()
            return self._carry_out(self.safety.supervise(now), now)

    def stop(self, detail: str = "", reason: Reason = Reason.EMERGENCY_STOP) -> Decision:
        """Hold where the arm is measured, and stay so until `arm` is called."""
        with self.safety.lock:
            now = self.clock()
            return self._carry_out(self.safety.stop(now, reason, detail), now)

    def arm(self, patience: float = 0.0) -> None:
        """Allow motion.

        Args:
            patience: how long to try again, s, for example because a joint state is just late.

        Raises:
            ArmingRefusedError: no fresh joint state, the arm is outside its limits or workspace, or it was stopped
                while this waited.
        """
        end = time.monotonic() + patience
        stops = self.safety.stops
        while True:
            self._refresh()
            with self.safety.lock:
                if self.safety.stops != stops:
                    raise ArmingRefusedError("the arm was stopped while it waited to be armed: arm it again")
                try:
                    self.safety.arm(self.clock())
                    return
                except ArmingRefusedError:
                    if time.monotonic() >= end:
                        raise
            time.sleep(0.005)

    def state(self) -> ArmState:
        """A copy of the newest state."""
        self._refresh()
        with self._state_lock:
            state = self._state
            return ArmState(state.positions, state.efforts, state.stamp, dict(state.images), dict(state.image_stamps))

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(self, *error: object) -> None:
        self.disconnect()

    # What an adapter calls.

    def _received_joint_state(
        self,
        names: Sequence[str],
        positions: Sequence[float] | np.ndarray,
        stamp: float,
        efforts: Sequence[float] | np.ndarray | None = None,
    ) -> None:
        """Hand in a joint state; extra joints are ignored, a bad one is refused and counted by the filter."""
        if not self.description.reports_effort:
            efforts = None
        elif efforts is None:
            efforts = ()  # a description that promises efforts: a message without them is refused
        refused = self.safety.observe(names, positions, stamp, self.clock(), efforts)
        if Reason.BAD_OBSERVATION in refused or Reason.FUTURE_OBSERVATION in refused:
            return
        by_name = dict(zip(names, positions, strict=True))
        ordered = np.array([float(by_name[name]) for name in self.description.names])
        forces = None
        if efforts is not None:
            effort_by_name = dict(zip(names, efforts, strict=True))
            forces = np.array([float(effort_by_name[name]) for name in self.description.names])
        with self._state_lock:
            if stamp >= self._state.stamp:
                self._state.positions, self._state.efforts, self._state.stamp = ordered, forces, stamp

    def _received_image(self, image: np.ndarray, stamp: float) -> None:
        """Hand in a camera image, (height, width, 3) uint8 RGB; one of another shape is refused."""
        camera = self.description.camera
        if camera is None:
            return
        if image.shape != (camera.height, camera.width, 3) or image.dtype != np.uint8:
            logger.warning("an image of shape %s and type %s was refused", image.shape, image.dtype)
            return
        if self.safety.observe_image(stamp, self.clock()):
            return
        with self._state_lock:
            self._state.images[camera.key] = image
            self._state.image_stamps[camera.key] = stamp

    def _require_connection(self) -> None:
        if not self.is_connected:
            raise ArmError(f"{self.name} is not connected: call connect() first")

    def _refresh(self) -> None:
        self._require_connection()
        try:
            self._poll()
        except QsftRobotError:
            self.safety.stop(self.clock(), Reason.CONNECTION_LOST, "the arm could not be read")
            raise

    def _carry_out(self, decision: Decision, now: float) -> Decision:
        """Write a decision under the filter's lock: after `stop` has returned, no motion is on its way."""
        if decision.positions is not None:
            try:
                self._write(decision.positions, decision.kind is Kind.HOLD)
            except QsftRobotError:
                self.safety.stop(now, Reason.CONNECTION_LOST, "the arm could not be written to")
                raise
            self.last_sent = decision.positions.copy()
        for listener in self.on_decision:
            listener(now, decision)
        return decision

    def hold(self) -> Decision:
        """Hold where the arm is measured; another word for `stop`, for the end of a program."""
        return self.stop("hold")


def adapters() -> dict[str, Callable[[RobotDescription], ArmAdapter]]:
    """Name -> maker of every adapter: those that come along and those of installed entry points."""
    found: dict[str, Callable[[RobotDescription], ArmAdapter]] = {
        "simulated": _simulated,
        "ros2": _ros2,
        "virtual": _virtual,
    }
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        if entry.name in found:
            raise ConfigurationError(
                f"the installed package {entry.dist.name if entry.dist else '?'} offers an arm adapter '{entry.name}', "
                "which is taken: it must choose another name"
            )
        found[entry.name] = _loaded(entry)
    return found


def make_arm(adapter: str, description: RobotDescription, dry_run: bool = False) -> ArmAdapter:
    """Make the adapter of that name.

    Raises:
        ConfigurationError: no adapter has this name.
        MissingExtraError: it needs an optional dependency.
    """
    known = adapters()
    if adapter not in known:
        raise ConfigurationError(f"no arm adapter '{adapter}'; there are {', '.join(sorted(known))}")
    arm = known[adapter](description)
    if dry_run:
        from qsft_robot.hardware.dry_run import DryRunArm

        return DryRunArm(arm)
    return arm


def _loaded(entry: importlib.metadata.EntryPoint) -> Callable[[RobotDescription], ArmAdapter]:
    def make(description: RobotDescription) -> ArmAdapter:
        made = entry.load()(description)
        if not isinstance(made, ArmAdapter):
            raise ConfigurationError(f"the entry point '{entry.name}' made a {type(made).__name__}, no ArmAdapter")
        return made

    return make


def _simulated(description: RobotDescription) -> ArmAdapter:
    from qsft_robot.hardware.simulated_arm import SimulatedArm

    return SimulatedArm(description)


def _ros2(description: RobotDescription) -> ArmAdapter:
    from qsft_robot.hardware.ros2_arm import Ros2Arm

    return Ros2Arm(description)


def _virtual(description: RobotDescription) -> ArmAdapter:
    from qsft_robot.hardware.virtual_process import VirtualRos2Arm

    return VirtualRos2Arm(description)
