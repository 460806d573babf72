"""python -m qsft_robot.report runs/...: one HTML page about a run, or about several side by side.

The page works without a network and in any browser: curves, success rates with intervals, diagnostics with advice,
videos of successes and failures with the Q-values of every action dimension beside them, and the configuration.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from qsft_robot.command import run
from qsft_robot.config.commands import ReportConfig

logger = logging.getLogger("qsft_robot.report")


def main(config: ReportConfig) -> dict[str, Any]:
    """Read the run folders and write the page."""
    from qsft_robot.reporting.contents import read_run
    from qsft_robot.reporting.page import render

    folders = list(config.runs) if config.run is None else [config.run]
    runs = [read_run(folder) for folder in folders]
    output = Path(config.output or (Path(folders[0]) / "report.html" if len(runs) == 1 else "report.html"))
    text = render(runs)
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_name(f".{output.name}.writing")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(output)
    logger.info("open %s in a browser", output)
    return {"report": output, "runs": folders, "bytes": len(text.encode())}


if __name__ == "__main__":
    raise SystemExit(run(ReportConfig, main, positional=("run",)))
