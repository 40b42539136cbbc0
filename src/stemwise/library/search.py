"""Pieces and passages alike in chosen parts, with the reason for each match.

Definition. `stemwise.library.distances` defines D_e(c), the distance of piece c from one example e,
over its weights w_p. With W_e = Σ_p w_p over the parts that sound in e, and W the sum of W_e over
the examples to come near to, pieces are ordered by

    D(c) = Σ_e⁺ (W_e / W) D_e(c) + Σ_e⁻ (W_e / W) max(0, M_e − D_e(c))

The first sum goes over the examples to come near to: a weighted mean, in which each example chooses
its own passages. The second goes over those to move away from: only pieces nearer to e than M_e,
the median of unrelated pieces, are put back, and the nearer the more; being still farther is no
merit. So without such an example, or with weight 0, nothing changes, and a piece's place never
improves when it comes nearer to one.

Left out are the content of the examples themselves, other files of the same recording, which are
named in the result, and pieces in which no wanted part sounds. Paths with equal content make one
match. Equal distances (to a millionth) are ordered by id, so that the result does not depend on
chance.

Up to 300,000 segments all are compared, and the result is exact. Beyond, once there are indexes,
these are asked and the result is probable (`stemwise.library.candidates`), unless filters leave few
pieces, or three parts or more are wanted and fit into memory (5 million vectors, 2.6 GB): then to
compare all is faster, too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stemwise.errors import UsageError
from stemwise.library.calibration import UNCALIBRATED, Calibration
from stemwise.library.candidates import has_indexes, rounds
from stemwise.library.distances import (
    DECIMALS,
    Space,
    heard_in,
    nearest_passages,
    piece_distances,
)
from stemwise.library.filters import Filter
from stemwise.library.matches import Asked, ExampleMatch, Match, PartMatch, Passage, SearchResult
from stemwise.library.query import Example, Query, resolve, weight_row
from stemwise.library.selection import Chosen, Limits, Selection, Selector, files_of
from stemwise.library.sieve import Sieve
from stemwise.library.snapshot import Snapshot
from stemwise.library.tables import Piece
from stemwise.library.vectors import MOST_IN_MEMORY
from stemwise.models.checkpoint import Model
from stemwise.parts import PARTS

if TYPE_CHECKING:
    from stemwise.library.catalogue import Catalogue

__all__ = ["Question", "prepare", "search", "similar"]

_FEW_SEGMENTS = 30_000  # so many are compared in a large catalogue if filters leave no more
_FEW_PARTS = 2  # so many are found faster by index in a large catalogue
_MOST_VECTORS = 5_000_000  # of all wanted parts together, to be kept in memory
_ROWS_AT_A_TIME = 16384
_FIRST_PIECES = 64
_FEWEST_SIFTED = 500  # pieces
_SHARE_SIFTED = 4  # if one piece in so many must be compared exactly, all are


def similar(
    catalogue: "Catalogue | Snapshot",
    query: str | Path | Example | Sequence[Example],
    weights: Mapping[str, float] | None = None,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
    n: int = 20,
    model: Model | None = None,
    *,
    filters: Filter | None = None,
    per_artist: int | None = None,
    collapse: bool = True,
    scaling: bool = True,
    exact: bool | None = None,
) -> SearchResult:
    """Return the `n` pieces of `catalogue` most like `query` in the weighted parts.

    Args:
        catalogue: where to search; a snapshot, if many questions follow each other.
        query: a music file, in the catalogue or not, or the id or title of a piece in it; or
            examples, to come near to or to move away from.
        weights: per part, 0 or more; all five parts alike if None. Examples may have their own.
        start_seconds: where the stretch begins that is asked about; the start if None.
        end_seconds: where it ends. Segments count if any of them lies in the stretch.
        n: matches at most.
        model: for a file outside the catalogue; the catalogue's own is loaded if None.
        filters: what a match must be; applied before ranking.
        per_artist: matches of one artist at most; pieces without an artist are not limited.
        collapse: make files of one recording one match, and leave out those of the examples.
        scaling: move pieces that are near to everything back (`stemwise.library.hubs`).
        exact: True compares all pieces, False asks the indexes if there are any; by default that
            depends on the size of the catalogue.

    Raises:
        UsageError: unknown piece or part, no weight above 0, a stretch outside the piece, none of
            the wanted parts sounds in it, or no example to come near to.
        AudioError: a file outside the catalogue cannot be decoded.
        FingerprintError: `model` is not the one that made the catalogue.
    """
    if n < 1 or (per_artist is not None and per_artist < 1):
        raise UsageError(f"the number of matches must be 1 or more, got {n=}, {per_artist=}")
    examples = _examples(query, start_seconds, end_seconds)
    row = weight_row(weights)
    held = catalogue if isinstance(catalogue, Snapshot) else Snapshot(catalogue)
    named = any(isinstance(one.piece, str | Path) for one in examples)
    finder = catalogue if named else held  # a snapshot knows no titles
    queries = tuple(resolve(finder, example, row, model) for example in examples)
    wanted = np.flatnonzero(np.sum([q.weights for q in queries], axis=0))
    space = held.space(wanted, scaling=scaling)
    calibration = held.calibration
    limits = Limits(n, per_artist, collapse)
    sieve = held.sieve if scaling else None
    return search(Question(space, queries, calibration, sieve), limits, filters, exact=exact)


def prepare(catalogue: "Catalogue") -> None:
    """Compute and keep what searches need beside the vectors, so that the first does not wait."""
    held = Snapshot(catalogue)
    held.space(np.arange(len(PARTS)))
    _ = held.calibration


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


def search(
    question: Question,
    limits: Limits,
    filters: Filter | None = None,
    *,
    exact: bool | None = None,
) -> SearchResult:
    """Return what `question` finds; see the module's text and `similar`."""
    if all(query.away for query in question.queries):
        raise UsageError("there is nothing to come near to; name an example that is not to avoid")
    vectors = question.space.vectors
    allowed = question.allowed(filters)
    segments = int((vectors.offsets[allowed + 1] - vectors.offsets[allowed]).sum())
    few = segments <= _FEW_SEGMENTS < MOST_IN_MEMORY < len(vectors.owners)
    selector = Selector(vectors, question.queries, limits)
    if _asks_indexes(question, few, exact):
        chosen, proven = _probable(question, selector, limits, allowed)
    else:
        chosen, proven = _exact(question, selector, allowed, load=exact or not few), True
    return SearchResult(
        asked=tuple(map(_asked, question.queries)),
        matches=_matches(question, chosen.matches),
        kind="exact" if proven else "probable",
        calibration=question.calibration.source,
        searched=len(allowed),
        same_recording=files_of(vectors, chosen.own),
        over_limit=chosen.over_limit,
    )


def _asks_indexes(question: Question, few: bool, exact: bool | None) -> bool:
    """Tell whether the indexes are to be asked: if there are any, and that is expected to pay."""
    count = len(question.space.vectors.owners)
    wanted_parts = np.sum([query.weights for query in question.queries], axis=0) > 0
    parts = int(wanted_parts.sum())
    pays = count > MOST_IN_MEMORY and (parts <= _FEW_PARTS or count * parts > _MOST_VECTORS)
    wanted = pays and not few if exact is None else not exact
    return wanted and has_indexes(question.space.vectors.table)


def _exact(
    question: Question, selector: Selector, allowed: NDArray[np.int64], *, load: bool
) -> Selection:
    """Choose among all `allowed` pieces; `load` keeps the wanted parts in memory."""
    vectors = question.space.vectors
    for query in question.queries if load else ():
        for part in np.flatnonzero(query.weights):
            vectors.block(int(part))
    if question.sieve is not None:
        sifted = _sifted(question, question.sieve, selector, allowed)
        if sifted is not None:
            return sifted
    if load:
        distances = question.distances(allowed)
    else:
        runs = vectors.runs(allowed, _ROWS_AT_A_TIME)
        found = [question.on(some).distances() for some in runs]
        distances = np.concatenate([np.zeros(0), *found])
    return selector.select(*_ranked(allowed, distances))


def _sifted(
    question: Question, sieve: Sieve, selector: Selector, allowed: NDArray[np.int64]
) -> Selection | None:
    """Choose among all `allowed` pieces what comparing them all would; None if that is as fast."""
    vectors, queries = question.space.vectors, question.queries
    few = len(allowed) < _FEWEST_SIFTED or _SHARE_SIFTED * len(allowed) < len(vectors.pieces)
    if few or any(query.away or not sieve.covers(query) for query in queries):
        return None
    bounds = sum(
        count * sieve.bounds(query) for count, query in zip(question.counts, queries, strict=True)
    )
    pieces = allowed[np.argsort(bounds[allowed], kind="stable")]
    known = np.zeros(0)
    last = 2 * selector.window
    while _SHARE_SIFTED * last < len(pieces):
        known = np.concatenate([known, question.distances(pieces[len(known) : last])])
        sure = known <= bounds[pieces[last]]
        chosen = selector.select(*_ranked(pieces[:last][sure], known[sure]))
        if selector.complete(chosen, int(sure.sum())):
            return chosen
        last *= 2
    return None


def _probable(
    question: Question, selector: Selector, limits: Limits, allowed: NDArray[np.int64]
) -> tuple[Selection, bool]:
    """Choose among the `allowed` pieces that the indexes bring up; among all if these are few."""
    near = [
        (count, query)
        for count, query in zip(question.counts, question.queries, strict=True)
        if not query.away
    ]
    chosen = Selection()
    known = np.full(len(question.space.vectors.pieces), np.nan)
    for found in rounds(question.space, near):
        may = np.isin(found.pieces, allowed, assume_unique=True)
        pieces, bounds = found.pieces[may], found.bounds[may]
        first, count, last = 0, _FIRST_PIECES, np.inf
        while first < len(pieces) and last > bounds[first]:
            some = pieces[first : first + count]
            some = some[np.isnan(known[some])]
            if len(some):
                known[some] = question.on(some).distances()
            there = np.flatnonzero(~np.isnan(known))
            chosen = selector.select(*_ranked(there, known[there]))
            last = chosen.matches[-1].distance if len(chosen.matches) == limits.n else np.inf
            first, count = first + count, 2 * count
        if last <= found.unseen:
            break
    if len(chosen.matches) < min(limits.n, len(allowed)):  # filters left too little in the lists
        return _exact(question, selector, allowed, load=False), True
    return chosen, False


def _ranked(
    pieces: NDArray[np.int64], distances: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return `pieces` and `distances` in order; pieces are numbered in the order of their ids."""
    order = np.lexsort((pieces, distances.round(DECIMALS)))
    return pieces[order], distances[order]


def _asked(query: Query) -> Asked:
    weights = {part: float(w) for part, w in zip(PARTS, query.weights, strict=True) if w}
    return Asked(query.name, query.away, weights, query.absent_parts)


def _matches(question: Question, chosen: Sequence[Chosen]) -> tuple[Match, ...]:
    """Return the chosen pieces with their reasons."""
    vectors = question.space.vectors
    some = question.on(np.array([one.piece for one in chosen], np.int64))
    return tuple(
        _match(some, place, one.distance, files_of(vectors, one.same))
        for place, one in enumerate(chosen)
    )


def _match(question: Question, k: int, distance: float, same: tuple[Piece, ...]) -> Match:
    """Return piece number `k` with its reasons."""
    vectors = question.space.vectors
    examples = tuple(_example_match(question, query, k) for query in question.queries)
    near = [
        (count, query, example)
        for count, query, example in zip(question.counts, question.queries, examples, strict=True)
        if not query.away
    ]
    weights = np.sum([count * query.shares.mean(axis=0) for count, query, _ in near], axis=0)
    parts = {}
    for i, part in enumerate(PARTS):
        told = [
            (count * query.weights[i], example.parts[part])
            for count, query, example in near
            if part in example.parts
        ]
        if told:
            parts[part] = _part_match(question.calibration, i, told)
    piece = vectors.pieces[k]
    return Match(
        piece=piece,
        paths=tuple(copy.path for copy in vectors.copies[piece.content]),
        same_recording=same,
        distance=distance,
        similarity=float(question.calibration.similarity(np.array(distance), weights)),
        parts=parts,
        examples=examples,
    )


def _part_match(
    calibration: Calibration, part: int, told: Sequence[tuple[float, PartMatch]]
) -> PartMatch:
    """Return the weighted mean of what several examples tell of one part."""
    counts = np.array([count for count, _ in told])
    distances = np.array([match.distance for _, match in told])
    presences = np.array([match.presence for _, match in told])
    distance = float(counts @ distances / counts.sum())
    similarity = calibration.similarity(np.array(distance), np.eye(len(PARTS))[part])
    return PartMatch(float(similarity), distance, float(counts @ presences / counts.sum()))


def _example_match(question: Question, query: Query, piece: int) -> ExampleMatch:
    vectors = question.space.vectors
    rows, totals, each = nearest_passages(question.space, query, piece)
    presence = vectors.presence[rows]
    wanted = [(i, PARTS[i]) for i in np.flatnonzero(query.weights).tolist()]
    asks = ~np.isnan(each)
    columns = (query.start_seconds, vectors.start_seconds[rows], totals, each, presence, asks)
    passages = [
        Passage(
            *(start, there, total),
            {part: apart[i] for i, part in wanted if heard[i]},
            {part: sounds[i] for i, part in wanted if heard[i]},
        )
        for start, there, total, apart, sounds, heard in zip(
            *(column.tolist() for column in columns), strict=True
        )
    ]
    parts = {}
    for i, _ in wanted:
        asked = asks[:, i]
        one = PartMatch(0.0, float(each[asked, i].mean()), float(presence[asked, i].mean()))
        parts[PARTS[i]] = _part_match(question.calibration, int(i), [(1.0, one)])
    distance = float(totals.mean(dtype=np.float64))
    similarity = question.calibration.similarity(np.array(distance), query.shares.mean(axis=0))
    return ExampleMatch(query.name, query.away, distance, float(similarity), parts, tuple(passages))


def _examples(
    query: str | Path | Example | Sequence[Example],
    start_seconds: float | None,
    end_seconds: float | None,
) -> list[Example]:
    if isinstance(query, str | Path):
        return [Example(query, None, start_seconds, end_seconds)]
    examples = [query] if isinstance(query, Example) else list(query)
    if start_seconds is not None or end_seconds is not None:
        raise UsageError("each example has its own stretch; leave the stretch of the search out")
    return examples
