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


Completed = subprocess.CompletedProcess[str]


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., Completed]:
    """`command("train", "sim=pick_place")` runs `python -m qsft_robot.train ...` in a scratch folder."""

    def call(name: str, *words: str, timeout: float = 300, cwd: Path | None = None) -> Completed:
        return subprocess.run(
            [sys.executable, "-m", f"qsft_robot.{name}", *words],
            cwd=cwd or tmp_path,
            env={**os.environ, "PYTHONPATH": str(repository)},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return call
