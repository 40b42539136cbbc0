"""What a report draws, beside its numbers: arrays of one evaluation, by part."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Confusion", "Exhibits", "Points", "Separated"]


@dataclass(frozen=True)
class Confusion:
    """Who was taken for whom in one gallery of MES-Pseudo, for one part.

    Attributes:
        targets: names of the T songs that lend the target part.
        backgrounds: names of the G songs that lend the other four.
        votes: (T, T) segments of the target of a row that were voted to be that of a column.
        right: (T, G) share of right votes in each pseudo-piece; nan where it has no segment.
    """

    targets: tuple[str, ...]
    backgrounds: tuple[str, ...]
    votes: NDArray[np.int64]
    right: NDArray[np.float64]


@dataclass(frozen=True)
class Points:
    """Segments of a few real pieces in which a part sounds.

    Attributes:
        block: (S, 128) the part's own numbers.
        songs: (S,) position in `names`.
        names: of the songs.
    """

    block: NDArray[np.float32]
    songs: NDArray[np.int64]
    names: tuple[str, ...]


@dataclass(frozen=True)
class Separated:
    """One segment taken apart, for one part, as magnitudes (F, T) in dB; 0 dB is a full-scale sine.

    Attributes:
        mixture_db: what the model heard.
        reference_db: the true stem.
        estimate_db: what the model made of it.
        seconds: length of the segment.
        sample_rate_hz: F spans 0 to half of it.
        sdr_db: SDR of this segment, mean over its windows.
        song: name of the song.
    """

    mixture_db: NDArray[np.float32]
    reference_db: NDArray[np.float32]
    estimate_db: NDArray[np.float32]
    seconds: float
    sample_rate_hz: int
    sdr_db: float
    song: str


@dataclass(frozen=True)
class Exhibits:
    """All that a report draws; a part that has none is not in the dict."""

    confusions: dict[str, Confusion] = field(default_factory=dict)
    points: dict[str, Points] = field(default_factory=dict)
    separated: dict[str, Separated] = field(default_factory=dict)
