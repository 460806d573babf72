"""The arithmetic of a bounded step: towards a target, within position, speed and acceleration limits."""

from __future__ import annotations

import numpy as np


def stoppable_speed(distance: np.ndarray, acceleration: np.ndarray, period: float) -> np.ndarray:
    """Return the highest speed that, kept for one more period, still lets one stop within `distance`.

    It solves v * period + v^2 / (2 a) = distance. Kept at every step, it makes braking at `acceleration`
    feasible at all later steps whatever their length: with v' = max(0, v - a t), the next step t leaves
    v'^2 / (2 a) <= distance left, because v^2 / (2 a) >= v' t + v'^2 / (2 a).

    Args:
        distance: (J,) distance left, at least 0.
        acceleration: (J,) limit, above 0.
        period: length of the step, s, at least 0.

    Returns:
        (J,) speed, at least 0.
    """
    room = np.maximum(distance, 0.0)
    return acceleration * (np.sqrt(period * period + 2.0 * room / acceleration) - period)


def bounded_step(
    position: np.ndarray,
    velocity: np.ndarray,
    target: np.ndarray | None,
    lower: np.ndarray,
    upper: np.ndarray,
    speed: np.ndarray,
    acceleration: np.ndarray,
    period: float,
) -> tuple[np.ndarray, np.ndarray, bool, bool]:
    """Take one step towards `target`; without a target, brake.

    Args:
        position: (J,) last sent position, inside [lower, upper].
        velocity: (J,) speed of the last step.
        target: (J,) where to go, or None to brake as hard as `acceleration` allows.
        lower: (J,) lowest allowed position.
        upper: (J,) highest allowed position.
        speed: (J,) highest allowed speed.
        acceleration: (J,) highest allowed acceleration.
        period: length of the step, s.

    Returns:
        (new position, new velocity, whether speed was limited, whether acceleration was limited).
    """
    if period <= 0.0:
        return position.copy(), velocity.copy(), False, False
    if target is None:
        wanted = np.zeros_like(position)
    else:
        error = target - position
        wanted = np.sign(error) * stoppable_speed(np.abs(error), acceleration, period)
    change = acceleration * period
    lowest = np.maximum(np.maximum(-speed, velocity - change), -stoppable_speed(position - lower, acceleration, period))
    highest = np.minimum(np.minimum(speed, velocity + change), stoppable_speed(upper - position, acceleration, period))
    new_velocity = np.clip(wanted, np.minimum(lowest, highest), highest)
    moved = position + new_velocity * period
    new_position = np.clip(moved, lower, upper)
    if target is None:
        return new_position, new_velocity, False, False
    tolerance = 1e-9
    speed_limited = bool((np.abs(wanted) > speed + tolerance).any())
    acceleration_limited = bool((np.abs(wanted - velocity) > change + tolerance).any())
    return new_position, new_velocity, speed_limited, acceleration_limited


def stopping_point(position: np.ndarray, velocity: np.ndarray, acceleration: np.ndarray) -> np.ndarray:
    """Return (J,) where the joints come to rest when they brake from `velocity`."""
    return position + np.sign(velocity) * velocity * velocity / (2.0 * acceleration)
