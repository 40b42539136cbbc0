"""What a search returns: matches with their reasons, and what was asked.

Conventions: a distance is 0 for equal and about 2 for unrelated directions, less the hub term; it
can be slightly below 0, and above 4 where an example to move away from is near. A similarity is
0..1, see `stemwise.library.calibration`.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from stemwise.library.tables import Piece

__all__ = ["Asked", "ExampleMatch", "Match", "PartMatch", "Passage", "SearchResult"]


@dataclass(frozen=True)
class Passage:
    """The place in a match that is nearest to one segment of an example."""

    query_seconds: float
    match_seconds: float
    distance: float  # D
    parts: dict[str, float]  # d_p of the wanted parts that sound in the example's segment
    presence: dict[str, float]  # of these parts in the match, 0..1


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
    passages: tuple[Passage, ...]  # one per segment of the example, in its order


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
        return min(self.passages, key=lambda passage: round(passage.distance, 6))


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
