"""A tiny made corpus: each part of each song is a steady sound of its own."""

import numpy as np
import soundfile

from stemwise.corpora.piece import Piece, write_manifest
from stemwise.parts import PARTS

RATE_HZ = 8000


def write_corpus(directory, splits, seconds=12.0, absent=()):
    """Write songs into `directory`; `splits` maps a split to its number of songs.

    Args:
        directory: the corpus.
        splits: for example {"train": 12, "valid": 15}.
        seconds: length of every piece.
        absent: (song number, part) pairs that have no stem.
    """
    pieces = []
    for number, split in enumerate(s for s, count in splits.items() for _ in range(count)):
        identifier = f"made-{number:03d}"
        stems = {}
        for i, part in enumerate(PARTS):
            if (number, part) in absent:
                continue
            path = directory / split / identifier / f"{part}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, tone(number, i, seconds), RATE_HZ)
            stems[part] = (path,)
        pieces.append(
            Piece(identifier, f"song-{number:03d}", split, 60.0 + 5 * number, seconds, "made",
                  "CC0-1.0", stems)
        )  # fmt: skip
    write_manifest(directory, pieces, {"corpus": "made", "citation": "none", "seed": 0})
    return pieces


def tone(number, part, seconds):
    """Return a pulsed tone in the part's octave; pitch and pulse tell the song."""
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    rng = np.random.default_rng([number, part])
    frequency_hz = 100 * 2 ** (part + rng.uniform(0, 0.9))
    pulse = 0.6 + 0.4 * np.sin(2 * np.pi * rng.uniform(1, 5) * time)
    noise = 0.01 * rng.standard_normal(len(time))
    return 0.1 * pulse * np.sin(2 * np.pi * frequency_hz * time) + noise
