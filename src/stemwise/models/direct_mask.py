"""Direct-Mask, ours: one U-Net shares the mixture out among the parts; each part is read alone.

Why: in the paper, similarity by part follows how well the part is separated (Tables I to III), and
separating by one U-Net per part on linear magnitudes is what makes Cascade dear. Here one U-Net on
mel magnitudes gives the masks of all five parts at once, a bin being shared out wholly among them,
and five small extractors see what is left. It is not in the paper.

Conventions: a mixture is (B, N) float32 in -1..1; mel magnitudes are (B, F, T); masks are
(B, I, F, T) in 0..1 with sum 1 over the I = 5 parts; an embedding is (B, I, D) with D = 128, blocks
of length 1; presence logits are (B, I).

Presence is told by a part's share of the sound, or (`presence = "linear"`) by a head that a stage
of its own fits when all else is done, to tell whether the part sounds in every stretch (rule A).

Levels are relative to the mixture's mean magnitude, so that how loud a recording is does not
matter, and end at -60 dB, so that digital silence is no landmark.
"""

from copy import deepcopy
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.nn import functional

from stemwise.models.frame_mixer import FrameMixer
from stemwise.models.part_readers import MergedReaders, PartReader, PartReaders
from stemwise.models.unet import Decoder, Encoder, InPhases, without_norms
from stemwise.parts import PARTS
from stemwise.spectrogram import LogFrequency, LogMel

__all__ = ["DirectMask", "DirectMaskShape"]

FLOOR = 1e-3  # of a level, against the mixture's mean
DEPTH = 3.0  # what a logarithm of levels is divided by, to be about 1
LEAST_SHARE = 1e-4
STRETCH_SECONDS = 2.5  # rule A wants a part to sound in every one, of a ten-second segment
LEAST_BINS = 8  # of a layer whose bins see each other beyond its kernels
CUES = 3  # of each number of the bottleneck: its mean, least and greatest over time


class DirectMaskShape(BaseModel):
    """Everything that fixes the network's layers and its input."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sample_rate_hz: int = Field(description="Rate of the waveform that comes in, in Hz.", gt=0)
    n_fft: int = Field(description="Length of the STFT window, in samples.", gt=0)
    hop_samples: int = Field(description="Step between STFT frames, in samples.", gt=0)
    scale: Literal["mel", "log"] = Field(
        default="mel", description="Where bands lie: even in mel, or in the logarithm of frequency."
    )
    n_mels: int = Field(description="Number of bands.", gt=0)
    f_min_hz: float = Field(default=0.0, description="Lower edge of the bands, in Hz.", ge=0)
    mask_channels: tuple[int, ...] = Field(
        description="Channels of each layer of the U-Net.", min_length=2
    )
    mask_frames: bool = Field(
        default=False, description="Does each layer of the U-Net see whole frames?",
        exclude_if=lambda told: not told,  # models and runs from before keep their fingerprints
    )  # fmt: skip
    channels: tuple[int, ...] = Field(
        description="Channels of each layer of the extractors.", min_length=1
    )
    kept_frames: int = Field(
        default=0, description="Last layers of the extractors that keep every frame.", ge=0,
        exclude_if=lambda told: not told,
    )  # fmt: skip
    presence: Literal["share", "linear"] = Field(
        default="share", description="A part's share of the sound, or a head with a stage for it."
    )
    segment_seconds: float = Field(
        default=10.0, description="Length of the segments embedded in use, in seconds.", gt=0
    )


class DirectMask(nn.Module):
    """Mixture (B, N) to embedding (B, 5, 128) and presence (B, 5), by way of masks."""

    def __init__(self, shape: DirectMaskShape) -> None:
        super().__init__()
        self.shape = shape
        kind = LogMel if shape.scale == "mel" else LogFrequency
        self.front_end = kind(
            shape.sample_rate_hz, shape.n_fft, shape.hop_samples, shape.n_mels, shape.f_min_hz
        )
        self.encoder = Encoder(shape.mask_channels)
        self.decoder = Decoder(shape.mask_channels, outputs=len(PARTS), dropout=0.0)
        if shape.mask_frames:
            _mix_frames(self.encoder, self.decoder, shape)
        self.readers: Any = PartReaders(
            PartReader(shape.n_mels, shape.channels, shape.kept_frames) for _ in PARTS
        )
        self.presence_scale = nn.Parameter(torch.ones(len(PARTS)))
        self.presence_bias = nn.Parameter(torch.zeros(len(PARTS)))
        if shape.presence == "linear":
            bins_out = -(-shape.n_mels // (1 << len(shape.mask_channels)))
            width = CUES * shape.mask_channels[-1] * bins_out + len(PARTS)
            self.presence_head = nn.Sequential(
                nn.BatchNorm1d(width, affine=False), nn.Linear(width, len(PARTS))
            )

    def masks(self, mel: torch.Tensor) -> torch.Tensor:
        """Return the masks (B, 5, F, T) of the mixture's mel magnitudes (B, F, T)."""
        return self.shared_out(mel)[0]

    def shared_out(self, mel: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the masks, and the U-Net's bottleneck (B, C, F', T')."""
        levels = _levels(mel / _loudness(mel))[:, None]
        *skips, bottleneck = self.encoder.features(levels.to(memory_format=torch.channels_last))
        logits = self.decoder.logits(bottleneck, skips, mel.shape[-2:])
        return logits.float().softmax(dim=1), bottleneck

    def blocks(self, masks: torch.Tensor, mel: torch.Tensor) -> torch.Tensor:
        """Return the embedding (B, 5, 128) of a mixture that is shared out by `masks`."""
        embedding: torch.Tensor = self.readers(self._views(masks, mel))
        return embedding

    def pooled(self, mel: torch.Tensor) -> torch.Tensor:
        """Return what the last layers of the extractors are given, (B, 5, W)."""
        pooled: torch.Tensor = self.readers.pooled(self._views(self.masks(mel), mel))
        return pooled

    def _views(self, masks: torch.Tensor, mel: torch.Tensor) -> torch.Tensor:
        """Return each part's level and mask, (B, 5, 2, F, T)."""
        levels = _levels(masks * (mel / _loudness(mel))[:, None])
        levels = levels - levels.mean(dim=(2, 3), keepdim=True)
        deviation = torch.linalg.vector_norm(levels, dim=(2, 3), keepdim=True)  # faster than std
        levels = levels / (deviation / (levels[0, 0].numel() - 1) ** 0.5 + 0.1)
        return torch.stack([levels, 2 * masks - 0.5], dim=2)

    def presence(self, masks: torch.Tensor, mel: torch.Tensor) -> torch.Tensor:
        """Return the presence logits (B, 5): linear in the logarithm of the part's share."""
        share = _shares(masks, mel).mean(dim=2)
        logits: torch.Tensor = (share + LEAST_SHARE).log() * self.presence_scale
        return logits + self.presence_bias

    def cues(self, mel: torch.Tensor) -> torch.Tensor:
        """Return what the linear head tells presence from, (B, W), of mel magnitudes (B, F, T)."""
        return self.cues_of(*self.shared_out(mel), mel)

    def cues_of(
        self, masks: torch.Tensor, bottleneck: torch.Tensor, mel: torch.Tensor
    ) -> torch.Tensor:
        """Return the logarithm of each part's least share in any stretch, and the bottleneck's."""
        shares = _shares(masks, mel)
        frames = STRETCH_SECONDS * self.shape.sample_rate_hz / self.shape.hop_samples
        stretch = min(round(frames), shares.shape[2])
        least = functional.avg_pool1d(shares, stretch, max(1, stretch // 6)).amin(dim=2)
        deep = bottleneck.float()
        over_time = (deep.mean(dim=3), deep.amin(dim=3), deep.amax(dim=3))
        return torch.cat([(least + LEAST_SHARE).log(), torch.cat(over_time, 1).flatten(1)], dim=1)

    def forward(self, mixture: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the embedding (B, 5, 128) and the presence logits (B, 5) of `mixture` (B, N)."""
        mel = self.see(mixture)
        masks, bottleneck = self.shared_out(mel)
        if self.shape.presence == "linear":
            logits = self.presence_head(self.cues_of(masks, bottleneck, mel))
        else:
            logits = self.presence(masks, mel)
        return self.blocks(masks, mel), logits

    def see(self, mixture: torch.Tensor) -> torch.Tensor:
        """Return the mel magnitudes (B, F, T) of `mixture` (B, N)."""
        return self.front_end.bands(mixture)

    def embed(self, mixture: torch.Tensor) -> torch.Tensor:
        """Return the embedding (B, 5, 128) of `mixture` (B, N).

        Any length above half an STFT window will do. Silence gives a constant vector: ask
        `describe` whether a part sounds at all.
        """
        return self.describe(mixture)[0]

    def describe(self, mixture: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the embedding (B, 5, 128) and the presence (B, 5) in 0..1 of `mixture` (B, N)."""
        embedding, logits = self.forward(mixture)
        return embedding, logits.sigmoid()

    def merged(self) -> "DirectMask":
        """Return a copy for use that computes the same with fewer and larger steps."""
        quick = deepcopy(self).eval()
        without_norms(quick.encoder, quick.decoder)
        last: Any = quick.decoder.up[-1]
        quick.decoder.up[-1] = InPhases(last)
        quick.readers = MergedReaders(quick.readers)
        return quick.requires_grad_(False)

    def separate(self, mixture: torch.Tensor) -> torch.Tensor:
        """Return the parts (B, 5, N) of `mixture` (B, N), which add up to it, with its phase.

        A bin of the STFT gets the mean of the masks of the mel bins that it counts in, weighted as
        there; below the lowest and above the highest, that of the nearest.
        """
        front_end = self.front_end
        spectrum = front_end.spectrum(front_end.covered(mixture))
        masks = self.masks(front_end.filtered(spectrum.abs()))
        own = masks.transpose(2, 3) @ _spread(front_end.filters)  # (B, I, T, F of the STFT)
        parts = spectrum[:, None] * own.transpose(2, 3)
        waves = front_end.waveform(parts.flatten(0, 1), mixture.shape[-1])
        return waves.reshape(*parts.shape[:2], -1)


def _mix_frames(encoder: Encoder, decoder: Decoder, shape: DirectMaskShape) -> None:
    """Let each layer but the last see its whole frames, where these have bins enough."""
    layers = [*encoder, *reversed(decoder.after)]
    depths = [*range(1, len(encoder) + 1), *range(1, len(encoder))]
    for layer, depth in zip(layers, depths, strict=True):
        bins = -(-shape.n_mels // (1 << depth))
        if bins >= LEAST_BINS:
            layer.append(FrameMixer(shape.mask_channels[depth - 1], bins))


def _loudness(mel: torch.Tensor) -> torch.Tensor:
    """Return the mean magnitude (B, 1, 1)."""
    return mel.mean(dim=(1, 2), keepdim=True) + 1e-8


def _shares(masks: torch.Tensor, mel: torch.Tensor) -> torch.Tensor:
    """Return the part's share of the mixture's mean magnitude (B, 5, T), frame by frame."""
    return (masks * mel[:, None]).mean(dim=2) / _loudness(mel)


def _levels(relative: torch.Tensor) -> torch.Tensor:
    """Return the logarithm of magnitudes relative to the mean, scaled to be about 1."""
    return (relative + FLOOR).log() / DEPTH


def _spread(filters: torch.Tensor) -> torch.Tensor:
    """Return for each bin of the STFT the weights (mel bins, STFT bins) of the mel bins, sum 1."""
    heard = filters.sum(dim=0) > 0
    places = torch.arange(filters.shape[1], device=filters.device)
    nearest = (places[:, None] - places[heard]).abs().argmin(dim=1)
    own = filters[:, heard][:, nearest]
    return own / own.sum(dim=0, keepdim=True)
