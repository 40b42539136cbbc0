"""From ranked pieces to matches: one per recording, so many per artist, so many in all.

Ranked pieces are walked from the nearest on. Another file of an example's recording is set aside,
another file of a match's recording is added to that match, and a piece whose artist has enough
matches is passed over. Once there are enough matches, about as many pieces again are looked through
for further files of their recordings.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stemwise.library.duplicates import (
    TOLERANCE_SECONDS,
    Recording,
    Recordings,
    same_recording,
)
from stemwise.library.query import Query
from stemwise.library.tables import Piece
from stemwise.library.vectors import Vectors

__all__ = ["Chosen", "Limits", "Selection", "Selector", "files_of"]

_MORE = 20


@dataclass(frozen=True)
class Limits:
    """How many matches there may be."""

    n: int = 20
    per_artist: int | None = None
    collapse: bool = True  # files of one recording make one match


@dataclass
class Chosen:
    """A match by number, its distance, and other files of the recording, by number."""

    piece: int
    distance: float
    same: list[int] = field(default_factory=list)


@dataclass
class Selection:
    """What was chosen from ranked pieces."""

    matches: list[Chosen] = field(default_factory=list)
    own: list[int] = field(default_factory=list)  # other files of an example's recording
    over_limit: int = 0  # passed over because of their artist


class Selector:
    """Chooses matches; call `select` as often as the ranking grows."""

    def __init__(self, vectors: Vectors, queries: Sequence[Query], limits: Limits) -> None:
        self._vectors = vectors
        self._limits = limits
        self._recordings = Recordings(vectors)
        self._seconds = vectors.durations_seconds
        numbers = [vectors.number_of(query.content) for query in queries]
        self._examples = [k for k in numbers if k is not None]
        self._outside = [query.recording for query in queries if query.recording]

    @property
    def window(self) -> int:
        """How many pieces are looked through at least for files of one recording."""
        return 2 * self._limits.n + _MORE

    @property
    def fewest(self) -> int:
        """How many pieces must be known before a selection of them can be complete."""
        return self.window if self._limits.collapse else self._limits.n

    def complete(self, found: Selection, count: int) -> bool:
        """Tell whether `found`, chosen of `count` pieces, stays if farther ones are added."""
        full = len(found.matches) == self._limits.n
        return full and count >= self.fewest

    def select(self, pieces: NDArray[np.int64], distances: NDArray[np.float64]) -> Selection:
        """Return what is chosen of `pieces` (K,), the nearest first, with `distances` (K,)."""
        found = Selection()
        alike: set[int] = set()
        artists: Counter[str] = Counter()
        window = self.window
        for place, (k, distance) in enumerate(
            zip(pieces.tolist(), distances.tolist(), strict=True)
        ):
            full = len(found.matches) == self._limits.n
            if full and (place >= window or not self._limits.collapse):
                break
            if self._limits.collapse and place % window == 0:
                some, matches = pieces[place : place + window], [m.piece for m in found.matches]
                alike = self._prepare(some, matches)
            if k in alike and self._is_own(k):
                found.own.append(k)
            elif k in alike and (twin := self._twin(found.matches, k)):
                twin.same.append(k)
            elif not full:
                artist = self._vectors.pieces[k].artist.casefold()
                if artist and artists[artist] == self._limits.per_artist:
                    found.over_limit += 1
                    continue
                artists[artist] += 1
                found.matches.append(Chosen(k, distance))
        return found

    def _prepare(self, pieces: NDArray[np.int64], matches: Sequence[int]) -> set[int]:
        """Read at once, and return, what will be compared: those that last as long as another."""
        seconds = self._seconds[pieces]
        other = np.array([recording.duration_seconds for recording in self._outside])
        known = self._seconds[[*self._examples, *matches]]
        other = np.concatenate([other, known, seconds])
        alike = (np.abs(seconds[:, None] - other) <= TOLERANCE_SECONDS).sum(axis=1)
        few: list[int] = pieces[alike > 1].tolist()
        self._recordings.prepare(few)
        return set(few)

    def _is_own(self, k: int) -> bool:
        outside = [one for one in self._outside if self._lasts_like(k, one.duration_seconds)]
        inside = [e for e in self._examples if self._lasts_like(k, self._lasts(e))]
        others: list[Recording] = outside + [self._recordings[e] for e in inside]
        radius = self._recordings.radius
        return any(same_recording(self._recordings[k], other, radius) for other in others)

    def _twin(self, matches: Sequence[Chosen], k: int) -> Chosen | None:
        seconds = self._lasts(k)
        for match in matches:
            alike = abs(self._lasts(match.piece) - seconds) <= TOLERANCE_SECONDS
            if alike and self._recordings.same(match.piece, k):
                return match
        return None

    def _lasts_like(self, k: int, seconds: float) -> bool:
        return abs(self._lasts(k) - seconds) <= TOLERANCE_SECONDS

    def _lasts(self, k: int) -> float:
        return self._vectors.pieces[k].duration_seconds


def files_of(vectors: Vectors, numbers: Sequence[int]) -> tuple[Piece, ...]:
    """Return all files of the pieces `numbers`, by path."""
    files = [piece for k in numbers for piece in vectors.copies[vectors.pieces[k].content]]
    return tuple(sorted(files, key=lambda piece: piece.path))
