"""Agreement with the answers of a listening test, part by part.

Listeners heard the stems, the model hears the mixture at the same place and is asked for the part's
block (Clean hears the stems as well); about whole mixtures it is asked for all five blocks at once.
Choice: the latter; the authors give no rule for them. Intervals are of 95 % over the songs of the
references. `stemwise.corpora.abx` tells of the test, `stemwise.scores.abx` of the score.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from stemwise.corpora.abx import CRITERIA, MIX, Clip, Triplet
from stemwise.corpora.bank import Bank
from stemwise.errors import CorpusError
from stemwise.evaluation.subject import Progress, Subject, describe_plan, no_progress
from stemwise.parts import PARTS
from stemwise.sampling import Plan
from stemwise.scores.abx import agreed, majority
from stemwise.scores.interval import interval

__all__ = ["abx_scores"]


def abx_scores(
    bank: Bank,
    triplets: Sequence[Triplet],
    subject: Subject,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Return the agreement by test, by part (or "mix") and by criterion; "skipped" are triplets.

    A triplet is skipped if a piece of it is not in the bank, or its part not the subject's.

    Raises:
        CorpusError: the bank holds none of the pieces.
    """
    place_of = {piece.identifier: p for p, piece in enumerate(bank.pieces)}
    asked = (*subject.parts, MIX) if len(subject.parts) == len(PARTS) else subject.parts
    known = [
        t for t in triplets
        if t.part in asked and all(clip.song in place_of for clip in (t.reference, t.a, t.b))
    ]  # fmt: skip
    if not known:
        raise CorpusError(
            f"{bank.directory} holds none of the songs of the listening test; they are of "
            "Slakh2100's test split: prepare it with `stemwise data slakh`"
        )
    clips = list(dict.fromkeys(clip for t in known for clip in (t.reference, t.a, t.b)))
    embedding, _ = describe_plan(bank, _plan(bank, clips, place_of), subject, progress)
    row_of = {clip: row for row, clip in enumerate(clips)}
    report: dict[str, Any] = {"XAB": {}, "XYC": {}, "skipped": len(triplets) - len(known)}
    for test in ("XAB", "XYC"):
        for part in asked:
            own = [t for t in known if (t.test, t.part) == (test, part)]
            if own:
                report[test][part] = _agreements(own, embedding, row_of)
    return report


def _plan(bank: Bank, clips: Sequence[Clip], place_of: dict[str, int]) -> Plan:
    """Return the mixtures (B, 1, I) of clips, all of the length of the longest."""
    rate_hz = bank.sample_rate_hz
    pieces = np.array([place_of[clip.song] for clip in clips])
    starts = np.array([round(clip.start_seconds * rate_hz) for clip in clips])
    seconds = max(clip.stop_seconds - clip.start_seconds for clip in clips)
    shape = (len(clips), 1, len(PARTS))
    where, when = (np.broadcast_to(x[:, None, None], shape) for x in (pieces, starts))
    return Plan(where, when, np.zeros(shape), round(seconds * rate_hz))


def _agreements(
    triplets: Sequence[Triplet], embedding: torch.Tensor, row_of: dict[Clip, int]
) -> dict[str, Any]:
    part = triplets[0].part
    block = embedding.flatten(1) if part == MIX else embedding[:, PARTS.index(part)]
    reference, a, b = (
        block[[row_of[getattr(t, role)] for t in triplets]] for role in ("reference", "a", "b")
    )
    _, songs = np.unique([t.reference.song for t in triplets], return_inverse=True)
    found = {}
    for criterion in CRITERIA:
        sides = [majority(t.answers[criterion]) for t in triplets]
        right = agreed(reference=reference, a=a, b=b, majorities=sides).numpy()
        told = ~np.isnan(right)
        found[criterion] = {
            "agreement": float(right[told].mean()) if told.any() else None,
            "interval": interval(right, songs),
            "triplets": int(told.sum()),
        }
    return found
