"""A tour of a collection: index it, ask one piece what sounds alike part by part, draw the maps.

It is the main job in one call, for a first look at a folder of music.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stemwise.errors import UsageError
from stemwise.library.catalogue import Catalogue
from stemwise.library.indexing import IndexSummary, Progress
from stemwise.library.matches import SearchResult
from stemwise.library.picture import draw_map
from stemwise.library.search import similar
from stemwise.library.vectors import Vectors
from stemwise.parts import PARTS

__all__ = ["Tour", "tour"]

MIXED = {"drums": 1.0, "bass": 1.0, "guitar": 1.0}


@dataclass(frozen=True)
class Tour:
    """What a tour found."""

    summary: IndexSummary
    results: dict[str, SearchResult]  # a part, or "mixed", to its matches
    silent: tuple[str, ...]  # parts that do not sound in the query
    picture: Path


def tour(
    folder: Path,
    output: Path,
    query: str | None = None,
    n: int = 5,
    progress: Progress = lambda done, total, hours: None,
) -> Tour:
    """Index `folder` into ``output/catalogue``, search it, and draw ``output/map.png``.

    Args:
        folder: music files.
        output: where the catalogue and the picture go; an earlier tour there is brought up to date.
        query: id or title of the piece to ask about; the one with most parts sounding if None.
        n: matches per question.
        progress: called with (files done, files in all, hours of music embedded).

    Raises:
        UsageError: the folder holds no music, or no such piece.
    """
    catalogue = Catalogue.open(output / "catalogue", create=True)
    summary = catalogue.index(folder, progress=progress)
    vectors = catalogue.vectors()
    if len(vectors.pieces) < 2:
        raise UsageError(f"{folder} holds {len(vectors.pieces)} pieces of music; a tour needs two")
    piece = catalogue.find(query) if query else vectors.pieces[_fullest(vectors)]
    row = next(k for k, other in enumerate(vectors.pieces) if other.content == piece.content)
    sounding = vectors.sounding[vectors.rows(row)]
    heard = [part for i, part in enumerate(PARTS) if sounding[:, i].any()]
    questions = {part: {part: 1.0} for part in heard}
    if mixed := {part: weight for part, weight in MIXED.items() if part in heard}:
        questions["mixed"] = mixed
    results = {
        name: similar(catalogue, piece.id, weights, n=n) for name, weights in questions.items()
    }
    picture = output / "map.png"
    draw_map(catalogue, picture)
    silent = tuple(part for part in PARTS if part not in heard)
    return Tour(summary, results, silent, picture)


def _fullest(vectors: Vectors) -> int:
    """Return the piece in which the parts sound most: highest rarest part, then highest sum."""
    shares = [vectors.sounding[vectors.rows(k)].mean(axis=0) for k in range(len(vectors.pieces))]
    return max(range(len(shares)), key=lambda k: (np.min(shares[k]), np.sum(shares[k]), -k))
