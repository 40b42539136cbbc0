"""The encoder half of the U-Net.

Conventions: feature maps are (B, C, F, T); every layer halves F and T, rounding up.

References: section III-A1 and III-B1 of the paper; Jansson et al., "Singing voice separation with
deep U-Net convolutional networks", ISMIR 2017.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

__all__ = ["Encoder"]

KERNEL = 5
STRIDE = 2
SLOPE = 0.2


class Encoder(nn.Sequential):
    """Stride-2 5 x 5 convolutions, each followed by batch norm and LeakyReLU 0.2.

    In: (B, 1, F, T). Out: (B, channels[-1], ceil(F / 2**L), ceil(T / 2**L)) with L layers.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        widths = [1, *channels]
        super().__init__(
            *(
                nn.Sequential(
                    nn.Conv2d(inside, outside, KERNEL, STRIDE, KERNEL // 2),
                    nn.BatchNorm2d(outside),
                    nn.LeakyReLU(SLOPE),
                )
                for inside, outside in pairwise(widths)
            )
        )

    def features(self, spectrogram: torch.Tensor) -> list[torch.Tensor]:
        """Return the feature map of every layer, the shallowest first."""
        maps = []
        for layer in self:
            spectrogram = layer(spectrogram)
            maps.append(spectrogram)
        return maps
