"""A journey: a chain of pieces from one to another in which every step is small.

Definition. A piece stands at the mean of its segments in each part, brought to length 1. For pieces
a and b and weights w_p,

    d(a, b) = Σ_p w_p ‖a_p − b_p‖² / Σ_p w_p   over the parts that sound in a or in b,

where a part that sounds in one of them only counts 4. The journey is the shortest path from A to B
in the graph that joins each piece to its ten nearest, a step costing d. As distances are squared,
two small steps cost less than one large one. If A and B are not joined, each piece gets twice as
many neighbours, and so on. No piece comes twice, nor does another file of the same recording.

Of a large catalogue, the 2,000 pieces with the smallest d(A, c) + d(c, B) take part.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from scipy.sparse.csgraph import dijkstra

from stemwise.errors import UsageError
from stemwise.library.distances import FARTHEST
from stemwise.library.duplicates import Recordings
from stemwise.library.query import weight_row
from stemwise.library.tables import Piece
from stemwise.library.vectors import Vectors
from stemwise.parts import PARTS

if TYPE_CHECKING:
    from stemwise.library.catalogue import Catalogue
    from stemwise.library.snapshot import Snapshot

__all__ = ["Step", "distances_between", "journey", "shortest"]

MOST_PIECES = 2000
NEIGHBOURS = 10
_LEAST = 1e-9  # a step of cost 0 would count as no step


@dataclass(frozen=True)
class Step:
    """A piece of a journey, and how it stands to the one before."""

    piece: Piece
    distance: float | None  # d, 0..4; None for the first
    parts: dict[str, float]  # per wanted part that sounds in both, 0..4; empty for the first


def journey(
    catalogue: "Catalogue | Snapshot",
    first: str | Path,
    last: str | Path,
    weights: Mapping[str, float] | None = None,
) -> list[Step]:
    """Return the pieces from `first` to `last`, both of the catalogue, by id, path or title.

    Args:
        catalogue: where the pieces are.
        first: where the journey begins.
        last: where it ends.
        weights: per part, 0 or more; all five parts alike if None.

    Raises:
        UsageError: no such piece, twice the same recording, or no wanted part sounds in one.
    """
    row = weight_row(weights)
    vectors = catalogue.vectors()
    ends = [_number(vectors, catalogue.find(str(name)), row) for name in (first, last)]
    recordings = Recordings(vectors)
    if ends[0] == ends[1] or recordings.same(*ends):
        raise UsageError(f"{first} and {last} are the same recording; a journey needs two")
    counts = sum(vectors.counts(int(part)) for part in np.flatnonzero(row))
    others = np.setdiff1d(np.flatnonzero(counts), ends)
    detour = distances_between(vectors, row, np.array(ends), others).sum(axis=0)
    nearest = others[np.argsort(detour, kind="stable")[: MOST_PIECES - 2]]
    nodes = np.array([*ends, *np.sort(nearest)])
    path = [int(nodes[k]) for k in shortest(distances_between(vectors, row, nodes, nodes))]
    path = _without_copies(recordings, path)
    steps = [Step(vectors.pieces[path[0]], None, {})]
    for before, after in itertools.pairwise(path):
        pair = np.array([before]), np.array([after])
        each = {
            part: float(distances_between(vectors, np.eye(len(PARTS))[i], *pair)[0, 0])
            for i, part in enumerate(PARTS)
            if row[i] and vectors.counts(i)[before] and vectors.counts(i)[after]
        }
        total = float(distances_between(vectors, row, *pair)[0, 0])
        steps.append(Step(vectors.pieces[after], total, each))
    return steps


def distances_between(
    vectors: Vectors,
    weights: NDArray[np.float64],
    a: NDArray[np.int64],
    b: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return d (A, B) between the pieces `a` and `b` by number, for `weights` (5,).

    4 where no wanted part sounds in either.
    """
    total = np.zeros((len(a), len(b)))
    counted = np.zeros((len(a), len(b)))
    for part in np.flatnonzero(weights):
        means = vectors.means(int(part))
        lengths = np.linalg.norm(means, axis=1, keepdims=True)
        unit = means / np.where(lengths > 0, lengths, 1)
        heard = vectors.counts(int(part)) > 0
        apart = np.clip(2 - 2 * (unit[a] @ unit[b].T).astype(np.float64), 0, FARTHEST)
        apart[~(heard[a, None] & heard[b])] = FARTHEST
        either = heard[a, None] | heard[b]
        total += weights[part] * apart * either
        counted += weights[part] * either
    return np.where(counted > 0, total / np.where(counted > 0, counted, 1), FARTHEST)


def shortest(distances: NDArray[np.float64], neighbours: int = NEIGHBOURS) -> list[int]:
    """Return the shortest path from node 0 to node 1 in the graph of nearest neighbours.

    Args:
        distances: (M, M) between nodes; M is 2 or more.
        neighbours: that each node is joined to at first.
    """
    count = len(distances)
    apart = np.maximum(distances, _LEAST)
    np.fill_diagonal(apart, np.inf)
    while True:
        reach = min(neighbours, count - 1)
        near = np.argsort(apart, axis=1, kind="stable")[:, :reach]
        rows = np.repeat(np.arange(count), reach)
        graph = scipy.sparse.coo_array(
            (apart[rows, near.ravel()], (rows, near.ravel())), shape=(count, count)
        ).tocsr()
        cost, before = dijkstra(graph, directed=False, indices=0, return_predecessors=True)
        if np.isfinite(cost[1]):
            break
        neighbours *= 2
    path = [1]
    while path[-1] != 0:
        path.append(int(before[path[-1]]))
    return path[::-1]


def _number(vectors: Vectors, piece: Piece, weights: NDArray[np.float64]) -> int:
    """Return the number of `piece`, in which a wanted part must sound."""
    k = vectors.number_of(piece.content)
    wanted = [i for i in range(len(PARTS)) if weights[i]]
    if k is None or not any(vectors.counts(i)[k] for i in wanted):
        silent = " or ".join(PARTS[i] for i in wanted)
        raise UsageError(f"no {silent} sounds in {piece.title}; choose other parts")
    return k


def _without_copies(recordings: Recordings, path: list[int]) -> list[int]:
    """Return `path` without further files of a recording that is in it; both ends stay."""
    kept = [path[0]]
    for k in path[1:-1]:
        others = [*kept, path[-1]]
        if not any(recordings.same(other, k) for other in others):
            kept.append(k)
    return [*kept, path[-1]]
