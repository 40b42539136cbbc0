"""A sieve for exact search: it rules out most pieces by the query's mean, and proves that it may.

To compare each segment of a query with each of a catalogue costs a search most of its time. The
*mean* of the query's segments is one vector per part: to compare that alone costs a twenty-fifth
for a song of 25 segments, and bounds the distance from below, the closer the more alike the
segments of a song are among themselves. So, with D as `stemwise.library.distances` defines it,

1. compute a bound β(c) ≤ D(c) of all pieces;
2. compute D(c) itself of the most promising pieces;
3. among these, the ones with a D(c) no larger than β of all that are left are, in their order,
   the nearest of all pieces: exactly what comparing all would have found.

**Bound.** w_sp is the share of part p in query segment s, w_p its mean over s, q a query vector, x
a stored one, h the hub term of part and piece, m = max(0, −h), k = 1 − m / 4. As 2 − 2 q·x is
0..4, and min(4, u + m) is at least m + (1 − m/4) u there,

    d_p(s, t) = min(4, 2 − 2 q·x − h) ≥ 2k − h − 2 q·z,   z = k x,

which holds for silence, d = 4, with any z of length k or less: the mean z̄ of the piece's sounding
segments stands in for it. With v_p = Σ_s w_sp q_sp / Σ_s w_sp, what a segment adds to the mean is
w_sp q_sp = w_p v_p + (w_sp − w_p) v_p + w_sp (q_sp − v_p). The last two sum to 0 over s, so that z
may be shifted by what is the same for all segments of the piece, and

    D(c) ≥ Σ_p w_p (2k − h)                              4 w_p where p is silent throughout
           − max_t Σ_p 2 w_p v_p·z_tp
           − Σ_p mean_s |w_sp − w_p| (max_t − min_t) v_p·z_tp
           − Σ_p 2 mean_s (w_sp ‖q_sp − v_p‖) max_t ‖z_tp − z̄_p‖.

For the pieces that this leaves, each segment of the query is compared with z in the same way; that
costs more, and a bound can then be lower than D by rounding and by silence only.

**Few dimensions.** The vectors of music fill few of their 128 dimensions: a quarter holds more than
99 % of their squared length (docs/log.md). z and v are projected on the principal axes of the
part, as many as hold `_SHARE_KEPT` of it; what is left out of a product is at most ‖v'‖ ‖z'‖, where
v' and z' are what is left of the vectors, and is taken off with the largest ‖z'‖ of the piece.

**Codes.** The projections are coded with 8 bits, z̃ = a round(z / a), where a is the largest number
over 127. With r the largest ‖z − z̃‖, and l the largest ‖z‖, v·z is known to ‖v − ṽ‖ l + ‖ṽ‖ r,
which is taken off, and so is what vectors that are a little longer than 1 can do. The axes are
turned at random among themselves, so that none has numbers much larger than the others.

One product of long rows takes a third of the time of five of short ones, so that codes which are
short lie side by side once more, for the bounds that ask for many products.

Memory: 64 to 128 bytes per segment and part, beside the vectors.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stemwise.library.distances import FARTHEST, Space
from stemwise.library.query import Query
from stemwise.library.vectors import Floats, Vectors
from stemwise.parts import BLOCK_DIMENSIONS

__all__ = ["Sieve"]

_LARGEST = 127
_ROWS_AT_A_TIME = 16384
_NUMBERS_AT_A_TIME = 100_000  # few enough for the processor's cache
_SHARE_KEPT = 0.995  # of the squared length of a part's vectors
_AXES_AT_A_TIME = 32  # how many axes are kept is a multiple of this
_MOST_SIDE_BY_SIDE = 256  # axes of all parts; of more, a search by few parts would read too much
_SLACK = 1e-4  # single precision, here and in the distances that bounds are compared with


@dataclass(frozen=True)
class _Part:
    """One part of all segments."""

    axes: Floats  # (128, K), orthonormal
    codes: NDArray[np.int8]  # (S, K), of z on these axes
    step: float  # a
    error: float  # r
    longest: float  # the longest x, 1 but for rounding
    rests: Floats  # (P,) max ‖z'‖
    radii: Floats  # (P,) max ‖z − z̄‖
    floors: Floats  # (P,) 2k − h; 4 where the part is silent


class Sieve:
    """Lower bounds of distances to all pieces of a `space`; for catalogues held in memory."""

    def __init__(self, space: Space, parts: range) -> None:
        self._vectors = space.vectors
        self._parts = {part: _coded(space, part) for part in parts}
        self._all: NDArray[np.int8] | None = None
        if sum(len(part.axes.T) for part in self._parts.values()) <= _MOST_SIDE_BY_SIDE:
            self._all = np.concatenate([part.codes for part in self._parts.values()], axis=1)

    def covers(self, query: Query) -> bool:
        """Tell whether all wanted parts of `query` are coded."""
        return set(np.flatnonzero(query.weights).tolist()) <= self._parts.keys()

    def bounds(self, query: Query) -> NDArray[np.float64]:
        """Return what the distances (P,) of all pieces to `query` are not below."""
        shares, starts = query.shares, self._vectors.offsets[:-1]
        found = np.full(len(starts), -_SLACK)
        nearness: Floats | None = None
        for i, part in self._wanted(query):
            share, vectors = shares[:, i], query.embeddings[:, i]
            mean = share @ vectors / share.sum()
            weight, spread = share.mean(), np.abs(share - share.mean()).mean()
            apart = (share * np.linalg.norm(vectors - mean, axis=1)).mean()
            near, error = _products(part, mean)
            found += weight * part.floors - 2 * apart * part.radii
            found -= 2 * (weight + spread) * error + 2 * weight * _too_long(part, vectors)
            if spread > 0:
                most = np.maximum.reduceat(near, starts)
                found -= spread * (most - np.minimum.reduceat(near, starts))
            near *= np.float32(2 * weight)
            nearness = near if nearness is None else np.add(nearness, near, out=near)
        assert nearness is not None, "a query has a wanted part"
        return found - np.maximum.reduceat(nearness, starts)

    def closer_bounds(self, query: Query, pieces: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return larger bounds (K,) of some `pieces`, at a cost that grows with their number."""
        wanted = dict(self._wanted(query))
        asking = _Asking(query, wanted)
        found, done = np.empty(len(pieces)), 0
        most_rows = max(1, _NUMBERS_AT_A_TIME // len(query.start_seconds))
        pairs = self._pairs(asking, wanted)
        for some in self._vectors.runs(pieces, most_rows):
            rows, bounds = self._vectors.rows_of(some)
            near: torch.Tensor | None = None
            for asked, stored in pairs:
                codes = stored[rows] if isinstance(rows, slice) else stored.take(rows, 0)
                each = _times(asked, torch.from_numpy(codes).T)
                near = each if near is None else near.add_(each)
            assert near is not None, "a query has a wanted part"
            nearest = np.maximum.reduceat(near.numpy(), bounds[:-1], axis=1)
            found[done : done + len(some)] = nearest.sum(axis=0, dtype=np.float64)
            done += len(some)
        found *= -asking.step / len(query.start_seconds)
        for i, part in wanted.items():
            found += query.shares[:, i].mean() * part.floors[pieces]
            found -= asking.rests[i] * part.rests[pieces]
        return found - asking.error

    def _pairs(
        self, asking: "_Asking", wanted: Mapping[int, _Part]
    ) -> list[tuple[torch.Tensor, NDArray[np.int8]]]:
        """Return codes of the query and of all segments whose products add up to the nearness."""
        if self._all is None or len(wanted) == 1:
            return [(asking.codes[i], part.codes) for i, part in wanted.items()]
        count = len(asking.codes[next(iter(wanted))])
        asked = [
            asking.codes[i] if i in wanted else torch.zeros(count, len(part.axes.T)).char()
            for i, part in self._parts.items()
        ]
        return [(torch.cat(asked, dim=1), self._all)]

    def _wanted(self, query: Query) -> Iterator[tuple[int, _Part]]:
        return ((i, self._parts[i]) for i in np.flatnonzero(query.weights).tolist())


class _Asking:
    """All segments of a query in codes.

    Attributes:
        step: e, what one unit of the products is; the same for all parts, so that they add up.
        error: by how much the bounds may be off.
        rests: mean of 2 w ‖q'‖ over the segments, per part.
        codes: of 2 w q on the axes, per part (Q, K) int8.
    """

    def __init__(self, query: Query, wanted: Mapping[int, _Part]) -> None:
        shares = query.shares
        whole = {i: 2 * shares[:, i, None] * query.embeddings[:, i] for i in wanted}
        asked = {i: y @ wanted[i].axes for i, y in whole.items()}
        self.rests = {i: float(_rest(whole[i], y).mean()) for i, y in asked.items()}
        self.step = max(wanted[i].step * _step(y) for i, y in asked.items())
        self.codes, self.error = {}, _SLACK
        for i, y in asked.items():
            part = wanted[i]
            rounded = np.round(y * (part.step / self.step))
            self.codes[i] = torch.from_numpy(rounded.astype(np.int8))
            self.error += float(_error(part, y, rounded * (self.step / part.step)).mean())
            self.error += 2 * float(shares[:, i].mean()) * _too_long(part, query.embeddings[:, i])


def _step(numbers: NDArray[np.floating]) -> float:
    """Return what one unit of the codes of `numbers` is."""
    return max(float(numbers.max(initial=0)), -float(numbers.min(initial=0)), 1e-6) / _LARGEST


def _error(part: _Part, y: NDArray[np.floating], coded: NDArray[np.floating]) -> Any:
    """Return by how much a product of z with `y` (..., K) may be off if that is `coded`."""
    lost = np.linalg.norm(y - coded, axis=-1)
    return lost * part.longest + np.linalg.norm(coded, axis=-1) * part.error


def _too_long(part: _Part, vectors: Floats) -> float:
    """Return by how much products of `vectors` (Q, 128) with those of a part may be above 1."""
    return max(0.0, float(np.linalg.norm(vectors, axis=1).max()) * part.longest - 1)


def _rest(whole: NDArray[np.floating], projected: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the length of what a projection leaves of vectors (..., 128)."""
    squares = (whole**2).sum(axis=-1) - (projected**2).sum(axis=-1)
    length: NDArray[np.floating] = np.sqrt(np.maximum(squares, 0))
    return length


def _products(part: _Part, mean: Floats) -> tuple[Floats, Floats]:
    """Return v·z (S,), and by how much they may be off (P,)."""
    projected = mean @ part.axes
    step = _step(projected)
    rounded = np.round(projected / step)
    codes = torch.from_numpy(rounded.astype(np.int8))
    products = _times(torch.from_numpy(part.codes), codes[:, None])[:, 0].numpy().astype(np.float32)
    products *= np.float32(part.step * step)
    error = float(_error(part, projected, step * rounded))
    return products, error + float(_rest(mean, projected)) * part.rests


def _times(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the product of two matrices of int8, of inner size 128 at most."""
    if hasattr(torch, "_int_mm"):  # torch promises nothing of it
        return torch._int_mm(a, b)
    return (a.float() @ b.float()).int()  # exact: below 2²⁴


def _coded(space: Space, part: int) -> _Part:
    """Return what bounds need to know of a part."""
    vectors = space.vectors
    counts = vectors.counts(part)
    shrunk = 1 - np.maximum(0, -space.hub_terms[:, part]) / FARTHEST
    nothing = np.zeros((BLOCK_DIMENSIONS, BLOCK_DIMENSIONS))
    axes = _axes(sum((x.T @ x for _, x, _ in _stretches(vectors, part)), nothing))
    step = max((_step(x @ axes) for _, x, _ in _stretches(vectors, part)), default=1.0)
    codes = np.empty((len(vectors.owners), len(axes.T)), np.int8)
    rests, radii = np.zeros(len(counts), np.float32), np.zeros(len(counts), np.float32)
    error = longest = 0.0
    for some, x, centres in _stretches(vectors, part):
        rows, bounds = vectors.rows_of(some)
        length = shrunk[vectors.owners[rows]]
        z = x * length[:, None]
        projected = z @ axes
        rounded = np.round(projected / step)
        codes[rows] = rounded
        error = max(error, float(np.linalg.norm(projected - rounded * step, axis=1).max()))
        longest = max(longest, float(np.linalg.norm(x, axis=1).max()))
        rests[some] = np.maximum.reduceat(_rest(z, projected), bounds[:-1])
        off = np.linalg.norm(x - centres, axis=1) * length
        radii[some] = np.maximum.reduceat(off, bounds[:-1])
    floors = np.where(counts > 0, 2 * shrunk - space.hub_terms[:, part], FARTHEST)
    return _Part(axes, codes, step, error, longest, rests, radii, floors.astype(np.float32))


def _stretches(vectors: Vectors, part: int) -> Iterator[tuple[NDArray[np.int64], Floats, Floats]]:
    """Yield some pieces, x of their segments (R, 128), and the mean of the piece of each (R, 128).

    The mean stands for segments in which the part is silent.
    """
    block, means = vectors.block(part), vectors.means(part)
    for some in vectors.runs(np.arange(len(means)), _ROWS_AT_A_TIME):
        rows, _ = vectors.rows_of(some)
        centres = means[vectors.owners[rows]]
        yield some, np.where(vectors.sounding[rows, part, None], block[rows], centres), centres


def _axes(moments: NDArray[np.floating]) -> Floats:
    """Return as few axes (128, K) as hold `_SHARE_KEPT` of vectors with second `moments`."""
    lengths, axes = np.linalg.eigh(moments.astype(np.float64))
    left_out = np.cumsum(lengths) / max(float(lengths.sum()), 1e-12)  # by the shortest so far
    needed = int(np.count_nonzero(left_out > 1 - _SHARE_KEPT))
    count = min(len(axes), -(-max(needed, 1) // _AXES_AT_A_TIME) * _AXES_AT_A_TIME)
    turned = np.linalg.qr(np.random.default_rng(0).standard_normal((count, count)))[0]
    kept: Floats = (axes[:, -count:] @ turned).astype(np.float32)
    return kept
