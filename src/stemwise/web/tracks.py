"""Pieces as tracks: what a client is told of them. Never a path."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stemwise.library.tables import ID_DIGITS, Piece
from stemwise.web.current import Holding
from stemwise.web.messages import ByPart, Segment, Track, TrackAnswer, Tracks

__all__ = ["by_part", "found_tracks", "segments_of", "track", "track_of", "whole_track"]

_DECIMALS = 4


def by_part(values: Sequence[float] | NDArray[np.floating]) -> ByPart:
    """Return five `values` 0..1 by part."""
    drums, bass, piano, guitar, residuals = (round(float(value), _DECIMALS) for value in values)
    return ByPart(drums=drums, bass=bass, piano=piano, guitar=guitar, residuals=residuals)


def track(holding: Holding, number: int) -> Track:
    """Return piece `number`."""
    piece = holding.pieces[number]
    return Track(
        id=piece.id,
        title=piece.title,
        artist=piece.artist,
        album=piece.album,
        year=piece.year,
        genre=piece.genre,
        bpm=piece.bpm,
        duration_seconds=round(piece.duration_seconds, 3),
        parts=by_part(holding.shares[number]),
    )


def track_of(holding: Holding, piece: Piece) -> Track:
    """Return `piece`, which may be one of several copies."""
    return track(holding, holding.number(piece.content[:ID_DIGITS]))


def found_tracks(holding: Holding, text: str, limit: int, offset: int) -> Tracks:
    """Return the tracks that fit `text`, from number `offset` on."""
    found = holding.lookup.find(text)
    items = [track(holding, number) for number in found[offset : offset + limit]]
    return Tracks(total=len(found), items=items)


def whole_track(holding: Holding, number: int) -> TrackAnswer:
    """Return piece `number` with its segments."""
    snapshot = holding.searchable()
    vectors = snapshot.vectors()
    piece, rows = vectors.pieces[number], vectors.rows(number)
    segments = segments_of(
        vectors.start_seconds[rows],
        snapshot.levels()[rows],
        vectors.presence[rows],
        snapshot.metadata.segment_seconds,
        piece.duration_seconds,
    )
    copies = len(vectors.copies[piece.content]) - 1
    known = dict(track(holding, number))
    return TrackAnswer(**known, copies=copies, segments=segments)


def segments_of(
    starts: NDArray[np.float64],
    levels: NDArray[np.float32],
    presence: NDArray[np.float32],
    segment_seconds: float,
    duration_seconds: float,
) -> list[Segment]:
    """Return segments by their `starts` (S,), `levels` (S,) and `presence` (S, 5)."""
    return [
        Segment(
            start_seconds=round(float(start), 3),
            end_seconds=round(min(float(start) + segment_seconds, duration_seconds), 3),
            level_db=round(float(level), 2),
            presence=by_part(row),
        )
        for start, level, row in zip(starts, levels, presence, strict=True)
    ]
