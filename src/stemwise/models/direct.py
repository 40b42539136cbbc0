"""Direct: one encoder turns the mixture into five blocks of 128 disentangled numbers.

Direct-Reconst gives the encoder five decoders, which must rebuild every part from that part's share
of the bottleneck; they are needed to train and to separate, not to embed.

Conventions: a mixture is (B, N) float32 in -1..1; an embedding is (B, I, D) with I = 5 parts and
D = 128 numbers; presence logits are (B, I). The conditioning of the paper is a fixed 0/1 mask:
`condition_1d` on the 640 numbers, `condition_3d` on the channels of the bottleneck.

References: section II-B (blocks, conditioning) and III-B1 of the paper (encoder, average over time,
flattening, one fully connected layer; decoders with skips). Departures, each a field of
`DirectShape`, so that the paper's network is one setting of them:

- log-mel input (`n_mels` above 0) in place of the linear magnitude;
- `pooling = "mean_std"` adds the deviation over time to the average (rhythm lives in time);
- `unit_blocks` scales every block to length 1 (the catalogue's distances assume it);
- `presence = "linear"`, a head of its own (the authors read presence off the length of a block,
  which unit blocks do not have).
"""

from typing import Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn
from torch.nn import functional

from stemwise.models.cascade import length_logits
from stemwise.models.extractor import Hashizume, NetworkName, bins_left
from stemwise.models.unet import Decoder, Encoder
from stemwise.parts import BLOCK_DIMENSIONS, PARTS
from stemwise.spectrogram import LogMel, Magnitude

__all__ = [
    "Direct", "DirectReconst", "DirectShape", "MaskHead", "condition_1d", "condition_3d",
]  # fmt: skip


class DirectShape(BaseModel):
    """Everything that fixes the network's layers and its input."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sample_rate_hz: int = Field(description="Rate of the waveform that comes in, in Hz.", gt=0)
    n_fft: int = Field(description="Length of the STFT window, in samples.", gt=0)
    hop_samples: int = Field(description="Step between STFT frames, in samples.", gt=0)
    n_mels: int = Field(description="Number of mel bins; 0: linear magnitude, all bins.", ge=0)
    f_min_hz: float = Field(default=0.0, description="Lower edge of the mel bins, in Hz.", ge=0)
    network: NetworkName = Field(
        default="unet", description="unet: the U-Net's encoder; hashizume: ten layers."
    )
    channels: tuple[int, ...] = Field(
        description="Channels of each layer (unet) or block (hashizume).", min_length=1
    )
    pooling: Literal["mean", "mean_std"] = Field(
        default="mean", description="What is kept of the frames: their mean, or deviation too."
    )
    unit_blocks: bool = Field(default=False, description="Scale each block of 128 to length 1.")
    presence: Literal["linear", "length"] = Field(
        default="linear", description="A head of its own, or the length of the block."
    )
    segment_seconds: float = Field(
        default=10.0, description="Length of the segments embedded in use, in seconds.", gt=0
    )

    @model_validator(mode="after")
    def _blocks_have_lengths(self) -> Self:
        if self.unit_blocks and self.presence == "length":
            raise ValueError("unit blocks have no length to read presence from: presence = linear")
        return self

    @property
    def bins_in(self) -> int:
        """Frequency bins that the encoder sees."""
        return self.n_mels or self.n_fft // 2 + 1

    @property
    def bins_out(self) -> int:
        """Frequency bins that are left after the encoder."""
        return bins_left(self.bins_in, self.network, len(self.channels))


def condition_1d(embedding: torch.Tensor, parts: torch.Tensor) -> torch.Tensor:
    """Return `embedding` (B, 5, 128) with all blocks but that of `parts` (B,) set to zero."""
    own = functional.one_hot(parts, len(PARTS)).to(embedding)
    return embedding * own[:, :, None]


def condition_3d(bottleneck: torch.Tensor, part: int) -> torch.Tensor:
    """Return `bottleneck` (B, C, F, T) with all channels but the part's fifth set to zero."""
    share = bottleneck.shape[1] // len(PARTS)
    mask = bottleneck.new_zeros(bottleneck.shape[1])
    mask[part * share : (part + 1) * share] = 1
    return bottleneck * mask[:, None, None]


class Direct(nn.Module):
    """Mixture (B, N) to embedding (B, 5, 128) and presence (B, 5)."""

    def __init__(self, shape: DirectShape) -> None:
        super().__init__()
        self.shape = shape
        stft = (shape.n_fft, shape.hop_samples)
        self.front_end: Magnitude = (
            LogMel(shape.sample_rate_hz, *stft, shape.n_mels, shape.f_min_hz)
            if shape.n_mels
            else Magnitude(*stft)
        )
        self.encoder = (
            Encoder(shape.channels) if shape.network == "unet" else Hashizume(shape.channels)
        )
        statistics = {"mean": 1, "mean_std": 2}[shape.pooling]
        width = shape.channels[-1] * shape.bins_out * statistics
        self.head = nn.Linear(width, len(PARTS) * BLOCK_DIMENSIONS)
        if shape.presence == "linear":
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
        with torch.autocast(pooled.device.type, enabled=False):  # distances need the digits
            embedding = self.head(pooled.float()).unflatten(1, (len(PARTS), BLOCK_DIMENSIONS))
        return functional.normalize(embedding, dim=-1) if self.shape.unit_blocks else embedding

    def forward(self, mixture: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the embedding (B, 5, 128) and the presence logits (B, 5) of `mixture` (B, N)."""
        pooled = self.pool(self.encoder(self.front_end(mixture)))
        embedding = self.blocks(pooled)
        if self.shape.presence == "linear":
            return embedding, self.presence_head(pooled)
        return embedding, length_logits(embedding)

    def embed(self, mixture: torch.Tensor) -> torch.Tensor:
        """Return the embedding (B, 5, 128) of `mixture` (B, N); in -1..1 with unit blocks only.

        Any length above half an STFT window will do. Silence gives a constant vector: ask
        `describe` whether a part sounds at all.
        """
        return self.describe(mixture)[0]

    def describe(self, mixture: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the embedding (B, 5, 128) and the presence (B, 5) in 0..1 of `mixture` (B, N)."""
        embedding, logits = self.forward(mixture)
        return embedding, logits.sigmoid()


class DirectReconst(Direct):
    """Direct with a decoder per part; all five share the encoder's skips, which are not masked."""

    def __init__(self, shape: DirectShape) -> None:
        self.check(shape)
        super().__init__(shape)
        self.decoders = nn.ModuleList(Decoder(shape.channels) for _ in PARTS)

    @staticmethod
    def check(shape: DirectShape) -> None:
        """Raise `ValueError` if decoders cannot be built for `shape`."""
        if shape.n_mels or shape.network != "unet" or shape.channels[-1] % len(PARTS):
            raise ValueError(
                "Direct-Reconst needs linear magnitudes (n_mels = 0), the U-Net's encoder and last "
                f"channels divisible by 5, got {shape.n_mels}, {shape.network}, {shape.channels}"
            )

    def reconstruct(
        self, maps: list[torch.Tensor], magnitude: torch.Tensor, part: int
    ) -> torch.Tensor:
        """Return the magnitudes (B, F, T) of one part: its decoder's mask times `magnitude`.

        Args:
            maps: the encoder's maps, the shallowest first.
            magnitude: (B, F, T) of the mixture.
            part: position in ``PARTS``.
        """
        *skips, bottleneck = maps
        mask = self.decoders[part](condition_3d(bottleneck, part), skips, magnitude.shape[-2:])
        reconstruction: torch.Tensor = mask[:, 0].float() * magnitude
        return reconstruction

    def separate(self, mixture: torch.Tensor) -> torch.Tensor:
        """Return the parts (B, 5, N) of `mixture` (B, N), with the mixture's phase."""
        spectrum = self.front_end.spectrum(self.front_end.covered(mixture))
        magnitude = spectrum.abs()
        assert isinstance(self.encoder, Encoder)
        maps = self.encoder.features(magnitude[:, None])
        phase = spectrum / magnitude.clamp(min=1e-8)
        parts = [
            self.front_end.waveform(self.reconstruct(maps, magnitude, i) * phase, mixture.shape[-1])
            for i in range(len(PARTS))
        ]
        return torch.stack(parts, dim=1)


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
