"""Are real guitars heard? Songs that people recorded, with the guitar on a track of its own.

    apt-get download fretsonfire-songs-sectoid fretsonfire-songs-muldjord
    for file in *.deb; do dpkg-deb -x $file frets; done
    python benchmarks/real_guitars.py frets [--model stemwise] [--segments 8]

The folder holds one folder per song, with guitar.ogg and all else in song.ogg, in time with each
other, as the game Frets on Fire has them. The eight songs of the two packages of Debian are rock
and metal by Carlos Viola Iborra (MIT) and El Senator (CC-BY-SA-3.0). *MES-Pseudo*: every guitar
over every song's backing, the guitar brought to the level that it has in its own song, against the
backing's; which guitar do the five nearest name (`stemwise.scores.mes`)? *MES-Normal*: which song,
when guitar and backing are its own. *Presence*: area under the ROC curve of the guitar's presence,
songs with their guitar against the same stretches without; backings may hold further guitars, so
that 1 is out of reach.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from stemwise.audio import load, sounding_by_range
from stemwise.library.description import describe_segment
from stemwise.library.embed import one_thread
from stemwise.models.checkpoint import load_model
from stemwise.parts import PARTS
from stemwise.scores.mes import mes

GUITAR = PARTS.index("guitar")


def level(wave):
    return float(np.sqrt(np.mean(wave**2)))


def songs_of(folder, rate_hz, seconds, most):
    """Return per song its stretches of guitar and of backing, (S, N) each; the guitar sounds."""
    size = round(seconds * rate_hz)
    songs = []
    for path in sorted(folder.rglob("guitar.ogg")):
        guitar, backing = (load(path.with_name(name), rate_hz)
                           for name in ("guitar.ogg", "song.ogg"))  # fmt: skip
        whole = min(len(guitar), len(backing)) // size
        guitar, backing = (wave[: whole * size].reshape(whole, size) for wave in (guitar, backing))
        sounding = np.flatnonzero(sounding_by_range(guitar) & sounding_by_range(backing))
        drawn = np.sort(np.random.default_rng(0).permutation(sounding)[:most])
        if len(drawn):
            songs.append((guitar[drawn], backing[drawn]))
    return songs


def area(positive, negative):
    """Return the share of pairs in which the positive is greater; equal ones count half."""
    both = np.asarray(positive)[:, None] - np.asarray(negative)
    return float(np.mean(both > 0) + np.mean(both == 0) / 2)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="stemwise")
    parser.add_argument("--segments", type=int, default=8)
    given = parser.parse_args()
    model = load_model(given.model)
    songs = songs_of(given.folder, model.sample_rate_hz, model.segment_seconds, given.segments)
    rows, vectors, with_guitar, without = [], [], [], []
    with one_thread():
        for target, (guitar, _) in enumerate(songs):
            for background, (_, backing) in enumerate(songs):
                gain = level(backing) / level(songs[target][1])
                for own, other in zip(guitar, backing, strict=False):
                    embedding, presence = describe_segment(other + gain * own, model)
                    rows.append((target, background))
                    vectors.append(embedding[GUITAR])
                    if target == background:
                        with_guitar.append(presence[GUITAR])
                        without.append(describe_segment(other, model)[1][GUITAR])
    block, (targets, backgrounds) = torch.tensor(np.stack(vectors)), torch.tensor(rows).T
    real = targets == backgrounds
    normal = mes(block[real], targets[real])
    pseudo = mes(block, targets, barred=len(songs) * targets + backgrounds, backgrounds=backgrounds)
    print(f"{model.name} ({model.fingerprint}), {len(songs)} songs, {len(block)} segments")
    print(f"MES-Normal {normal.accuracy:.3f} (chance {normal.chance:.3f})")
    print(f"MES-Pseudo {pseudo.accuracy:.3f} (chance {pseudo.chance:.3f}), "
          f"leakage {pseudo.leakage:.3f}")  # fmt: skip
    print(f"presence of the guitar: AUC {area(with_guitar, without):.3f}")


if __name__ == "__main__":
    main()
