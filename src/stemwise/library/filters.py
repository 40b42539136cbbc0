"""Which pieces may be found: by folder, artist, genre, tempo, year and duration.

Filters are applied before ranking, exactly. A piece whose tags do not say what a filter asks for is
left out by it. Of several folders, artists or genres, one is enough; all kinds of filters must
hold. Ranges include their ends, and either end may be open.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from stemwise.errors import UsageError
from stemwise.library.tables import Piece

__all__ = ["Filter", "Range", "parse_range"]

Range = tuple[float | None, float | None]
"""From and to, both included; None: open."""


@dataclass(frozen=True)
class Filter:
    """What a match must be; a field that is None, or empty, asks for nothing.

    Attributes:
        folders: the file lies in or below one of them; links in paths are kept.
        artists: the artist is one of them, case ignored.
        genres: the genre has one of them in it, case ignored; "rock" takes "Post-Rock" too.
        bpm: range of the tempo that the tags state.
        years: range of the year.
        durations_seconds: range of the length.

    Raises:
        UsageError: a range that ends before it starts, or holds a negative number.
    """

    folders: tuple[Path | str, ...] = ()
    artists: tuple[str, ...] = ()
    genres: tuple[str, ...] = ()
    bpm: Range | None = None
    years: Range | None = None
    durations_seconds: Range | None = None

    def __post_init__(self) -> None:
        for name in ("bpm", "years", "durations_seconds"):
            first, last = getattr(self, name) or (None, None)
            low, high = (
                first if first is not None else 0,
                last if last is not None else float("inf"),
            )
            if not 0 <= low <= high:
                raise UsageError(
                    f"a range of {name} must rise from 0 or more: got {first} to {last}"
                )

    def accepts(self, copies: Iterable[Piece]) -> bool:
        """Tell whether one of the files `copies`, of equal content, is what is asked for."""
        return any(self._accepts(piece) for piece in copies)

    def _accepts(self, piece: Piece) -> bool:
        folders = [os.path.abspath(folder) for folder in self.folders]
        artists = {artist.casefold() for artist in self.artists}
        genres = [genre.casefold() for genre in self.genres]
        return (
            (not folders or any(piece.path.is_relative_to(folder) for folder in folders))
            and (not artists or piece.artist.casefold() in artists)
            and (not genres or any(genre in piece.genre.casefold() for genre in genres))
            and _within(piece.bpm, self.bpm)
            and _within(piece.year, self.years)
            and _within(piece.duration_seconds, self.durations_seconds)
        )


def parse_range(text: str, what: str, read: Callable[[str], float] = float) -> Range:
    """Return the range in ``90-120``, ``90-``, ``-120`` or ``90``, which is ``90-90``.

    Args:
        text: the range in words.
        what: what it is of, for the error.
        read: makes a number of either end.

    Raises:
        UsageError: that is not what `text` is.
    """
    first, dash, last = (piece.strip() for piece in text.partition("-"))
    try:
        low, high = (read(value) if value else None for value in (first, last))
    except (ValueError, UsageError):
        low = high = None
    if low is None and high is None:
        raise UsageError(f"{text!r} is no range of {what}; write it as 90-120, 90- or -120")
    return (low, high) if dash else (low, low)


def _within(value: float | None, wanted: Range | None) -> bool:
    if wanted is None:
        return True
    low, high = wanted
    return value is not None and (low is None or value >= low) and (high is None or value <= high)
