"""In which numbers a network is trained: float32, or bfloat16 for the products of matrices."""

from __future__ import annotations

import torch
from accelerate import Accelerator

from qsft_robot.config.schema import ModelConfig, RoboticsTransformerConfig, TrainingConfig

BFLOAT16_WIDTH = 512
"""From this width on bfloat16 matrix products outweigh the cost of converting: below it float32 was faster, but for
processors that multiply matrices of bfloat16 in hardware (AMX)."""


def make_accelerator(model: ModelConfig, training: TrainingConfig) -> Accelerator:
    """What training runs on, and whether with mixed precision; `auto` takes bfloat16 where it is faster.

    Weights, optimiser and checkpoints are float32 in either case, and so is a policy that acts.
    """
    narrow = training.precision == "bfloat16" or (training.precision == "auto" and _bfloat16_is_faster(model))
    return Accelerator(mixed_precision="bf16" if narrow else "no")


def _bfloat16_is_faster(model: ModelConfig) -> bool:
    if getattr(model, "width", 0) >= BFLOAT16_WIDTH:
        return True
    on_processor = not torch.cuda.is_available()
    return isinstance(model, RoboticsTransformerConfig) and on_processor and _multiplies_bfloat16()


def _multiplies_bfloat16() -> bool:
    return bool(torch.cpu.get_capabilities().get("amx_bf16", False))
