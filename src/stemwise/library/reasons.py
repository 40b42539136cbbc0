"""Why pieces match: similarity, distance and presence per part, and the passages that met."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stemwise.library.calibration import Calibration
from stemwise.library.distances import nearest_passages
from stemwise.library.matches import ExampleMatch, Match, PartMatch, Passages
from stemwise.library.query import Query
from stemwise.library.question import Question
from stemwise.library.selection import Chosen, files_of
from stemwise.parts import PARTS

__all__ = ["matches_of"]


@dataclass(frozen=True)
class _Parts:
    """What K matches have to do with an example, by part: (K, 5), nan for what is not asked for."""

    distances: NDArray[np.float64]
    presences: NDArray[np.float64]

    def told(self, calibration: Calibration) -> list[dict[str, PartMatch]]:
        """Return them in words (K,)."""
        asked = np.flatnonzero(~np.isnan(self.distances).all(axis=0))
        columns = [
            (
                PARTS[i],
                calibration.similarity(self.distances[:, i], _ALONE[i]).tolist(),
                self.distances[:, i].tolist(),
                self.presences[:, i].tolist(),
            )
            for i in asked
        ]
        return [
            {name: PartMatch(alike[k], apart[k], there[k]) for name, alike, apart, there in columns}
            for k in range(len(self.distances))
        ]


_ALONE = np.eye(len(PARTS))


def matches_of(question: Question, chosen: Sequence[Chosen]) -> tuple[Match, ...]:
    """Return the `chosen` pieces of the space that `question` is asked of, with their reasons."""
    if not chosen:
        return ()
    vectors, calibration = question.space.vectors, question.calibration
    some = question.on(np.array([one.piece for one in chosen], np.int64))
    asked = list(zip(question.counts, question.queries, strict=True))
    told = [_example_matches(some, query) for _, query in asked]
    near = [
        (count, query, parts)
        for (count, query), (_, parts) in zip(asked, told, strict=True)
        if not query.away
    ]
    weights = np.sum([count * query.shares.mean(axis=0) for count, query, _ in near], axis=0)
    together = _together([(count * query.weights, parts) for count, query, parts in near])
    distances = np.array([one.distance for one in chosen])
    similarities = calibration.similarity(distances, weights).tolist()
    by_part = together.told(calibration)
    matches = []
    for k, one in enumerate(chosen):
        piece = vectors.pieces[one.piece]
        matches.append(
            Match(
                piece=piece,
                paths=tuple(copy.path for copy in vectors.copies[piece.content]),
                same_recording=files_of(vectors, one.same),
                distance=one.distance,
                similarity=similarities[k],
                parts=by_part[k],
                examples=tuple(examples[k] for examples, _ in told),
            )
        )
    return tuple(matches)


def _together(told: Sequence[tuple[NDArray[np.float64], _Parts]]) -> _Parts:
    """Return the weighted means of what several examples tell; each has weights (5,)."""
    counts = np.stack([~np.isnan(parts.distances) * weights for weights, parts in told])
    sums = counts.sum(axis=0)
    sums[sums == 0] = np.nan
    distances = np.stack([np.nan_to_num(parts.distances) for _, parts in told])
    presences = np.stack([np.nan_to_num(parts.presences) for _, parts in told])
    return _Parts((counts * distances).sum(axis=0) / sums, (counts * presences).sum(axis=0) / sums)


def _example_matches(question: Question, query: Query) -> tuple[list[ExampleMatch], _Parts]:
    """Return how each piece of the space stands to one example."""
    vectors, calibration = question.space.vectors, question.calibration
    rows, totals, each = nearest_passages(question.space, query)
    presence = vectors.presence[rows]  # (K, Q, 5)
    asks = (query.shares > 0)[None]
    counts = asks.sum(axis=1)
    parts = _Parts(
        np.where(asks, each, 0).sum(axis=1, dtype=np.float64) / np.where(counts, counts, np.nan),
        np.where(asks, presence, 0).sum(axis=1, dtype=np.float64)
        / np.where(counts, counts, np.nan),
    )
    distances = totals.mean(axis=1, dtype=np.float64)
    similarities = calibration.similarity(distances, query.shares.mean(axis=0)).tolist()
    match_seconds = vectors.start_seconds[rows]
    examples = [
        ExampleMatch(
            query.name, query.away, distance, similarities[k], by_part,
            Passages(query.start_seconds, match_seconds[k], totals[k], each[k], presence[k]),
        )
        for k, (distance, by_part) in enumerate(
            zip(distances.tolist(), parts.told(calibration), strict=True)
        )
    ]  # fmt: skip
    return examples, parts
