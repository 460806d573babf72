"""The precision of training: each run has its own."""

import dataclasses

import pytest
import torch

from qsft_robot.config import TrainConfig, load
from qsft_robot.training.precision import make_accelerator


@pytest.mark.parametrize("order", [("float32", "bfloat16"), ("bfloat16", "float32")])
def test_runs_of_one_process_may_differ(order: tuple[str, str]) -> None:
    config = load(TrainConfig, [])
    found = []
    for precision in order:
        training = dataclasses.replace(config.training, precision=precision)
        with make_accelerator(config.model, training).autocast():
            found.append(str((torch.ones(2, 2) @ torch.ones(2, 2)).dtype))
    assert found == [f"torch.{precision}" for precision in order]
