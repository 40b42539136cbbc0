"""Whether a device is quick in bfloat16.

A CPU without AVX-512 or the like computes bfloat16 through slow general code: there, a training
step of the compact models takes three to four times as long as in single precision, and Muon's
products ten times and more (docs/log.md).
"""

from typing import Any

import torch

__all__ = ["is_quick_in_bfloat16"]


def is_quick_in_bfloat16(device: torch.device) -> bool:
    """Tell whether training on `device` gains by bfloat16."""
    if device.type != "cpu":
        return True
    onednn: Any = torch.backends.mkldnn
    return bool(onednn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported())
