"""How fast files of each format become mono at the model's rate, against decoding alone.

    python benchmarks/decoding.py [SECONDS]

Made stereo sound (180 s unless told otherwise), one core, processor time, the best of five rounds;
within a round the three ways take turns file by file. "ours" decodes, mixes down, checks and
resamples; "soundfile" and "av" decode and throw away. All are times faster than playing; "ratio" is
ours over the faster of the two, so 1 would mean that mixing and resampling cost nothing.
"""

import os
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile

from stemwise.audio import stream

RATE_HZ = 22050
SOURCE_HZ = 44100
ROUNDS = 5
BLOCK = 65536
FORMATS = {
    "wav": ("wav", None), "flac": ("flac", None), "aiff": ("aiff", None), "mp3": ("mp3", None),
    "ogg vorbis": ("ogg", None), "ogg opus": ("opus", "libopus"), "m4a aac": ("m4a", "aac"),
    "m4a alac": ("m4a", "alac"), "wma": ("wma", "wmav2"), "wavpack": ("wv", "wavpack"),
    "adts aac": ("aac", "aac"),
}  # fmt: skip


def made(seconds, rate_hz):
    """Return chords that change twice a second over soft noise, (N, 2)."""
    rng = np.random.default_rng(0)
    half = np.arange(rate_hz // 2) / rate_hz
    chords = []
    for _ in range(2 * seconds):
        pitches_hz = 110 * 2 ** (rng.integers(0, 36, (4, 1)) / 12)
        tones = np.sin(2 * np.pi * pitches_hz * half) * np.exp(-4 * half)
        noise = 0.02 * rng.standard_normal((2, len(half)))
        chords.append(0.15 * np.stack([tones[:3].sum(0), tones[1:].sum(0)]) + noise)
    return np.concatenate(chords, axis=1).T.astype(np.float32)


def write(path, codec, seconds):
    """Write made sound to `path`: through libsndfile, or through FFmpeg with `codec`."""
    rate_hz = 48000 if codec == "libopus" else SOURCE_HZ
    wave = made(seconds, rate_hz)
    if codec is None:
        with soundfile.SoundFile(path, "w", rate_hz, 2) as file:
            for start in range(0, len(wave), 8192):
                file.write(wave[start : start + 8192])
        return
    with av.open(str(path), "w") as container:
        track = container.add_stream(codec, rate=rate_hz, layout="stereo")
        track.bit_rate = 192_000
        track.codec_context.open()
        size = track.codec_context.frame_size or 1024
        to_codec = av.AudioResampler(track.codec_context.format, "stereo", rate_hz, size)
        frame = av.AudioFrame.from_ndarray(wave.reshape(1, -1), "flt", "stereo")
        frame.sample_rate, frame.pts, frame.time_base = rate_hz, 0, Fraction(1, rate_hz)
        for ready in [*to_codec.resample(frame), *to_codec.resample(None), None]:
            container.mux(track.encode(ready))


def ours(path):
    return sum(map(len, stream(path, RATE_HZ)))


def soundfile_alone(path):
    with soundfile.SoundFile(path) as file:
        while len(file.read(BLOCK, dtype="float32")):
            pass


def av_alone(path):
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            frame.to_ndarray()


def best(path, ways):
    """Return the least processor time in seconds of each way to read `path`; inf if it cannot."""
    least = dict.fromkeys(ways, float("inf"))
    for _ in range(ROUNDS):
        for way in ways:
            start = time.process_time()
            try:
                way(path)
            except soundfile.LibsndfileError:
                continue
            least[way] = min(least[way], time.process_time() - start)
    return least


def main():
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 180
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(f"{'format':12}{'ours':>8}{'soundfile':>11}{'av':>8}{'ratio':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for name, (extension, codec) in FORMATS.items():
            path = Path(folder) / f"made.{extension}"
            write(path, codec, seconds)
            taken = best(path, (ours, soundfile_alone, av_alone))
            speed = [seconds / taken[way] for way in (ours, soundfile_alone, av_alone)]
            shown = f"{speed[1]:11.0f}" if speed[1] else f"{'-':>11}"
            ratio = speed[0] / max(speed[1:])
            print(f"{name:12}{speed[0]:8.0f}{shown}{speed[2]:8.0f}{ratio:8.2f}", flush=True)
            path.unlink()


if __name__ == "__main__":
    main()
