"""In which numbers a network is trained: float32, or bfloat16 for the products of matrices."""

from __future__ import annotations

from typing import Any

import torch
from accelerate import Accelerator

from qsft_robot.config.schema import ModelConfig, RoboticsTransformerConfig, TrainingConfig

BFLOAT16_WIDTH = 512
"""From this width on bfloat16 matrix products outweigh the cost of converting: below it float32 was faster, but for
processors that multiply matrices of bfloat16 in hardware (AMX)."""


class PreciseAccelerator(Accelerator):
    """An accelerator with a precision of its own: Accelerate has one for the whole process.

    Attributes:
        narrow: whether products of matrices are in bfloat16. Weights, optimiser and checkpoints are float32 in either
            case, and so is a policy that acts.
    """

    def __init__(self, narrow: bool) -> None:
        super().__init__()
        self.narrow = narrow

    def autocast(self, autocast_handler: Any = None) -> torch.autocast:
        """What the loss is computed in."""
        del autocast_handler
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.narrow)


def make_accelerator(model: ModelConfig, training: TrainingConfig) -> PreciseAccelerator:
    """What training runs on, and in which precision; `auto` takes bfloat16 where it is faster."""
    automatic = training.precision == "auto" and _bfloat16_is_faster(model)
    return PreciseAccelerator(training.precision == "bfloat16" or automatic)


def _bfloat16_is_faster(model: ModelConfig) -> bool:
    if getattr(model, "width", 0) >= BFLOAT16_WIDTH:
        return True
    on_processor = not torch.cuda.is_available()
    return isinstance(model, RoboticsTransformerConfig) and on_processor and _multiplies_bfloat16()


def _multiplies_bfloat16() -> bool:
    return bool(torch.cpu.get_capabilities().get("amx_bf16", False))
