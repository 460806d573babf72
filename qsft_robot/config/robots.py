"""The arms (group `robot`) and the commands that drive them: deploy, serve, check_robot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from qsft_robot.config.fields import choice, setting, settings


@settings
class RobotConfig:
    """An arm: how it is reached, and the description of its joints, limits, topics and camera."""

    name: str = setting("", "name of the option, set from robot=...")
    kind: str = setting("", "which class of the configuration describes it")
    adapter: str = setting(
        "ros2", "how it is reached: ros2, virtual, simulated, or the name of an installed package's entry point"
    )
    description: str = setting("wx250s", "wx250s, ur5e, virtual, or the path of a YAML file of your own")
    dry_run: bool = setting(False, "everything but sending")


@settings
class DeployConfig:
    """python -m qsft_robot.deploy: run a policy on an arm, and record what happens."""

    robot: RobotConfig = choice("virtual", "the arm")
    checkpoint: str | None = setting(None, "checkpoint or run folder of the policy")
    policy: str | None = setting(None, "ws://host:port of a policy that `serve` offers, instead of a checkpoint")
    token: str | None = setting(None, "what the policy's server asks for; null: the variable QSFT_ROBOT_TOKEN")
    decoding: Literal["greedy", "sample", "sharp", "mode"] | None = setting(
        None, "how action tokens are chosen; null: mode, or for text sharp"
    )
    temperature: float | None = setting(None, "of sharp and mode; null: that of training, there 0.2 and 1", above=0)
    episodes: int = setting(10, "episodes to play", minimum=1)
    seed: int = setting(0, "seed of the first episode; the others follow it", minimum=0)
    max_episode_steps: int = setting(60, "time limit of an episode, actions", minimum=1)
    policy_rate: float | None = setting(None, "decisions per second; null: the description's", above=0)
    wait_for_image: bool = setting(True, "decide on a picture taken after the last action was carried out")
    operator: Literal["auto", "keyboard", "scene"] = setting(
        "auto", "who begins and judges episodes: keyboard (or the ROS services), scene (simulated and virtual arms)"
    )
    task: str | None = setting(
        None, "name of the task, kept with what is recorded; null: the checkpoint's, or pick_place for a served policy"
    )
    dataset: str | None = setting(None, "trajectory store to record into; null: <run>/episodes.zarr")
    bag: bool = setting(False, "record an MCAP bag beside it, which ROS tools read (extra rosbag)")
    visualise: Literal["no", "live", "file"] = setting("no", "show what happens in Rerun (extra visualisation)")
    run: str | None = setting(None, "folder for results; null: runs/deploy/<robot>/<time>")

    def check(self) -> Iterator[str]:
        """Rules between the fields."""
        if (self.checkpoint is None) == (self.policy is None):
            yield "give checkpoint=<run folder>, or policy=ws://host:port of a served one"
        if self.policy is not None and self.temperature is not None:
            yield f"temperature={self.temperature:g} is for a checkpoint: give it to the policy's server"
        if self.bag and self.robot.adapter == "simulated":
            yield "bag=true records the topics of an arm, and robot=simulated has none: use robot=virtual"


@settings
class ServeConfig:
    """python -m qsft_robot.serve: offer a policy to arms on other computers."""

    checkpoint: str = setting(help="checkpoint or run folder of the policy")
    decoding: Literal["greedy", "sample", "sharp", "mode"] | None = setting(
        None, "how action tokens are chosen; null: mode, or for text sharp"
    )
    temperature: float | None = setting(None, "of sharp and mode; null: that of training, there 0.2 and 1", above=0)
    host: str = setting("127.0.0.1", "address to listen on; any but the own computer's needs a token")
    port: int = setting(8731, "port to listen on; 0 takes a free one", minimum=0, maximum=65535)
    token: str | None = setting(None, "what clients must know; null: the variable QSFT_ROBOT_TOKEN")


@settings
class CheckRobotConfig:
    """python -m qsft_robot.check_robot: say in words what is wrong with an arm, before any policy runs."""

    robot: RobotConfig = choice("virtual", "the arm")
    move: bool = setting(False, "move each joint by a few degrees, the gripper, stop and arm again")
    dataset: str | None = setting(None, "trajectory store whose pictures tell how colours should look")
    seconds: float = setting(3.0, "how long rates are counted, s", above=0)
