"""Places on a plane for points of many dimensions: what is alike lies close together.

t-SNE (openTSNE) or, for fewer than ten points, their two principal components. Places are centred
and have no unit; the same points get the same places. Points that are all equal lie at the origin.
Nearness on the plane is a hint only.

Reference: Poličar, Stražar, Zupan: openTSNE (2024); van der Maaten, Hinton: t-SNE (2008).
"""

import numpy as np
from numpy.typing import NDArray
from openTSNE import TSNE

from stemwise.principal import principal

__all__ = ["place"]

POINTS_FOR_TSNE = 10
_SEED = 0


def place(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the places (S, 2) of `points` (S, D), centred; none, (0, 2), for no points."""
    if len(points) < POINTS_FOR_TSNE or not np.ptp(points, axis=0).any():
        return principal(points)
    perplexity = min(30.0, (len(points) - 1) / 3)
    found = TSNE(perplexity=perplexity, random_state=_SEED, n_jobs=1).fit(points)
    places: NDArray[np.float64] = np.array(found, np.float64)
    places -= places.mean(axis=0)
    return places
