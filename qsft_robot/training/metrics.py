"""Metrics of a run: one JSON line per record, and the same numbers for TensorBoard."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

logger = logging.getLogger(__name__)


class MetricsLog:
    """Writes `metrics.jsonl` and `tensorboard/` in the run folder.

    Args:
        folder: the run folder.
        stage: name of the training stage, which prefixes each TensorBoard tag.
        first_step: step from which this process goes on; later records of an interrupted one are dropped.
    """

    def __init__(self, folder: Path, stage: str, first_step: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.stage = stage
        self.path = folder / "metrics.jsonl"
        if self.path.exists():
            self._drop_after(first_step)
        self._file = self.path.open("a", encoding="utf-8")
        self._writer = SummaryWriter(str(folder / "tensorboard" / stage), purge_step=first_step)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Record `values` after `step` steps."""
        record = {"stage": self.stage, "step": step, **{key: float(value) for key, value in values.items()}}
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        for key, value in values.items():
            self._writer.add_scalar(f"{self.stage}/{key}", value, step)

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()
        self._writer.close()

    def _drop_after(self, first_step: int) -> None:
        kept = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                continue  # the last line of a killed process may be torn
            if record["stage"] != self.stage or record["step"] <= first_step:
                kept.append(line + "\n")
        temporary = self.path.with_suffix(".writing")
        temporary.write_text("".join(kept), encoding="utf-8")
        temporary.replace(self.path)


def read_metrics(folder: Path) -> list[dict[str, float | str]]:
    """All records of a run in the order in which they were written; a line that a killed process tore is left out."""
    path = folder / "metrics.jsonl"
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        with contextlib.suppress(json.JSONDecodeError):
            records.append(json.loads(line))
    return records


class Progress:
    """A line with the rate and the time left, at most every few seconds."""

    def __init__(self, stage: str, total: int, first: int, period_seconds: float = 10.0) -> None:
        self.stage, self.total, self.first, self.period = stage, total, first, period_seconds
        self.started = self.last = time.monotonic()

    def update(self, step: int, values: Mapping[str, float]) -> None:
        """Log a line if enough time has passed or `step` is the last."""
        now = time.monotonic()
        if now - self.last < self.period and step < self.total:
            return
        self.last = now
        rate = (step - self.first) / max(now - self.started, 1e-9)
        left = (self.total - step) / rate if rate > 0 else float("inf")
        terms = "  ".join(f"{key} {value:.4g}" for key, value in values.items())
        logger.info(
            "%s  step %d of %d  %.1f steps/s  %s left  %s", self.stage, step, self.total, rate, duration(left), terms
        )


def duration(seconds: float) -> str:
    """`75` -> "1 min 15 s"."""
    if seconds == float("inf"):
        return "unknown time"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
