"""Measure: `python -m qsft_robot.benchmark suite=sim|inference|training|robot|language|alfworld|ablation|control`.

Each suite is a module qsft_robot/benchmarks/<suite>.py with `run(config) -> dict`; its result is one line of
JSON.
"""

from __future__ import annotations

import importlib
import platform
from typing import Any

from qsft_robot.command import run
from qsft_robot.config.commands import BenchmarkConfig
from qsft_robot.errors import ConfigurationError
from qsft_robot.surroundings import surroundings


def main(config: BenchmarkConfig) -> dict[str, Any]:
    """Run the chosen suite and add what it was run on.

    Raises:
        ConfigurationError: this installation does not hold the suite.
    """
    name = f"qsft_robot.benchmarks.{config.suite.kind}"
    try:
        suite = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in (name, "qsft_robot.benchmarks"):
            raise
        raise ConfigurationError(f"suite={config.suite.name}: this installation has no module {name}") from None
    result = suite.run(config)
    return {
        **surroundings(),
        "suite": config.suite.name,
        "machine": platform.machine(),
        **result,
    }


if __name__ == "__main__":
    raise SystemExit(run(BenchmarkConfig, main))
