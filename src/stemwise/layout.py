"""Places on a plane for points of many dimensions: what is alike lies close together.

t-SNE (openTSNE) or, for fewer than ten points, their two principal components. Places are centred
and have no unit; the same points get the same places. Points that are all equal lie at the origin.
Nearness on the plane is a hint only.

Reference: Poličar, Stražar, Zupan: openTSNE (2024); van der Maaten, Hinton: t-SNE (2008).
"""

import numpy as np
from numpy.typing import NDArray
from openTSNE import TSNE

__all__ = ["place"]

POINTS_FOR_TSNE = 10
_SEED = 0


def place(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the places (S, 2) of `points` (S, D), centred; none, (0, 2), for no points."""
    if len(points) < POINTS_FOR_TSNE or not np.ptp(points, axis=0).any():
        return _principal(points)
    perplexity = min(30.0, (len(points) - 1) / 3)
    found = TSNE(perplexity=perplexity, random_state=_SEED, n_jobs=1).fit(points)
    places: NDArray[np.float64] = np.array(found, np.float64)
    places -= places.mean(axis=0)
    return places


def _principal(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the two principal components (S, 2) of `points` (S, D), signs fixed, padded by 0."""
    places = np.zeros((len(points), 2))
    if len(points) > 1:
        left, sizes, _ = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
        found = (left * sizes)[:, :2]
        signs = np.sign(found[np.abs(found).argmax(axis=0), np.arange(found.shape[1])])
        places[:, : found.shape[1]] = found * np.where(signs == 0, 1, signs)
    return places
