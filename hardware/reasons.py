"""Why the safety filter changed, refused or stopped a command: one code each, in logs, counts and docs."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Reason code of an intervention; the value is what logs, results and recordings show."""

    # The command is sent, but changed.
    JOINT_LIMIT = "joint_limit"
    VELOCITY = "velocity"
    ACCELERATION = "acceleration"
    SLOW_START = "slow_start"
    WORKSPACE = "workspace"
    LATE_COMMAND = "late_command"
    # The command is refused; the arm brakes along its path.
    WRONG_NAMES = "wrong_names"
    WRONG_SIZE = "wrong_size"
    NOT_FINITE = "not_finite"
    JUMP = "jump"
    FUTURE_COMMAND = "future_command"
    UNREACHABLE = "unreachable"
    # The arm holds where it is measured until the cause has gone.
    STALE_JOINT_STATE = "stale_joint_state"
    STALE_IMAGE = "stale_image"
    STALE_POLICY = "stale_policy"
    CLOCK_STEP = "clock_step"
    EPISODE_LIMIT = "episode_limit"
    # The observation is refused (and grows stale when none better follows).
    BAD_OBSERVATION = "bad_observation"
    FUTURE_OBSERVATION = "future_observation"
    # The arm is stopped until somebody re-arms it.
    NOT_ARMED = "not_armed"
    EMERGENCY_STOP = "emergency_stop"
    EFFORT = "effort"
    FOLLOWING_ERROR = "following_error"
    MEASURED_LIMIT = "measured_limit"
    CONNECTION_LOST = "connection_lost"


EXPLANATIONS: dict[Reason, str] = {
    Reason.JOINT_LIMIT: "the target lay outside the joint's range (with margin); the nearest allowed is used",
    Reason.VELOCITY: "the target needed more than the allowed joint speed; the arm follows more slowly",
    Reason.ACCELERATION: "the target needed more than the allowed joint acceleration; the arm follows softly",
    Reason.SLOW_START: "the first seconds after arming or a hold run at reduced speed",
    Reason.WORKSPACE: "the tool would have left the workspace box; the arm brakes inside it",
    Reason.LATE_COMMAND: "the command loop was late; the step is as long as the longest allowed period",
    Reason.WRONG_NAMES: "the command does not name this arm's joints",
    Reason.WRONG_SIZE: "the command has too few or too many joints",
    Reason.NOT_FINITE: "the command holds NaN, infinity, or something that is no number",
    Reason.JUMP: "the target is further from the last sent position than a sane policy asks for in one step",
    Reason.FUTURE_COMMAND: "the command's stamp lies in the future or is no number",
    Reason.UNREACHABLE: "inverse kinematics found no joint positions for the asked tool pose",
    Reason.STALE_JOINT_STATE: "no fresh joint state: the arm or its driver is silent",
    Reason.STALE_IMAGE: "no fresh camera image",
    Reason.STALE_POLICY: "no fresh, acceptable decision of the policy",
    Reason.CLOCK_STEP: "the clock went backwards or is no number",
    Reason.EPISODE_LIMIT: "the longest allowed time of one episode is over",
    Reason.BAD_OBSERVATION: "a joint state with wrong names, sizes or values that are not finite",
    Reason.FUTURE_OBSERVATION: "an observation stamped in the future: the computers' clocks disagree",
    Reason.NOT_ARMED: "the arm is not armed: it has not been yet, or its episode is over",
    Reason.EMERGENCY_STOP: "somebody or something asked for a stop",
    Reason.EFFORT: "a joint's effort stayed above its limit: the arm pushes against something",
    Reason.FOLLOWING_ERROR: "a joint stayed too far from where it was sent: it is blocked, weak or miswired",
    Reason.MEASURED_LIMIT: "the arm is measured outside its limits or its workspace",
    Reason.CONNECTION_LOST: "the connection to the arm or to the policy was lost",
}

LATCHED = frozenset(
    {
        Reason.NOT_ARMED,
        Reason.EMERGENCY_STOP,
        Reason.EFFORT,
        Reason.FOLLOWING_ERROR,
        Reason.MEASURED_LIMIT,
        Reason.CONNECTION_LOST,
    }
)
"""Reasons that stop the arm until it is re-armed."""
