"""What is asked of which vectors: queries, the space they are asked of, and what distances mean.

`stemwise.library.search` says how the distances of several examples become one.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stemwise.library.calibration import UNCALIBRATED, Calibration
from stemwise.library.distances import Space, heard_in, piece_distances
from stemwise.library.filters import Filter
from stemwise.library.query import Query
from stemwise.library.sieve import Sieve

__all__ = ["Question"]


@dataclass(frozen=True)
class Question:
    """What is asked of which space."""

    space: Space
    queries: tuple[Query, ...]
    calibration: Calibration = UNCALIBRATED
    sieve: Sieve | None = None  # of the same space; makes comparing all faster

    @property
    def counts(self) -> NDArray[np.float64]:
        """W_e / W of each query (E,)."""
        sums = np.array([query.weights.sum() for query in self.queries])
        near = np.array([not query.away for query in self.queries])
        counts: NDArray[np.float64] = sums / sums[near].sum()
        return counts

    def distances(self, pieces: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """Return D (K,) of some `pieces` by number, or all."""
        total = np.zeros(len(self.space.vectors.pieces) if pieces is None else len(pieces))
        for count, query in zip(self.counts, self.queries, strict=True):
            apart = piece_distances(self.space, query, pieces)
            total += count * (np.maximum(0, self.limit(query) - apart) if query.away else apart)
        return total

    def on(self, pieces: NDArray[np.int64]) -> "Question":
        """Return the question asked of some `pieces` alone, whose wanted parts are in memory."""
        wanted = np.flatnonzero(np.sum([query.weights for query in self.queries], axis=0))
        return replace(self, space=self.space.subset(pieces, wanted.tolist()), sieve=None)

    def limit(self, query: Query) -> float:
        """Return M_e: half of all unrelated pieces are nearer to `query`."""
        return self.calibration.distance_at(0.5, query.shares.mean(axis=0))

    def allowed(self, filters: Filter | None) -> NDArray[np.int64]:
        """Return the numbers of the pieces that may be matches."""
        vectors = self.space.vectors
        weights = np.sum([query.weights for query in self.queries if not query.away], axis=0)
        allowed = heard_in(vectors, weights)
        for query in self.queries:
            k = vectors.number_of(query.content)
            if k is not None:
                allowed[k] = False
        if filters is not None and filters != Filter():
            there = np.flatnonzero(allowed)
            files = (vectors.copies[vectors.pieces[k].content] for k in there)
            allowed[there] = [filters.accepts(copies) for copies in files]
        return np.flatnonzero(allowed)
