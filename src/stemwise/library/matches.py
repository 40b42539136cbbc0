"""What a search returns: matches with their reasons, and what was asked.

Conventions: a distance is 0 for equal and about 2 for unrelated directions, less the hub term; it
can be slightly below 0, and above 4 where an example to move away from is near. A similarity is
0..1, see `stemwise.library.calibration`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, overload

import numpy as np
from numpy.typing import NDArray

from stemwise.library.distances import DECIMALS
from stemwise.library.tables import Piece
from stemwise.parts import PARTS

__all__ = ["Asked", "ExampleMatch", "Match", "PartMatch", "Passage", "Passages", "SearchResult"]


@dataclass(frozen=True)
class Passage:
    """The place in a match that is nearest to one segment of an example."""

    query_seconds: float
    match_seconds: float
    distance: float  # D
    parts: dict[str, float]  # d_p of the wanted parts that sound in the example's segment
    presence: dict[str, float]  # of these parts in the match, 0..1


class Passages(Sequence[Passage]):
    """The passages of a match, one per segment of an example; each is made when it is asked for.

    Args:
        query_seconds: where the Q segments begin (Q,).
        match_seconds: where the segments of the match begin that are nearest to them (Q,).
        distances: D (Q,).
        each: d_p (Q, 5), nan for parts that are not asked for.
        presence: in the match (Q, 5).
    """

    def __init__(
        self,
        query_seconds: NDArray[np.float64],
        match_seconds: NDArray[np.float64],
        distances: NDArray[np.float32],
        each: NDArray[np.float32],
        presence: NDArray[np.float32],
    ) -> None:
        self._columns = (query_seconds, match_seconds, distances, each, presence)

    def __len__(self) -> int:
        """Return the number of segments."""
        return len(self._columns[0])

    @overload
    def __getitem__(self, place: int) -> Passage: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Passage, ...]: ...
    def __getitem__(self, place: int | slice) -> Passage | tuple[Passage, ...]:
        """Return one passage, or some."""
        if isinstance(place, slice):
            return tuple(self[i] for i in range(*place.indices(len(self))))
        there, here, distance, each, presence = (column[place].tolist() for column in self._columns)
        asked = [i for i, apart in enumerate(each) if not math.isnan(apart)]
        return Passage(
            there,
            here,
            distance,
            {PARTS[i]: each[i] for i in asked},
            {PARTS[i]: presence[i] for i in asked},
        )

    def __eq__(self, other: object) -> bool:
        """Tell whether `other` holds the same passages."""
        return isinstance(other, Passages) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]

    @property
    def nearest(self) -> Passage:
        """The nearest, the earliest if several are (to a millionth)."""
        return self[int(self._columns[2].round(DECIMALS).argmin())]


@dataclass(frozen=True)
class PartMatch:
    """How near a match comes in one part: means over the passages."""

    similarity: float  # 0..1
    distance: float  # d_p
    presence: float  # in the match, 0..1


@dataclass(frozen=True)
class ExampleMatch:
    """How a match stands to one example."""

    name: str
    away: bool
    distance: float  # D; of an example to move away from, before what that costs
    similarity: float  # 0..1
    parts: dict[str, PartMatch]
    passages: Passages  # one per segment of the example, in its order


@dataclass(frozen=True)
class Match:
    """A piece found."""

    piece: Piece
    paths: tuple[Path, ...]  # of all files with its bytes
    same_recording: tuple[Piece, ...]  # other files of the recording, collapsed into this match
    distance: float  # of all examples together; what matches are ordered by
    similarity: float  # 0..1
    parts: dict[str, PartMatch]  # over all examples to come near to
    examples: tuple[ExampleMatch, ...]  # in the order they were given

    @cached_property
    def passages(self) -> tuple[Passage, ...]:
        """The passages of all examples to come near to."""
        return tuple(p for example in self.examples if not example.away for p in example.passages)

    @property
    def best(self) -> Passage:
        """The nearest of the passages, the earliest if several are."""
        nearest = [example.passages.nearest for example in self.examples if not example.away]
        return min(nearest, key=lambda passage: round(passage.distance, DECIMALS))


@dataclass(frozen=True)
class Asked:
    """One example as it was understood."""

    name: str  # title or file name, and the stretch if one was given
    away: bool
    weights: dict[str, float]  # of the parts that counted
    absent_parts: tuple[str, ...]  # wanted, but silent in the stretch


@dataclass(frozen=True)
class SearchResult:
    """Matches, nearest first, and what was asked."""

    asked: tuple[Asked, ...]
    matches: tuple[Match, ...]
    kind: Literal["exact", "probable"]  # whether a nearer piece can have been missed
    calibration: str  # what similarities rest on: "held-out pieces", "this catalogue" or "none"
    searched: int  # pieces that the filters let through
    same_recording: tuple[Piece, ...]  # other files of an example's recording, left out
    over_limit: int  # pieces left out before the last match because of the limit per artist

    @property
    def query(self) -> str:
        """What was asked, in words."""
        names = [("not " if asked.away else "") + asked.name for asked in self.asked]
        return " + ".join(names)

    @property
    def weights(self) -> dict[str, float]:
        """The weights of the first example."""
        return self.asked[0].weights

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that counted in an example to come near to, in the order of parts."""
        return tuple(self.matches[0].parts) if self.matches else tuple(self.weights)

    @property
    def absent_parts(self) -> tuple[str, ...]:
        """Parts that were wanted of the first example, but are silent there."""
        return self.asked[0].absent_parts
