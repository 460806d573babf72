"""How long each stage took and how punctual a loop was: collected cheaply, summed up at the end."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

KEPT = 100_000


class StageTimes:
    """Durations by stage, from any thread; the newest 100,000 of each stage are kept."""

    def __init__(self) -> None:
        self._values: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=KEPT))
        self._lock = threading.Lock()

    def add(self, stage: str, seconds: float) -> None:
        """Note one duration, s."""
        with self._lock:
            self._values[stage].append(seconds)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Note how long a block takes."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - start)

    def summary(self) -> dict[str, dict[str, float]]:
        """Stage -> count, and mean, p50, p95, p99 and max in ms."""
        with self._lock:
            copies = {stage: np.array(values) for stage, values in self._values.items() if values}
        return {stage: _figures(values) for stage, values in sorted(copies.items())}


class Punctuality:
    """When a periodic loop's steps began, against when they should have.

    Args:
        period: time between steps, s.
    """

    def __init__(self, period: float) -> None:
        self.period = period
        self._late: deque[float] = deque(maxlen=KEPT)
        self.steps = 0
        self.overruns = 0

    def step(self, due: float, begun: float) -> None:
        """A step that was due at `due` began at `begun`; one that began a period late or later is an overrun."""
        self.steps += 1
        late = begun - due
        self._late.append(late)
        if late >= self.period:
            self.overruns += 1

    def summary(self) -> dict[str, Any]:
        """Steps, overruns, their share, and lateness in ms."""
        share = self.overruns / self.steps if self.steps else 0.0
        late = _figures(np.array(self._late)) if self._late else {}
        return {
            "rate": 1.0 / self.period,
            "steps": self.steps,
            "overruns": self.overruns,
            "overrun_share": share,
            "late_ms": late,
        }


def _figures(seconds: np.ndarray) -> dict[str, float]:
    milliseconds = seconds * 1e3
    p50, p95, p99 = np.percentile(milliseconds, [50, 95, 99])
    return {
        "count": len(milliseconds),
        "mean": round(float(milliseconds.mean()), 4),
        "p50": round(float(p50), 4),
        "p95": round(float(p95), 4),
        "p99": round(float(p99), 4),
        "max": round(float(milliseconds.max()), 4),
    }
