"""What a plan is, and the table of segments it is drawn from.

Conventions: as in `stemwise.sampling`.

References: section IV-C of the paper (segments); facts of section II-B (tempo clusters: the
authors' pseudo-pieces mix songs of one cluster only).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from stemwise.parts import PARTS

__all__ = ["Plan", "Segments", "Stream", "generator", "shuffled", "tempo_clusters"]

CLUSTER_BPM = 5.0
CLUSTER_SONGS = 4


class Stream(IntEnum):
    """What random numbers are for; no two purposes share theirs, whatever the seed.

    `stemwise.sampling.contrast` holds the stream 0: numpy fills a key of three numbers with a zero.
    """

    PSEUDO = 1
    NORMAL = 2
    LIST = 3
    LIST_ORDER = 4
    SUBSET_SEGMENTS = 5
    SUBSET_ORDER = 6
    SUBSETS = 7
    SDR = 8
    PRESENCE = 9
    PRESENCE_ORDER = 10


def generator(stream: Stream, seed: int, first: int = 0, second: int = 0) -> np.random.Generator:
    """Return the generator of random numbers of one draw, named by up to two counters."""
    return np.random.default_rng([seed, first, second, stream])


@lru_cache(maxsize=8)
def shuffled(stream: Stream, seed: int, number: int, size: int) -> NDArray[np.int64]:
    """Return permutation `number` of 0..`size` - 1; read only, for it is kept for the next call."""
    order = generator(stream, seed, number).permutation(size)
    order.flags.writeable = False
    return order


@dataclass(frozen=True)
class Plan:
    """Which stems make a batch of mixtures.

    Attributes:
        pieces: (B, V, I) position of the piece in the bank; -1 leaves the part out.
        starts: (B, V, I) first sample of the segment.
        gains_db: (B, V, I) gain of each stem in dB.
        length_samples: samples per segment, N.
        labels: (B, V, I) what the loss compares by, -1 for not at all; None if nothing is learnt.
    """

    pieces: NDArray[np.int64]
    starts: NDArray[np.int64]
    gains_db: NDArray[np.float64]
    length_samples: int
    labels: NDArray[np.int64] | None = None


@dataclass(frozen=True, eq=False)
class Segments:
    """Where each part of each piece of a split sounds, on a grid of segments.

    Segments are also numbered over all pieces, in order, 0..S - 1; these tables are made once. Two
    objects are equal only if they are the same, so that what is drawn from one can be cached.

    Attributes:
        pieces: (P,) position of each piece in the bank.
        songs: (P,) integer of the song each piece renders; pieces of one song share it.
        tempos_bpm: (P,) tempo of each piece; nan if unknown.
        clusters: (P,) integer of the tempo cluster of each piece's song; -1 for none, such a piece
            lends no stem to a pseudo-piece.
        sounding: P tables (S, I); true where the part sounds in that segment.
        hop_samples: step of the grid.
        length_samples: length of a segment.
    """

    pieces: NDArray[np.int64]
    songs: NDArray[np.int64]
    tempos_bpm: NDArray[np.float64]
    clusters: NDArray[np.int64]
    sounding: Sequence[NDArray[np.bool_]]
    hop_samples: int
    length_samples: int

    @property
    def apart(self) -> int:
        """Steps of the grid between two segments that do not overlap."""
        return -(-self.length_samples // self.hop_samples)

    @cached_property
    def playable(self) -> Sequence[NDArray[np.int64]]:
        """Per part, the rows of pieces where it sounds in two segments that do not overlap."""

        def span(sounding: NDArray[np.bool_]) -> int:
            rows = np.flatnonzero(sounding)
            return int(rows[-1] - rows[0]) if len(rows) else -1

        spans = np.array([[span(column) for column in table.T] for table in self.sounding])
        return [np.flatnonzero(column >= self.apart) for column in spans.T]

    @cached_property
    def firsts(self) -> NDArray[np.int64]:
        """(P,) number of the first segment of each piece."""
        counts = [0, *(len(table) for table in self.sounding)]
        return np.cumsum(counts, dtype=np.int64)[:-1]

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """(S,) row of the piece of each numbered segment."""
        return np.repeat(np.arange(len(self.sounding)), [len(table) for table in self.sounding])

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """(S,) first sample of each numbered segment in its piece."""
        return (np.arange(len(self.rows)) - self.firsts[self.rows]) * self.hop_samples

    @cached_property
    def table(self) -> NDArray[np.bool_]:
        """(S, I) true where the part sounds in the numbered segment."""
        return np.concatenate([np.zeros((0, len(PARTS)), bool), *self.sounding])

    @cached_property
    def rows_of_song(self) -> Mapping[int, NDArray[np.int64]]:
        """The rows of each song's pieces; songs in the order of their first piece."""
        return {
            song: np.flatnonzero(self.songs == song) for song in dict.fromkeys(self.songs.tolist())
        }

    @cached_property
    def fellows(self) -> Mapping[int, NDArray[np.int64]]:
        """For each song with a tempo cluster, the songs of that cluster, the song itself too."""
        clusters = {song: int(self.clusters[rows[0]]) for song, rows in self.rows_of_song.items()}
        members: dict[int, list[int]] = {}
        for song, cluster in clusters.items():
            members.setdefault(cluster, []).append(song)
        shared = {cluster: np.array(songs) for cluster, songs in members.items()}
        return {song: shared[cluster] for song, cluster in clusters.items() if cluster >= 0}

    @cached_property
    def lenders(self) -> NDArray[np.int64]:
        """The songs with a tempo cluster: those that lend stems to pseudo-pieces."""
        return np.array(list(self.fellows), np.int64)


def tempo_clusters(tempos_bpm: NDArray[np.float64], songs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the tempo cluster (P,) of pieces with these tempos, (P,) in BPM, nan if unknown.

    The tempo of a song is the median of its pieces'. Songs are put into bins of 5 BPM; going up, a
    bin with fewer than 4 songs is joined with the next one, the last with the one before. All songs
    of unknown tempo are one cluster. Neither the estimator nor the bins of the authors are known;
    of theirs it is known that small clusters were merged.
    """
    names, inverse = np.unique(songs, return_inverse=True)
    tempos = np.array([np.median(tempos_bpm[inverse == k]) for k in range(len(names))])
    cluster = np.full(len(names), -1)
    number, held = 0, 0
    known = np.flatnonzero(~np.isnan(tempos))
    bins = np.floor(tempos[known] / CLUSTER_BPM)
    for value in np.unique(bins):
        rows = known[bins == value]
        cluster[rows] = number
        held += len(rows)
        if held >= CLUSTER_SONGS:
            number, held = number + 1, 0
    if held and number:
        cluster[cluster == number] = number - 1
    cluster[np.isnan(tempos)] = cluster.max(initial=-1) + 1
    return cluster[inverse]
