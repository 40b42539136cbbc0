"""Signal-to-distortion ratio (SDR): how near is a separated part to its stem?

**Definition.** For a reference s and an estimate e of one part, within one window of a second,

    SDR = 10 log10( sum s^2 / sum (s - e)^2 )  dB.

This is the SDR of museval (BSS Eval version 4, "images", filters fixed over time) of one source at
its defaults: windows of 1 s, one after the other; a rest shorter than a window is left out, but a
signal shorter than a window is one window. museval splits s - e by means of 512-tap filters into
spatial error, interference and artefacts, and puts them together again for the SDR; the filters
cancel out. A score is the mean over the windows of a segment, then over segments.

*SI-SDR* compares the whole segment with the reference at its best scale,

    SI-SDR = 10 log10( |a s|^2 / |a s - e|^2 ),  a = <s, e> / |s|^2,

and so does not hear the estimate's loudness. Means are not taken off: music has none.

**Another number** is the SDR of ``bss_eval_sources`` (BSS Eval 2 and 3; mir_eval, fast_bss_eval,
torchmetrics): it allows the estimate any 512-tap filter of the reference and so is often several dB
higher. The two never belong in one table.

**Conventions.** (B, N) batch, sample: one part, mono. Computed in double precision. Where the
reference or the estimate is silent, all zero, there is no ratio: nan, which averages leave out and
count. A perfect estimate is +inf.

**Departure:** museval refuses a reference or an estimate that is silent throughout; here its
windows are nan.

References: table III of the paper (museval); Liutkus, Stöter, Ito, "The 2018 Signal Separation
Evaluation Campaign", LVA/ICA 2018; Vincent, Gribonval, Févotte, "Performance Measurement in Blind
Audio Source Separation", 2006; Le Roux, Wisdom, Erdogan, Hershey, "SDR - Half-baked or Well Done?",
ICASSP 2019.
"""

from dataclasses import dataclass

import torch

__all__ = ["Sdr", "framewise_sdr", "mean_sdr", "si_sdr"]


@dataclass(frozen=True)
class Sdr:
    """Score of one part.

    Attributes:
        sdr_db: mean over windows, then over segments; None if no window has an SDR.
        si_sdr_db: mean over segments; None likewise.
        segments: segments with at least one window that has an SDR.
        dropped_windows: windows without, where the reference or the estimate is silent.
    """

    sdr_db: float | None
    si_sdr_db: float | None
    segments: int
    dropped_windows: int


def framewise_sdr(
    *, reference: torch.Tensor, estimate: torch.Tensor, sample_rate_hz: int
) -> torch.Tensor:
    """Return the SDR (B, W) in dB of each window of a second, float64.

    Args:
        reference: (B, N) the true part.
        estimate: (B, N) what a model made of it.
        sample_rate_hz: samples in a window; W = max(1, N // sample_rate_hz).

    Raises:
        ValueError: shapes differ, are not (B, N), or hold no sample.
    """
    _check(reference, estimate)
    window_samples = min(sample_rate_hz, reference.shape[-1])
    s, e = (x.double().unfold(-1, window_samples, window_samples) for x in (reference, estimate))
    return _ratio_db(s, s - e, silent=_silent(s) | _silent(e))


def si_sdr(*, reference: torch.Tensor, estimate: torch.Tensor) -> torch.Tensor:
    """Return the SI-SDR (B,) in dB of `estimate` (B, N) against `reference` (B, N), float64.

    Raises:
        ValueError: shapes differ, are not (B, N), or hold no sample.
    """
    _check(reference, estimate)
    s, e = reference.double(), estimate.double()
    scaled = s * ((s * e).sum(dim=-1) / s.square().sum(dim=-1))[:, None]
    return _ratio_db(scaled, scaled - e, silent=_silent(s) | _silent(e))


def mean_sdr(windows_db: torch.Tensor, si_sdr_db: torch.Tensor) -> Sdr:
    """Return the score of segments with windows (B, W) and SI-SDR (B,), both in dB.

    Choice: a window without SDR is left out of its segment's mean, and a segment without any out
    of the score. The authors' published code is not clear on whether the rest of such a segment
    counts.
    """
    segments_db = windows_db.nanmean(dim=-1)
    segments_db = segments_db[~segments_db.isnan()]
    heard_db = si_sdr_db[~si_sdr_db.isnan()]
    return Sdr(
        sdr_db=segments_db.mean().item() if len(segments_db) else None,
        si_sdr_db=heard_db.mean().item() if len(heard_db) else None,
        segments=len(segments_db),
        dropped_windows=int(windows_db.isnan().sum()),
    )


def _check(reference: torch.Tensor, estimate: torch.Tensor) -> None:
    if reference.shape != estimate.shape or reference.ndim != 2 or not reference.shape[-1]:
        raise ValueError(
            "need reference and estimate of one shape (B, N), N above 0, got "
            f"{tuple(reference.shape)} and {tuple(estimate.shape)}"
        )


def _silent(wave: torch.Tensor) -> torch.Tensor:
    return (wave == 0).all(dim=-1)


def _ratio_db(signal: torch.Tensor, noise: torch.Tensor, silent: torch.Tensor) -> torch.Tensor:
    ratio = signal.square().sum(dim=-1) / noise.square().sum(dim=-1)
    return (10 * ratio.log10()).masked_fill(silent, torch.nan)
