"""Direct: one encoder turns the mixture into five blocks of 128 disentangled numbers.

Conventions: a mixture is (B, N) float32 in -1..1; an embedding is (B, I, D) with I = 5 parts and
D = 128 numbers; presence logits are (B, I).

References: section II-B and III-B1 of the paper (encoder, average over time, flattening, one fully
connected layer). Departures, each a field of `DirectShape`, so that the paper's network is one
setting of them:

- log-mel input at 22.05 kHz in place of the linear magnitude at 44.1 kHz (cost);
- `pooling = "mean_std"` adds the deviation over time to the average (rhythm lives in time);
- `unit_blocks` scales every block to length 1 (the catalogue's distances assume it);
- a linear presence head (the authors read presence off the length of a block, which unit blocks
  do not have).
"""

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.nn import functional

from stemwise.models.unet import Encoder
from stemwise.parts import BLOCK_DIMENSIONS, PARTS
from stemwise.spectrogram import LogMel

__all__ = ["Direct", "DirectShape", "MaskHead"]


class DirectShape(BaseModel):
    """Everything that fixes the network's layers and its input."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sample_rate_hz: int = Field(description="Rate of the waveform that comes in, in Hz.", gt=0)
    n_fft: int = Field(description="Length of the STFT window, in samples.", gt=0)
    hop_samples: int = Field(description="Step between STFT frames, in samples.", gt=0)
    n_mels: int = Field(description="Number of mel bins.", gt=0)
    f_min_hz: float = Field(default=0.0, description="Lower edge of the mel bins, in Hz.", ge=0)
    channels: tuple[int, ...] = Field(description="Channels of each encoder layer.", min_length=1)
    pooling: Literal["mean", "mean_std"] = Field(
        default="mean", description="What is kept of the frames: their mean, or deviation too."
    )
    unit_blocks: bool = Field(default=False, description="Scale each block of 128 to length 1.")
    segment_seconds: float = Field(
        default=10.0, description="Length of the segments embedded in use, in seconds.", gt=0
    )

    @property
    def bins_out(self) -> int:
        """Frequency bins that are left after the encoder."""
        return -(-self.n_mels // (1 << len(self.channels)))


class Direct(nn.Module):
    """Mixture (B, N) to embedding (B, 5, 128) and presence (B, 5)."""

    def __init__(self, shape: DirectShape) -> None:
        super().__init__()
        self.shape = shape
        self.front_end = LogMel(
            shape.sample_rate_hz, shape.n_fft, shape.hop_samples, shape.n_mels, shape.f_min_hz
        )
        self.encoder = Encoder(shape.channels)
        statistics = {"mean": 1, "mean_std": 2}[shape.pooling]
        width = shape.channels[-1] * shape.bins_out * statistics
        self.head = nn.Linear(width, len(PARTS) * BLOCK_DIMENSIONS)
        self.presence_head = nn.Linear(width, len(PARTS))

    def pool(self, features: torch.Tensor) -> torch.Tensor:
        """Average (B, C, F, T) over the frames and flatten, channel-major, to (B, W)."""
        pooled = features.mean(dim=-1).flatten(1)
        if self.shape.pooling == "mean_std":
            deviation = (features.var(dim=-1, correction=0) + 1e-6).sqrt().flatten(1)
            pooled = torch.cat([pooled, deviation], dim=1)
        return pooled

    def blocks(self, pooled: torch.Tensor) -> torch.Tensor:
        """Return the embedding (B, 5, 128) of pooled features (B, W)."""
        embedding = self.head(pooled).unflatten(1, (len(PARTS), BLOCK_DIMENSIONS))
        return functional.normalize(embedding, dim=-1) if self.shape.unit_blocks else embedding

    def forward(self, mixture: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the embedding (B, 5, 128) and the presence logits (B, 5) of `mixture` (B, N)."""
        pooled = self.pool(self.encoder(self.front_end(mixture)))
        return self.blocks(pooled), self.presence_head(pooled)

    def embed(self, mixture: torch.Tensor) -> torch.Tensor:
        """Return the embedding (B, 5, 128) of `mixture` (B, N), float32 in -1..1.

        Any length above half an STFT window will do. Silence gives a constant vector: ask
        `describe` whether a part sounds at all.
        """
        return self.describe(mixture)[0]

    def describe(self, mixture: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the embedding (B, 5, 128) and the presence (B, 5) in 0..1 of `mixture` (B, N)."""
        embedding, logits = self.forward(mixture)
        return embedding, logits.sigmoid()


class MaskHead(nn.Module):
    """Masks (B, 5, F, T) read off one encoder layer; an auxiliary task in training only.

    A 1 x 1 convolution gives every position of the layer its 2**L x 2**L patch of five logits,
    and a softmax over the parts shares each bin out among them. It asks the encoder to know, at
    each place, which part sounds: the aim of Direct-Reconst (section III-B) without its decoders.
    """

    def __init__(self, channels: int, layers: int) -> None:
        super().__init__()
        self.patch = 2**layers
        self.project = nn.Conv2d(channels, len(PARTS) * self.patch**2, 1)
        self.unfold = nn.PixelShuffle(self.patch)

    def forward(self, features: torch.Tensor, bins: int, frames: int) -> torch.Tensor:
        """Return masks (B, 5, bins, frames) in 0..1 that sum to 1 over the parts."""
        logits: torch.Tensor = self.unfold(self.project(features))[..., :bins, :frames]
        return logits.softmax(dim=1)
