"""Waveform to magnitude and log-mel spectrograms and back, as torch modules.

Conventions: waveforms are (B, N) float32 in -1..1 at ``sample_rate_hz``; magnitudes are (B, F, T),
what goes into a network is (B, 1, F, T). Frames are centred with reflected edges, so
T = 1 + N // hop: 259 frames for 3 s at 44.1 kHz, 862 for 10 s.

References: section IV-C of the paper (STFT 2048/512, 259 mel bins for the extractors); the authors'
published code (linear magnitude for the separators and Direct, neither logarithm nor scaling);
Slaney's Auditory Toolbox (1998) for the mel scale, with area-normalised triangles as in librosa.
"""

import math
from functools import cached_property

import numpy as np
import torch
from torch import nn
from torch.nn import functional

__all__ = ["LogFrequency", "LogMel", "Magnitude", "log_filterbank", "mel_filterbank"]

LINEAR_HZ_PER_MEL = 200.0 / 3
LOG_STEP = math.log(6.4) / 27
KNEE_HZ = 1000.0
GROUP = 16  # filters multiplied at once


def _hz_to_mel(frequency_hz: float) -> float:
    if frequency_hz < KNEE_HZ:
        return frequency_hz / LINEAR_HZ_PER_MEL
    return KNEE_HZ / LINEAR_HZ_PER_MEL + math.log(frequency_hz / KNEE_HZ) / LOG_STEP


def _mel_to_hz(mel: torch.Tensor) -> torch.Tensor:
    knee_mel = KNEE_HZ / LINEAR_HZ_PER_MEL
    return torch.where(
        mel < knee_mel, mel * LINEAR_HZ_PER_MEL, KNEE_HZ * torch.exp(LOG_STEP * (mel - knee_mel))
    )


def mel_filterbank(
    sample_rate_hz: int, n_fft: int, n_mels: int, f_min_hz: float = 0.0
) -> torch.Tensor:
    """Return Slaney's mel filterbank (n_mels, n_fft // 2 + 1), float32.

    Triangles between mel-equidistant edges from `f_min_hz` to half the sample rate, each with unit
    area over frequency; equal to ``librosa.filters.mel`` with its defaults.
    """
    bins_hz = torch.linspace(0, sample_rate_hz / 2, n_fft // 2 + 1, dtype=torch.float64)
    mels = torch.linspace(
        _hz_to_mel(f_min_hz), _hz_to_mel(sample_rate_hz / 2), n_mels + 2, dtype=torch.float64
    )
    edges_hz = _mel_to_hz(mels)[:, None]
    lower, centre, upper = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    rising = (bins_hz - lower) / (centre - lower)
    falling = (upper - bins_hz) / (upper - centre)
    triangles = torch.minimum(rising, falling).clamp(min=0)
    return (triangles * 2 / (upper - lower)).float()


def log_filterbank(sample_rate_hz: int, n_fft: int, n_bands: int, f_min_hz: float) -> torch.Tensor:
    """Return triangles of sum 1 over log-equidistant edges, (n_bands, n_fft // 2 + 1) float32.

    A musical interval is the same distance at every pitch, so that what a convolution learns of one
    note holds for all. Where edges lie closer than the bins of the STFT, a triangle is widened to
    one bin on either side.

    Raises:
        ValueError: `f_min_hz` is not within 0 and half the sample rate.
    """
    if not 0 < f_min_hz < sample_rate_hz / 2:
        raise ValueError(f"f_min_hz must be in 0 to {sample_rate_hz / 2} Hz, got {f_min_hz}")
    bins_hz = torch.linspace(0, sample_rate_hz / 2, n_fft // 2 + 1, dtype=torch.float64)
    octaves = math.log2(sample_rate_hz / 2 / f_min_hz)
    edges_hz = f_min_hz * 2 ** torch.linspace(0, octaves, n_bands + 2, dtype=torch.float64)[:, None]
    centre = edges_hz[1:-1]
    lower = torch.minimum(edges_hz[:-2], centre - bins_hz[1])
    upper = torch.maximum(edges_hz[2:], centre + bins_hz[1])
    rising = (bins_hz - lower) / (centre - lower)
    falling = (upper - bins_hz) / (upper - centre)
    triangles = torch.minimum(rising, falling).clamp(min=0)
    return (triangles / triangles.sum(dim=1, keepdim=True)).float()


class Magnitude(nn.Module):
    """Linear magnitude spectrogram: no logarithm, no scaling."""

    def __init__(self, n_fft: int, hop_samples: int) -> None:
        super().__init__()
        self.window: torch.Tensor
        self.n_fft = n_fft
        self.hop_samples = hop_samples
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)

    def spectrum(self, waveform: torch.Tensor) -> torch.Tensor:
        """Return the complex spectrogram (B, n_fft // 2 + 1, T) of `waveform` (B, N)."""
        self._check(waveform)
        return torch.stft(
            waveform, self.n_fft, self.hop_samples, window=self.window, return_complex=True
        )

    def magnitude(self, waveform: torch.Tensor) -> torch.Tensor:
        """Return the magnitude spectrogram (B, n_fft // 2 + 1, T) of `waveform` (B, N).

        Without a gradient; of a complex spectrogram, `abs` has one. In steps, and with NumPy's
        `abs` on a CPU, it takes half as long as by way of `spectrum`.
        """
        self._check(waveform)
        reach = self.n_fft // 2
        with torch.no_grad():
            before, after = waveform[:, 1 : reach + 1], waveform[:, -reach - 1 : -1]
            padded = torch.cat([before.flip(1), waveform, after.flip(1)], dim=1)  # fast, unlike pad
            frames = padded.unfold(1, self.n_fft, self.hop_samples) * self.window  # (B, T, n_fft)
            spectrum: torch.Tensor = torch.fft.rfft(frames)
            if spectrum.device.type != "cpu":
                return spectrum.abs().transpose(1, 2)
            magnitudes: torch.Tensor = torch.from_numpy(np.abs(spectrum.numpy()))
            return magnitudes.transpose(1, 2)

    def _check(self, waveform: torch.Tensor) -> None:
        if waveform.ndim != 2 or waveform.shape[-1] <= self.n_fft // 2:
            raise ValueError(
                f"expected (B, N) with N > {self.n_fft // 2} samples, got {tuple(waveform.shape)}"
            )

    def covered(self, waveform: torch.Tensor) -> torch.Tensor:
        """Return `waveform` (B, N), followed by silence up to a whole hop if its end needs it.

        The end lies up to a hop after the last frame's centre. Where that is more than a quarter
        of the window, the inverse would divide what a mask has changed by next to nothing. With a
        hop of a quarter of the window, as in the paper, the waveform comes back as it is.
        """
        beyond = waveform.shape[-1] % self.hop_samples
        missing = self.hop_samples - beyond if beyond > self.n_fft // 4 else 0
        return functional.pad(waveform, (0, missing))

    def waveform(self, spectrum: torch.Tensor, length_samples: int) -> torch.Tensor:
        """Return the waveform (B, N) of a complex spectrogram (B, n_fft // 2 + 1, T)."""
        return torch.istft(
            spectrum, self.n_fft, self.hop_samples, window=self.window, length=length_samples
        )

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        """Return the magnitude spectrogram (B, 1, n_fft // 2 + 1, T) of `waveform` (B, N)."""
        return self.magnitude(waveform)[:, None]


class LogMel(Magnitude):
    """Log-mel spectrogram in decibels, standardised per example.

    The mel filterbank is applied to the magnitude, then 20 log10(max(x, 1e-5)), then each example
    is shifted and scaled to mean 0 and deviation 1 over its bins and frames (the authors' code),
    which makes the result independent of the level. Silence gives zeros.
    """

    def __init__(
        self, sample_rate_hz: int, n_fft: int, hop_samples: int, n_mels: int, f_min_hz: float = 0.0
    ) -> None:
        super().__init__(n_fft, hop_samples)
        self.filters: torch.Tensor
        filters = mel_filterbank(sample_rate_hz, n_fft, n_mels, f_min_hz)
        self.register_buffer("filters", filters, persistent=False)

    @cached_property
    def _reach(self) -> list[tuple[slice, slice]]:
        return _reach(self.filters)

    def filtered(self, magnitude: torch.Tensor) -> torch.Tensor:
        """Return the magnitudes (…, F, T) of the mel bins from those of the STFT's bins (…, T)."""
        of_frames = magnitude.transpose(-1, -2)
        groups = [of_frames[..., bins] @ self.filters[rows, bins].T for rows, bins in self._reach]
        return torch.cat(groups, dim=-1).transpose(-1, -2)

    def bands(self, waveform: torch.Tensor) -> torch.Tensor:
        """Return the linear magnitudes (B, F, T) of the mel bins of `waveform` (B, N)."""
        few = 1 if waveform.device.type == "cpu" else len(waveform)  # what a cache can hold
        found = [self.filtered(self.magnitude(some)) for some in torch.split(waveform, few)]
        return torch.cat(found)

    def of_magnitude(self, magnitude: torch.Tensor) -> torch.Tensor:
        """Return the standardised log-mel (B, 1, F, T) of `magnitude` (B, n_fft // 2 + 1, T)."""
        return standardised_db(self.filtered(magnitude))[:, None]

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        """Return the standardised log-mel spectrogram (B, 1, F, T) of `waveform` (B, N)."""
        return self.of_magnitude(self.magnitude(waveform))


class LogFrequency(LogMel):
    """As `LogMel`, but for the bands, which lie evenly in the logarithm of frequency."""

    def __init__(
        self, sample_rate_hz: int, n_fft: int, hop_samples: int, n_bands: int, f_min_hz: float
    ) -> None:
        super().__init__(sample_rate_hz, n_fft, hop_samples, n_bands, f_min_hz)
        self.filters = log_filterbank(sample_rate_hz, n_fft, n_bands, f_min_hz)


def _reach(filters: torch.Tensor) -> list[tuple[slice, slice]]:
    """Return rows of `filters` in groups, and the columns in which a group is not zero.

    A filterbank is nearly all zeros; group by group, its product takes a third of the time.
    """
    groups = []
    for first in range(0, len(filters), GROUP):
        rows = slice(first, first + GROUP)
        heard = filters[rows].sum(dim=0).nonzero()[:, 0].tolist() or [0]
        groups.append((rows, slice(heard[0], heard[-1] + 1)))
    return groups


def standardised_db(magnitudes: torch.Tensor) -> torch.Tensor:
    """Return `magnitudes` (B, F, T) in dB, floored at -100 dB, with mean 0 and deviation 1."""
    level_db = 20 * torch.log10(magnitudes.clamp(min=1e-5))
    mean = level_db.mean(dim=(1, 2), keepdim=True)
    deviation = level_db.std(dim=(1, 2), keepdim=True)
    return (level_db - mean) / (deviation + 1e-5)
