"""Pieces and passages alike in chosen parts: exact, by brute force, with the reason for each match.

Definition, for weights w_p of the parts, segments s of the query and t of a candidate, unit vectors
q and x:

    d_p(s, t) = ‖q_sp − x_tp‖², 0..4, if part p sounds in t; else 4, as far as can be
    D(s, t)   = Σ_p w_p d_p(s, t) / Σ_p w_p   over the parts with w_p > 0 that sound in s
    piece     = mean over s of min_t D(s, t)

A part sounds in a segment if its presence is at least `PRESENCE_THRESHOLD`. So a part that is
silent in the candidate never counts as a match, one that is silent in s is not asked for, a segment
s in which no wanted part sounds is passed over, and a piece in which none sounds is left out. The
best t of each s is its passage. Similarity is 1 − D/4, in 0..1: it orders matches, but it is not
calibrated; unrelated music does not score 0.

The query's own content is never among the matches; paths with equal content make one match. Equal
distances (to a millionth) are ordered by id, so that the result does not depend on chance.

Cost: every segment of the catalogue is compared with every segment of the query. Up to some 300,000
segments (12,000 songs) this takes a fraction of a second and memory as in `vectors`.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stemwise.clock import clock
from stemwise.errors import UsageError
from stemwise.library.catalogue import Catalogue
from stemwise.library.embed import content_hash, embed_file
from stemwise.library.tables import Piece
from stemwise.library.vectors import PRESENCE_THRESHOLD, Vectors
from stemwise.models.checkpoint import Model, load_model
from stemwise.parts import PARTS, index

__all__ = ["Match", "Passage", "Query", "SearchResult", "similar"]

FARTHEST = 4.0
"""Squared distance of opposite unit vectors; stands for a part that does not sound."""

_ROWS_AT_A_TIME = 16384
_QUERIES_AT_A_TIME = 64
_DECIMALS = 6

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Passage:
    """The place in a match that is nearest to one segment of the query."""

    query_seconds: float
    match_seconds: float
    distance: float  # D, 0..4
    parts: dict[str, float]  # d_p, 0..4, of the wanted parts that sound in the query's segment


@dataclass(frozen=True)
class Match:
    """A piece found."""

    piece: Piece
    paths: tuple[Path, ...]  # of all copies
    distance: float  # 0..4
    parts: dict[str, float]  # similarity 0..1 per part, mean over the passages
    passages: tuple[Passage, ...]  # one per segment of the query, in its order

    @property
    def similarity(self) -> float:
        """1 - distance / 4, in 0..1; not calibrated."""
        return 1 - self.distance / FARTHEST

    @property
    def best(self) -> Passage:
        """The nearest of the passages, the earliest if several are."""
        return min(self.passages, key=lambda passage: round(passage.distance, _DECIMALS))


@dataclass(frozen=True)
class Query:
    """The segments that are sought after, Q of them."""

    name: str
    content: str
    duration_seconds: float
    start_seconds: NDArray[np.float64]  # (Q,)
    embeddings: Floats  # (Q, 5, 128); blocks of parts that are not wanted may be zeros
    sounding: NDArray[np.bool_]  # (Q, 5)


@dataclass(frozen=True)
class SearchResult:
    """Matches, nearest first, and what was asked."""

    query: str  # title or file name, and the stretch if one was given
    weights: dict[str, float]  # of the parts that counted
    absent_parts: tuple[str, ...]  # wanted, but silent in the query
    matches: tuple[Match, ...]


def similar(
    catalogue: Catalogue,
    query: str | Path,
    weights: Mapping[str, float] | None = None,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
    n: int = 20,
    model: Model | None = None,
) -> SearchResult:
    """Return the `n` pieces of `catalogue` most like `query` in the weighted parts.

    Args:
        catalogue: where to search.
        query: a music file, in the catalogue or not, or the id or title of a piece in it.
        weights: per part, 0 or more; all five parts alike if None.
        start_seconds: where the stretch begins that is asked about; the start if None.
        end_seconds: where it ends. Segments count if any of them lies in the stretch.
        n: matches at most.
        model: for a file outside the catalogue; the catalogue's own is loaded if None.

    Raises:
        UsageError: unknown piece or part, no weight above 0, a stretch outside the piece, or none
            of the wanted parts sounds in it.
        AudioError: a file outside the catalogue cannot be decoded.
        FingerprintError: `model` is not the one that made the catalogue.
    """
    if n < 1:
        raise UsageError(f"the number of matches must be 1 or more, got {n}")
    row = _weight_row(weights)
    vectors = catalogue.vectors()
    asked = _stretch(
        _query(catalogue, vectors, query, np.flatnonzero(row), model),
        start_seconds,
        end_seconds,
        catalogue.metadata.segment_seconds,
    )
    whole = start_seconds is None and end_seconds is None
    name = asked.name if whole else f"{asked.name} {_range(start_seconds, end_seconds)}"
    wanted = row > 0
    heard = wanted & asked.sounding.any(axis=0)
    if not heard.any():
        silent = " or ".join(part for part in PARTS if wanted[index(part)])
        others = ", ".join(part for part in PARTS if asked.sounding[:, index(part)].any())
        raise UsageError(f"no {silent} sounds in {name}; what sounds there: {others or 'nothing'}")
    matches = search(vectors, asked, np.where(heard, row, 0), n)
    return SearchResult(
        query=name,
        weights={part: float(w) for part, w in zip(PARTS, row, strict=True) if heard[index(part)]},
        absent_parts=tuple(
            part for part in PARTS if wanted[index(part)] and not heard[index(part)]
        ),
        matches=matches,
    )


def search(
    vectors: Vectors, query: Query, weights: NDArray[np.float64], n: int
) -> tuple[Match, ...]:
    """Return the `n` matches of `query` in `vectors` by `weights` (5,); see the module's text."""
    asks: NDArray[np.bool_] = np.any(query.sounding & (weights > 0), axis=1)
    query = _only(query, asks)
    distances = piece_distances(vectors, query, weights)
    order = sorted(
        (
            (round(float(distance), _DECIMALS), piece.id, k)
            for k, (piece, distance) in enumerate(zip(vectors.pieces, distances, strict=True))
            if np.isfinite(distance) and piece.content != query.content
        )
    )
    return tuple(_match(vectors, query, weights, k) for _, _, k in order[:n])


def piece_distances(
    vectors: Vectors, query: Query, weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the distance of each piece (P,) from `query`; infinite where no wanted part sounds.

    In every segment of `query` at least one part with a weight in `weights` (5,) must sound.
    """
    wanted = np.flatnonzero(weights)
    distances = np.full(len(vectors.pieces), np.inf)
    for first, last in _runs(vectors.offsets):
        rows = slice(int(vectors.offsets[first]), int(vectors.offsets[last]))
        starts = vectors.offsets[first:last] - rows.start
        sums = np.zeros(last - first)
        for q in range(0, len(query.start_seconds), _QUERIES_AT_A_TIME):
            some = _only(query, slice(q, q + _QUERIES_AT_A_TIME))
            to_segments = segment_distances(vectors, some, weights, rows)
            sums += np.minimum.reduceat(to_segments, starts, axis=1).sum(axis=0, dtype=np.float64)
        heard = vectors.sounding[rows][:, wanted].any(axis=1)
        any_heard = np.logical_or.reduceat(heard, starts)
        distances[first:last] = np.where(any_heard, sums / len(query.start_seconds), np.inf)
    return distances


def segment_distances(
    vectors: Vectors, query: Query, weights: NDArray[np.float64], rows: slice
) -> Floats:
    """Return D (Q, S) between the segments of `query` and the `rows` of `vectors`."""
    asked = query.sounding * weights
    shares = (asked / asked.sum(axis=1, keepdims=True)).astype(np.float32)
    total = np.zeros((len(shares), rows.stop - rows.start), np.float32)
    for part in np.flatnonzero(weights):
        total += shares[:, part, None] * part_distances(vectors, query, int(part), rows)
    return total


def part_distances(vectors: Vectors, query: Query, part: int, rows: slice) -> Floats:
    """Return d_p (Q, S) of one part, ``FARTHEST`` where it does not sound in the candidate."""
    products = query.embeddings[:, part] @ vectors.block(part)[rows].T
    squared: Floats = np.clip(2 - 2 * products, 0, FARTHEST)
    squared[:, ~vectors.sounding[rows, part]] = FARTHEST
    return squared


def _weight_row(weights: Mapping[str, float] | None) -> NDArray[np.float64]:
    row = np.zeros(len(PARTS))
    for part, weight in (weights if weights is not None else dict.fromkeys(PARTS, 1.0)).items():
        if not 0 <= weight < np.inf:
            raise UsageError(f"the weight of {part} must be a finite number, 0 or more: {weight}")
        row[index(part)] = weight
    if not row.any():
        raise UsageError("no part has a weight above 0; choose at least one")
    row /= row.max()
    return row


def _query(
    catalogue: Catalogue,
    vectors: Vectors,
    query: str | Path,
    wanted: NDArray[np.int64],
    model: Model | None,
) -> Query:
    """Return all segments of `query`, stored ones if the catalogue has them."""
    if os.path.isfile(query):
        content = content_hash(query)
        name = Path(query).name
    else:
        piece = catalogue.find(str(query))
        content, name = piece.content, piece.title
    for k, piece in enumerate(vectors.pieces):
        if piece.content == content:
            rows = vectors.rows(k)
            sounding = vectors.sounding[rows]
            embeddings = np.zeros((*sounding.shape, vectors.block(int(wanted[0])).shape[1]), "f4")
            for part in wanted:
                embeddings[:, part] = vectors.block(int(part))[rows]
            starts = vectors.start_seconds[rows]
            return Query(piece.title, content, piece.duration_seconds, starts, embeddings, sounding)
    model = load_model(catalogue.metadata.model) if model is None else model
    catalogue.check_fingerprint(model)
    found = embed_file(query, model)
    sounding = found.presence >= PRESENCE_THRESHOLD
    return Query(
        name, content, found.duration_seconds, found.start_seconds, found.embeddings, sounding
    )


def _stretch(
    query: Query, start_seconds: float | None, end_seconds: float | None, segment_seconds: float
) -> Query:
    """Return the segments of `query` that reach into the stretch."""
    first = 0.0 if start_seconds is None else start_seconds
    last = np.inf if end_seconds is None else end_seconds
    if not 0 <= first < last:
        raise UsageError(
            f"a stretch must end after it starts: {_range(start_seconds, end_seconds)}"
        )
    ends = np.minimum(query.start_seconds + segment_seconds, query.duration_seconds)
    inside = (query.start_seconds < last) & (ends > first)
    if not inside.any():
        raise UsageError(
            f"{query.name} lasts {clock(query.duration_seconds)}; "
            f"nothing lies in {_range(start_seconds, end_seconds)}"
        )
    return _only(query, inside)


def _only(query: Query, chosen: NDArray[np.bool_] | slice) -> Query:
    return Query(
        query.name,
        query.content,
        query.duration_seconds,
        query.start_seconds[chosen],
        query.embeddings[chosen],
        query.sounding[chosen],
    )


def _range(start_seconds: float | None, end_seconds: float | None) -> str:
    end = "the end" if end_seconds is None else clock(end_seconds)
    return f"{clock(start_seconds or 0)}–{end}"


def _runs(offsets: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield (first, last) so that pieces first..last - 1 together have a bounded number of rows."""
    first = 0
    while first < len(offsets) - 1:
        last = int(np.searchsorted(offsets, offsets[first] + _ROWS_AT_A_TIME, side="right")) - 1
        last = max(last, first + 1)
        yield first, last
        first = last


def _match(vectors: Vectors, query: Query, weights: NDArray[np.float64], k: int) -> Match:
    """Return piece number `k` with its passages."""
    rows = vectors.rows(k)
    total = segment_distances(vectors, query, weights, rows)
    nearest = np.round(total, _DECIMALS).argmin(axis=1)
    wanted = [part for part in PARTS if weights[index(part)] > 0]
    each = {part: part_distances(vectors, query, index(part), rows) for part in wanted}
    starts = vectors.start_seconds[rows]
    passages = tuple(
        Passage(
            float(query.start_seconds[s]),
            float(starts[t]),
            float(total[s, t]),
            {p: float(each[p][s, t]) for p in wanted if query.sounding[s, index(p)]},
        )
        for s, t in enumerate(nearest)
    )
    means = {p: np.mean([x.parts[p] for x in passages if p in x.parts]) for p in wanted}
    piece = vectors.pieces[k]
    return Match(
        piece=piece,
        paths=tuple(copy.path for copy in vectors.copies[piece.content]),
        distance=float(np.mean([passage.distance for passage in passages])),
        parts={part: float(1 - mean / FARTHEST) for part, mean in means.items()},
        passages=passages,
    )
