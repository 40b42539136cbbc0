"""The plans of the scores: which mixtures a protocol asks about.

Conventions: as in `stemwise.sampling`; plans here have V = 1 and no gains.

References: section IV-B of the paper; what is scored is said in `stemwise.scores.mes`, and which
songs in `stemwise.evaluation`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stemwise.parts import PARTS
from stemwise.sampling import Plan, Segments, Stream, draw_subset, generator

__all__ = [
    "Pseudo", "cross_plan", "full_cross", "listed_plan", "normal_plan", "sdr_plan", "tempo_groups",
]  # fmt: skip


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

    Songs of unknown tempo (nan) come last. The order within a group is drawn from `seed`; the songs
    that fill no group are left out.
    """
    rng = np.random.default_rng(seed)
    _, rows = np.unique(segments.songs, return_index=True)
    rows = rows[np.lexsort((rows, segments.tempos_bpm[rows]))]
    return [rng.permutation(rows[i : i + size]) for i in range(0, len(rows) - size + 1, size)]


def listed_plan(segments: Segments, part: int, backgrounds: Mapping[int, Sequence[int]]) -> Pseudo:
    """Make pseudo-pieces by a list: the `part` of each target over each of its backgrounds.

    `backgrounds` maps the row of a target's piece to the rows of the pieces that give it the other
    four parts; the target itself as background is the real piece. All stems of a mixture are taken
    at the same segment of their piece (as in the authors' published code); a segment counts if the
    target part sounds in it and the background reaches as far. No stem is left out.
    """
    pieces, starts, labels = [], [], []
    for target, others in backgrounds.items():
        for background in others:
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


def cross_plan(segments: Segments, part: int, group: NDArray[np.int64], targets: int) -> Pseudo:
    """Cross the `part` of the first `targets` songs of `group` with the rest of the other songs.

    Every target meets every background: T x (G - T) pseudo-pieces, as `listed_plan` makes them.
    """
    others = group[targets:].tolist()
    return listed_plan(segments, part, {int(target): others for target in group[:targets]})


def full_cross(segments: Segments, part: int, group: NDArray[np.int64]) -> Pseudo:
    """Cross the `part` of every song of `group` with the rest of every song, itself included.

    G x G pseudo-pieces, as `listed_plan` makes them; G of them are real pieces.
    """
    return listed_plan(segments, part, {int(target): group.tolist() for target in group})


def sdr_plan(segments: Segments, seed: int, count: int = 1000) -> tuple[Plan, NDArray[np.bool_]]:
    """Return the first `count` segments in which all parts sound, each with a subset of its stems.

    The subset is uniform over the 31 that are not empty, and depends on `seed` and the segment
    alone. Choice: the authors' published code draws a random subset and does not fix which.

    Returns:
        The plan (B, 1, I), B at most `count`, -1 for parts left out; and present (B, I), true for
        parts that are heard: only these are scored.
    """
    rows = np.flatnonzero(segments.table.all(axis=1))[:count]
    present = np.zeros((len(rows), len(PARTS)), bool)
    for i, row in enumerate(rows.tolist()):
        present[i] = draw_subset(segments.table[row], generator(Stream.SDR, seed, row))
    pieces = np.where(present, segments.pieces[segments.rows[rows]][:, None], -1)[:, None]
    starts = np.repeat(segments.starts[rows][:, None, None], len(PARTS), axis=2)
    return Plan(pieces, starts, np.zeros(pieces.shape), segments.length_samples), present


def normal_plan(segments: Segments) -> Plan:
    """Return every segment of every piece with all of its parts, in order, (B, 1, I)."""
    shape = (len(segments.rows), 1, len(PARTS))
    return Plan(
        np.broadcast_to(segments.pieces[segments.rows][:, None, None], shape),
        np.broadcast_to(segments.starts[:, None, None], shape),
        np.zeros(shape),
        segments.length_samples,
    )
