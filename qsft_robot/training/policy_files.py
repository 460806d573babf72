"""A policy on disk: what acts and all it needs to act, and nothing that only training needs.

`policy.safetensors` holds the networks; `policy.json` holds the algorithm's settings, the shape of the networks, the
action bins, the range of values, the task and the resolved configuration of the run that made it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from qsft_robot import __version__
from qsft_robot.algorithms import Algorithm, ValueRange, make_algorithm
from qsft_robot.config import from_dict, to_dict
from qsft_robot.config.algorithms import AlgorithmConfig
from qsft_robot.errors import CheckpointError
from qsft_robot.models import shape_from_dict
from qsft_robot.tokenization import Tokenizer, tokenizer_from_dict
from qsft_robot.training.state_files import read_description, read_tensors, write_folder

FORMAT_VERSION = 1
NAME = "policy"


@dataclass(frozen=True)
class Policy:
    """An algorithm that acts, with its tokenizer and where it came from.

    Attributes:
        task: {"sim": name of the simulation, "env_id": registered id, "options": constructor keywords}.
        config: resolved configuration of the run, as nested dictionaries.
    """

    algorithm: Algorithm
    tokenizer: Tokenizer
    task: Mapping[str, Any]
    config: Mapping[str, Any]


def save_policy(folder: Path, policy: Policy) -> None:
    """Write `policy` into `folder`, whole or not at all."""
    algorithm = policy.algorithm
    description = {
        "format_version": FORMAT_VERSION,
        "code_version": __version__,
        "algorithm": to_dict(algorithm.settings),
        "shape": algorithm.shape.to_dict(),
        "value_range": asdict(algorithm.value_range),
        "tokenizer": policy.tokenizer.to_dict(),
        "task": dict(policy.task),
        "config": dict(policy.config),
    }
    write_folder(folder, algorithm.networks.state_dict(), description, NAME)


def find_policy(path: str | Path) -> Path:
    """The folder with the policy, given it or a run folder.

    Raises:
        CheckpointError: there is none.
    """
    path = Path(path)
    for folder in (path, path / "policy"):
        if (folder / f"{NAME}.json").is_file():
            return folder
    if not path.exists():
        raise CheckpointError(f"checkpoint {path} does not exist")
    raise CheckpointError(
        f"{path} holds no policy: give a run folder that training finished, or a folder with {NAME}.json. "
        "An interrupted run goes on with `python -m qsft_robot.train run=<folder> resume=true`"
    )


def describe_policy(path: str | Path) -> dict[str, Any]:
    """The JSON part of a policy, without reading the weights.

    Raises:
        CheckpointError: missing, damaged, or written by a newer version.
    """
    description = read_description(find_policy(path), NAME)
    version = description.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has checkpoint format {version}, this qsft_robot reads up to {FORMAT_VERSION}: update it"
        )
    return description


def load_policy(path: str | Path, device: str | torch.device = "cpu") -> Policy:
    """Read a policy, ready to act.

    Raises:
        CheckpointError: missing, damaged, or its weights do not fit its description.
    """
    description = describe_policy(path)
    try:
        algorithm = make_algorithm(
            shape_from_dict(description["shape"]),
            from_dict(AlgorithmConfig, description["algorithm"]),
            ValueRange(**description["value_range"]),
        )
        tokenizer = tokenizer_from_dict(description["tokenizer"])
        policy = Policy(algorithm, tokenizer, description["task"], description["config"])
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"the description of checkpoint {path} is damaged: {error}") from error
    load_networks(algorithm.networks, read_tensors(find_policy(path), NAME, device), str(path))
    algorithm.to(device).eval()
    return policy


def load_networks(networks: torch.nn.Module, weights: dict[str, torch.Tensor], source: str) -> None:
    """Load `weights` into `networks`.

    Raises:
        CheckpointError: a tensor is missing, unknown or of another shape; names the first.
    """
    expected = networks.state_dict()
    for key in [*expected, *weights]:
        if key not in weights:
            raise CheckpointError(f"checkpoint {source} is of another model: it lacks {key}")
        if key not in expected:
            raise CheckpointError(f"checkpoint {source} is of another model: it has {key}, which this one lacks")
        if weights[key].shape != expected[key].shape:
            raise CheckpointError(
                f"checkpoint {source} is of another model: {key} has shape {tuple(weights[key].shape)}, "
                f"here {tuple(expected[key].shape)}. Use the same model=, tokenization.bins and sim= as its run"
            )
    networks.load_state_dict(weights)
