"""Baselines that need no training: what a score is worth must be seen beside them.

- **mfcc**: the mixture's mel-frequency cepstral coefficients 1 to 20 (of 128 mel bands; the 0th,
  the level, is left out): their means and deviations over time, and those of their differences from
  frame to frame; 80 numbers, the same for every part, each divided by its deviation over segments
  of the corpus's training songs.
- **stem-mel**: the mean over time of the log-mel spectrogram (128 bands, dB) of the *true stem*:
  what a plain descriptor of timbre reaches where separation is perfect. No fair rival to what hears
  mixtures.
- **chance**: random numbers that hear nothing.

Convention: the first numbers of a block are used, the rest are zero, which changes no distance.

References: Logan, "Mel frequency cepstral coefficients for music modeling", ISMIR 2000; the
coefficients are librosa's (orthonormal DCT-II of the mel spectrogram of power, in dB).
"""

from collections.abc import Callable

import numpy as np
import torch
from scipy.fft import dct

from stemwise.corpora.bank import Bank
from stemwise.evaluation.subject import Subject, choose_device, heard
from stemwise.parts import BLOCK_DIMENSIONS, PARTS
from stemwise.protocols import normal_plan
from stemwise.sampling import Plan
from stemwise.spectrogram import LogMel

__all__ = ["BASELINES", "BASELINE_RATE_HZ", "baseline", "hears_stems", "mfcc"]

BASELINES = ("mfcc", "stem-mel", "chance")
BASELINE_RATE_HZ = 22050
N_FFT, HOP_SAMPLES, BANDS = 2048, 512, 128
COEFFICIENTS = 20
SCALING_SEGMENTS = 256
SEGMENT_SECONDS = 10.0


def baseline(name: str, bank: Bank, device: str = "auto") -> Subject:
    """Return one of ``BASELINES``.

    Args:
        name: of the baseline.
        bank: at ``BASELINE_RATE_HZ``; its training songs scale "mfcc".
        device: as `subject_of`.

    Raises:
        CorpusError: "mfcc", and the bank holds no training song.
        UsageError: no such device.
    """
    device = choose_device(device)
    front_end = LogMel(bank.sample_rate_hz, N_FFT, HOP_SAMPLES, BANDS).to(device)
    dice = torch.Generator().manual_seed(0)

    def statistics(mixture: torch.Tensor) -> torch.Tensor:
        return _statistics(mfcc(front_end, mixture))

    scale = _scale(bank, statistics, device) if name == "mfcc" else torch.ones(1)

    def cepstrum(mixture: torch.Tensor) -> torch.Tensor:
        numbers = statistics(mixture) / scale
        block = torch.nn.functional.pad(numbers, (0, BLOCK_DIMENSIONS - numbers.shape[1]))
        return block[:, None].expand(-1, len(PARTS), -1)

    def stem_mel(stems: torch.Tensor) -> torch.Tensor:
        level_db = 20 * front_end.bands(stems.flatten(0, 1)).clamp(min=1e-5).log10()
        return level_db.mean(dim=-1).reshape(*stems.shape[:2], BANDS)

    def chance(mixture: torch.Tensor) -> torch.Tensor:
        return torch.randn(len(mixture), len(PARTS), BLOCK_DIMENSIONS, generator=dice)

    embed = {"mfcc": cepstrum, "stem-mel": stem_mel, "chance": chance}[name]

    def describe(sound: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return embed(sound), sound.new_zeros(len(sound), len(PARTS))

    return Subject(describe, takes_stems=hears_stems(name), device=device, tells_presence=False)


def hears_stems(name: str) -> bool:
    """Tell whether a baseline hears the true stems."""
    return name == "stem-mel"


def mfcc(front_end: LogMel, waveform: torch.Tensor) -> torch.Tensor:
    """Return coefficients 1 to 20 (B, 20, T) of `waveform` (B, N)."""
    power = torch.matmul(front_end.filters, front_end.magnitude(waveform).square())
    level_db = 10 * power.clamp(min=1e-10).log10()
    cepstrum = dct(level_db.cpu().numpy(), axis=1, type=2, norm="ortho")
    return torch.from_numpy(cepstrum[:, 1 : COEFFICIENTS + 1]).to(waveform.device)


def _statistics(coefficients: torch.Tensor) -> torch.Tensor:
    """Return means and deviations over time of (B, C, T) and of its differences, (B, 4 C)."""
    series = (coefficients, coefficients.diff(dim=-1))
    return torch.cat([f for x in series for f in (x.mean(dim=-1), x.std(dim=-1))], dim=1)


def _scale(
    bank: Bank, statistics: Callable[[torch.Tensor], torch.Tensor], device: str
) -> torch.Tensor:
    """Return the deviation (80,) of each number over segments spread over the training songs."""
    plan = normal_plan(bank.segments("train", SEGMENT_SECONDS, SEGMENT_SECONDS))
    count = len(plan.pieces)
    rows = np.linspace(0, count - 1, min(SCALING_SEGMENTS, count)).astype(int)
    some = Plan(plan.pieces[rows], plan.starts[rows], plan.gains_db[rows], plan.length_samples)
    found = torch.cat([statistics(stems.sum(dim=1)) for _, stems in heard(bank, some, device)])
    return found.std(dim=0).clamp(min=1e-6)
