"""python -m qsft_robot.train sim=pick_place: from nothing, or from a dataset, to a policy that was measured.

Collects data where no `dataset=` is given, trains the behaviour policy and the algorithm, plays both in closed loop
and prints the figures as JSON.
"""

from __future__ import annotations

from typing import Any

from qsft_robot.command import run
from qsft_robot.config import TrainConfig


def main(config: TrainConfig) -> dict[str, Any]:
    """Run the experiment that `config` describes."""
    from qsft_robot.training.experiment import Experiment

    return Experiment(config).run()


if __name__ == "__main__":
    raise SystemExit(run(TrainConfig, main))
