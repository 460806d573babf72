"""A policy behind a websocket: the same answers, no pickle, tokens, and a lost connection is a stop."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from patience import patient

from qsft_robot.agents.base import Agent
from qsft_robot.errors import ConfigurationError, DataError
from qsft_robot.hardware.adapter import ArmAdapter
from qsft_robot.hardware.operators import SceneOperator
from qsft_robot.hardware.remote_policy import (
    PolicyConnectionError,
    PolicyServer,
    RemoteAgent,
    is_loopback,
    pack,
    unpack,
)
from qsft_robot.hardware.robot_env import RobotEnv
from qsft_robot.hardware.simulated_arm import SimulatedArm


class Echo(Agent):
    """Answers with numbers that depend on seed and observation."""

    name = "echo"

    def reset(self, seed: int) -> None:
        self.seed = seed

    def act(self, observation: dict) -> np.ndarray:
        if observation["state"].shape != (7,):
            raise DataError("state must be (7,)")
        return np.clip(observation["state"] + self.seed * 0.01, -1, 1).astype(np.float32)


def serving(agent: Agent, token: str | None = None) -> tuple[PolicyServer, threading.Thread]:
    server = PolicyServer(agent, token=token)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server._serving:
        time.sleep(0.01)
    return server, thread


@pytest.fixture
def server() -> Iterator[PolicyServer]:
    made, thread = serving(Echo())
    yield made
    made.close()
    thread.join(timeout=10)


def observation() -> dict[str, np.ndarray]:
    return {"state": np.linspace(-0.5, 0.5, 7, dtype=np.float32), "image": np.zeros((48, 48, 3), np.uint8)}


def test_messages_survive_and_nothing_else_is_read() -> None:
    value = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": [1, "x", None, True], "c": {"d": 0.5}}
    back = unpack(pack(value))
    assert (back["a"] == value["a"]).all()
    assert back["a"].dtype == np.float32
    assert back["b"] == value["b"]
    for bad in (b"\xc1", pickle.dumps(value), b""):
        with pytest.raises(DataError):
            unpack(bad)
    import msgpack

    for array in (
        {"__array__": "object", "shape": [1], "data": b"12345678"},
        {"__array__": "float32", "shape": [99], "data": b"1234"},
        {"__array__": "float32"},
    ):
        with pytest.raises(DataError):
            unpack(msgpack.packb(array))
    with pytest.raises(TypeError):
        pack({"f": test_messages_survive_and_nothing_else_is_read})
    with pytest.raises(TypeError):
        pack({"f": np.array([object()])})


def test_a_served_policy_answers_like_the_policy_itself(server: PolicyServer) -> None:
    remote, local = RemoteAgent(server.url), Echo()
    assert remote.name == "echo"
    for seed in (3, 4):
        remote.reset(seed)
        local.reset(seed)
        assert (remote.act(observation()) == local.act(observation())).all()
    assert remote.times.summary()["round_trip"]["count"] == 2
    remote.close()


def test_an_error_of_the_policy_reaches_the_arm_and_the_server_lives_on(server: PolicyServer) -> None:
    remote = RemoteAgent(server.url)
    remote.reset(0)
    with pytest.raises(PolicyConnectionError, match=r"state must be \(7,\)"):
        remote.act({"state": np.zeros(3, np.float32)})
    assert remote.act(observation()).shape == (7,)
    with pytest.raises(PolicyConnectionError, match="another arm"):
        RemoteAgent(server.url)
    remote.close()


def test_tokens_are_needed_beyond_the_own_computer() -> None:
    with pytest.raises(ConfigurationError, match="token"):
        PolicyServer(Echo(), host="0.0.0.0")
    assert is_loopback("127.0.0.1")
    assert is_loopback("::1")
    assert is_loopback("localhost")
    assert not is_loopback("192.168.1.2")
    assert not is_loopback("robot.local")
    made, thread = serving(Echo(), token="secret")
    for token in (None, "wrong", "Secret"):
        with pytest.raises(PolicyConnectionError, match="token is missing or wrong"):
            RemoteAgent(made.url, token)
    RemoteAgent(made.url, "secret").close()
    made.close()
    thread.join(timeout=10)


def test_addresses_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="ws://host:port"):
        RemoteAgent("http://127.0.0.1:1")
    with pytest.raises(PolicyConnectionError, match="no policy answers"):
        RemoteAgent("ws://127.0.0.1:9")
    first = PolicyServer(Echo())
    with pytest.raises(ConfigurationError, match="cannot be listened on"):
        PolicyServer(Echo(), port=first.port)
    first.close()


class Hanging(Echo):
    """Answers once, then never."""

    def __init__(self) -> None:
        self.calls, self.wait = 0, threading.Event()

    def act(self, observation: dict) -> np.ndarray:
        self.calls += 1
        if self.calls > 1:
            self.wait.wait(20.0)
        return super().act(observation)


def test_a_policy_that_falls_silent_is_a_lost_connection_and_the_arm_holds() -> None:
    from qsft_robot.agents.rollout import rollout

    agent = Hanging()
    made, thread = serving(agent)
    arm: ArmAdapter = SimulatedArm(patient())
    env = RobotEnv(arm, SceneOperator(), max_episode_steps=20)
    kinds: list[str] = []
    arm.on_decision.append(lambda now, decision: kinds.append(decision.kind.value))
    remote = RemoteAgent(made.url, patience=1.0)
    try:
        with pytest.raises(PolicyConnectionError, match="did not answer within"):
            rollout(remote, env, 0)
    finally:
        env.close()
        agent.wait.set()
        remote.close()
        made.close()
        thread.join(timeout=10)
    assert "move" in kinds
    assert [kind for kind in kinds if kind != "none"][-1] == "hold"
