"""Made tables of sounding segments: 40 songs in two renderings, pieces 100 to 179, and others."""

import dataclasses

import numpy as np

from stemwise.sampling import Segments, tempo_clusters


def made(songs=40, renderings=2, length=20, seed=0, density=0.8):
    rng = np.random.default_rng(seed)
    count = songs * renderings
    names = np.repeat(np.arange(songs), renderings)
    tempos_bpm = np.repeat(rng.uniform(60, 180, songs), renderings)
    return Segments(
        pieces=100 + np.arange(count),
        songs=names,
        tempos_bpm=tempos_bpm,
        clusters=tempo_clusters(tempos_bpm, names),
        sounding=[rng.random((length, 5)) < density for _ in range(count)],
        hop_samples=10,
        length_samples=20,
    )


def uneven(songs=40, longest=30, seed=0, density=0.8):
    """Songs in 1 to 4 renderings of different lengths, in no order; song 5 is of no cluster."""
    rng = np.random.default_rng(seed)
    all_of_them = made(songs, 4, longest, seed, density)
    rows = [r for r in rng.permutation(4 * songs) if r % 4 <= all_of_them.songs[r] % 4]
    names = all_of_them.songs[rows]
    return dataclasses.replace(
        all_of_them,
        pieces=1000 - 3 * np.arange(len(rows)),
        songs=names,
        tempos_bpm=all_of_them.tempos_bpm[rows],
        clusters=np.where(names == 5, -1, all_of_them.clusters[rows]),
        sounding=[all_of_them.sounding[r][: rng.integers(longest // 2, longest + 1)] for r in rows],
    )


SEGMENTS = made()
UNEVEN = uneven()
SPARSE = uneven(seed=1, longest=24, density=0.45)  # most draws of a triplet fail here


def song_of(piece):
    return int(SEGMENTS.songs[piece - 100])
