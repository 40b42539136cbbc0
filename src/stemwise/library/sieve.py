"""A sieve for exact search: it rules out most pieces by 8-bit arithmetic, and proves that it may.

Distances from whole vectors cost a search most of its time. From vectors coded with 8 bits they
cost a fifth, and are off by no more than a known ε. So, with D as `stemwise.library.distances`
defines it and D' the same from coded vectors,

1. compute D'(c) − ε of all pieces, which is at most D(c);
2. compute D(c) itself of the most promising pieces;
3. among these, the ones with a D(c) no larger than D' − ε of all that are left are, in their order,
   the nearest of all pieces: exactly what comparing all would have found.

**Codes.** x̃ = a_p · round(x / a_p), where a_p is the largest number in the part, over 127; and for
each query segment s and part p, y = 2 w_sp q, w_sp its share, is coded with the step b_p = e / a_p,
e being the same for all parts, so that e · (integer product) is y·x nearly. With r_p the largest
‖x − x̃‖ of the part, and as no ‖x‖ is above L_p,

    |y·x − ỹ·x̃| ≤ ‖y − ỹ‖ L_p + ‖ỹ‖ r_p,

of which ε is the sum over p and the mean over s, plus what rounding everything else to e can do.

Memory: 128 bytes per segment and part, beside the vectors.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from stemwise.library.distances import FARTHEST, Space
from stemwise.library.query import Query

__all__ = ["Sieve"]

_LARGEST = 127
_ROWS_AT_A_TIME = 16384
_NUMBERS_AT_A_TIME = 200_000  # few enough for the processor's cache
_SLACK = 1e-4  # single precision, in the distances that bounds are compared with


@dataclass(frozen=True)
class _Codes:
    """One part of all segments."""

    values: torch.Tensor  # (S, 128) int8
    step: float  # a_p
    error: float  # r_p
    length: float  # L_p


class Sieve:
    """Lower bounds of distances to all pieces of a `space`; for catalogues held in memory."""

    def __init__(self, space: Space, parts: range) -> None:
        self._space = space
        self._codes = {part: _coded(space.vectors.block(part)) for part in parts}

    def covers(self, query: Query) -> bool:
        """Tell whether all wanted parts of `query` are coded."""
        return set(np.flatnonzero(query.weights).tolist()) <= self._codes.keys()

    def bounds(self, query: Query) -> NDArray[np.float64]:
        """Return what the distances (P,) of all pieces to `query` are not below."""
        vectors = self._space.vectors
        wanted = np.flatnonzero(query.weights).tolist()
        asking = _Asking(query, {part: self._codes[part] for part in wanted})
        most_rows = max(1, _NUMBERS_AT_A_TIME // len(query.start_seconds))
        found = np.zeros(len(vectors.pieces), np.float64)
        everything = np.arange(len(vectors.pieces))
        for some in vectors.runs(everything, most_rows):
            rows = slice(int(vectors.offsets[some[0]]), int(vectors.offsets[some[-1] + 1]))
            starts = vectors.offsets[some] - rows.start
            apart = self._apart(asking, rows)
            nearest = np.minimum.reduceat(apart, starts, axis=1)
            found[some] = nearest.sum(axis=0, dtype=np.int64)
        return found * (asking.step / len(query.start_seconds)) - asking.error

    def _apart(self, asking: "_Asking", rows: slice) -> NDArray[np.int32]:
        """Return D' (Q, R) between the query's segments and `rows`, over the step e."""
        total: torch.Tensor | None = None
        for part, code in asking.codes.items():
            apart = torch._int_mm(code, self._codes[part].values[rows].T)
            floor = torch.from_numpy(self._space.floor(part)[rows])
            shares, which = asking.shares[part]
            floors = torch.outer(shares, floor).round_().to(torch.int32)
            apart += floors if len(floors) == 1 else floors[which]
            torch.minimum(apart, asking.farthest[part], out=apart)
            total = apart if total is None else total.add_(apart)
        assert total is not None, "a query has a wanted part"
        found: NDArray[np.int32] = total.numpy()
        return found


class _Asking:
    """A query in codes.

    Attributes:
        step: e, what one unit of the products is.
        error: ε.
        codes: of −2 w q, per part (Q, 128) int8.
        shares: w over e, per part: the values (U,), and which one each segment has (Q,).
        farthest: 4 w over e, per part (Q, 1) int32.
    """

    def __init__(self, query: Query, known: dict[int, _Codes]) -> None:
        asked = {
            part: 2 * query.shares[:, part, None] * query.embeddings[:, part] for part in known
        }
        largest = {part: float(np.abs(y).max()) for part, y in asked.items()}
        self.step = max(known[part].step * largest[part] / _LARGEST for part in known)
        self.codes, self.shares, self.farthest = {}, {}, {}
        error = np.zeros(len(query.start_seconds))
        for part, y in asked.items():
            step = self.step / known[part].step
            rounded = np.round(y / step)
            coded = rounded * step
            error += np.linalg.norm(y - coded, axis=1) * known[part].length
            error += np.linalg.norm(coded, axis=1) * known[part].error
            self.codes[part] = torch.from_numpy((-rounded).astype(np.int8))
            shares = query.shares[:, part] / self.step
            values, which = np.unique(shares.astype(np.float32), return_inverse=True)
            self.shares[part] = (torch.from_numpy(values), torch.from_numpy(which))
            farthest = torch.from_numpy(np.ceil(FARTHEST * shares)[:, None])
            self.farthest[part] = farthest.to(torch.int32)
        roundings = self.step * (1 + len(known))
        self.error = float(error.mean()) + roundings + _SLACK


def _coded(block: NDArray[np.float32]) -> _Codes:
    """Return the codes of `block` (S, 128)."""
    step = max(float(np.abs(block).max(initial=0)), 1e-6) / _LARGEST
    values = np.empty(block.shape, np.int8)
    error = length = 0.0
    for first in range(0, len(block), _ROWS_AT_A_TIME):
        some = block[first : first + _ROWS_AT_A_TIME]
        rounded = np.round(some / step)
        values[first : first + _ROWS_AT_A_TIME] = rounded
        error = max(error, float(np.linalg.norm(some - rounded * step, axis=1).max()))
        length = max(length, float(np.linalg.norm(some, axis=1).max()))
    return _Codes(torch.from_numpy(values), step, error, length)
