"""A map of a collection by one part: pieces alike in it lie close together.

A piece is placed by the mean vector of the segments in which the part sounds (`stemwise.layout`).
Nearness on the map is a hint; `stemwise.library.search` measures.
"""

import numpy as np
from numpy.typing import NDArray

from stemwise.layout import place
from stemwise.library.catalogue import Catalogue
from stemwise.library.tables import Piece
from stemwise.parts import index

__all__ = ["map_coordinates", "mean_vectors"]


def map_coordinates(catalogue: Catalogue, part: str) -> tuple[list[str], NDArray[np.float64]]:
    """Return the ids (P) of the pieces in which `part` sounds, and their places (P, 2).

    Places are centred and have no unit. The same catalogue gives the same map. An unknown part is a
    `UsageError`; a part that sounds nowhere gives ([], (0, 2)).
    """
    pieces, means = mean_vectors(catalogue, part)
    return [piece.id for piece in pieces], place(means)


def mean_vectors(catalogue: Catalogue, part: str) -> tuple[list[Piece], NDArray[np.float64]]:
    """Return the pieces in which `part` sounds and the mean (P, 128) of its vectors in each."""
    i = index(part)
    vectors = catalogue.vectors()
    there = np.flatnonzero(vectors.counts(i))
    return [vectors.pieces[k] for k in there], vectors.means(i)[there].astype(np.float64)
