"""A layer for U-Nets of small kernels, after which each bin has seen its whole frame.

Which instrument plays is told by all harmonics together, which do not fit under a kernel.

Conventions: feature maps are (B, C, F, T); what comes out is what went in, before training.

Reference: Choi et al., "Investigating U-Nets with various intermediate blocks for
spectrogram-based singing voice separation", ISMIR 2020 (time-distributed fully connected layers).
"""

from typing import Any

import torch
from torch import nn

from stemwise.models.unet import SLOPE

__all__ = ["FrameMixer"]


class FrameMixer(nn.Module):
    """Adds to each bin what two linear layers make of all bins of its frame and channel.

    Args:
        channels: C.
        bins: F, of which half are kept in between.
    """

    def __init__(self, channels: int, bins: int) -> None:
        super().__init__()
        self.inside, self.outside = nn.Linear(bins, bins // 2), nn.Linear(bins // 2, bins)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, C, F, T)."""
        rows = x.permute(0, 2, 3, 1)  # (B, F, T, C): one product for all channels and frames
        inside = self.inside.weight @ rows.flatten(2) + self.inside.bias[:, None]
        outside = self.outside.weight @ nn.functional.leaky_relu(inside, SLOPE)
        outside = outside + self.outside.bias[:, None]
        added: torch.Tensor = self.norm(outside.reshape(rows.shape).permute(0, 3, 1, 2))
        mixed = x + added
        maps: Any
        for maps in (x, mixed):
            if maps.requires_grad:  # norms take ten times as long to go back in another layout
                maps.register_hook(lambda g: g.contiguous(memory_format=torch.channels_last))
        return mixed
