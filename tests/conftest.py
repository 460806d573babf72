"""Fixtures that all tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# Two test processes share two cores: matrix products in each keep to one thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")

repository = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return repository


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Call `command("train", "sim=pick_place", ...)`: runs `python -m qsft_robot.train ...` in a scratch folder."""

    def call(
        name: str, *words: str, timeout: float = 300, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(repository)}
        return subprocess.run(
            [sys.executable, "-m", f"qsft_robot.{name}", *words],
            cwd=cwd or tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return call
