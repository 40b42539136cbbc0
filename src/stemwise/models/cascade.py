"""Clean (stems in) and Cascade (mixture in): each part has networks of its own.

Conventions: a mixture is (B, N) float32 in -1..1, stems are (B, I, N); an embedding is (B, I, D)
with I = 5 parts and D = 128 numbers. The block of a part that the model was not made for is zero.

References: section II-A of the paper (Clean, Cascade), III-A1 (separator and extractor in series),
IV-C (259 mel bins).
"""

from typing import Self

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import nn

from stemwise.models.extractor import Extractor, NetworkName
from stemwise.models.unet import Separator
from stemwise.parts import BLOCK_DIMENSIONS, PARTS
from stemwise.spectrogram import LogMel

__all__ = ["Cascade", "CascadeShape", "Clean", "CleanShape", "length_logits"]


class CleanShape(BaseModel):
    """Everything that fixes the extractors' layers and their input."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sample_rate_hz: int = Field(description="Rate of the waveform that comes in, in Hz.", gt=0)
    n_fft: int = Field(description="Length of the STFT window, in samples.", gt=0)
    hop_samples: int = Field(description="Step between STFT frames, in samples.", gt=0)
    n_mels: int = Field(description="Number of mel bins of the extractors.", gt=0)
    network: NetworkName = Field(description="unet: the U-Net's encoder; hashizume: ten layers.")
    channels: tuple[int, ...] = Field(
        description="Channels of each layer (unet) or block (hashizume).", min_length=1
    )
    parts: tuple[str, ...] = Field(default=PARTS, description="The parts that have networks.")
    segment_seconds: float = Field(
        default=10.0, description="Length of the segments embedded in use, in seconds.", gt=0
    )

    @field_validator("parts")
    @classmethod
    def _known(cls, parts: tuple[str, ...]) -> tuple[str, ...]:
        if not parts or set(parts) - set(PARTS):
            raise ValueError(f"choose from {', '.join(PARTS)}")
        return tuple(part for part in PARTS if part in parts)


class CascadeShape(CleanShape):
    """The same with the separators before the extractors."""

    separator_channels: tuple[int, ...] = Field(
        description="Channels of each layer of the separators.", min_length=2
    )


def length_logits(embedding: torch.Tensor) -> torch.Tensor:
    """Return log ||block||, (B, I): the authors' presence logit, which their recipes weigh 0."""
    logits: torch.Tensor = embedding.norm(dim=-1).clamp(min=1e-6).log()
    return logits


class Clean(nn.Module):
    """Stems (B, 5, N) to embedding (B, 5, 128): the upper bound, for stems are not to be had."""

    def __init__(self, shape: CleanShape) -> None:
        super().__init__()
        self.shape = shape
        self.front_end = LogMel(shape.sample_rate_hz, shape.n_fft, shape.hop_samples, shape.n_mels)
        self.extractors = nn.ModuleDict(
            {part: Extractor(shape.n_mels, shape.channels, shape.network) for part in shape.parts}
        )

    def block(self, magnitude: torch.Tensor, part: str) -> torch.Tensor:
        """Return the 128 numbers (B, 128) of one part from its own magnitudes (B, F, T)."""
        with torch.autocast(magnitude.device.type, enabled=False):
            spectrogram = self.front_end.of_magnitude(magnitude)
        numbers: torch.Tensor = self.extractors[part](spectrogram)
        return numbers.float()

    def embed(self, stems: torch.Tensor, part: str | None = None) -> torch.Tensor:
        """Return the embedding (B, 5, 128) of `stems` (B, 5, N).

        With `part`, only its block is computed; the others are zero.
        """
        if stems.ndim != 3 or stems.shape[1] != len(PARTS):
            raise ValueError(f"expected stems (B, {len(PARTS)}, N), got {tuple(stems.shape)}")
        blocks = stems.new_zeros(len(stems), len(PARTS), BLOCK_DIMENSIONS)
        for name in (part,) if part else self.shape.parts:
            i = PARTS.index(name)
            blocks[:, i] = self.block(self.front_end.magnitude(stems[:, i]), name)
        return blocks

    def describe(self, stems: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the embedding (B, 5, 128) and the presence (B, 5) in 0..1 of `stems`."""
        embedding = self.embed(stems)
        return embedding, length_logits(embedding).sigmoid()


class Cascade(Clean):
    """Mixture (B, N) to embedding (B, 5, 128), by way of the separated parts."""

    shape: CascadeShape

    def __init__(self, shape: CascadeShape) -> None:
        super().__init__(shape)
        self.separators = nn.ModuleDict(
            {part: Separator(shape.separator_channels) for part in shape.parts}
        )
        self.frozen = False

    def embed(self, mixture: torch.Tensor, part: str | None = None) -> torch.Tensor:
        """Return the embedding (B, 5, 128) of `mixture` (B, N); of one part, as Clean's."""
        blocks = mixture.new_zeros(len(mixture), len(PARTS), BLOCK_DIMENSIONS)
        magnitude = self.front_end.magnitude(mixture)
        for name in (part,) if part else self.shape.parts:
            blocks[:, PARTS.index(name)] = self.block(self.separators[name](magnitude), name)
        return blocks

    def separate(self, mixture: torch.Tensor) -> torch.Tensor:
        """Return the parts (B, 5, N) of `mixture` (B, N), with the mixture's phase."""
        parts = mixture.new_zeros(len(mixture), len(PARTS), mixture.shape[-1])
        spectrum = self.front_end.spectrum(self.front_end.covered(mixture))
        magnitude = spectrum.abs()
        for part in self.shape.parts:
            scaled = spectrum * (self.separators[part](magnitude) / magnitude.clamp(min=1e-8))
            parts[:, PARTS.index(part)] = self.front_end.waveform(scaled, mixture.shape[-1])
        return parts

    def freeze_separators(self) -> None:
        """Hold the separators still from now on: their weights and their batch statistics."""
        self.separators.requires_grad_(False)
        self.frozen = True
        self.separators.eval()

    def train(self, mode: bool = True) -> Self:
        """Set training mode; frozen separators stay in eval mode."""
        super().train(mode)
        if self.frozen:
            self.separators.eval()
        return self
