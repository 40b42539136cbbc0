"""SDR of models that separate.

Over the first 1,000 10-s segments in which all five parts sound (rule A), each heard as a random
subset of its stems (`stemwise.protocols.sdr_plan`); a part is scored where it is in the subset.
`stemwise.scores.sdr` says which SDR. It is taken at the model's rate. Its interval is of 95 % over
songs.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from stemwise.corpora.bank import Bank
from stemwise.evaluation.exhibits import Separated
from stemwise.evaluation.subject import Progress, heard, no_progress
from stemwise.parts import PARTS
from stemwise.protocols import sdr_plan
from stemwise.sampling import Segments
from stemwise.scores.interval import interval
from stemwise.scores.sdr import framewise_sdr, mean_sdr, si_sdr
from stemwise.spectrogram import Magnitude

__all__ = ["SDR_SEGMENTS", "sdr_scores"]

SDR_SEGMENTS = 1000
SHOWN_PARTS = 4  # that sound at least in the segment that is drawn
N_FFT, FLOOR = 1024, 1e-5


def sdr_scores(
    bank: Bank,
    segments: Segments,
    separate: Callable[[torch.Tensor], torch.Tensor],
    parts: Sequence[str] = PARTS,
    *,
    count: int = SDR_SEGMENTS,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress = no_progress,
) -> tuple[dict[str, dict[str, Any]], dict[str, Separated]]:
    """Return SDR and SI-SDR of each part, and a segment of each to draw.

    Args:
        bank: stems at the model's rate.
        segments: by rule A.
        separate: (B, N) to the parts (B, 5, N).
        parts: those to score.
        count: segments at most, before the draw of their stems.
        seed: of that draw.
        device: where `separate` runs.
        progress: called with (segments separated, segments in all).
    """
    plan, present = sdr_plan(segments, seed, count)
    songs = [bank.pieces[int(piece)].song for piece in plan.pieces[:, 0].max(axis=1)]
    _, songs_coded = np.unique(songs, return_inverse=True)
    rate_hz = bank.sample_rate_hz
    windows_db: dict[str, list[torch.Tensor]] = {part: [torch.zeros(0, 1)] for part in parts}
    si_sdr_db: dict[str, list[torch.Tensor]] = {part: [torch.zeros(0)] for part in parts}
    shown: dict[str, Separated] = {}
    for rows, stems in heard(bank, plan, device, progress):
        mixtures = stems.sum(dim=1)
        with torch.inference_mode():
            estimates = separate(mixtures).float()
        for part in parts:
            i = PARTS.index(part)
            here = torch.from_numpy(present[rows, i]).to(device)
            sounds = {"reference": stems[here, i], "estimate": estimates[here, i]}
            found_db = framewise_sdr(**sounds, sample_rate_hz=rate_hz).cpu()
            windows_db[part].append(found_db)
            si_sdr_db[part].append(si_sdr(**sounds).cpu())
            full = np.flatnonzero(present[rows, i] & (present[rows].sum(axis=1) >= SHOWN_PARTS))
            if len(full) and part not in shown:
                b = int(full[0])
                own_db = found_db[int(present[rows, i][:b].sum())].nanmean().item()
                waves = torch.stack([mixtures[b], stems[b, i], estimates[b, i]]).cpu()
                shown[part] = _separated(waves, rate_hz, own_db, songs[rows.start + b])
    scores = {}
    for part in parts:
        of_part = songs_coded[present[:, PARTS.index(part)]]
        segments_db = torch.cat([x for x in windows_db[part] if len(x)] or windows_db[part])
        score = mean_sdr(segments_db, torch.cat(si_sdr_db[part]))
        scores[part] = asdict(score) | {
            "interval_db": interval(segments_db.nanmean(dim=-1).numpy(), of_part)
        }
    return scores, shown


def _separated(waves: torch.Tensor, rate_hz: int, sdr_db: float, song: str) -> Separated:
    """Return the magnitudes of mixture, reference and estimate, (3, N)."""
    full_scale = N_FFT / 4  # of a sine, under a Hann window
    magnitude = Magnitude(N_FFT, N_FFT // 2).magnitude(waves) / full_scale
    level_db = (20 * magnitude.clamp(min=FLOOR).log10()).numpy()
    seconds = waves.shape[-1] / rate_hz
    return Separated(level_db[0], level_db[1], level_db[2], seconds, rate_hz, sdr_db, song)
