"""The plans of the scores: which mixtures a protocol asks about.

Conventions: as in `stemwise.sampling`; plans here have V = 1 and no gains.

References: section IV-B of the paper; what is scored is said in `stemwise.scores.mes`, and which
songs in `stemwise.evaluation`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stemwise.parts import PARTS
from stemwise.sampling import Plan, Segments

__all__ = ["Pseudo", "cross_plan", "normal_plan", "tempo_groups"]


@dataclass(frozen=True)
class Pseudo:
    """The pseudo-pieces of one part and one group of songs, as a plan with its labels.

    Attributes:
        plan: (B, 1, I); one mixture per segment of each pseudo-piece.
        targets: (B,) song of the target part; the label.
        backgrounds: (B,) song of the other four parts.
    """

    plan: Plan
    targets: NDArray[np.int64]
    backgrounds: NDArray[np.int64]


def tempo_groups(segments: Segments, size: int, seed: int) -> list[NDArray[np.int64]]:
    """Return groups of `size` songs of neighbouring tempo, as rows, one piece per song.

    The order within a group is drawn from `seed`; the songs that fill no group are left out.
    """
    rng = np.random.default_rng(seed)
    _, rows = np.unique(segments.songs, return_index=True)
    rows = rows[np.lexsort((rows, segments.tempos_bpm[rows]))]
    return [rng.permutation(rows[i : i + size]) for i in range(0, len(rows) - size + 1, size)]


def cross_plan(segments: Segments, part: int, group: NDArray[np.int64], targets: int) -> Pseudo:
    """Cross the `part` of the first `targets` songs of `group` with the rest of the other songs.

    Every target meets every background: T x (G - T) pseudo-pieces. All stems of a mixture are taken
    at the same segment of their piece (facts of section IV-B2); a segment counts if the target part
    sounds in it and the background reaches as far.
    """
    pieces, starts, labels = [], [], []
    for target in group[:targets]:
        for background in group[targets:]:
            length = min(len(segments.sounding[target]), len(segments.sounding[background]))
            for s in np.flatnonzero(segments.sounding[target][:length, part]):
                row = np.full(len(PARTS), segments.pieces[background])
                row[part] = segments.pieces[target]
                pieces.append(row)
                starts.append(np.full(len(PARTS), s * segments.hop_samples))
                labels.append((segments.songs[target], segments.songs[background]))
    shape = (-1, 1, len(PARTS))
    where = np.array(pieces, np.int64).reshape(shape)
    plan = Plan(
        where, np.array(starts, np.int64).reshape(shape), np.zeros(where.shape),
        segments.length_samples,
    )  # fmt: skip
    songs = np.array(labels, np.int64).reshape(-1, 2)
    return Pseudo(plan, songs[:, 0], songs[:, 1])


def normal_plan(segments: Segments) -> Plan:
    """Return every segment of every piece with all of its parts, in order, (B, 1, I)."""
    places = [
        (piece, s * segments.hop_samples)
        for piece, table in zip(segments.pieces, segments.sounding, strict=True)
        for s in range(len(table))
    ]
    grid = np.array(places, np.int64).reshape(-1, 2)
    shape = (len(grid), 1, len(PARTS))
    return Plan(
        np.broadcast_to(grid[:, 0, None, None], shape),
        np.broadcast_to(grid[:, 1, None, None], shape),
        np.zeros(shape),
        segments.length_samples,
    )
