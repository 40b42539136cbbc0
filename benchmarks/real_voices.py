"""Where does a human voice go? People's speech and singing over music, and what it does to parts.

    apt-get download hedgewars-data
    dpkg-deb -x hedgewars-data*.deb hedgewars
    python benchmarks/real_voices.py hedgewars --corpus data/band [--model stemwise] [--split valid]

The folder holds the voices of the game Hedgewars (GFDL-1.3), one folder for each of its speakers,
whose calls are put one after the other to stretches of ten seconds; the speaker Singer sings them,
and Robot, which is no person, is left out. Each stretch is laid over a segment of another song of
the corpus, of the given split, as loud as it. *Share*: of the voice's band magnitudes, what each
part's mask lets through, all that sounds being shared out: the voice should go to the residuals.
*Ideal*: the same with ideal masks, the voice being one of the residuals: where it is covered, no
mask sets it free. *Moved*: mean cosine of each part's vector with that of the same music without
the voice, where the part sounds. *Found*: how often the nearest of all segments in which the part
sounds, those apart that overlap this one, is of the same song, without the voice and with it.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from stemwise.audio import load
from stemwise.corpora.bank import bank_of
from stemwise.library.description import describe_segment
from stemwise.library.embed import one_thread
from stemwise.models.checkpoint import load_model
from stemwise.parts import PARTS

RESIDUALS = PARTS.index("residuals")
SHORTEST_SECONDS = 0.5  # of a call
MOST = 6  # stretches of a speaker


def level(wave):
    return float(np.sqrt(np.mean(wave**2)))


def stretches(folder, rate_hz, size):
    """Return the stretches (S, N) of each speaker by name, at a level of 1 each."""
    speakers = {}
    for voices in sorted(folder.rglob("voices")):
        for speaker in sorted(path for path in voices.iterdir() if path.is_dir()):
            calls = [load(path, rate_hz) for path in sorted(speaker.glob("*.ogg"))]
            calls = [call for call in calls if len(call) >= SHORTEST_SECONDS * rate_hz]
            if not calls or speaker.name == "Robot":
                continue
            chain = np.concatenate(calls)
            whole = min(len(chain) // size, MOST)
            if whole:
                cut = chain[: whole * size].reshape(whole, size)
                speakers[speaker.name] = np.stack([one / level(one) for one in cut])
    return speakers


def vectors(bank, segments, model):
    """Return the embeddings (S, 5, 128) of all segments."""
    found = []
    for piece, start in zip(segments.pieces[segments.rows], segments.starts, strict=True):
        stems = [
            bank.stem(int(piece), i, int(start), segments.length_samples) for i in range(len(PARTS))
        ]
        found.append(describe_segment(np.sum(stems, axis=0), model)[0])
    return np.stack(found)


def is_found(embedding, number, segments, known):
    """Tell for each part (5,) whether the nearest of other moments is of the same song.

    1.0, 0.0, or nan where the part does not sound, or in no other moment of the song.
    """
    pieces = segments.pieces[segments.rows]
    same = pieces == pieces[number]
    apart = np.abs(segments.starts - segments.starts[number]) >= segments.length_samples
    told = np.full(len(PARTS), np.nan)
    for part in range(len(PARTS)):
        asked = segments.table[:, part] & (~same | apart)
        if segments.table[number, part] and (asked & same).any():
            cosines = np.where(asked, known[:, part] @ embedding[part], -np.inf)
            told[part] = same[cosines.argmax()]
    return told


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--split", default="valid")
    parser.add_argument("--model", default="stemwise")
    given = parser.parse_args()
    model = load_model(given.model)
    network, seconds = model.network, model.segment_seconds
    bank = bank_of(given.corpus, model.sample_rate_hz)
    segments = bank.segments(given.split, seconds, seconds / 2)
    speakers = stretches(given.folder, model.sample_rate_hz, segments.length_samples)
    chance = np.random.default_rng(0)
    of_speaker, ideal, moved, found = {}, [], [], []
    with one_thread(), torch.inference_mode():
        known = vectors(bank, segments, model)
        for speaker, voices in speakers.items():
            own = []
            for voice in voices:
                number = int(chance.integers(len(segments.rows)))
                piece, start = (
                    int(segments.pieces[segments.rows[number]]),
                    int(segments.starts[number]),
                )
                stems = np.stack(
                    [bank.stem(piece, i, start, len(voice)) for i in range(len(PARTS))]
                )
                music = stems.sum(axis=0)
                sung = voice * level(music)
                stems[RESIDUALS] += sung
                bands = network.see(torch.from_numpy(np.stack([music + sung, sung, *stems])))
                mixture, alone, true = bands[0], bands[1], bands[2:] / bands[2:].sum(dim=0)
                masks = network.masks(mixture[None])[0]
                shares = [(mask * alone).sum(dim=(1, 2)) / alone.sum() for mask in (masks, true)]
                own.append(shares[0].numpy())
                ideal.append(shares[1].numpy())
                before, after = (describe_segment(one, model)[0] for one in (music, music + sung))
                cosines = (before * after).sum(axis=1)
                moved.append(np.where(segments.table[number], cosines, np.nan))
                found.append([is_found(one, number, segments, known) for one in (before, after)])
            of_speaker[speaker] = np.stack(own)
    print(f"{model.name} ({model.fingerprint}), {len(of_speaker)} speakers, {len(moved)} segments")
    print("share of the voice: " + ", ".join(PARTS))
    rows = of_speaker | {"all": np.concatenate(list(of_speaker.values())), "ideal": ideal}
    for name, row in rows.items():
        print(f"{name:12}", " ".join(f"{100 * share:5.1f}" for share in np.mean(row, axis=0)))
    means = np.nanmean(moved, axis=0)
    print(f"{'moved':12}", " ".join(f"{cosine:5.3f}" for cosine in means))
    for name, shares in zip(("found", "with a voice"), np.nanmean(found, axis=0), strict=True):
        print(f"{name:12}", " ".join(f"{100 * share:5.1f}" for share in shares))


if __name__ == "__main__":
    main()
