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
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stemwise.errors import UsageError
from stemwise.library.candidates import has_indexes, rounds
from stemwise.library.distances import DECIMALS
from stemwise.library.filters import Filter
from stemwise.library.matches import Asked, SearchResult
from stemwise.library.query import Example, Query, resolve, weight_row
from stemwise.library.question import Question
from stemwise.library.reasons import matches_of
from stemwise.library.selection import Limits, Selection, Selector, files_of
from stemwise.library.sieve import Sieve
from stemwise.library.snapshot import Snapshot
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
        matches=matches_of(question, chosen.matches),
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
    asked = list(zip(question.counts, queries, strict=True))
    bounds = np.sum([count * sieve.bounds(query) for count, query in asked], axis=0)
    known = np.full(len(bounds), np.nan)
    count, sharpened = 2 * selector.window, False
    while _SHARE_SIFTED * count < len(allowed):
        order = np.argpartition(bounds[allowed], count)
        some, others = np.sort(allowed[order[:count]]), allowed[order[count:]]
        new = some[np.isnan(known[some])]
        known[new] = question.distances(new)
        sure = some[known[some] <= bounds[others[0]]]
        if len(sure) >= selector.fewest:
            chosen = selector.select(*_ranked(sure, known[sure]))
            if selector.complete(chosen, len(sure)):
                return chosen
        limit = np.partition(known[some], selector.window)[selector.window]
        left = np.sort(others[bounds[others] <= limit])
        if sharpened or len(left) < count:
            count += len(left) or count
        else:
            sharpened = True
            closer = [part * sieve.closer_bounds(query, left) for part, query in asked]
            bounds[left] = np.maximum(bounds[left], np.sum(closer, axis=0))
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
