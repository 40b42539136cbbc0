"""The two directions in which points spread most: a plane in a moment, without openTSNE."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["principal"]


def principal(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the two principal components (P, 2) of `points` (P, D), D of 2 or more, centred.

    Signs are fixed: the point farthest out on an axis lies on its positive side.
    """
    if len(points) < 2:
        return np.zeros((len(points), 2))
    centred = points - points.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)  # ascending
    places = centred @ axes[:, :-3:-1]
    largest = places[np.abs(places).argmax(axis=0), np.arange(2)]
    turned: NDArray[np.float64] = places * np.where(largest < 0, -1.0, 1.0)
    return turned
