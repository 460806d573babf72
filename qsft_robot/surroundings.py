"""What a result was made with: commit, version, machine, command."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

import qsft_robot


def surroundings() -> dict[str, Any]:
    """Command, commit (with `+` after it where files differ from it), versions, processor and cores."""
    main = sys.modules["__main__"].__spec__
    program = f"python -m {main.name}" if main is not None else "python"
    return {
        "command": shlex.join([*program.split(), *sys.argv[1:]]),
        "commit": _commit(),
        "version": qsft_robot.__version__,
        "torch": torch.__version__,
        "processor": _processor(),
        "cores": os.cpu_count(),
    }


def _commit() -> str | None:
    folder = Path(qsft_robot.__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True).stdout

    try:
        changed = git("status", "--porcelain", "--untracked-files=no").strip()
        return git("rev-parse", "HEAD").strip() + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
