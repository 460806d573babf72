"""The benchmark of the environments reports every part."""

import pytest

import qsft_robot.sim
from qsft_robot.benchmarks.sim import measure


@pytest.mark.parametrize("task", [qsft_robot.sim.PICK_PLACE, qsft_robot.sim.DRAWER_GRASP])
def test_parts_add_up_to_no_more_than_the_step(task):
    times = measure(task, steps=40, resets=3)
    assert set(times) == {"step", "inverse_kinematics", "physics", "rendering", "reset", "state_step"}
    assert all(0 < values["median"] <= values["p95"] for values in times.values())
    parts = sum(times[part]["median"] for part in ("inverse_kinematics", "physics", "rendering"))
    assert parts < times["step"]["p95"]
