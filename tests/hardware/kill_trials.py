"""kill -9 in mid-motion: each process of a deployment in turn, and how long the arm goes on moving.

`PYTHONPATH=. python tests/hardware/kill_trials.py 20` makes 20 trials of each and prints one JSON line. Four processes
besides this one: the virtual arm, a camera relay, a policy server, and the driver (adapter and control loop). The
arm's motion is watched through its joint states; where the arm itself is killed, the driver's own hold counts.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from qsft_robot.surroundings import surroundings

PLACE = "tests/hardware/kill_trials.py"
VICTIMS = ("policy_server", "camera", "driver", "arm")
RELAYED = "/virtual/relayed/image_raw"
MOVING = 0.004
"""A joint that moves less than this between two joint states (20 ms) counts as still, rad."""


def serve_policy() -> None:
    """The policy: sweeps the waist to and fro."""
    from qsft_robot.agents.base import Agent
    from qsft_robot.hardware.remote_policy import PolicyServer

    class Sweep(Agent):
        name = "sweep"

        def reset(self, seed: int) -> None:
            self.direction = 1.0

        def act(self, observation: Any) -> np.ndarray:
            if abs(observation["state"][1]) > 0.6:
                self.direction = -float(np.sign(observation["state"][1]))
            return np.array([0, 0.6 * self.direction, 0, 0, 0, 0, 0], np.float32)

    server = PolicyServer(Sweep())
    print(server.url, flush=True)
    server.run()


def relay_images() -> None:
    """The camera: passes pictures on, as a camera driver in a process of its own would."""
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import Image

    from qsft_robot.hardware.ros2_support import Ros2Node

    ros = Ros2Node("camera")
    best = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    publisher = ros.node.create_publisher(Image, RELAYED, best)
    ros.node.create_subscription(Image, "/virtual/camera/image_raw", publisher.publish, best)
    ros.start()
    signal.pause()


def drive(url: str) -> None:
    """Adapter, control loop and remote policy; prints `<monotonic time> <kind>` for every decision."""
    from qsft_robot.agents.rollout import rollout
    from qsft_robot.hardware.description import RobotDescription, changed
    from qsft_robot.hardware.operators import SceneOperator
    from qsft_robot.hardware.remote_policy import RemoteAgent
    from qsft_robot.hardware.robot_env import RobotEnv
    from qsft_robot.hardware.virtual_process import VirtualRos2Arm

    description = changed(RobotDescription.load("virtual"), ros2={"image": RELAYED})
    arm = VirtualRos2Arm(description, attach=True)
    arm.on_decision.append(lambda now, decision: print(f"{now:.6f} {decision.kind.value}", flush=True))
    env = RobotEnv(arm, SceneOperator(), max_episode_steps=10**6)
    try:
        rollout(RemoteAgent(url), env, 0)
    finally:
        env.close()


class Watcher:
    """Sees the arm move, from outside."""

    def __init__(self) -> None:
        from rclpy.qos import QoSProfile, ReliabilityPolicy
        from sensor_msgs.msg import JointState

        from qsft_robot.hardware.ros2_support import Ros2Node

        self.last: np.ndarray | None = None
        self.moved_at: list[float] = []
        self._ros = Ros2Node("watcher")
        best = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._ros.node.create_subscription(JointState, "/virtual/joint_states", self._on_state, best)
        self._ros.start()

    def _on_state(self, message: Any) -> None:
        positions = np.array(message.position)[:6]
        if self.last is not None and np.abs(positions - self.last).max() > MOVING:
            self.moved_at.append(time.monotonic())
        self.last = positions

    def wait_for_motion(self, seconds: float) -> None:
        """Return when the arm has been moving for a while."""
        begin = time.monotonic()
        while sum(moment > begin for moment in self.moved_at) < 12:
            if time.monotonic() > begin + seconds:
                raise RuntimeError("the arm does not move")
            time.sleep(0.005)

    def close(self) -> None:
        """Leave the graph."""
        self._ros.close()


@contextlib.contextmanager
def deployment(folder: Path) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """All processes, running; ended by force afterwards."""
    from qsft_robot.hardware.virtual_process import start_process

    processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(name: str, *words: str) -> None:
        with (folder / f"{name}.log").open("wb") as log, (folder / f"{name}.err").open("wb") as errors:
            processes[name] = subprocess.Popen(
                [sys.executable, __file__, name, *words], stdout=log, stderr=errors, env={**os.environ}
            )

    try:
        processes["arm"] = start_process()
        start("policy_server")
        start("camera")
        url = ""
        end = time.monotonic() + 60.0
        while not url and time.monotonic() < end:
            time.sleep(0.05)
            url = (folder / "policy_server.log").read_text().strip()
        start("driver", url)
        yield processes
    finally:
        for process in processes.values():
            if process.poll() is None:
                process.kill()
            process.wait()


def trial(victim: str, watcher: Watcher, chance: random.Random) -> float:
    """Kill one process in mid-motion; returns the seconds until the arm was held."""
    with tempfile.TemporaryDirectory() as name, deployment(Path(name)) as processes:
        watcher.moved_at.clear()
        try:
            watcher.wait_for_motion(90.0)
        except RuntimeError as error:
            errors = {role: (Path(name) / f"{role}.err").read_text()[-600:] for role in ("camera", "driver")}
            raise RuntimeError(f"{error}: {errors}") from error
        time.sleep(chance.uniform(0.0, 0.5))
        killed = time.monotonic()
        os.kill(processes[victim].pid, signal.SIGKILL)
        time.sleep(1.5)
        if victim == "arm":
            lines = (Path(name) / "driver.log").read_text().splitlines()
            holds = [float(line.split()[0]) for line in lines if line.endswith("hold")]
            after = [moment for moment in holds if moment >= killed]
            if not after:
                raise RuntimeError("the driver never held the arm")
            moves = [float(line.split()[0]) for line in lines if line.endswith("move")]
            if any(moment > after[0] for moment in moves):
                raise RuntimeError("the driver moved on after holding")
            return after[0] - killed
        late = [moment for moment in watcher.moved_at if moment > killed]
        if late and late[-1] > killed + 1.2:
            raise RuntimeError(f"the arm still moved {late[-1] - killed:.2f} s after {victim} was killed")
        return late[-1] - killed if late else 0.0


def main(count: int, victims: tuple[str, ...] = VICTIMS) -> dict[str, Any]:
    """Make the trials; returns seconds by victim."""
    watcher, chance = Watcher(), random.Random(0)
    result: dict[str, Any] = {**surroundings(), "command": f"PYTHONPATH=. python {PLACE} {count}", "trials": count}
    try:
        for victim in victims:
            seconds = [trial(victim, watcher, chance) for _ in range(count)]
            result[victim] = {"worst": round(max(seconds), 4), "median": round(float(np.median(seconds)), 4)}
            print(victim, result[victim], file=sys.stderr, flush=True)
    finally:
        watcher.close()
    return result


if __name__ == "__main__":
    roles = {"policy_server": serve_policy, "camera": relay_images}
    if sys.argv[1] in roles:
        roles[sys.argv[1]]()
    elif sys.argv[1] == "driver":
        drive(sys.argv[2])
    else:
        os.environ.setdefault("ROS_DOMAIN_ID", str(random.SystemRandom().randrange(1, 101)))
        os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        print(json.dumps(main(int(sys.argv[1]))))
