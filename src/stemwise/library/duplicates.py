"""Duplicates: files of the same recording, whatever the codec, the level or a cut at the start.

Files with equal bytes are known by their content and share one set of vectors. Other files of one
recording are recognised by their vectors:

    distance of a and b = mean over aligned segments s of a and the parts that sound in both of
                          ‖a_sp − b_tp‖²,   t the segment of b that starts nearest in time

They are the same recording if their durations differ by 2 s at most, the distance is the radius at
most, and of the parts that sound in either of two aligned segments, at least three in four sound in
both. One that sounds in the one, and in the other has a presence of 0.25 or more, so that it may
sound there, too, is not counted.

The **radius** belongs to the model, and comes with its calibration (`radius_between`): the largest
distance of a held-out piece from itself without its first 1.2 s, but a quarter of the smallest
between pieces of different songs at most. Without a calibration it is 0.02.

Measured with the shipped models, whose radius is 0.080 (``compact``) and 0.077 (``stemwise``): of
the 30 pieces of demo/music, some of them mixes of others, and the same without their first 1.2 s,
all are known, and no two mixes are taken for one.
A longer cut, another speed or another key is another recording, and so is a piece in which no part
sounds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stemwise.library.tables import Piece
from stemwise.library.vectors import PRESENCE_THRESHOLD, RECORDING_RADIUS, Floats, Vectors
from stemwise.parts import PARTS

__all__ = ["TOLERANCE_SECONDS", "Duplicates", "Recording", "Recordings", "are_one_recording",
           "duplicates", "radius_between", "recording_distance", "same_recording",
           "same_recordings"]  # fmt: skip

TOLERANCE_SECONDS = 2.0
AGREEMENT = 0.75
POSSIBLE = 0.25
"""A part may sound in a segment if its presence is at least this."""
_PROMISING = 4  # times the radius, of the means of two pieces; see `_promising`
_SHARE_OF_OTHERS = 0.25
_PIECES_AT_A_TIME = 512


@dataclass(frozen=True)
class Recording:
    """The segments of one file, S of them, in all parts."""

    duration_seconds: float
    start_seconds: NDArray[np.float64]  # (S,)
    embeddings: Floats  # (S, 5, 128)
    presence: Floats  # (S, 5), 0..1

    @property
    def sounding(self) -> NDArray[np.bool_]:
        """Which parts sound in which segments, (S, 5)."""
        return self.presence >= PRESENCE_THRESHOLD


@dataclass(frozen=True)
class Duplicates:
    """Files of one recording, two or more, by path."""

    pieces: tuple[Piece, ...]
    distance: float  # the largest between two of them that was compared; 0 if all bytes are equal

    @property
    def identical(self) -> bool:
        """Whether all files have the same bytes."""
        return len({piece.content for piece in self.pieces}) == 1


class Recordings:
    """The recordings of a catalogue, read when they are first asked for, and kept."""

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors
        self._known: dict[int, Recording] = {}

    def __getitem__(self, piece: int) -> Recording:
        """Return the recording that is piece number `piece`."""
        self.prepare([piece])
        return self._known[piece]

    @property
    def radius(self) -> float:
        """The distance within which two are the same."""
        return self._vectors.recording_radius

    def same(self, a: int, b: int) -> bool:
        """Tell whether the pieces number `a` and `b` are the same recording."""
        return same_recording(self[a], self[b], self.radius)

    def prepare(self, pieces: Iterable[int]) -> None:
        """Read several at once, which is faster."""
        new = np.array(sorted(set(pieces) - self._known.keys()), np.int64)
        if not len(new):
            return
        vectors = self._vectors
        rows, bounds = vectors.rows_of(new)
        blocks = vectors.take_all(rows)
        for k, first, last in zip(new, bounds[:-1], bounds[1:], strict=True):
            own = vectors.rows(k)
            self._known[int(k)] = Recording(
                vectors.pieces[k].duration_seconds,
                vectors.start_seconds[own],
                blocks[first:last],
                vectors.presence[own],
            )


def recording_distance(a: Recording, b: Recording) -> float:
    """Return the distance of `a` and `b`; infinite if durations or sounding parts differ."""
    if abs(a.duration_seconds - b.duration_seconds) > TOLERANCE_SECONDS:
        return np.inf
    return _distance(a, b)


def _distance(a: Recording, b: Recording) -> float:
    nearest = np.abs(a.start_seconds[:, None] - b.start_seconds).argmin(axis=1)
    theirs = b.sounding[nearest]
    both = a.sounding & theirs
    unlikely = np.minimum(a.presence, b.presence[nearest]) < POSSIBLE
    differing = (a.sounding | theirs) & unlikely
    if not both.any() or both.sum() < AGREEMENT * (both | differing).sum():
        return np.inf
    apart = a.embeddings[both] - b.embeddings[nearest][both]
    return float(np.square(apart).sum(axis=-1).mean())


def same_recording(a: Recording, b: Recording, radius: float) -> bool:
    """Tell whether `a` and `b` are the same recording."""
    return recording_distance(a, b) <= radius


def radius_between(
    pieces: Sequence[Recording], songs: NDArray[np.int64], copies: Mapping[int, Recording]
) -> float:
    """Return the radius that takes `copies` for the pieces they are of, but no song for another.

    Args:
        pieces: K of them; lengths are not looked at.
        songs: (K,) pieces with the same one are not compared.
        copies: of pieces, by number, what is the same recording.
    """
    own = [_distance(copy, pieces[k]) for k, copy in copies.items()]
    others = [
        _distance(a, b)
        for i, a in enumerate(pieces)
        for j, b in enumerate(pieces)
        if songs[i] != songs[j]
    ]
    farthest = max((d for d in own if np.isfinite(d)), default=RECORDING_RADIUS)
    return min(farthest, _SHARE_OF_OTHERS * min(others, default=np.inf))


def are_one_recording(vectors: Vectors, pieces: Sequence[int]) -> bool:
    """Tell whether each of `pieces`, by number, is the same recording as the first."""
    recordings = Recordings(vectors)
    recordings.prepare(set(pieces))
    return all(recordings.same(pieces[0], k) for k in pieces[1:])


def same_recordings(vectors: Vectors) -> list[tuple[int, ...]]:
    """Return the groups of pieces, by number, that are the same recording; each has two or more."""
    return [group for group, _ in _groups(vectors)]


def duplicates(vectors: Vectors) -> list[Duplicates]:
    """Return the recordings of which there are several files, equal bytes included, by path."""
    merged = dict(_groups(vectors))
    single = set(range(len(vectors.pieces))) - {k for group in merged for k in group}
    merged |= {(k,): 0.0 for k in single if len(vectors.copies[vectors.pieces[k].content]) > 1}
    found = []
    for group, distance in merged.items():
        files = [piece for k in group for piece in vectors.copies[vectors.pieces[k].content]]
        found.append(Duplicates(tuple(sorted(files, key=lambda piece: piece.path)), distance))
    return sorted(found, key=lambda one: one.pieces[0].path)


def _groups(vectors: Vectors) -> list[tuple[tuple[int, ...], float]]:
    """Return the groups of the same recording, and the largest distance compared in each."""
    recordings = Recordings(vectors)
    leader = list(range(len(vectors.pieces)))
    largest: dict[int, float] = {}
    pairs = _promising(vectors)
    recordings.prepare({k for pair in pairs for k in pair})
    for a, b in pairs:
        distance = recording_distance(recordings[a], recordings[b])
        if distance <= recordings.radius:
            first, second = sorted((_leader(leader, a), _leader(leader, b)))
            leader[second] = first
            largest[first] = max(distance, largest.get(first, 0), largest.pop(second, 0))
    members: dict[int, list[int]] = {}
    for k in sorted({k for pair in pairs for k in pair}):
        members.setdefault(_leader(leader, k), []).append(k)
    return [(tuple(group), largest[k]) for k, group in members.items() if len(group) > 1]


def _leader(leader: Sequence[int], k: int) -> int:
    while leader[k] != k:
        k = leader[k]
    return k


def _promising(vectors: Vectors) -> list[tuple[int, int]]:
    """Return the pairs that may be the same recording, by durations and by the means of the parts.

    The squared distance of two means is at most the mean squared distance of what they are means
    of. Each part's mean is weighted by the share of what sounds that is its own.
    """
    counts = np.stack([vectors.counts(part) for part in range(len(PARTS))], axis=1)
    shares = np.sqrt(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
    means = np.concatenate(
        [vectors.means(part) * shares[:, part, None] for part in range(len(PARTS))], axis=1
    ).astype(np.float32)
    durations = np.array([piece.duration_seconds for piece in vectors.pieces])
    heard = np.flatnonzero(counts.any(axis=1))
    order = heard[np.argsort(durations[heard], kind="stable")]
    durations, means = durations[order], means[order]
    squares = np.square(means).sum(axis=1)
    most = _PROMISING * vectors.recording_radius
    found: list[tuple[int, int]] = []
    for first in range(0, len(order), _PIECES_AT_A_TIME):
        last = min(first + _PIECES_AT_A_TIME, len(order))
        end = int(np.searchsorted(durations, durations[last - 1] + TOLERANCE_SECONDS, "right"))
        apart = squares[first:last, None] + squares[first:end]
        apart -= 2 * (means[first:last] @ means[first:end].T)
        near = np.argwhere(
            (apart <= most) & (np.arange(end - first) > np.arange(last - first)[:, None])
        )
        for a, b in near + first:
            if durations[b] - durations[a] <= TOLERANCE_SECONDS:
                found.append((int(order[a]), int(order[b])))
    return found
