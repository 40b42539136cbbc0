"""What a plan is, and the table of segments it is drawn from.

Conventions: as in `stemwise.sampling`.

References: section IV-C of the paper (segments); facts of section II-B (tempo clusters: the
authors' pseudo-pieces mix songs of one cluster only).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

__all__ = ["Plan", "Segments", "tempo_clusters"]

CLUSTER_BPM = 5.0
CLUSTER_SONGS = 4


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


@dataclass(frozen=True)
class Segments:
    """Where each part of each piece of a split sounds, on a grid of segments.

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
