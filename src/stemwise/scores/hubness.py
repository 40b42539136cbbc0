"""Hubness: are a few segments everybody's neighbours, and others nobody's?

**Definition.** N_k is the number of lists of k nearest neighbours in which a segment occurs. In
spaces of many dimensions it tends to a long tail: *hubs* are in very many lists, *anti-hubs* in
none, whatever they sound like. Told by the skewness of N_k over the segments,

    E[(N_k - mean)^3] / deviation^3,

which is 0 for a symmetric distribution and grows with the tail, by the largest hub, and by the
share of anti-hubs.

**Conventions.** Deviation of the whole, not of a sample (``scipy.stats.skew`` at its defaults).
N_k depends on k and on who may be whose neighbour, so compare only within one protocol.

References: Radovanović, Nanopoulos, Ivanović, "Hubs in Space: Popular Nearest Neighbors in
High-Dimensional Data", JMLR 11, 2010; for music, Flexer, Schnitzer, Schlüter, "A MIREX
Meta-Analysis of Hubness in Audio Music Similarity", ISMIR 2012.
"""

from dataclasses import dataclass

import scipy.stats
import torch

__all__ = ["Hubness", "hubness"]


@dataclass(frozen=True)
class Hubness:
    """How unevenly segments are found.

    Attributes:
        skewness: of N_k; None where all segments are found equally often, or there are none.
        largest: share of the lists, in 0..1, that hold the largest hub; None without a list.
        never: share of the segments, in 0..1, that are in no list; None without a segment.
    """

    skewness: float | None
    largest: float | None
    never: float | None


def hubness(near: torch.Tensor, count: int) -> Hubness:
    """Return the hubness of lists of neighbours.

    Args:
        near: (S, k) integers, the positions of each query's neighbours, no position twice in a
            row; -1 where none is left. As `stemwise.scores.mes.nearest` returns it.
        count: segments that could be found; positions are below it.

    Raises:
        ValueError: not (S, k), or a position that is not in -1..count - 1.
    """
    if near.ndim != 2 or ((near < -1) | (near >= count)).any():
        raise ValueError(
            f"need (S, k) positions in -1..{count - 1}, got {tuple(near.shape)}"
            + (f" in {int(near.min())}..{int(near.max())}" if near.numel() else "")
        )
    found = torch.bincount(near[near >= 0], minlength=count).cpu().numpy()
    if not count:
        return Hubness(None, None, None)
    return Hubness(
        skewness=float(scipy.stats.skew(found)) if found.min() < found.max() else None,
        largest=float(found.max() / len(near)) if len(near) else None,
        never=float((found == 0).mean()),
    )
