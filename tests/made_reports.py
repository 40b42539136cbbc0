"""Invented reports and exhibits: what an evaluation hands to a report, without an evaluation."""

import copy

import numpy as np

from stemwise.evaluation.exhibits import Confusion, Exhibits, Points, Separated
from stemwise.parts import PARTS

SONGS = (
    "First Song", "second_song", "$ong_3$ costs 5", "日本の歌", "a very long title indeed, Op. 5",
    "b|ar", "<b>old</b>", "naïve", "nine", "ten",
)  # fmt: skip
_MODEL = {
    "name": "made_cascade", "method": "cascade", "takes_stems": False,
    "fingerprint": "64b11f041c47acd1", "sample_rate_hz": 22050, "parameters": 3145728,
    "recipe": "made_cascade", "summary": "Invented, for tests.", "seed": 0, "commit": "a105edf",
    "core_minutes": 98.7,
}  # fmt: skip
_MADE = {
    "command": "stemwise evaluate runs/x --corpus data/band", "commit": "abc1234",
    "date": "2026-11-23", "machine": "2 cores, no GPU", "device": "cpu", "torch": "2.13.0+cpu",
    "stemwise": "0.3.0",
}  # fmt: skip


def made_report(shift=0.0, parts=PARTS, **model):
    """Return a report of `parts`; `shift` moves its scores, `model` replaces facts of its model."""
    report = {
        "format": "stemwise-report-1",
        "model": _MODEL | model,
        "made": dict(_MADE),
        "corpus": {"name": "band", "digest": "0123456789abcdef"},
        "split": "test", "songs": 136, "pieces": 137, "protocol": "pseudo-10x5", "groups": 9,
        "segment_seconds": 10.0, "normal": {}, "pseudo": {}, "sdr": {},
    }  # fmt: skip
    for i, part in enumerate(PARTS):
        if part not in parts:
            continue
        normal, pseudo, leakage = 0.921 - 0.05 * i + shift, 0.87 - 0.08 * i + shift, 0.12 + 0.03 * i
        report["normal"][part] = {
            "accuracy": normal, "interval": [normal - 0.021, normal + 0.023], "chance": 0.00735,
            "queries": 1020, "labels": 136,
            "versions": {"accuracy": 0.402 + 0.01 * i, "interval": [0.303, 0.504],
                         "queries": 300, "chance": 0.0101},
            "hubness": {"skewness": 1.93 + i, "largest": 0.041, "never": 0.213},
            "presence_auc": 0.887 - 0.01 * i,
            "presence_brier": 0.11 + 0.01 * i,
        }  # fmt: skip
        report["pseudo"][part] = {
            "accuracy": pseudo, "interval": [pseudo - 0.03, pseudo + 0.031], "leakage": leakage,
            "leakage_interval": [leakage - 0.03, leakage + 0.03], "chance": 0.1, "queries": 3600,
            "labels": 10, "spread": 0.034, "groups": 9,
        }  # fmt: skip
        sdr = 5.43 - i + shift
        report["sdr"][part] = {
            "sdr_db": sdr, "si_sdr_db": sdr - 0.6, "interval_db": [sdr - 0.31, sdr + 0.32],
            "segments": 480 + i, "dropped_windows": 12 + i,
        }  # fmt: skip
    agreement = {"agreement": 0.714, "interval": [0.652, 0.771], "triplets": 211}
    report["abx"] = {
        "XAB": {"drums": {"total": agreement, "timbre": agreement | {"agreement": None}},
                "mix": {"total": agreement | {"agreement": 0.683}}},
        "XYC": {},
        "skipped": 3,
    }  # fmt: skip
    return copy.deepcopy(report)


def made_exhibits(parts=PARTS, segments=40):
    """Return exhibits of `parts`: ten targets by five backgrounds, a map, a segment taken apart."""
    dice = np.random.default_rng(0)
    confusions, points, separated = {}, {}, {}
    for i, part in enumerate(parts):
        votes = dice.integers(0, 4, (10, 10)) + np.diag(dice.integers(20, 60, 10))
        right = np.clip(dice.normal(0.9 - 0.1 * i, 0.15, (10, 5)), 0, 1)
        right[2, 3] = np.nan
        confusions[part] = Confusion(SONGS, SONGS[:5], votes, right)
        songs = np.arange(segments) % len(SONGS)
        middles = dice.normal(0, 1, (len(SONGS), 128))
        block = middles[songs] + 1.5 * dice.normal(0, 1, (segments, 128))
        points[part] = Points(block.astype(np.float32), songs, SONGS)
        bins, frames = np.mgrid[0:64, 0:80]
        stem = -20 - 0.6 * bins - 10.0 * (frames % 16 > 3 + i) + dice.normal(0, 2, bins.shape)
        noise = dice.normal(0, 4, bins.shape)
        separated[part] = Separated(
            (stem + 12 + noise).astype(np.float32), stem.astype(np.float32),
            (stem - 3 + noise).astype(np.float32), 10.0, 22050, 5.4 - i, SONGS[i],
        )  # fmt: skip
    return Exhibits(confusions, points, separated)
