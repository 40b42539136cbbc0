"""Subject and split to one report: MES-Normal, MES-Pseudo, presence, SDR, listeners.

The protocols are named and described in `stemwise.protocols`. **normal** is always part of the
report; one of the others makes its MES-Pseudo, by default slakh-50 where the split holds all of its
songs, and else pseudo-10x5. The songs of the Slakh lists are those of `stemwise.corpora.slakh`.

Leakage is None where no background meets two targets (slakh-50, slakh-40). Presence is scored by
the area under the ROC curve, and by the Brier score, over the segments of the real pieces: does the
part sound (rule A)?
"""

import hashlib
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from stemwise import __version__
from stemwise.corpora.abx import Triplet
from stemwise.corpora.bank import Bank
from stemwise.corpora.piece import MANIFEST_NAME, read_manifest
from stemwise.evaluation.choosing import choose_protocol
from stemwise.evaluation.exhibits import Exhibits, Separated
from stemwise.evaluation.identification import normal_scores, pseudo_scores
from stemwise.evaluation.listeners import abx_scores
from stemwise.evaluation.separation import SDR_SEGMENTS, sdr_scores
from stemwise.evaluation.subject import Bar, Subject, no_progress
from stemwise.protocols import Pseudo10x5, PseudoListed

__all__ = ["FORMAT", "about_run", "evaluate"]

FORMAT = "stemwise-report-1"
SEGMENT_SECONDS = 10.0


def evaluate(
    bank: Bank,
    subject: Subject,
    split: str = "test",
    protocol: Pseudo10x5 | PseudoListed | None = None,
    sdr_segments: int = SDR_SEGMENTS,
    listeners: Sequence[Triplet] = (),
    bar: Bar = lambda unit: nullcontext(no_progress),
) -> tuple[dict[str, Any], Exhibits]:
    """Return the scores of a subject on one split of a bank, and what a report draws.

    "normal" and "pseudo" are by part; "protocol" names that of "pseudo". "sdr" is there if the
    subject separates, "abx" if there are answers of listeners. What has no value, for example the
    score of a part that never sounds, is None.

    Args:
        bank: stems at the model's rate.
        subject: what is scored.
        split: "valid" for choosing, "test" for telling.
        protocol: of MES-Pseudo; default as `choose_protocol`.
        sdr_segments: segments that the SDR begins with; 0 leaves it out.
        listeners: triplets that people have answered, of pieces in the bank.
        bar: called with the unit of each stage, gives what is called with (done, total).

    Raises:
        CorpusError: no piece in the split, or too few for the protocol.
    """
    protocol = protocol or choose_protocol(bank, split)
    segments = bank.segments(split, SEGMENT_SECONDS, SEGMENT_SECONDS)
    ruled = bank.segments(split, SEGMENT_SECONDS, SEGMENT_SECONDS, protocol.rule)
    report: dict[str, Any] = {
        "format": FORMAT,
        "corpus": {"name": bank.directory.absolute().parent.name, "digest": _digest(bank)},
        "split": split,
        "songs": len(set(segments.songs.tolist())),
        "pieces": len(segments.pieces),
        "protocol": protocol.name,
        "segment_seconds": SEGMENT_SECONDS,
    }
    with bar("segments of real pieces") as progress:
        report["normal"], points = normal_scores(bank, segments, subject, progress)
    with bar("galleries of pseudo-pieces") as progress:
        report["pseudo"], confusions = pseudo_scores(
            bank, ruled, subject, protocol, progress, _renderings(bank)
        )
    report["groups"] = max(score["groups"] for score in report["pseudo"].values())
    separated: dict[str, Separated] = {}
    if subject.separate and sdr_segments:
        with bar("segments separated") as progress:
            report["sdr"], separated = sdr_scores(
                bank, segments, subject.separate, subject.parts, count=sdr_segments,
                device=subject.device, progress=progress,
            )  # fmt: skip
    if listeners:
        with bar("clips of the listening test") as progress:
            report["abx"] = abx_scores(bank, listeners, subject, progress)
    told: dict[str, Any] = _without_nan(report)
    return told, Exhibits(confusions, points, separated)


def _without_nan(value: Any) -> Any:
    """Return `value` with None for nan and lists for tuples, as JSON has them."""
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_without_nan(inner) for inner in value]
    return None if value != value else value


def _renderings(bank: Bank) -> dict[str, Mapping[str, Any]]:
    """Return how the pieces of a bank were made; nothing if its corpus is no longer there."""
    corpus = bank.directory.absolute().parent
    if not (corpus / MANIFEST_NAME).exists():
        return {}
    return {piece.identifier: piece.rendering for piece in read_manifest(corpus)}


def _digest(bank: Bank) -> str:
    """Return 16 hex digits that tell one corpus from another, whatever the bank's rate."""
    facts = [[p.identifier, p.song, p.split, p.tempo_bpm, p.source] for p in bank.pieces]
    text = json.dumps(sorted(facts, key=str))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def about_run(commit: str, device: str) -> dict[str, Any]:
    """Return where and with what a report is made."""
    return {
        "command": " ".join(["stemwise", *sys.argv[1:]]),
        "commit": commit,
        "machine": _machine(device),
        "device": device,
        "torch": torch.__version__,
        "stemwise": __version__,
    }


def _machine(device: str) -> str:
    """Return the processor and its cores, and the GPU if it is used."""
    described = Path("/proc/cpuinfo")
    lines = described.read_text().splitlines() if described.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.machine()
    gpu = torch.cuda.get_device_name() if device == "cuda" else "no GPU"
    return f"{processor}, {os.cpu_count()} cores, {gpu}"
