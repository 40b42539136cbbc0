"""Confidence interval of a mean over segments, by bootstrap over songs.

**Definition.** Segments of one song are alike, so a score over thousands of segments is no surer
than its songs are many. Songs are drawn with replacement, as many as there are, and the score is
taken again over all values of the drawn songs:

    mean* = sum over drawn songs of their values / sum over drawn songs of how many they have.

The interval of a confidence c lies between the (1 - c) / 2 and (1 + c) / 2 quantiles of the means
(the percentile method).

**What it covers.** How much the score would move with other songs of the same kind as queries.

**What it does not.** The gallery is held fixed: neighbours are looked up once, among all segments,
and other songs would also be other neighbours. The model is held fixed: another seed of training
is another model. With few songs, say under 20, percentile intervals are too narrow.

**Conventions.** S values, the queries' own: shares as 0, 0.5 or 1, or dB. nan is left out.

References: Efron, Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13 (percentile
intervals) and chapter 8 (what to resample); ``scipy.stats.bootstrap``.
"""

import numpy as np
import numpy.typing as npt
import scipy.stats

__all__ = ["interval"]


def interval(
    values: npt.NDArray[np.floating | np.bool_],
    clusters: npt.NDArray[np.integer],
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Return the lower and upper end of the interval of the mean of `values`.

    Args:
        values: (S,) one number per query, in the unit of the score; nan is left out.
        clusters: (S,) integers, the song of each query.
        confidence: share of such intervals that should hold the mean; 0..1, both excluded.
        resamples: how often the songs are drawn, at least 2.
        seed: of the drawing; the result depends on the arguments only.

    Returns:
        The ends, in the unit of the values; (1, 1) where all answers are right. None where fewer
        than two songs have values, or where a value is infinite (a perfect SDR).

    Raises:
        ValueError: shapes that differ or are not (S,), or a number out of range.
    """
    if values.ndim != 1 or values.shape != clusters.shape:
        raise ValueError(f"need (S,) and (S,), got {values.shape} and {clusters.shape}")
    if not 0 < confidence < 1 or resamples < 2:
        raise ValueError(f"need 0 < confidence < 1 < resamples, got {confidence=}, {resamples=}")
    values = values.astype(np.float64)
    there = ~np.isnan(values)
    values, clusters = values[there], clusters[there]
    songs, song = np.unique(clusters, return_inverse=True)
    if len(songs) < 2 or np.isinf(values).any():
        return None
    sums, counts = np.bincount(song, weights=values), np.bincount(song)
    ends = scipy.stats.bootstrap(
        (sums, counts),
        _ratio,
        paired=True,
        vectorized=True,
        method="percentile",
        confidence_level=confidence,
        n_resamples=resamples,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(ends.low), float(ends.high)


def _ratio(
    sums: npt.NDArray[np.float64], counts: npt.NDArray[np.float64], axis: int
) -> npt.NDArray[np.float64]:
    ratio: npt.NDArray[np.float64] = sums.sum(axis=axis) / counts.sum(axis=axis)
    return ratio
