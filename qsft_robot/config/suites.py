"""Settings of the benchmark suites (group `suite`), one class each."""

from __future__ import annotations

from qsft_robot.config.fields import kind, setting, settings


@settings
class SuiteConfig:
    """What every suite has."""

    name: str = setting("", "name of the option, set from suite=...")
    kind: str = setting("", "which class of the configuration describes it")


@kind(SuiteConfig, "sim")
@settings
class SimSuiteConfig(SuiteConfig):
    """Speed of the environments."""

    steps: int = setting(500, "environment steps to time", minimum=1)
    resets: int = setting(50, "resets to time", minimum=1)


@kind(SuiteConfig, "inference")
@settings
class InferenceSuiteConfig(SuiteConfig):
    """Speed of closed-loop decoding."""

    decisions: int = setting(100, "actions to time", minimum=1)
    threads: int = setting(1, "processor threads", minimum=1)


@kind(SuiteConfig, "training")
@settings
class TrainingSuiteConfig(SuiteConfig):
    """Cost of a training step."""

    steps: int = setting(100, "steps to time per algorithm", minimum=1)


@kind(SuiteConfig, "robot")
@settings
class RobotSuiteConfig(SuiteConfig):
    """All algorithms trained and evaluated on equal terms."""

    methods: list[str] = setting(
        ["bc", "filtered_bc", "return_conditioned", "cql", "ilql", "q_transformer", "qsft"],
        "what is compared: an algorithm each, with words of its own after it, as 'qsft algorithm.beta=5'",
    )
    repeated: list[str] | None = setting(
        ["bc", "q_transformer", "qsft"], "methods that are trained with every seed; null: all of suite.methods"
    )
    seeds: int = setting(3, "training seeds of the repeated methods", minimum=1)
    sizes: list[int] = setting([], "numbers of episodes to collect, for sample efficiency", minimum=2)
    reference: str = setting("qsft", "the method that the others are paired with")
    keep_checkpoints: bool = setting(False, "keep the networks of each cell")
    processes: int = setting(1, "cells that are made at a time; the cores are shared out among them", minimum=1)


@kind(SuiteConfig, "control")
@settings
class ControlSuiteConfig(SuiteConfig):
    """Timing of the control loop."""

    seconds: float = setting(60.0, "how long the loop runs, s", above=0)
