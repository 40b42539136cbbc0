"""Triplets: pseudo-pieces made anew, real pieces, and the fixed list.

A pseudo-piece takes the stem of one part, b, from one song and the other four from another. Four
songs of one tempo cluster make a triplet: A with the segments a and p, A2 with the segments a2 and
p2, N with n, N2 with n2.

====================  ===========  ==============
view                  stem of b    the other four
====================  ===========  ==============
anchor alpha          A2 at a2     A at a
positive beta         A2 at p2     N at n
negative gamma        N2 at n2     A at p
====================  ===========  ==============

In the *basic* triplet (alpha, beta, gamma) the target is b. The anchor and gamma share song A in
every other part, so with the roles of beta and gamma exchanged the same mixtures are the
*additional* triplet of any other part, a.

A segment serves only if all targets of its item sound in it. Other stems that do not sound in it
are left out, as in the authors' published code.

Conventions: as in `stemwise.sampling`; V = 3 and no gains.

References: section II-B and III-B3 of the paper; the choice of songs and segments is that of the
authors' published code.
Choice: when a song has too few segments or too few neighbours in tempo, the parts stay and all
songs are drawn again; the sources only say that a failed draw is repeated.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from stemwise.errors import CorpusError
from stemwise.parts import PARTS
from stemwise.sampling.plan import Plan, Segments, Stream, generator, shuffled

__all__ = ["Triplets", "listed_triplets", "normal_triplets", "pseudo_triplets"]

STEP = 2  # from a segment to the next that does not overlap, at a hop of half the length
TRIES = 1000
Views = NDArray[np.int64]  # (3, 2) numbers of the segments: of the target's stem, of the others


@dataclass(frozen=True)
class Triplets:
    """A batch of items, each of one or two triplets.

    Attributes:
        plan: V = 3: anchor, positive, negative; no gains, no labels.
        targets: (B, K) position of the part each triplet is about. Column 0 is the triplet of the
            views (0, 1, 2). Column 1, where there is one, is the additional triplet: the same three
            mixtures, views 1 and 2 with their roles exchanged, (0, 2, 1).
    """

    plan: Plan
    targets: NDArray[np.int64]


def pseudo_triplets(
    segments: Segments, seed: int, epoch: int, index: int, *, batch: int, part: int | None = None
) -> Triplets:
    """Draw a batch of triplets of pseudo-pieces.

    A is uniform over the songs with a tempo cluster, and a over its segments in which the targets
    sound; p is the second next of these, or else the second last before a. N, A2 and N2 are three
    other songs of A's cluster; p2 is to a2 as p to a. A song with several pieces gives one of them.

    Args:
        segments: where each part sounds.
        seed: of the run.
        epoch: counted from 0.
        index: of the batch within the epoch.
        batch: items, B.
        part: position of the target (Cascade: K = 1, basic triplets); None for a random b and a
            random a other than b in each item (Direct: K = 2).

    Raises:
        CorpusError: no four songs of one cluster were found in which the targets sound enough.
    """
    rng = generator(Stream.PSEUDO, seed, epoch, index)
    targets = _targets(batch, part, rng, 2 if part is None else 1)
    views = [_until(partial(_pseudo, segments, t, rng, near=True), t, 4) for t in targets]
    return Triplets(_plan(segments, np.array(views), targets[:, 0]), targets)


def normal_triplets(
    segments: Segments,
    seed: int,
    epoch: int,
    index: int,
    *,
    batch: int,
    part: int | None = None,
    alone: bool = False,
) -> Triplets:
    """Draw a batch of triplets of real pieces: K = 1.

    Anchor and positive are drawn as a and p above, from one song; the negative is any segment, the
    target sounding, of another song of its tempo cluster (the paper only says another song). With
    `alone`, all parts but the target are left out (Clean hears a single stem). The other arguments
    are those of `pseudo_triplets`; without `part`, each item has a random target.

    Raises:
        CorpusError: no two songs of one cluster were found in which the target sounds enough.
    """
    rng = generator(Stream.NORMAL, seed, epoch, index)
    targets = _targets(batch, part, rng, 1)
    views = [_until(partial(_normal, segments, t, rng), t, 2) for t in targets]
    return Triplets(_plan(segments, np.array(views), targets[:, 0], alone), targets)


def listed_triplets(
    segments: Segments, seed: int, epoch: int, index: int, *, batch: int, size: int = 20000
) -> Triplets:
    """Take a batch from a fixed list of `size` triplets: K = 1 (Direct without augmentation).

    Triplet 2 j is the basic and 2 j + 1 the additional triplet of item j, its views exchanged in
    the plan itself. The items depend on `seed` alone and are those of `pseudo_triplets`, but that
    p and p2 are any other segment of the piece. Each epoch goes through the list in another order;
    what reaches beyond its end begins again at the start of the same order.
    The arguments are those of `pseudo_triplets`, but that `batch` counts triplets; `size` is even.

    Raises:
        CorpusError: no four songs of one cluster were found in which the targets sound enough.
    """
    if size < 2 or size % 2:
        raise ValueError(f"the size of the list must be even and positive, got {size}")
    order = shuffled(Stream.LIST_ORDER, seed, epoch, size)
    triplets = order[np.arange(index * batch, (index + 1) * batch) % size]
    views, parts, targets = [], [], []
    for triplet in triplets.tolist():
        rng = generator(Stream.LIST, seed, triplet // 2)
        (both,) = _targets(1, None, rng, 2)
        item = _until(partial(_pseudo, segments, both, rng, near=False), both, 4)
        views.append(item[[0, 2, 1]] if triplet % 2 else item)
        parts.append(both[0])
        targets.append(both[triplet % 2])
    plan = _plan(segments, np.array(views), np.array(parts))
    return Triplets(plan, np.array(targets)[:, None])


def _targets(
    batch: int, part: int | None, rng: np.random.Generator, count: int
) -> NDArray[np.int64]:
    """Return the targets (B, `count`) of each item, all different; the first is `part` if given."""
    if batch < 1 or (part is not None and not 0 <= part < len(PARTS)):
        raise ValueError(f"need a batch of at least 1 and a part in 0..4, got {batch}, {part}")
    first = rng.integers(len(PARTS), size=batch) if part is None else np.full(batch, part)
    second = (first + rng.integers(1, len(PARTS), size=batch)) % len(PARTS)
    return np.stack([first, second], axis=1)[:, :count]


def _until(draw: Callable[[], Views | None], targets: NDArray[np.int64], songs: int) -> Views:
    """Return what `draw` gives as soon as it gives something."""
    for _ in range(TRIES):
        if (views := draw()) is not None:
            return views
    raise CorpusError(
        f"found no triplet of {' and '.join(PARTS[i] for i in targets)} in {TRIES} tries: it takes "
        f"{songs} songs of one tempo cluster, each with several segments where the target sounds; "
        "use a corpus with more songs per tempo cluster"
    )


def _pseudo(
    segments: Segments, targets: NDArray[np.int64], rng: np.random.Generator, near: bool
) -> Views | None:
    """Try to draw the segments of alpha, beta and gamma."""
    songs = _songs(segments, 3, rng)
    if songs is None:
        return None
    of_a, of_n, of_a2, of_n2 = (_sounding(segments, song, targets, rng) for song in songs)
    a, p = _two(of_a, rng, near)
    a2, p2 = _two(of_a2, rng, near)
    n, n2 = _one(of_n, rng), _one(of_n2, rng)
    views = np.array([[a2, a], [p2, n], [n2, p]])
    return views if views.min() >= 0 else None


def _normal(
    segments: Segments, targets: NDArray[np.int64], rng: np.random.Generator
) -> Views | None:
    """Try to draw the segments of an anchor, a positive and a negative."""
    songs = _songs(segments, 1, rng)
    if songs is None:
        return None
    own, other = (_sounding(segments, song, targets, rng) for song in songs)
    views = np.array([*_two(own, rng, near=True), _one(other, rng)])
    return np.stack([views, views], axis=1) if views.min() >= 0 else None


def _songs(segments: Segments, others: int, rng: np.random.Generator) -> Sequence[int] | None:
    """Draw a song and `others` different ones of its tempo cluster; None if there are too few."""
    song = _one(segments.lenders, rng)
    fellows = segments.fellows[song] if len(segments.lenders) else segments.lenders
    fellows = fellows[fellows != song]
    if len(fellows) < others:
        return None
    return [song, *rng.choice(fellows, others, replace=False).tolist()]


def _sounding(
    segments: Segments, song: int, targets: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return the numbers of the segments of a random piece of `song` where all targets sound."""
    row = _one(segments.rows_of_song[song], rng)
    sounding = segments.sounding[row][:, targets].all(axis=1)
    return np.flatnonzero(sounding) + int(segments.firsts[row])


def _one(numbers: NDArray[np.int64], rng: np.random.Generator) -> int:
    """Draw one of `numbers`; -1 if there is none."""
    return int(numbers[rng.integers(len(numbers))]) if len(numbers) else -1


def _two(numbers: NDArray[np.int64], rng: np.random.Generator, near: bool) -> tuple[int, int]:
    """Draw one of `numbers`, and the one two after, else two before it, or any other; or -1, -1."""
    if len(numbers) < 2:
        return -1, -1
    first = int(rng.integers(len(numbers)))
    if near:
        second = first + STEP if first + STEP < len(numbers) else first - STEP
    else:
        second = (first + int(rng.integers(1, len(numbers)))) % len(numbers)
    return (int(numbers[first]), int(numbers[second])) if second >= 0 else (-1, -1)


def _plan(
    segments: Segments, views: NDArray[np.int64], parts: NDArray[np.int64], alone: bool = False
) -> Plan:
    """Return the plan of `views`, (B, V, 2), in which `parts`, (B,), are the targets' stems.

    Stems that do not sound are left out; with `alone`, all but the targets'.
    """
    own = (np.arange(len(PARTS)) == parts[:, None])[:, None]  # (B, 1, I)
    numbers = np.where(own, views[:, :, :1], views[:, :, 1:])  # (B, V, I)
    heard = segments.table[numbers, np.arange(len(PARTS))]
    if alone:
        heard &= own
    return Plan(
        np.where(heard, segments.pieces[segments.rows[numbers]], -1),
        segments.starts[numbers],
        np.zeros(numbers.shape),
        segments.length_samples,
    )
