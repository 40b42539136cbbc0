"""How near a recording stays to itself: codecs, level, equaliser, resampling, speed, a cut.

    python benchmarks/robustness.py [--model compact] [--corpus data/band] [--crowd 1000]
                                    [--music FOLDER] [--altered 50]

The 24 pieces of demo/music that are no remixes are altered and described again; or, with a folder
of music, the first minute of some of its files, drawn by chance. *Cosine*: of each
ten-second segment and part with the segment of the original that starts nearest, where the part
sounds in both (presence 0.5); the mean, and the worst of all. *First*: how often the original is
nearest to the altered recording among a crowd, of those in which the part sounds, by each part
alone and by all; what no part sounds in is left out. *Distance*: that by which duplicates are
known, the mean over aligned segments and parts that sound; the largest from altered to original;
*next*: the smallest to anything else. The crowd is the other pieces (of the folder: the other
files, whole) and, with a corpus, stretches of 40 seconds of its songs, as many as asked for, but of
none of the test split, which has the demo's songs.

With a folder, *halves* too: how often the second half of a file is nearest to its first half among
the second halves of all files that last a minute or more, by the means over the segments in which
the part sounds, and by all parts that sound in the first half; and how often it is nearer than
that of another file, all pairs counted (0.5 is chance).

Needs PyAV, SoX's resampler and, for the equaliser, pedalboard (pip install 'stemwise[render]').
"""

import argparse
import tempfile
from pathlib import Path

import av
import numpy as np
import soxr
from pedalboard import HighShelfFilter, LowShelfFilter, PeakFilter, Pedalboard

from stemwise.audio import EXTENSIONS, load
from stemwise.corpora.bank import bank_of
from stemwise.library.description import describe_wave
from stemwise.library.duplicates import Recording
from stemwise.library.embed import FileEmbedding, embed_files, one_thread
from stemwise.models.checkpoint import load_model
from stemwise.parts import PARTS

DEMO = Path(__file__).parents[1] / "demo" / "music"
RATE_HZ = 44100
CROWD_SECONDS = 40.0
ALTERED_SECONDS = 60.0
SHORTEST_SECONDS, LONGEST_SECONDS = 60.0, 900.0  # of a folder's files
BOARD = Pedalboard([LowShelfFilter(200, 6), PeakFilter(1500, -6), HighShelfFilter(5000, 5)])


def mp3(wave, bit_rate=96_000):
    """Return `wave` after MP3."""
    with tempfile.NamedTemporaryFile(suffix=".mp3") as file:
        with av.open(file.name, "w") as container:
            track = container.add_stream("libmp3lame", rate=RATE_HZ, layout="mono")
            track.bit_rate = bit_rate
            frame = av.AudioFrame.from_ndarray(wave[None], "fltp", "mono")
            frame.sample_rate = RATE_HZ
            for some in (frame, None):
                container.mux(track.encode(some))
        return load(file.name, RATE_HZ)


def faster(percent):
    rate_hz = RATE_HZ * (1 + percent / 100)
    return lambda wave: soxr.resample(wave, rate_hz, RATE_HZ).astype(np.float32)


ALTERED = {
    "MP3 at 96 kbit/s": mp3,
    "12 dB softer": lambda wave: wave * 10 ** (-12 / 20),
    "equaliser, +6 -6 +5 dB": lambda wave: BOARD(wave, RATE_HZ),
    "22.05 kHz and back": lambda wave: soxr.resample(
        soxr.resample(wave, RATE_HZ, 22050), 22050, RATE_HZ
    ),
    "1 % faster": faster(1),
    "1 % slower": faster(-1),
    "1.2 s cut from the start": lambda wave: wave[round(1.2 * RATE_HZ) :],
}


def described(wave, rate_hz, model):
    """Return the vectors of `wave` as those of a file."""
    own = soxr.resample(wave, rate_hz, model.sample_rate_hz).astype(np.float32)
    starts, embeddings, presence = describe_wave(own, model, name="made")
    return Recording(len(wave) / rate_hz, starts, embeddings, presence)


def crowd_of(corpus, count, model):
    """Yield stretches of the corpus's mixtures."""
    bank = bank_of(corpus, model.sample_rate_hz)
    rate_hz = bank.sample_rate_hz
    size = round(CROWD_SECONDS * rate_hz)
    made = 0
    for number, piece in enumerate(bank.pieces):
        if piece.split == "test":
            continue
        wave = sum(bank.stem(number, part) for part in range(len(PARTS)))
        for first in range(0, len(wave) - size + 1, size):
            if made == count:
                return
            made += 1
            yield described(wave[first : first + size], rate_hz, model)


def compared(a, b):
    """Return squared distances (S, 5) of aligned segments, nan where a part is absent in one."""
    nearest = np.abs(b.start_seconds[None] - a.start_seconds[:, None]).argmin(axis=1)
    distances = ((a.embeddings - b.embeddings[nearest]) ** 2).sum(axis=-1)
    return np.where(a.sounding & b.sounding[nearest], distances, np.nan)


def mean(distances, axis=None):
    """Return the mean of what is a number; infinity where nothing is."""
    known = ~np.isnan(distances)
    total = np.where(known, distances, 0).sum(axis)
    return np.where(known.any(axis), total / np.maximum(known.sum(axis), 1), np.inf)


def files_of(folder, model):
    """Return the files of `folder` of a usual length, and what they are as recordings."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS)
    kept = {}
    for made in embed_files(paths, model):
        if isinstance(made, FileEmbedding) and made.content not in kept and (
            SHORTEST_SECONDS <= made.duration_seconds <= LONGEST_SECONDS
        ):  # fmt: skip
            kept[made.content] = made
    print(f"{len(kept)} of {len(paths)} files last {SHORTEST_SECONDS:g} to {LONGEST_SECONDS:g} s, "
          f"{sum(file.duration_seconds for file in kept.values()) / 3600:.1f} hours")  # fmt: skip
    return [file.path for file in kept.values()], [
        Recording(file.duration_seconds, file.start_seconds, file.embeddings, file.presence)
        for file in kept.values()
    ]


def halves(recordings):
    """Print how well the first halves find the second."""
    means = np.full((2, len(recordings), len(PARTS), recordings[0].embeddings.shape[-1]), np.nan)
    for number, one in enumerate(recordings):
        middle = len(one.start_seconds) // 2
        for half, own in enumerate((slice(middle), slice(middle, None))):
            heard = one.sounding[own][..., None]
            with np.errstate(invalid="ignore"):
                means[half, number] = (one.embeddings[own] * heard).sum(0) / heard.sum(0)
    near = np.einsum("apd,bpd->pab", *means)  # mean squared distances are 2 - 2 of these
    heard = ~np.isnan(means[0, :, :, 0]).T[..., None]  # a part that the other lacks is unlike
    with np.errstate(invalid="ignore"):
        whole = np.where(heard, np.nan_to_num(near), 0).sum(axis=0) / heard.sum(axis=0)
    for name, table in zip((*PARTS, "all"), (*near, whole), strict=True):
        both = ~np.isnan(np.diag(table))
        table = table[np.ix_(both, both)]
        own = np.diag(table)
        others = table[~np.eye(len(table), dtype=bool)].reshape(len(table), -1)
        print(f"halves {name:<12} first {np.mean(own[:, None] >= others.max(1, keepdims=True)):.3f}"
              f" nearer {np.mean(own[:, None] > others):.3f} of {len(table)}")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="compact")
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--crowd", type=int, default=1000)
    parser.add_argument("--music", type=Path)
    parser.add_argument("--altered", type=int, default=50)
    given = parser.parse_args()
    model = load_model(given.model)
    if given.music:
        paths, known = files_of(given.music, model)
        halves(known)
        drawn = np.random.default_rng(0).permutation(len(paths))[: given.altered]
        waves = {k: load(paths[k], RATE_HZ, 0.0, ALTERED_SECONDS) for k in drawn}
    else:
        paths = [path for path in sorted(DEMO.glob("*.opus")) if not path.stem.startswith("remix")]
        waves = {k: load(path, RATE_HZ) for k, path in enumerate(paths)}
    with one_thread():
        if not given.music:
            known = [described(wave, RATE_HZ, model) for wave in waves.values()]
        crowd = list(crowd_of(given.corpus, given.crowd, model)) if given.corpus else []
        print(f"{model.name}, {len(waves)} recordings, {len(known) - 1 + len(crowd)} others")
        print(f"{'':<26} {'':<9}" + "".join(f"{part:>10}" for part in PARTS) + f"{'all':>10}")
        for name, alter in ALTERED.items():
            others = [*known, *crowd]
            rows = {"mean cos": [], "worst": [], "first": [], "distance": [], "next": []}
            for number, wave in waves.items():
                altered = described(alter(wave), RATE_HZ, model)
                tables = [compared(altered, other) for other in others]
                own = 1 - tables[number] / 2
                rows["mean cos"].append(own)
                parts = np.stack([mean(table, 0) for table in tables])
                whole = np.array([mean(table) for table in tables])
                first = np.where(np.isinf(parts[number]), np.nan, parts.argmin(axis=0) == number)
                if np.isinf(whole[number]):
                    continue  # no part sounds in both
                rows["first"].append([*first, whole.argmin() == number])
                rows["distance"].append(whole[number])
                rows["next"].append(np.delete(whole, number).min())
            cosines = np.concatenate(rows["mean cos"])
            each = [np.nanmean(cosines[:, p]) for p in range(5)], np.nanmin(cosines, axis=0)
            for kind, values, whole in (
                ("mean cos", each[0], np.nanmean(cosines)),
                ("worst", each[1], np.nanmin(cosines)),
                ("first", np.nanmean(rows["first"], axis=0)[:5], np.mean(rows["first"], axis=0)[5]),
            ):  # fmt: skip
                print(f"{name:<26} {kind:<9}" + "".join(f"{v:>10.3f}" for v in (*values, whole)))
                name = ""
            print(f"{'':<26} distance {max(rows['distance']):.4f} at most, next "
                  f"{min(rows['next']):.4f}")  # fmt: skip


if __name__ == "__main__":
    main()
