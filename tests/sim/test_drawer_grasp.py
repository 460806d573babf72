"""The drawer's starts, what blocks it, and when grasping counts as solved."""

import gymnasium
import numpy as np
import pytest

import qsft_robot.sim
from qsft_robot.errors import ConfigurationError
from qsft_robot.sim.countertop.arm import NEUTRAL_POSITION
from qsft_robot.sim.countertop.drawer_grasp import (
    CLOSED_RANGE,
    DRAWER_TRAVEL,
    DRAWER_X,
    OPEN_RANGE,
    START_SPREAD,
    DrawerGraspEnv,
)


@pytest.fixture
def make():
    made = []

    def make_env(**options):
        made.append(gymnasium.make(qsft_robot.sim.DRAWER_GRASP, observation="state", **options).unwrapped)
        return made[-1]

    yield make_env
    for env in made:
        env.close()


def go(env, goal, gripper=1.0, steps=6):
    for _ in range(steps):
        move = (np.array(goal) - env.tool_position) / 0.04
        *_, info = env.step(np.array([*np.clip(move, -1, 1), 0, 0, 0, gripper], np.float32))
    return info


def push(env):
    """Put the hand down behind the drawer's front and push it."""
    go(env, (DRAWER_X - 0.045, 0.0, 0.14))
    go(env, (DRAWER_X - 0.045, 0.0, 0.091))
    go(env, (DRAWER_X + DRAWER_TRAVEL, 0.0, 0.091), steps=12)


def test_starts(make):
    for start, (low, high) in {"open": OPEN_RANGE, "closed": CLOSED_RANGE, "blocked": (0.0, 0.0)}.items():
        env = make(drawer=start)
        for seed in range(5):
            env.reset(seed=seed)
            assert low - 1e-4 <= env.drawer_opening() <= min(high, DRAWER_TRAVEL) + 1e-4
            assert env.bar_in_play is (start == "blocked")


@pytest.mark.parametrize("start", ["open", "closed", "blocked"])
def test_the_hand_starts_at_rest_somewhere_near_neutral(make, start):
    env = make(drawer=start)
    positions = []
    for seed in range(20):
        env.reset(seed=seed)
        positions.append(env.tool_position)
        assert np.abs(env.tool_tilt).max() < 0.01
        env.step(np.zeros(7, np.float32))
        assert env.tool_position == pytest.approx(positions[-1], abs=5e-4)
    away = np.array(positions) - NEUTRAL_POSITION
    assert np.abs(away).max() < START_SPREAD + 0.002
    assert (np.ptp(away, axis=0) > START_SPREAD).all()


def test_mixed_draws_open_and_closed_by_the_seed(make):
    env = make()
    openings = []
    for seed in range(60):
        env.reset(seed=seed)
        openings.append(env.drawer_opening() > 0.05)
    assert 20 < sum(openings) < 40


def test_an_unknown_start_is_refused():
    with pytest.raises(ConfigurationError, match="blocked"):
        DrawerGraspEnv(drawer="ajar")


def test_pushing_opens_the_drawer_and_the_object_comes_along(make):
    env = make(drawer="closed")
    env.reset(seed=0)
    before = env.object_pose()[0][0]
    push(env)
    assert env.drawer_opening() > 0.1
    assert env.object_pose()[0][0] - before > 0.06


@pytest.mark.parametrize("seed", range(5))
def test_the_bar_blocks_the_drawer(make, seed):
    env = make(drawer="blocked")
    env.reset(seed=seed)
    push(env)
    assert env.drawer_opening() < 0.03


def test_a_drawer_stays_where_it_is(make):
    env = make(drawer="open")
    env.reset(seed=0)
    before = env.drawer_opening()
    go(env, env.tool_position, steps=20)
    assert env.drawer_opening() == pytest.approx(before, abs=1e-4)


def test_an_object_lifted_out_of_the_drawer_is_a_success(make):
    env = make(drawer="open")
    env.reset(seed=1)
    x, y, z = env.object_pose()[0]
    go(env, (x, y, 0.12))
    info = go(env, (x, y, z), steps=4)
    assert not info["success"]
    info = go(env, (x, y, z), gripper=-1.0, steps=3)
    assert env.arm.holds(env.object_body)
    assert not info["success"]
    while not info["success"]:
        info = go(env, (x, y, 0.18), gripper=-1.0, steps=1)
    assert env.object_pose()[0][2] > 0.09


def test_privileged_state_ends_with_the_opening_and_the_bar(make):
    env = make(drawer="open")
    state = env.reset(seed=0)[0]["state"]
    assert state.shape == (18,)
    assert state[14] == pytest.approx(2 * env.drawer_opening() / DRAWER_TRAVEL - 1, abs=1e-5)
    assert (state[15:] == -5).all()
    blocked = make(drawer="blocked").reset(seed=0)[0]["state"]
    assert (np.abs(blocked[15:]) < 1.5).all()
