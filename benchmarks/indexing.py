"""How fast music becomes a catalogue, beside decoding alone and beside other analysers; one run.

    python benchmarks/indexing.py [--model NAME] [--jobs N] [--files N] [--seconds S] [FILE ...]

Without files, pieces of the demo collection are joined to songs of S seconds and written as mp3.
Rates are in hours of music a minute. The *floor* is decoding and resampling alone, one file at a
time in each of N threads, *processes* the same in N processes; *index* is `Catalogue.index` into an
empty catalogue: hashing, tags, decoding, network, writing. bliss-audio and Essentia's
MusicExtractor run on the same files in N processes if they are installed (pip install bliss-audio;
pip install --pre essentia); they compute other things, and only one vector a song. Rounds are
interleaved and the median is told.
"""

import argparse
import contextlib
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile

from stemwise.audio import load, stream
from stemwise.library.catalogue import Catalogue
from stemwise.models.checkpoint import DEFAULT_MODEL, load_model

DEMO = Path(__file__).parents[1] / "demo" / "music"
RATE_HZ = 44100


def made(folder, count, seconds):
    """Write `count` stereo songs of `seconds` as mp3, joined from the demo's pieces."""
    pieces = [load(path, RATE_HZ) for path in sorted(DEMO.glob("*.opus"))]
    paths = []
    for number in range(count):
        order = np.random.default_rng(number).permutation(len(pieces))
        song, used = [], 0
        while sum(map(len, song)) < seconds * RATE_HZ:
            song.append(pieces[order[used % len(order)]])
            used += 1
        wave = np.concatenate(song)[: round(seconds * RATE_HZ)]
        path = folder / f"song-{number:03d}.mp3"
        soundfile.write(path, np.stack([wave, 0.9 * wave], axis=1), RATE_HZ, format="MP3")
        paths.append(path)
    return paths


def seconds_of(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def decode(path, rate_hz):
    return sum(map(len, stream(path, rate_hz)))


def bliss(path):
    import bliss_audio

    try:
        return bliss_audio.Song(str(path)).analysis
    except BaseException as error:  # a panic in Rust is no Exception
        if type(error).__name__ != "PanicException":
            raise
        print(f"bliss-audio panics on {path.name}")
        return None


def essentia(path):
    import essentia
    import essentia.standard

    essentia.log.infoActive = essentia.log.warningActive = False
    return len(essentia.standard.MusicExtractor()(str(path))[0].descriptorNames())


def contenders(paths, model, jobs, folder):
    """Return name to what is timed."""

    def floor():
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(lambda path: decode(path, model.sample_rate_hz), paths))

    def index():
        with tempfile.TemporaryDirectory(dir=folder) as empty:
            summary = Catalogue.open(empty, create=True).index(paths, model, jobs)
            assert summary.added == len(paths), summary

    several = ProcessPoolExecutor(jobs)
    rates = [model.sample_rate_hz] * len(paths)
    found = {
        "floor": floor,
        "processes": lambda: list(several.map(decode, paths, rates)),
        "index": index,
    }
    for name, module, analyse in (
        ("bliss", "bliss_audio", bliss), ("essentia", "essentia", essentia),
    ):  # fmt: skip
        with contextlib.suppress(ModuleNotFoundError):
            __import__(module)
            pool = ProcessPoolExecutor(jobs)
            found[name] = lambda pool=pool, analyse=analyse: list(pool.map(analyse, paths))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--count", "--files", dest="count", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=200.0)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    model = load_model(given.model)
    with tempfile.TemporaryDirectory() as folder:
        paths = given.files or made(Path(folder), given.count, given.seconds)
        hours = sum(decode(path, RATE_HZ) for path in paths) / RATE_HZ / 3600
        timed = contenders(paths, model, given.jobs, folder)
        times = {name: [] for name in timed}
        for _ in range(given.rounds):
            for name, call in timed.items():
                times[name].append(seconds_of(call))
                print(f"{name} {times[name][-1]:.1f} s", flush=True)
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    print(f"{len(paths)} files, {hours:.2f} hours, {given.jobs} jobs, {given.rounds} rounds")
    print(f"{'':<10} {'hours/min':>10} {'x playing':>10} {'time / floor':>13}")
    for name, taken in medians.items():
        print(f"{name:<10} {hours / taken * 60:>10.2f} {hours * 3600 / taken:>10.0f} "
              f"{taken / medians['floor']:>13.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
