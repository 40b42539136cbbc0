"""Exact distances between a query and pieces.

Definition, for weights w_p of the parts, segments s of the query and t of piece c, unit vectors q
and x:

    d_p(s, t) = min(4, ‖q_sp − x_tp‖² − h_p(c)) if part p sounds in t; else 4, as far as can be
    D(s, t)   = Σ_p w_p d_p(s, t) / Σ_p w_p   over the parts with w_p > 0 that sound in s
    D(c)      = mean over s of min_t D(s, t)

‖q − x‖² is 0..4. The hub term h_p(c) is 0 unless asked for (`stemwise.library.hubs`). A part sounds
in a segment if its presence is at least `PRESENCE_THRESHOLD`. So a part that is silent in the
candidate never counts as a match, and one that is silent in s is not asked for. The best t of each
s is its passage; of equal ones (to a millionth) the earliest.

Cost: every segment of the pieces is compared with every segment of the query, in each wanted part.
Memory: beside the vectors, 16,384 rows by 64 queries at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stemwise.library.query import Query
from stemwise.library.vectors import Floats, Rows, Vectors
from stemwise.parts import PARTS

__all__ = [
    "DECIMALS", "FARTHEST", "Space", "heard_in", "nearest_passages", "part_distances",
    "piece_distances", "segment_distances",
]  # fmt: skip

FARTHEST = 4.0
"""Squared distance of opposite unit vectors; stands for a part that does not sound."""

DECIMALS = 6
"""Distances that are equal to so many decimals count as equal."""

_ROWS_AT_A_TIME = 16384
_QUERIES_AT_A_TIME = 64
_NUMBERS_AT_A_TIME = 1 << 20


@dataclass(frozen=True)
class Space:
    """What is searched: the vectors of a catalogue, and the hub terms (P, 5) of its pieces."""

    vectors: Vectors
    hub_terms: Floats
    _floors: dict[int, Floats] = field(default_factory=dict, repr=False)

    @classmethod
    def plain(cls, vectors: Vectors) -> "Space":
        """Return the space of `vectors` with all hub terms 0."""
        return cls(vectors, np.zeros((len(vectors.pieces), len(PARTS)), np.float32))

    def subset(self, pieces: NDArray[np.int64], parts: Sequence[int]) -> "Space":
        """Return the space of some `pieces`, with the vectors of some `parts` in memory."""
        return Space(self.vectors.subset(pieces, parts), self.hub_terms[pieces])

    def floor(self, part: int) -> Floats:
        """Return what −2 q·x is added to (S,): 2 − h where the part sounds, else too much."""
        if part not in self._floors:
            terms = np.repeat(self.hub_terms[:, part], np.diff(self.vectors.offsets))
            sounding = self.vectors.sounding[:, part]
            self._floors[part] = np.where(sounding, 2 - terms, 3 * FARTHEST).astype(np.float32)
        return self._floors[part]


def piece_distances(
    space: Space, query: Query, pieces: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    """Return D (K,) between `query` and the K `pieces` by number, or all P.

    A piece in which no wanted part sounds gets 4.
    """
    vectors = space.vectors
    if pieces is None:
        pieces = np.arange(len(vectors.pieces))
    distances = np.zeros(len(pieces))
    done = 0
    for some in vectors.runs(pieces, _ROWS_AT_A_TIME):
        rows, bounds = vectors.rows_of(some)
        for q in range(0, len(query.start_seconds), _QUERIES_AT_A_TIME):
            few = query.only(slice(q, q + _QUERIES_AT_A_TIME))
            nearest = np.minimum.reduceat(segment_distances(space, few, rows), bounds[:-1], axis=1)
            distances[done : done + len(some)] += nearest.sum(axis=0, dtype=np.float64)
        done += len(some)
    distances /= len(query.start_seconds)
    return distances


def heard_in(vectors: Vectors, weights: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell in which pieces (P,) a part with a weight above 0 sounds at all."""
    counts = [vectors.counts(int(part)) for part in np.flatnonzero(weights)]
    heard: NDArray[np.bool_] = np.sum(counts, axis=0) > 0
    return heard


def segment_distances(space: Space, query: Query, rows: Rows) -> Floats:
    """Return D (Q, R) between the segments of `query` and some `rows`."""
    shares = query.shares.astype(np.float32)
    total = np.zeros((len(shares), len(space.vectors.owners[rows])), np.float32)
    for part in np.flatnonzero(query.weights):
        distances = part_distances(space, query, int(part), rows)
        distances *= shares[:, part, None]
        total += distances
    return total


def part_distances(space: Space, query: Query, part: int, rows: Rows) -> Floats:
    """Return d_p (Q, R) of one part, ``FARTHEST`` where it does not sound in the candidate."""
    distances = (space.vectors.gather(part, rows) @ (-2 * query.embeddings[:, part]).T).T
    distances += space.floor(part)[rows]
    np.minimum(distances, FARTHEST, out=distances)
    return distances


def nearest_passages(space: Space, query: Query) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Return the passages of each piece that are nearest to the segments of `query`; of few pieces.

    They are segments by row (P, Q), with D (P, Q) and d_p (P, Q, 5), which is nan for parts that
    are not asked for.
    """
    vectors = space.vectors
    count = len(query.start_seconds)
    nearest = np.empty((len(vectors.pieces), count), np.int64)
    total = np.empty(nearest.shape, np.float32)
    each = np.full((*nearest.shape, len(PARTS)), np.nan, np.float32)
    places = np.arange(count)
    for some in vectors.runs(np.arange(len(nearest)), max(1, _NUMBERS_AT_A_TIME // count)):
        rows = slice(int(vectors.offsets[some[0]]), int(vectors.offsets[some[-1] + 1]))
        apart = segment_distances(space, query, rows)
        rounded = np.round(apart, DECIMALS)
        for k in some:
            first, last = vectors.offsets[k : k + 2] - rows.start
            nearest[k] = first + rounded[:, first:last].argmin(axis=1)
        total[some] = apart[places, nearest[some]]
        for part in np.flatnonzero(query.weights):
            one = part_distances(space, query, int(part), rows)
            each[some, :, part] = one[places, nearest[some]]
        nearest[some] += rows.start
    each[:, ~(query.shares > 0)] = np.nan
    return nearest, total, each
