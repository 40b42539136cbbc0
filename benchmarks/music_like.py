"""Vectors that lie as those of music do, as many as wanted: for benchmarks of large catalogues.

    python benchmarks/music_like.py data/band [--model stemwise]

writes `music_like.npz`, which lies beside this file: what the vectors of the band corpus's songs of
the valid and test splits, which the model has not learnt from, have in common. `likeness` draws
songs from that: the mean vectors of a song in all five parts together (640 numbers) from one normal
distribution, what its segments add to them from another, both with the measured mean and
covariance, on the principal axes that hold 99 % of the variance; and in which segments a part
sounds, by the measured share, of every song alike. Normal distributions have no clusters,
so that the nearest songs are less near than in music; what is kept is how many directions vectors
fill, how far the segments of a song are apart, and what the parts tell of each other.
"""

import argparse
from pathlib import Path

import numpy as np

from stemwise.corpora.bank import bank_of
from stemwise.library.description import describe_wave
from stemwise.library.embed import one_thread
from stemwise.models.checkpoint import load_model
from stemwise.parts import BLOCK_DIMENSIONS, PARTS

MEASURED = Path(__file__).with_suffix(".npz")
SHARE_KEPT = 0.99
_SONGS_AT_A_TIME = 1000


def principal(rows):
    """Return the axes (K, 640) of centred `rows`, each as long as what it deviates by."""
    _, lengths, axes = np.linalg.svd(rows, full_matrices=False)
    held = np.cumsum(lengths**2) / (lengths**2).sum()
    count = int(np.searchsorted(held, SHARE_KEPT)) + 1
    return axes[:count] * lengths[:count, None] / np.sqrt(len(rows))


def measure(corpus, model):
    """Return what is to be known of the vectors of songs that the model has not learnt from."""
    bank = bank_of(corpus, model.sample_rate_hz)
    songs, inside, shares = [], [], []
    for number, piece in enumerate(bank.pieces):
        if piece.split not in ("valid", "test"):
            continue
        wave = sum(bank.stem(number, part) for part in range(len(PARTS)))
        _, vectors, presence = describe_wave(wave, model, name="a song")
        sounding = presence >= 0.5  # (S, 5)
        counts = np.maximum(sounding.sum(axis=0), 1)[:, None]
        mean = (vectors * sounding[..., None]).sum(axis=0) / counts
        mean[~sounding.any(axis=0)] = np.nan
        songs.append(mean.ravel())
        added = np.where(sounding[..., None], vectors - mean, 0.0)
        inside.append(np.nan_to_num(added).reshape(len(vectors), -1))
        shares.append(sounding.mean(axis=0))
    songs, shares = np.array(songs), np.array(shares)
    centre = np.nanmean(songs, axis=0)
    off = np.nan_to_num(songs - centre)  # a part that a song has not is like the mean
    return {
        "centre": centre.astype(np.float16),
        "between": principal(off).astype(np.float16),
        "within": principal(np.concatenate(inside)).astype(np.float16),
        "sounds": shares.mean(axis=0),
    }


def likeness(rng, songs, segments):
    """Return unit vectors (S, 5, 128) float16 and presences (S, 5), S songs times segments."""
    known = np.load(MEASURED)
    between, within = (known[name].astype(np.float32) for name in ("between", "within"))
    vectors = np.empty((songs * segments, len(PARTS), BLOCK_DIMENSIONS), np.float16)
    for first in range(0, songs, _SONGS_AT_A_TIME):
        count = min(_SONGS_AT_A_TIME, songs - first)
        song = rng.standard_normal((count, len(between)), dtype=np.float32) @ between
        song += known["centre"].astype(np.float32)
        some = rng.standard_normal((count * segments, len(within)), dtype=np.float32) @ within
        some += song.repeat(segments, axis=0)
        some = some.reshape(-1, len(PARTS), BLOCK_DIMENSIONS)
        some /= np.linalg.norm(some, axis=-1, keepdims=True)
        vectors[first * segments : (first + count) * segments] = some
    sounding = rng.random((songs * segments, len(PARTS))) < known["sounds"]
    return vectors, np.where(sounding, 0.9, 0.1).astype(np.float32)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--model", default="stemwise")
    given = parser.parse_args()
    with one_thread():
        known = measure(given.corpus, load_model(given.model))
    np.savez_compressed(MEASURED, **known)
    print({name: array.shape for name, array in known.items()}, known["sounds"])


if __name__ == "__main__":
    main()
