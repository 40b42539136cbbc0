"""A search as it comes over the wire, to one call of the library, and back."""

import time
from collections.abc import Callable

from stemwise.library.embed import FileEmbedding
from stemwise.library.filters import Filter
from stemwise.library.journey import journey
from stemwise.library.matches import ExampleMatch as LibraryExample
from stemwise.library.matches import Match as LibraryMatch
from stemwise.library.matches import PartMatch as LibraryPart
from stemwise.library.matches import Passage as LibraryPassage
from stemwise.library.query import Example as LibraryQuery
from stemwise.library.search import similar
from stemwise.web.current import Holding
from stemwise.web.messages import (
    Asked,
    Example,
    Filters,
    Match,
    PartMatch,
    Passage,
    PathAnswer,
    PathRequest,
    PathStep,
    Query,
    SearchAnswer,
    SearchRequest,
)
from stemwise.web.tracks import track_of

__all__ = ["find_path", "search"]

_DECIMALS = 6


def search(
    holding: Holding, request: SearchRequest, upload: Callable[[str], FileEmbedding]
) -> SearchAnswer:
    """Return what `request` finds; `upload` gives what an upload was described as."""
    began = time.perf_counter()
    snapshot = holding.searchable()

    def example(query: Query) -> LibraryQuery:
        if query.track is not None:
            piece = holding.pieces[holding.number(query.track)]
        weights = query.parts.by_part() if query.parts else None
        source = piece if query.track is not None else upload(query.upload or "")
        return LibraryQuery(source, weights, query.start, query.end, query.away)

    result = similar(
        snapshot,
        [example(query) for query in request.queries],
        request.parts.by_part() if request.parts else None,
        n=request.n,
        filters=_filter(request.filters),
        per_artist=request.per_artist,
        collapse=request.collapse,
        exact=request.exact,
    )
    asked = [
        Asked(
            track=query.track,
            upload=query.upload,
            name=one.name,
            away=one.away,
            weights=one.weights,
            absent_parts=list(one.absent_parts),
        )
        for query, one in zip(request.queries, result.asked, strict=True)
    ]
    answer = SearchAnswer(
        asked=asked,
        matches=[_match(holding, match, explain=request.explain) for match in result.matches],
        kind=result.kind,
        calibration=result.calibration,
        searched=result.searched,
        over_limit=result.over_limit,
        took_ms=round(1000 * (time.perf_counter() - began), 2),
    )
    holding.recent.keep(request, answer)
    return answer


def find_path(holding: Holding, request: PathRequest) -> PathAnswer:
    """Return the path that `request` asks for."""
    snapshot = holding.searchable()
    for end in (request.first, request.last):
        holding.number(end)
    weights = request.parts.by_part() if request.parts else None
    steps = journey(snapshot, request.first, request.last, weights)
    return PathAnswer(
        steps=[
            PathStep(track=track_of(holding, step.piece), distance=_rounded(step.distance))
            for step in steps
        ]
    )


def _filter(filters: Filters | None) -> Filter | None:
    if filters is None:
        return None
    return Filter(
        artists=tuple(filters.artists or ()),
        genres=tuple(filters.genres or ()),
        bpm=filters.bpm,
        years=filters.year,
        durations_seconds=filters.duration_seconds,
    )


def _match(holding: Holding, match: LibraryMatch, *, explain: bool) -> Match:
    near = [(i, one.passages) for i, one in enumerate(match.examples) if not one.away]
    nearest = [(number, passages.nearest) for number, passages in near]
    best = min(nearest, key=lambda found: round(found[1].distance, _DECIMALS))
    told = [(number, one) for number, passages in near if explain for one in passages]
    return Match(
        track=track_of(holding, match.piece),
        similarity=round(match.similarity, _DECIMALS),
        distance=round(match.distance, _DECIMALS),
        parts={part: _part(one) for part, one in match.parts.items()},
        passage=_passage(*best),
        same_recording=[track_of(holding, piece) for piece in match.same_recording],
        passages=[_passage(*found) for found in told] if explain else None,
        examples=[_example(one) for one in match.examples] if explain else None,
    )


def _passage(number: int, passage: LibraryPassage) -> Passage:
    return Passage(
        query=number,
        query_seconds=passage.query_seconds,
        match_seconds=passage.match_seconds,
        distance=round(passage.distance, _DECIMALS),
    )


def _example(one: LibraryExample) -> Example:
    return Example(
        name=one.name,
        away=one.away,
        similarity=round(one.similarity, _DECIMALS),
        distance=round(one.distance, _DECIMALS),
        parts={part: _part(match) for part, match in one.parts.items()},
    )


def _part(one: LibraryPart) -> PartMatch:
    return PartMatch(
        similarity=round(one.similarity, _DECIMALS),
        distance=round(one.distance, _DECIMALS),
        presence=round(one.presence, _DECIMALS),
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DECIMALS)
