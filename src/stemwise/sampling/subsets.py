"""Subsets of the stems of one real segment: the items of Direct's pre-training, and of presence.

Conventions: as in `stemwise.sampling`; V = 1 and no gains. A segment is numbered over all pieces.

References: section III-B of the paper (31 combinations of the five parts; the target of a present
part is its vector by Clean, of an absent one zero).
Departure: the authors' published code draws 32 patterns, the silent one too; we follow the paper.
Choice: a subset of which nothing sounds in the segment is drawn again; the sources are silent.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from stemwise.errors import CorpusError
from stemwise.parts import PARTS
from stemwise.sampling.plan import Plan, Segments, Stream, generator, shuffled

__all__ = ["Subsets", "draw_subset", "presence_plan", "subset_plan", "subset_rows"]

# (31, I) all non-empty subsets of the parts
SUBSETS = (np.arange(1, 2 ** len(PARTS))[:, None] >> np.arange(len(PARTS))) % 2 == 1


@dataclass(frozen=True)
class Subsets:
    """A batch of subsets.

    Attributes:
        plan: (B, 1, I), -1 for parts that are left out.
        rows: (B,) number of the segment over all pieces of the split.
        present: (B, I) true for parts that are in the subset and sound.
    """

    plan: Plan
    rows: NDArray[np.int64]
    present: NDArray[np.bool_]


def draw_subset(sounding: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw one of the 31 subsets, uniform over those with a part in `sounding`, (I,).

    Returns:
        (I,) true for parts that are in the subset and sound; at least one.
    """
    useful = np.flatnonzero((SUBSETS & sounding).any(axis=1))
    if not len(useful):
        raise ValueError("no part sounds in this segment: it has no subset to hear")
    chosen: NDArray[np.bool_] = SUBSETS[useful[rng.integers(len(useful))]] & sounding
    return chosen


def subset_plan(
    segments: Segments,
    seed: int,
    index: int,
    *,
    batch: int,
    songs: int | None = None,
    per_song: int = 300,
) -> Subsets:
    """Draw a batch of segments with a random subset of their parts.

    The segments come in a random order, each exactly once, then in another order, and so on: item
    k = index * batch, index * batch + 1, ... does not depend on the size of the batch.

    Args:
        segments: where each part sounds.
        seed: of the run; it also chooses the segments of songs that have too many.
        index: of the batch, counted over the whole run.
        batch: items, B.
        songs: take the first so many songs, in the order of the pieces; None for all.
        per_song: segments of a song at most, of those where any part sounds.

    Raises:
        CorpusError: nothing sounds in any segment.
    """
    if batch < 1 or per_song < 1 or (songs is not None and songs < 1):
        raise ValueError(f"need positive numbers, got {batch=}, {songs=}, {per_song=}")
    numbers = subset_rows(segments, seed, songs, per_song)
    items = range(index * batch, (index + 1) * batch)
    rows = _in_turn(segments, numbers, Stream.SUBSET_ORDER, seed, items)
    present = np.array(
        [
            draw_subset(segments.table[row], generator(Stream.SUBSETS, seed, item))
            for item, row in zip(items, rows, strict=True)
        ]
    )
    return Subsets(_plan(segments, rows, present), rows, present)


def presence_plan(
    segments: Segments, seed: int, index: int, *, batch: int, whole: float
) -> Subsets:
    """Draw a batch of segments, whole or with parts left out, to tell presence from.

    Segments come in turn as in `subset_plan`. Other than there, a part that is kept stays in the
    mixture even where it counts as silent, because it rests for a while: that is what is to be
    told.

    Args:
        segments: where each part sounds.
        seed: of the run.
        index: of the batch, counted over the whole run.
        batch: items, B.
        whole: the chance, 0..1, that all parts are kept; else a subset is drawn (`draw_subset`).

    Raises:
        CorpusError: nothing sounds in any segment.
    """
    numbers = subset_rows(segments, seed, None, len(segments.table))
    items = range(index * batch, (index + 1) * batch)
    rows = _in_turn(segments, numbers, Stream.PRESENCE_ORDER, seed, items)
    kept = np.ones((batch, len(PARTS)), np.bool_)
    for k, (item, row) in enumerate(zip(items, rows, strict=True)):
        rng = generator(Stream.PRESENCE, seed, item)
        if rng.random() >= whole:
            sounding = segments.table[row]
            kept[k] = draw_subset(sounding, rng) | (~sounding & (rng.random(len(PARTS)) < 0.5))
    return Subsets(_plan(segments, rows, kept), rows, kept & segments.table[rows])


def _in_turn(
    segments: Segments, numbers: NDArray[np.int64], order: Stream, seed: int, items: range
) -> NDArray[np.int64]:
    """Return which of `numbers` the items are: each exactly once, then in another order."""
    turns = [divmod(item, len(numbers)) for item in items]
    return numbers[[shuffled(order, seed, n, len(numbers))[i] for n, i in turns]]


def _plan(segments: Segments, rows: NDArray[np.int64], kept: NDArray[np.bool_]) -> Plan:
    """Return the plan of the segments `rows` (B,) with the parts that are `kept` (B, I)."""
    pieces = np.where(kept, segments.pieces[segments.rows[rows]][:, None], -1)[:, None]
    starts = np.repeat(segments.starts[rows][:, None, None], len(PARTS), axis=2)
    return Plan(pieces, starts, np.zeros(pieces.shape), segments.length_samples)


@lru_cache(maxsize=4)
def subset_rows(
    segments: Segments, seed: int, songs: int | None, per_song: int
) -> NDArray[np.int64]:
    """Return the numbers of the segments that `subset_plan` draws from, song by song.

    Raises:
        CorpusError: nothing sounds in any segment.
    """
    rng = generator(Stream.SUBSET_SEGMENTS, seed)
    chosen = [np.zeros(0, np.int64)]
    for rows in list(segments.rows_of_song.values())[:songs]:
        numbers = np.concatenate(
            [segments.firsts[k] + np.flatnonzero(segments.sounding[k].any(axis=1)) for k in rows]
        )
        chosen.append(rng.permutation(numbers)[:per_song])
    found = np.concatenate(chosen)
    if not len(found):
        raise CorpusError(
            f"nothing sounds in any segment of the first {songs or len(segments.rows_of_song)} "
            "songs: use other songs or another silence rule"
        )
    return found
