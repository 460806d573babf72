"""Tensors and numbers on disk: safetensors beside JSON, written under a temporary name and renamed. No pickle."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from qsft_robot.errors import CheckpointError


def write_folder(folder: Path, tensors: Mapping[str, Tensor], description: Mapping[str, Any], name: str) -> None:
    """Write `<folder>/<name>.safetensors` and `<folder>/<name>.json` so that the folder is there whole or not at all.

    An existing folder is replaced; a process killed in between leaves the old one or none, never a torn one.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    contiguous = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    save_file(contiguous, temporary / f"{name}.safetensors")
    (temporary / f"{name}.json").write_text(json.dumps(description, indent=1, allow_nan=False), encoding="utf-8")
    for path in temporary.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    if folder.exists():
        old = folder.with_name(f".{folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
        temporary.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    else:
        temporary.rename(folder)


def read_description(folder: Path, name: str) -> dict[str, Any]:
    """Read `<folder>/<name>.json`.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    path = folder / f"{name}.json"
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"there is no checkpoint in {folder}: {path.name} is missing") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); take another checkpoint") from error
    if not isinstance(description, dict):
        raise CheckpointError(f"{path} is damaged: it holds no object")
    return description


def read_tensors(folder: Path, name: str, device: str | torch.device = "cpu") -> dict[str, Tensor]:
    """Read `<folder>/<name>.safetensors`.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    path = folder / f"{name}.safetensors"
    try:
        return load_file(path, device=str(device))
    except FileNotFoundError:
        raise CheckpointError(f"there is no checkpoint in {folder}: {path.name} is missing") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); take another checkpoint") from error
