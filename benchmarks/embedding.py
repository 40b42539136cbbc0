"""How fast files become vectors: decoding alone, one job, two jobs; ratios within one run.

    python benchmarks/embedding.py [FILE]

Without a file, ten minutes of made stereo noise bursts are written as mp3 and used.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from stemwise.audio import stream
from stemwise.library.embed import embed_files
from stemwise.models.checkpoint import load_model

COPIES = 4


def made(folder):
    rng = np.random.default_rng(0)
    rate_hz, seconds = 44100, 600
    path = folder / "made.mp3"
    with soundfile.SoundFile(path, "w", rate_hz, 2, format="MP3") as sound:
        for _ in range(seconds):
            sound.write(0.1 * rng.standard_normal((rate_hz, 2)) * rng.uniform(0, 1))
    return path


def seconds_of(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main():
    model = load_model("compact")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(sys.argv[1]) if len(sys.argv) > 1 else made(Path(folder))
        paths = []
        for number in range(COPIES):
            copy = Path(folder) / f"copy-{number}{path.suffix}"
            copy.write_bytes(path.read_bytes() + b"\0" * number)
            paths.append(copy)
        length = COPIES * sum(map(len, stream(path, model.sample_rate_hz))) / model.sample_rate_hz
        decode = seconds_of(lambda: [sum(map(len, stream(p, model.sample_rate_hz))) for p in paths])
        times = {jobs: seconds_of(lambda j=jobs: list(embed_files(paths, model, jobs=j)))
                 for jobs in (1, 2)}  # fmt: skip
    print(f"decode and resample: {length / decode:.0f} times faster than playing, one core")
    for jobs, taken in times.items():
        print(f"embed, {jobs} job(s): {length / taken:.0f} times faster than playing, "
              f"{taken / decode:.2f} times the decoding alone")  # fmt: skip
    print(f"two jobs against one: {times[1] / times[2]:.2f} times as fast")


if __name__ == "__main__":
    main()
