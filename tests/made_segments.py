"""A made table of sounding segments: 40 songs in two renderings, pieces 100 to 179."""

import numpy as np

from stemwise.sampling import Segments, tempo_clusters


def made(songs=40, renderings=2, length=20, seed=0):
    rng = np.random.default_rng(seed)
    count = songs * renderings
    names = np.repeat(np.arange(songs), renderings)
    tempos_bpm = np.repeat(rng.uniform(60, 180, songs), renderings)
    return Segments(
        pieces=100 + np.arange(count),
        songs=names,
        tempos_bpm=tempos_bpm,
        clusters=tempo_clusters(tempos_bpm, names),
        sounding=[rng.random((length, 5)) < 0.8 for _ in range(count)],
        hop_samples=10,
        length_samples=20,
    )


SEGMENTS = made()


def song_of(piece):
    return int(SEGMENTS.songs[piece - 100])
