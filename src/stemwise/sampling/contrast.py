"""Batches of contrast: every part of every mixture from another song.

Conventions: as in `stemwise.sampling`.

References: section II-B and III-B3 of the paper (pseudo-pieces, made anew for every batch).
Departure: in place of one triplet an item, a batch is drawn so that every part of every mixture
comes from another song, and every drawn stem is heard over two backgrounds: all five parts of all
mixtures carry a useful label at once.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stemwise.errors import CorpusError
from stemwise.parts import PARTS
from stemwise.sampling.plan import Plan, Segments

__all__ = ["contrastive_plan"]


def contrastive_plan(
    segments: Segments,
    seed: int,
    epoch: int,
    index: int,
    *,
    mixtures: int,
    kept_parts: Sequence[float],
    gain_deviation_db: float,
    twins: int = 0,
) -> Plan:
    """Draw a batch in which every part of every mixture comes from another song.

    For each part, `mixtures` / 2 songs are drawn that no other part of the batch uses; each gives
    two segments that do not overlap, from one piece, which land in two mixtures. A piece is thus a
    label that exactly two mixtures share, with different songs in every other part. Then some parts
    are left out of each mixture.

    A twin repeats one of these mixtures, the same stems at the same moment, but for one part, which
    comes from another of the mixtures. It is compared in that part alone: the nearest wrong answer
    has the same background.

    Args:
        segments: where each part sounds.
        seed: of the run.
        epoch: counted from 0.
        index: of the batch within the epoch.
        mixtures: B, even.
        kept_parts: five weights; the chance to keep 1, 2, 3, 4 or 5 of a mixture's parts.
        gain_deviation_db: each stem's gain is normal with this deviation, cut at twice of it.
        twins: at most `mixtures`; these come after the mixtures.

    Returns:
        A plan with V = 1 and B = `mixtures` + `twins`.

    Raises:
        CorpusError: fewer songs than the batch needs.
    """
    if mixtures < 2 or mixtures % 2 or len(kept_parts) != len(PARTS):
        raise ValueError(
            f"need an even number of mixtures and 5 weights, got {mixtures}, {kept_parts}"
        )
    rng = np.random.default_rng([seed, epoch, index])
    shape = (mixtures, len(PARTS))
    pieces, starts = np.empty(shape, np.int64), np.empty(shape, np.int64)
    used: set[int] = set()
    for part in rng.permutation(len(PARTS)):
        rows = _draw_songs(segments, int(part), mixtures // 2, used, rng)
        used.update(segments.songs[rows].tolist())
        firsts = [_two_segments(segments, row, int(part), rng) for row in rows]
        places = rng.permutation(mixtures)
        pieces[places, part] = np.repeat(segments.pieces[rows], 2)
        starts[places, part] = np.ravel(firsts)
    chances = np.asarray(kept_parts, float) / np.sum(kept_parts)
    kept = rng.choice(len(PARTS), size=mixtures, p=chances) + 1
    rank = rng.permuted(np.tile(np.arange(len(PARTS)), (mixtures, 1)), axis=1)
    pieces[rank >= kept[:, None]] = -1
    gains = np.clip(rng.standard_normal(shape), -2, 2) * gain_deviation_db
    labels = pieces
    if twins:
        chosen = rng.choice(mixtures, twins, replace=False)
        parts, donors = _swaps(pieces, chosen, rng)
        new = np.arange(mixtures, mixtures + twins)
        pieces, starts, gains = (np.concatenate([x, x[chosen]]) for x in (pieces, starts, gains))
        for of in (pieces, starts):
            of[new, parts] = of[donors, parts]
        labels = np.concatenate([labels, np.full((twins, len(PARTS)), -1)])
        labels[new, parts] = pieces[new, parts]
    return Plan(
        pieces[:, None], starts[:, None], gains[:, None], segments.length_samples, labels[:, None]
    )


def _swaps(
    pieces: NDArray[np.int64], chosen: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw, for each chosen mixture, a part that plays in it and a mixture to take it from."""
    parts, donors = [], []
    for mixture in chosen:
        part = rng.choice(np.flatnonzero(pieces[mixture] >= 0))
        others = np.flatnonzero((pieces[:, part] >= 0) & (pieces[:, part] != pieces[mixture, part]))
        parts.append(part)
        donors.append(rng.choice(others) if len(others) else mixture)
    return np.array(parts), np.array(donors)


def _draw_songs(
    segments: Segments, part: int, count: int, used: set[int], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw `count` rows of pieces of different songs, none of them in `used`."""
    rows = rng.permutation(segments.playable[part])
    songs = segments.songs[rows]
    _, firsts = np.unique(songs, return_index=True)  # one random piece of every song
    free = [rows[i] for i in np.sort(firsts) if songs[i] not in used]
    if len(free) < count:
        raise CorpusError(
            f"a batch needs {count} more songs with {PARTS[part]}, but only {len(free)} are free: "
            f"use a larger corpus or fewer mixtures"
        )
    return np.array(free[:count])


def _two_segments(
    segments: Segments, row: int, part: int, rng: np.random.Generator
) -> tuple[int, int]:
    """Draw the first samples of two segments of a piece that do not overlap, the part sounding."""
    apart = segments.apart
    sounding = np.flatnonzero(segments.sounding[row][:, part])
    far_enough = sounding[(sounding >= sounding[0] + apart) | (sounding <= sounding[-1] - apart)]
    first = rng.choice(far_enough)
    second = rng.choice(sounding[np.abs(sounding - first) >= apart])
    return int(first) * segments.hop_samples, int(second) * segments.hop_samples
