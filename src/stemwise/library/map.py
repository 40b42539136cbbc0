"""A map of a collection by one part: pieces alike in it lie close together.

A piece is placed by the mean vector of the segments in which the part sounds, by t-SNE (openTSNE)
or, if there are fewer than ten pieces, by their two principal components. Nearness on the map is a
hint; `stemwise.library.search` measures.

Reference: Poličar, Stražar, Zupan: openTSNE (2024); van der Maaten, Hinton: t-SNE (2008).
"""

import numpy as np
from numpy.typing import NDArray
from openTSNE import TSNE

from stemwise.library.catalogue import Catalogue
from stemwise.library.tables import Piece
from stemwise.parts import BLOCK_DIMENSIONS, index

__all__ = ["map_coordinates", "mean_vectors"]

PIECES_FOR_TSNE = 10
_SEED = 0


def map_coordinates(catalogue: Catalogue, part: str) -> tuple[list[str], NDArray[np.float64]]:
    """Return the ids (P) of the pieces in which `part` sounds, and their places (P, 2).

    Places are centred and have no unit. The same catalogue gives the same map. An unknown part is a
    `UsageError`; a part that sounds nowhere gives ([], (0, 2)).
    """
    pieces, means = mean_vectors(catalogue, part)
    ids = [piece.id for piece in pieces]
    if len(pieces) < PIECES_FOR_TSNE:
        return ids, _principal(means)
    perplexity = min(30.0, (len(pieces) - 1) / 3)
    places = TSNE(perplexity=perplexity, random_state=_SEED, n_jobs=1).fit(means)
    return ids, np.asarray(places, np.float64) - np.mean(places, axis=0)


def mean_vectors(catalogue: Catalogue, part: str) -> tuple[list[Piece], NDArray[np.float64]]:
    """Return the pieces in which `part` sounds and the mean (P, 128) of its vectors in each."""
    i = index(part)
    vectors = catalogue.vectors()
    pieces, means = [], []
    for k, piece in enumerate(vectors.pieces):
        rows = vectors.rows(k)
        sounding = vectors.sounding[rows, i]
        if sounding.any():
            pieces.append(piece)
            means.append(vectors.block(i)[rows][sounding].mean(axis=0, dtype=np.float64))
    return pieces, np.array(means).reshape(-1, BLOCK_DIMENSIONS)


def _principal(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the two principal components (P, 2) of `points` (P, D), signs fixed, padded by 0."""
    places = np.zeros((len(points), 2))
    if len(points) > 1:
        left, sizes, _ = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
        found = (left * sizes)[:, :2]
        signs = np.sign(found[np.abs(found).argmax(axis=0), np.arange(found.shape[1])])
        places[:, : found.shape[1]] = found * np.where(signs == 0, 1, signs)
    return places
