"""From a spectrogram to the numbers of a segment: encoder, average over time, one linear layer.

Conventions: spectrograms are (B, 1, F, T); pooled features (B, W) are flattened channel-major.

References: sections III-A1 and III-B1 of the paper; Hashizume et al., "Music similarity calculation
of individual instrumental sounds using metric learning", APSIPA 2022 (the network of ten
convolutions, after the authors' later code).
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import nn

from stemwise.models.unet import Encoder
from stemwise.parts import BLOCK_DIMENSIONS

__all__ = ["Extractor", "Hashizume", "NetworkName", "bins_left"]

NetworkName = Literal["unet", "hashizume"]


class Hashizume(nn.Sequential):
    """Blocks of two 3 x 3 convolutions with batch norm and ReLU; max pooling between the blocks.

    In: (B, 1, F, T). Out: (B, channels[-1], F', T'), each pooling halving F and T, rounding up.
    With the original's five blocks these are ten convolutions and four poolings.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        layers: list[nn.Module] = []
        for inside, outside in pairwise([1, *channels]):
            if layers:
                layers.append(nn.MaxPool2d(5, 2, 2))
            for width in (inside, outside):
                layers += [nn.Conv2d(width, outside, 3, padding=1), nn.BatchNorm2d(outside)]
                layers.append(nn.ReLU())
        super().__init__(*layers)


def bins_left(bins: int, network: NetworkName, layers: int) -> int:
    """Return how many of `bins` frequency bins are left after an encoder of `layers` layers."""
    halvings = layers if network == "unet" else layers - 1
    return -(-bins // (1 << halvings))


class Extractor(nn.Module):
    """Log-mel spectrogram of one part to its 128 numbers: no activation, no normalisation."""

    def __init__(self, bins: int, channels: Sequence[int], network: NetworkName = "unet") -> None:
        super().__init__()
        self.encoder = (
            Encoder(channels, plain_last=True) if network == "unet" else Hashizume(channels)
        )
        width = channels[-1] * bins_left(bins, network, len(channels))
        self.head = nn.Linear(width, BLOCK_DIMENSIONS)

    def forward(self, spectrogram: torch.Tensor) -> torch.Tensor:
        """Return the numbers (B, 128) of `spectrogram` (B, 1, F, T)."""
        features: torch.Tensor = self.encoder(spectrogram)  # (B, C, F', T')
        pooled = features.float().mean(dim=-1).flatten(1)
        with torch.autocast(pooled.device.type, enabled=False):  # distances need the digits
            numbers: torch.Tensor = self.head(pooled)
        return numbers
