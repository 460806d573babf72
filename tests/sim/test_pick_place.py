"""When picking and placing counts as solved."""

import gymnasium
import numpy as np
import pybullet
import pytest

import qsft_robot.sim
from qsft_robot.sim.countertop.pick_place import TRAY_CENTRE, TRAY_FLOOR


@pytest.fixture
def env():
    env = gymnasium.make(qsft_robot.sim.PICK_PLACE, observation="state").unwrapped
    env.reset(seed=0)
    yield env
    env.close()


def put(env, x, y, z):
    pybullet.resetBasePositionAndOrientation(env.object_body, (x, y, z), (0, 0, 0, 1), physicsClientId=env._client)


def idle(env, gripper=1.0):
    return env.step(np.array([0, 0, 0, 0, 0, 0, gripper], np.float32))


def test_an_object_that_lies_in_the_tray_is_a_success_and_ends_the_episode(env):
    put(env, *TRAY_CENTRE, TRAY_FLOOR + env.object_shape.rest_height + 0.001)
    _, reward, terminated, truncated, info = idle(env)
    assert (reward, terminated, truncated, info["success"]) == (1.0, True, False, True)


def test_an_object_on_the_counter_is_none(env):
    for _ in range(3):
        _, reward, terminated, _, info = idle(env)
        assert (reward, terminated, info["success"]) == (0.0, False, False)


def test_an_object_falling_through_the_air_above_the_tray_is_none_until_it_lies(env):
    put(env, *TRAY_CENTRE, 0.15)
    outcomes = [idle(env)[4]["success"]]
    while not outcomes[-1]:
        outcomes.append(idle(env)[4]["success"])
    assert len(outcomes) > 2


def test_an_object_held_in_the_tray_is_none_until_released(env):
    for _ in range(12):
        move = (np.array([*TRAY_CENTRE, 0.03]) - env.tool_position) / 0.04
        env.step(np.array([*np.clip(move, -1, 1), 0, 0, 0, 1], np.float32))
    put(env, *TRAY_CENTRE, 0.03)
    hold = np.array([0, 0, 0.3, 0, 0, 0, -1], np.float32)
    for _ in range(3):
        _, _, terminated, _, _ = env.step(hold)
        assert not terminated
    assert env.arm.holds(env.object_body)
    for _ in range(6):
        terminated = idle(env)[2]
        if terminated:
            break
    assert terminated
