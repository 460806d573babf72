"""Forward and inverse kinematics of the WidowX 250 S in closed form.

The last three axes meet in one point (a spherical wrist), so the inverse has a closed form: waist, shoulder and elbow
bring the wrist there, the three wrist joints turn the hand. Plain floats are used on purpose: for six joints they
are several times faster than arrays. Angles are in rad, lengths in m, frames are the arm's base frame (x forward,
y left, z up). A rotation is a tuple of nine floats, row by row.

Dimensions and joint limits: the manufacturer's published description of the arm (wx250s).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import acos, atan2, cos, hypot, pi, sin, sqrt

Vector = tuple[float, float, float]
Rotation = tuple[float, float, float, float, float, float, float, float, float]

SHOULDER_HEIGHT = 0.072 + 0.03865
UPPER_ARM_X = 0.04975
UPPER_ARM_Z = 0.25
FOREARM_LENGTH = 0.175 + 0.075
HAND_LENGTH = 0.065 + 0.043 + 0.023 + 0.027575
"""From the wrist's centre to the tool point between the fingers."""

UPPER_ARM_LENGTH = hypot(UPPER_ARM_X, UPPER_ARM_Z)
UPPER_ARM_ANGLE = atan2(UPPER_ARM_X, UPPER_ARM_Z)

JOINT_LOWER = (-pi + 1e-5, -108 * pi / 180, -123 * pi / 180, -pi + 1e-5, -100 * pi / 180, -pi + 1e-5)
JOINT_UPPER = (pi - 1e-5, 114 * pi / 180, 92 * pi / 180, pi - 1e-5, 123 * pi / 180, pi - 1e-5)
JOINT_VELOCITY = pi
"""Published velocity limit of every arm joint, rad/s."""

REACH_MARGIN = 1e-6
SINGULAR_SINE = 1e-4

HAND_DOWN: Rotation = (0.0, 0.0, 1.0, 0.0, 1.0, 0.0, -1.0, 0.0, 0.0)
"""The hand points straight down and the fingers open along y."""


def forward(joints: Sequence[float]) -> tuple[Vector, Rotation]:
    """Tool position and rotation for six joint angles."""
    waist, shoulder, elbow, roll, bend, turn = joints
    c1, s1 = cos(waist), sin(waist)
    c2, s2 = cos(shoulder), sin(shoulder)
    c3, s3 = cos(shoulder + elbow), sin(shoulder + elbow)
    c4, s4 = cos(roll), sin(roll)
    c5, s5 = cos(bend), sin(bend)
    c6, s6 = cos(turn), sin(turn)
    radius = UPPER_ARM_X * c2 + UPPER_ARM_Z * s2 + FOREARM_LENGTH * c3
    height = SHOULDER_HEIGHT - UPPER_ARM_X * s2 + UPPER_ARM_Z * c2 - FOREARM_LENGTH * s3
    # Rx(roll) Ry(bend) Rx(turn), row by row.
    wrist = (
        (c5, s5 * s6, s5 * c6),
        (s4 * s5, c4 * c6 - s4 * c5 * s6, -c4 * s6 - s4 * c5 * c6),
        (-c4 * s5, s4 * c6 + c4 * c5 * s6, -s4 * s6 + c4 * c5 * c6),
    )
    # Rz(waist) Ry(shoulder + elbow), row by row.
    arm = ((c1 * c3, -s1, c1 * s3), (s1 * c3, c1, s1 * s3), (-s3, 0.0, c3))
    values = [row[0] * wrist[0][j] + row[1] * wrist[1][j] + row[2] * wrist[2][j] for row in arm for j in range(3)]
    rotation: Rotation = tuple(values)  # type: ignore[assignment]
    position = (
        c1 * radius + HAND_LENGTH * values[0],
        s1 * radius + HAND_LENGTH * values[3],
        height + HAND_LENGTH * values[6],
    )
    return position, rotation


def inverse(position: Vector, rotation: Rotation, near: Sequence[float]) -> list[float]:
    """Six joint angles that bring the tool to a pose, elbow up, within the joint limits.

    A position out of reach is replaced by the nearest one in the same direction from the shoulder; each angle is
    then clipped to its limits. Of the wrist's two solutions the one nearer to `near` is taken.

    Args:
        position: tool position, m, with the wrist in front of the waist's axis.
        rotation: tool rotation.
        near: six joint angles (the present ones).
    """
    x = position[0] - HAND_LENGTH * rotation[0]
    y = position[1] - HAND_LENGTH * rotation[3]
    height = position[2] - HAND_LENGTH * rotation[6] - SHOULDER_HEIGHT
    radius = hypot(x, y)
    waist = atan2(y, x) if radius > REACH_MARGIN else near[0]
    distance = hypot(radius, height)
    bend_cosine = (distance * distance - UPPER_ARM_LENGTH**2 - FOREARM_LENGTH**2) / (
        2 * UPPER_ARM_LENGTH * FOREARM_LENGTH
    )
    bend = acos(min(1.0, max(-1.0, bend_cosine)))
    upper = atan2(radius, height) - atan2(FOREARM_LENGTH * sin(bend), UPPER_ARM_LENGTH + FOREARM_LENGTH * cos(bend))
    shoulder = min(JOINT_UPPER[1], max(JOINT_LOWER[1], upper - UPPER_ARM_ANGLE))
    elbow = min(JOINT_UPPER[2], max(JOINT_LOWER[2], upper + bend - pi / 2 - shoulder))

    # What is left for the wrist: (Rz(waist) Ry(shoulder + elbow))^T rotation = Rx(roll) Ry(bend) Rx(turn).
    c1, s1 = cos(waist), sin(waist)
    c3, s3 = cos(shoulder + elbow), sin(shoulder + elbow)
    r00, r01, r02, r10, r11, r12, r20, r21, r22 = rotation
    ahead = (c1 * c3, s1 * c3, -s3)
    above = (c1 * s3, s1 * s3, c3)
    m00 = ahead[0] * r00 + ahead[1] * r10 + ahead[2] * r20
    m01 = ahead[0] * r01 + ahead[1] * r11 + ahead[2] * r21
    m02 = ahead[0] * r02 + ahead[1] * r12 + ahead[2] * r22
    m10 = c1 * r10 - s1 * r00
    m20 = above[0] * r00 + above[1] * r10 + above[2] * r20
    wrist_sine = hypot(m10, m20)
    if wrist_sine < SINGULAR_SINE:
        # Roll and turn move the hand about the same axis: keep the roll, let the turn do the rest.
        roll = near[3]
        m11 = c1 * r11 - s1 * r01
        m12 = c1 * r12 - s1 * r02
        wrist_bend = 0.0 if m00 > 0 else pi
        turn = atan2(-m12, m11) - roll if m00 > 0 else atan2(-m12, m11) + roll
    else:
        wrist_bend = atan2(wrist_sine, m00)
        roll = atan2(m10, -m20)
        turn = atan2(m01, m02)
        if abs(roll - near[3]) > pi / 2:
            wrist_bend, roll, turn = -wrist_bend, _wrap(roll + pi), _wrap(turn + pi)
    joints = [waist, shoulder, elbow, roll, wrist_bend, _wrap(turn)]
    return [min(high, max(low, q)) for q, low, high in zip(joints, JOINT_LOWER, JOINT_UPPER, strict=True)]


def _wrap(angle: float) -> float:
    """The same angle within [-pi, pi]."""
    return (angle + pi) % (2 * pi) - pi


def multiply(left: Rotation, right: Rotation) -> Rotation:
    """The rotation that does `right` first and `left` after it."""
    return tuple(  # type: ignore[return-value]
        left[i] * right[j] + left[i + 1] * right[j + 3] + left[i + 2] * right[j + 6]
        for i in (0, 3, 6)
        for j in (0, 1, 2)
    )


def transpose(rotation: Rotation) -> Rotation:
    """The inverse rotation."""
    a, b, c, d, e, f, g, h, i = rotation
    return (a, d, g, b, e, h, c, f, i)


def from_rotation_vector(vector: Sequence[float]) -> Rotation:
    """Rotation about the direction of `vector` by its length in rad (Rodrigues' formula)."""
    x, y, z = vector
    angle = sqrt(x * x + y * y + z * z)
    if angle < 1e-9:
        return (1.0, -z, y, z, 1.0, -x, -y, x, 1.0)
    x, y, z = x / angle, y / angle, z / angle
    c, s = cos(angle), sin(angle)
    t = 1.0 - c
    return (
        t * x * x + c,
        t * x * y - s * z,
        t * x * z + s * y,
        t * x * y + s * z,
        t * y * y + c,
        t * y * z - s * x,
        t * x * z - s * y,
        t * y * z + s * x,
        t * z * z + c,
    )


def to_rotation_vector(rotation: Rotation) -> Vector:
    """Axis times angle of a rotation by less than pi rad."""
    x, y, z = rotation[7] - rotation[5], rotation[2] - rotation[6], rotation[3] - rotation[1]
    sine = sqrt(x * x + y * y + z * z)
    if sine < 1e-9:
        return (x / 2, y / 2, z / 2)
    factor = atan2(sine, rotation[0] + rotation[4] + rotation[8] - 1.0) / sine
    return (x * factor, y * factor, z * factor)
