"""What a U-Net of small kernels lacks: every level sees its whole frame, and the whole segment.

Which instrument plays is told by all harmonics together and by how sound moves over a segment;
neither fits under a kernel.

Conventions: feature maps are (B, C, F, T); what comes out has the size of what went in, and is much
the same before training.

References: Choi et al., "Investigating U-Nets with various intermediate blocks for
spectrogram-based singing voice separation", ISMIR 2020 (time-distributed fully connected layers);
Cao et al., "GCNet: non-local networks meet squeeze-excitation networks and beyond", ICCV workshops
2019 (context added to every position).
"""

import torch
from torch import nn

__all__ = ["FrameMixer", "SegmentContext"]

SLOPE = 0.2
HIDDEN = 64
STATISTICS = 2  # of each channel and bin over time: mean and deviation


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
        return x + added


class SegmentContext(nn.Module):
    """Adds to each channel and bin what the means and deviations over time of all of them tell.

    Args:
        channels: C.
        bins: F.
    """

    def __init__(self, channels: int, bins: int) -> None:
        super().__init__()
        told = STATISTICS * channels * bins
        last = nn.Linear(HIDDEN, channels * bins)
        nn.init.zeros_(last.weight)
        self.told = nn.Sequential(
            nn.BatchNorm1d(told), nn.Linear(told, HIDDEN), nn.LeakyReLU(SLOPE), last
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, C, F, T)."""
        single = x.float()
        deviation = (single.var(dim=3, correction=0) + 1e-5).sqrt()
        told: torch.Tensor = self.told(torch.cat([single.mean(dim=3), deviation], dim=1).flatten(1))
        return x + told.reshape(*x.shape[:3], 1)
