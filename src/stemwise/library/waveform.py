"""The outline of a piece: its loudest sample in each of equal stretches, to draw."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stemwise.decoding import decode

__all__ = ["outline"]

_FINE = 256  # samples


def outline(path: Path | str, points: int = 800) -> tuple[float, NDArray[np.float32]]:
    """Return the length in seconds of the file at `path`, and its peaks (points,), 0..1.

    Stretch k of `points` equal ones has the maximum of |sample|, mono, to within 256 samples; what
    is louder than full scale counts as 1. A file with fewer such stretches repeats some.

    Memory: 4 bytes for every 256 samples, 2.5 MB for an hour.

    Raises:
        AudioError: the file cannot be decoded.
        ValueError: fewer than one point.
    """
    if points < 1:
        raise ValueError(f"expected 1 point or more, got {points}")
    fine: list[NDArray[np.float32]] = []
    rest = np.zeros(0, np.float32)
    samples = rate = 0
    for rate_hz, chunk in decode(Path(path)):
        rate = rate_hz
        samples += len(chunk)
        joined = np.concatenate([rest, np.abs(chunk)])
        whole = len(joined) - len(joined) % _FINE
        if whole:
            fine.append(joined[:whole].reshape(-1, _FINE).max(axis=1))
        rest = joined[whole:]
    if len(rest):
        fine.append(rest.max(keepdims=True))
    peaks = np.concatenate([np.zeros(0, np.float32), *fine])
    if not len(peaks):
        return 0.0, np.zeros(points, np.float32)
    starts = np.arange(points) * samples // points // _FINE
    found = np.maximum.reduceat(peaks, starts)
    return samples / rate, np.clip(np.nan_to_num(found, posinf=1.0), 0, 1)
