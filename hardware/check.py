"""The acceptance test of an arm: what is wrong with it, in words, before any policy runs.

It looks first (topics, rates, stamps, names, ranges, picture, the driver's own robot description) and then, when
allowed to move, tries each joint by a few degrees, the gripper, the stop, and arming again. It moves through the
safety filter like everybody else. A finding names what was seen, what was expected, and the likely cause.
"""

from __future__ import annotations

import logging
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from qsft_robot.errors import ConfigurationError, QsftRobotError
from qsft_robot.hardware.adapter import ARMING_PATIENCE, ArmAdapter, ArmError
from qsft_robot.hardware.kinematics import Kinematics
from qsft_robot.hardware.ros2_arm import Ros2Arm
from qsft_robot.hardware.safety import ArmingRefusedError, Kind

logger = logging.getLogger(__name__)

LISTEN_SECONDS = 3.0
STEP = 0.08
"""How far a joint is moved, rad."""

STILL = 0.03
"""What counts as not having moved, rad."""

RATE_SHARE = 0.75
"""A topic slower than this share of its expected rate is a finding."""


@dataclass
class Findings:
    """What passed and what did not.

    Attributes:
        passed: one line for each check that passed.
        failed: one line for each fault, starting with its code.
        skipped: checks that could not be made, and why.
    """

    passed: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def check(self, good: bool, code: str, right: str, wrong: str) -> bool:
        """Note one check."""
        if good:
            self.passed.append(f"{code}: {right}")
            logger.info("ok      %s: %s", code, right)
        else:
            self.failed.append(f"{code}: {wrong}")
            logger.warning("WRONG   %s: %s", code, wrong)
        return good

    def codes(self) -> list[str]:
        """The codes of the faults, in order."""
        return [line.split(":", 1)[0] for line in self.failed]

    def result(self) -> dict[str, Any]:
        """For a command's JSON."""
        return {"ok": not self.failed, "failed": self.failed, "skipped": self.skipped, "passed": self.passed}


def check_robot(
    arm: ArmAdapter,
    move: bool,
    expected_picture: np.ndarray | None = None,
    listen_seconds: float = LISTEN_SECONDS,
    pace: float = 1.0,
) -> Findings:
    """Check an arm from its topics to its stop; connects and disconnects.

    Args:
        arm: a disconnected adapter.
        move: whether the arm may be moved.
        expected_picture: (3,) mean red, green and blue of a picture that the policy was trained on; tells swapped
            channels. None leaves that out.
        listen_seconds: how long rates are counted, s.
        pace: below 1, moves are given less time; for arms that cannot break.

    Returns:
        The findings.
    """
    findings = Findings()
    try:
        arm.connect()
    except ArmError as error:
        for part in str(error).removeprefix("the arm was not found: ").split("; "):
            findings.check(False, _connection_code(arm, part), "", _explain_connection(arm, part))
        return findings
    try:
        findings.check(True, "connection", "joint states, pictures and listeners are there", "")
        pictures = _look(arm, findings, expected_picture, listen_seconds)
        if move and not findings.failed:
            _move(arm, findings, pictures, pace)
        elif move:
            findings.skipped.append("motion: not tried before the faults above are gone")
        else:
            findings.skipped.append("motion: not asked for (move=true tries joints, gripper and stop)")
    except QsftRobotError as error:
        findings.check(False, "aborted", "", str(error))
    finally:
        arm.disconnect()
    return findings


def _connection_code(arm: ArmAdapter, text: str) -> str:
    if isinstance(arm, Ros2Arm):
        refused = arm.arrivals.get(arm.description.ros2.joint_states)
        if "no usable joint state" in text and refused is not None and refused.ages:
            if float(np.median(refused.ages)) < -arm.description.safety.future_tolerance:
                return "stamps"
            return "joint_names"
    return "missing_topic" if "topic" in text else "connection"


def _explain_connection(arm: ArmAdapter, text: str) -> str:
    if isinstance(arm, Ros2Arm) and "no usable joint state" in text:
        arrivals = arm.arrivals[arm.description.ros2.joint_states]
        age = float(np.median(arrivals.ages))
        if age < -arm.description.safety.future_tolerance:
            return f"joint states are stamped {-age:.2f} s in the future: the clocks disagree; synchronise them"
        names = ", ".join(arm.last_names)
        return f"{text}; the driver names {names}: correct `joints` of the description"
    return text


def _look(
    arm: ArmAdapter, findings: Findings, expected_picture: np.ndarray | None, listen_seconds: float
) -> list[np.ndarray]:
    """Everything that needs no motion; returns pictures."""
    description, safety = arm.description, arm.description.safety
    begun = time.monotonic()
    stamps: list[float] = []
    ages: list[float] = []
    pictures: list[np.ndarray] = []
    while time.monotonic() - begun < listen_seconds:
        state = arm.state()
        if not stamps or state.stamp > stamps[-1]:
            stamps.append(state.stamp)
            ages.append(arm.clock() - state.stamp)
        pictures.extend(image for image in list(state.images.values())[:1] if _is_new(image, pictures))
        time.sleep(0.002)
    if isinstance(arm, Ros2Arm):
        _rates(arm, findings, begun)
    age = float(np.median(ages))
    findings.check(
        age <= safety.joint_state_age,
        "stamps",
        f"joint states are {age * 1e3:.0f} ms old",
        f"joint states are {age:.2f} s old when they come (allowed {safety.joint_state_age} s): the driver stamps them "
        "late, or the computers' clocks disagree (synchronise them, for example with chrony)",
    )
    positions = arm.state().positions
    assert positions is not None
    _ranges(arm, findings, positions)
    if description.reports_effort:
        findings.check(arm.state().efforts is not None, "effort", "efforts are reported", "efforts are missing")
    if pictures and expected_picture is not None:
        mean = pictures[-1].reshape(-1, 3).mean(axis=0)
        as_is = float(np.abs(mean - expected_picture).sum())
        turned = float(np.abs(mean[::-1] - expected_picture).sum())
        findings.check(
            as_is <= turned,
            "channels",
            "the picture's colours are near the expected ones",
            f"the picture's mean colour is {mean.round().tolist()}, expected {expected_picture.round().tolist()}: red "
            "and blue are swapped (BGR for RGB); the camera's encoding does not say what it sends",
        )
    elif description.camera is not None:
        findings.skipped.append("channels: no expected picture to compare with (give a dataset)")
    if isinstance(arm, Ros2Arm):
        _driver_description(arm, findings)
    return pictures


def _rates(arm: Ros2Arm, findings: Findings, since: float) -> None:
    description = arm.description
    wanted = {description.ros2.joint_states: description.rates.joint_states}
    if description.camera is not None:
        wanted[description.ros2.image] = description.rates.images
    for topic, rate in wanted.items():
        found = arm.arrivals[topic].rate(since)
        findings.check(
            found >= RATE_SHARE * rate,
            "rate",
            f"{topic} comes at {found:.1f} per second",
            f"{topic} comes at {found:.1f} per second, expected {rate:g}: is the driver's rate set lower, or is the "
            "network or computer too slow?",
        )
    camera, picture = description.camera, arm.last_picture
    if camera is not None and picture is not None:
        rows, columns = picture.shape[:2]
        small = rows < camera.height or columns < camera.width
        findings.check(
            not small,
            "picture_size",
            f"the camera sends {columns}x{rows} pixels",
            f"the camera sends {columns}x{rows} pixels, fewer than the policy's {camera.width}x{camera.height}",
        )


def _ranges(arm: ArmAdapter, findings: Findings, positions: np.ndarray) -> None:
    outside = []
    for joint, value in zip(arm.description.limits, positions, strict=True):
        margin = arm.description.safety.joints[joint.name].margin
        if not joint.lower - margin <= value <= joint.upper + margin:
            outside.append((joint, float(value)))
    if not outside:
        findings.check(True, "range", "all joints are measured inside their ranges", "")
        return
    in_degrees = (
        all(j.lower <= np.radians(v) <= j.upper for j, v in outside)
        and max(abs(v) for _, v in outside) > 2 * np.pi * 0.9
    )
    words = ", ".join(f"{j.name} at {v:.3f} (range {j.lower:.3f} to {j.upper:.3f})" for j, v in outside)
    if in_degrees:
        findings.check(False, "units", "", f"{words}: these are degrees, radians are expected")
    else:
        findings.check(False, "range", "", f"{words}: wrong zero, wrong sign, or wrong joint order?")


def _driver_description(arm: Ros2Arm, findings: Findings) -> None:
    """Compare the driver's own robot description (if it publishes one) with ours."""
    text = arm.driver_description()
    if text is None:
        findings.skipped.append("limits: the driver publishes no robot_description to compare with")
        return
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        findings.check(False, "limits", "", f"the driver's robot_description is no valid URDF: {error}")
        return
    theirs = {str(joint.get("name")): joint.find("limit") for joint in root.findall("joint")}
    for ours in arm.description.joints:
        limit = theirs.get(ours.name)
        if limit is None:
            findings.check(False, "limits", "", f"the driver's robot_description has no joint '{ours.name}'")
            continue
        for name, value in (("lower", ours.lower), ("upper", ours.upper), ("velocity", ours.velocity)):
            other = float(limit.get(name, "nan"))
            if abs(other - value) > 1e-3:
                findings.check(
                    False,
                    "limits",
                    "",
                    f"joint {ours.name}: {name} is {value:.4f} in the description and {other:.4f} in the driver's "
                    "robot_description; find out which is right, and keep the narrower until then",
                )
    _driver_frames(arm, findings, text)
    if "limits" not in findings.codes():
        findings.check(True, "limits", "the driver's joint limits agree with the description", "")


def _driver_frames(arm: Ros2Arm, findings: Findings, text: str) -> None:
    description = arm.description
    names = [joint.name for joint in description.joints]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "driver.urdf"
        path.write_text(text, encoding="utf-8")
        try:
            theirs = Kinematics(path, description.base_link, description.tool_link, names)
        except ConfigurationError as error:
            findings.skipped.append(f"frames: {error}")
            return
    random, worst = np.random.default_rng(0), 0.0
    for _ in range(20):
        joints = random.uniform(arm.kinematics.lower, arm.kinematics.upper)
        worst = max(worst, float(np.linalg.norm(theirs.position(joints) - arm.kinematics.position(joints))))
    findings.check(
        worst < 0.003,
        "frames",
        "base and tool frame agree with the driver's robot_description",
        f"the tool is up to {worst * 1e3:.0f} mm from where the driver's robot_description has it: another tool frame, "
        "base frame or link length",
    )


def _move(arm: ArmAdapter, findings: Findings, pictures: list[np.ndarray], pace: float) -> None:
    """Everything that needs motion."""
    try:
        arm.arm(ARMING_PATIENCE)
    except ArmingRefusedError as error:
        findings.check(False, "arming", "", str(error))
        return
    start = _positions(arm)
    before = list(pictures)
    if not _stays(arm, findings, start, pace):
        return
    for index in range(len(arm.description.joints)):
        if not _try_joint(arm, findings, index, pictures, pace):
            return
    findings.check(True, "joints", "each joint moves alone, and the right way", "")
    _try_gripper(arm, findings, pace)
    if arm.description.camera is not None:
        _go(arm, _positions(arm), 0.3 * pace, pictures)
        findings.check(
            len(pictures) > max(1, len(before)),
            "frozen_camera",
            "the picture changes while the arm moves",
            "the picture did not change while the arm moved: the camera is frozen, covered, or looks elsewhere",
        )
    _try_stop(arm, findings, pace)


def _stays(arm: ArmAdapter, findings: Findings, start: np.ndarray, pace: float) -> bool:
    """Send the measured position: nothing may move."""
    end = _go(arm, start, 1.5 * pace, [])
    count = len(arm.description.joints)
    moved = np.abs(end - start)[:count]
    if moved.max() <= STILL:
        return findings.check(True, "stays", "the arm stays when sent where it is measured", "")
    names = arm.description.names
    worst = int(np.argmax(moved))
    for first in range(count):
        for second in range(first + 1, count):
            both = {first, second} == set(np.flatnonzero(moved > STILL).tolist())
            if both and abs(start[first] - start[second]) > STILL:
                return findings.check(False, "joint_order", "", _swapped(names[first], names[second]))
    if abs(end[worst] + start[worst]) < STILL < abs(start[worst]):
        return findings.check(False, "sign", "", f"joint {names[worst]} is reported with the wrong sign")
    text = f"sent to where it is measured, joint {names[worst]} moved by {moved[worst]:.3f} rad: units, order or zero?"
    return findings.check(False, "stays", "", text)


def _try_joint(arm: ArmAdapter, findings: Findings, index: int, pictures: list[np.ndarray], pace: float) -> bool:
    """Move one joint a little, and back; returns whether it is safe to go on."""
    names, count = arm.description.names, len(arm.description.joints)
    start = _positions(arm)
    middle = (arm.safety.lower[index] + arm.safety.upper[index]) / 2.0
    step = STEP if start[index] <= middle else -STEP
    target = start.copy()
    target[index] += step
    end = _go(arm, target, 1.2 * pace, pictures)
    change = (end - start)[:count]
    others = [other for other in range(count) if other != index and abs(change[other]) > STILL]
    name = names[index]
    if abs(change[index]) <= STILL and others:
        return findings.check(False, "joint_order", "", _swapped(name, names[others[0]]))
    if abs(change[index]) <= STILL:
        text = f"joint {name} was sent by {step:.2f} rad and did not move: motor off, brake on, or another controller?"
        return findings.check(False, "no_motion", "", text)
    if change[index] * step < 0:
        text = f"joint {name} was sent by {step:+.2f} rad and moved by {change[index]:+.2f}: it has the wrong sign"
        return findings.check(False, "sign", "", text)
    if not 0.5 <= change[index] / step <= 1.6:
        text = f"joint {name} was sent by {step:.3f} and moved by {change[index]:.3f}: wrong units or gear?"
        return findings.check(False, "units", "", text)
    _go(arm, start, 1.0 * pace, pictures)
    return True


def _try_gripper(arm: ArmAdapter, findings: Findings, pace: float) -> None:
    gripper, index = arm.description.gripper, len(arm.description.joints)
    reached = {}
    for name, goal in (("closed", gripper.closed), ("open", gripper.open)):
        target = _positions(arm)
        target[index] = goal
        reached[name] = float(_go(arm, target, 1.5 * pace, [])[index])
    wanted = gripper.open - gripper.closed
    change = (reached["open"] - reached["closed"]) / wanted
    text = f"open is measured as {reached['open']:.4f}, closed as {reached['closed']:.4f}"
    if change < -0.2:
        findings.check(False, "gripper_direction", "", f"the gripper runs backwards: {text}; swap `open` and `closed`")
    else:
        findings.check(
            change > 0.5, "gripper", f"the gripper opens and closes: {text}", f"the gripper hardly moves: {text}"
        )


def _try_stop(arm: ArmAdapter, findings: Findings, pace: float) -> None:
    start = _positions(arm)
    target = start.copy()
    target[0] += STEP if start[0] <= 0 else -STEP
    _go(arm, target, 0.2 * pace, [])
    arm.stop("check_robot")
    time.sleep(0.3)
    place = _positions(arm)
    sent = [arm.command(dict(zip(arm.description.names, target.tolist(), strict=True))).kind for _ in range(10)]
    time.sleep(0.3)
    moved = float(np.abs(_positions(arm) - place).max())
    quiet = all(kind is Kind.NONE for kind in sent) and moved < STILL
    findings.check(quiet, "stop", "after a stop nothing moves", f"after a stop the arm moved by {moved:.3f}")
    arm.arm(ARMING_PATIENCE)
    end = _go(arm, start, 1.0 * pace, [])
    back = abs(float(end[0] - start[0])) <= STILL
    findings.check(back, "rearm", "after arming again the arm moves", "after arming again the arm does not move")
    arm.stop("check_robot: done")


def _go(arm: ArmAdapter, target: np.ndarray, seconds: float, pictures: list[np.ndarray]) -> np.ndarray:
    """Send a target for a time, at the command rate; returns where the joints are measured then."""
    period = 1.0 / arm.description.rates.command
    names = arm.description.names
    goal = np.clip(target, arm.safety.lower, arm.safety.upper).tolist()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        decision = arm.command(dict(zip(names, goal, strict=True)))
        if not arm.safety.armed:
            reasons = ", ".join(reason.value for reason in decision.reasons)
            raise ArmError(f"the safety filter stopped the arm during the check ({reasons})")
        pictures.extend(image for image in list(arm.state().images.values())[:1] if _is_new(image, pictures))
        time.sleep(period)
    return _positions(arm)


def _positions(arm: ArmAdapter) -> np.ndarray:
    positions = arm.state().positions
    assert positions is not None
    return positions.copy()


def _is_new(image: np.ndarray, pictures: list[np.ndarray]) -> bool:
    """Whether a picture differs from the last one kept."""
    return not pictures or bool((image != pictures[-1]).any())


def _swapped(first: str, second: str) -> str:
    return (
        f"commands to {first} and {second} move the other one: their names are swapped in the joint states or commands"
    )
