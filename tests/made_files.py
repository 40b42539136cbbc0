"""Makers of broken and odd files: functions that write one into a folder and return its path."""

import os
import socket
import struct
import zipfile
from pathlib import Path

import av
import numpy as np

from made_music import tone, write_av, write_sndfile

SECONDS = 5.0


def sound(name, rate_hz=44100, channels=1, scale=1.0, seconds=SECONDS, **options):
    """Return a maker of a file of `tone` through libsndfile."""

    def make(folder):
        wave = tone(seconds, rate_hz).astype(np.float64) * scale
        wave = np.tile(wave[:, None], (1, channels)) if channels > 1 else wave
        return write_sndfile(folder / name, wave, rate_hz, **options)

    return make


def coded(name, codec, rate_hz=44100, seconds=SECONDS, **options):
    """Return a maker of a file of `tone` through FFmpeg."""
    return lambda folder: write_av(folder / name, tone(seconds, rate_hz), codec, rate_hz, **options)


def changed(make, change, name=None):
    """Return a maker of what `change` makes of the bytes of another maker's file."""

    def changed_file(folder):
        source = make(folder)
        data = change(bytearray(source.read_bytes()))
        source.unlink()
        path = source if name is None else source.with_name(name)
        path.write_bytes(data)
        return path

    return changed_file


def renamed(make, name):
    """Return a maker of another maker's file under `name`, text or bytes."""

    def renamed_file(folder):
        path = os.path.join(os.fsencode(folder), os.fsencode(name))
        os.rename(make(folder), path)
        return Path(os.fsdecode(path))

    return renamed_file


def data(name, content):
    """Return a maker of a file of bytes."""

    def make(folder):
        (folder / name).write_bytes(content)
        return folder / name

    return make


def cut(share):
    """Return a change that leaves the first `share` of the bytes."""
    return lambda content: content[: int(len(content) * share)]


def overwritten(at, size):
    """Return a change that puts noise on `size` bytes, from the share `at` of the file on."""

    def change(content):
        first = int(len(content) * at)
        content[first : first + size] = np.random.default_rng(0).bytes(size)
        return content

    return change


def mutated(content, seed):
    """Return `content` with one to eleven small faults, most of them in its head or its end."""
    rng = np.random.default_rng(seed)
    content = bytearray(content)
    for _ in range(rng.integers(1, 12)):
        size = len(content)
        head = int(rng.integers(rng.choice([min(200, size), min(2048, size), size])))
        place = rng.choice([head, head, head, size - 1 - int(rng.integers(min(size, 4096)))])
        fault = rng.integers(5)
        if fault == 0:
            content[place] ^= 1 << int(rng.integers(8))
        elif fault == 1:
            content[place : place + 4] = rng.bytes(4)
        elif fault == 2:
            content[place : place + 4] = b"\xff" * int(rng.integers(1, 5))
        elif fault == 3:
            content[place : place + 4] = bytes(4)
        else:
            content[place:place] = content[place : place + int(rng.integers(1, 64))]
    return content


def sized(size, marker=b"data", order="<"):
    """Return a change that writes `size` in the file's chunk `marker` and in its outer chunk."""

    def change(content):
        place = content.index(marker) + 4
        content[place : place + 4] = struct.pack(f"{order}I", size)
        content[4:8] = struct.pack(f"{order}I", min(size + 36, 2**32 - 1) if size else 0)
        return content

    return change


def id3(size):
    """Return the head of an ID3 tag that claims `size` bytes."""
    return b"ID3\x04\0\0" + bytes(size >> shift & 127 for shift in (21, 14, 7, 0))


def at_rate(rate_hz):
    """Return a change that gives a WAV another sample rate."""

    def change(content):
        content[24:28] = struct.pack("<I", rate_hz)
        return content

    return change


def without_first_frame(content):
    """Take off an mp3's first frame, which counts the others."""
    assert b"Xing" in content[:64]
    return content[content.index(content[:2], 4) :]


def without_length(content):
    """Take the number of samples out of a FLAC's first block, as an encoder to a pipe leaves it."""
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    return content


def scrambled(content):
    """Call the codec of an m4a encrypted, and scramble its sound."""
    place = content.index(b"mp4a", content.index(b"stsd"))
    content[place : place + 4] = b"drms"
    first = content.index(b"mdat") + 8
    last = content.index(b"moov") - 4
    content[first:last] = np.random.default_rng(0).bytes(last - first)
    return content


def values(name, *numbers, at=0.5, subtype="FLOAT"):
    """Return a maker of a float WAV with `numbers` in the middle."""

    def make(folder):
        wave = tone(SECONDS).astype(np.float64)
        first = int(len(wave) * at)
        wave[first : first + len(numbers)] = numbers
        return write_sndfile(folder / name, wave, subtype=subtype)

    return make


def many_channels(folder, name="s.wv", codec="wavpack", layout="16 channels"):
    """Make a file whose codec keeps its channels, all alike, apart."""
    with av.open(str(folder / name), "w") as container:
        track = container.add_stream(codec, rate=44100, layout=layout)
        track.codec_context.open()
        count = track.codec_context.layout.nb_channels
        size = track.codec_context.frame_size or 1024
        apart = av.AudioResampler(track.codec_context.format, layout, 44100, size)
        wave = np.tile(tone(SECONDS)[:, None], (1, count)).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(wave, "flt", layout)
        frame.sample_rate, frame.pts = 44100, 0
        for ready in [*apart.resample(frame), *apart.resample(None), None]:
            container.mux(track.encode(ready))
    return folder / name


def level(name, value, rate_hz=44100):
    """Return a maker of a float WAV that holds one value throughout."""

    def make(folder):
        wave = np.full(round(SECONDS * rate_hz), value, np.float32)
        return write_sndfile(folder / name, wave, rate_hz, subtype="FLOAT")

    return make


def joined(name, *rates_hz, **options):
    """Return a maker of 2-second files one after the other in one file."""

    def make(folder):
        links = []
        for seed, rate_hz in enumerate(rates_hz):
            wave = tone(2, rate_hz, seed)
            link = write_sndfile(folder / f"link-{name}", wave, rate_hz, **options)
            links.append(link.read_bytes())
            link.unlink()
        (folder / name).write_bytes(b"".join(links))
        return folder / name

    return make


def film(name, with_sound):
    """Return a maker of a small film, with or without sound."""

    def make(folder):
        with av.open(str(folder / name), "w") as container:
            picture = container.add_stream("mpeg4", rate=10)
            picture.width = picture.height = 64
            voice = container.add_stream("aac", rate=44100, layout="mono") if with_sound else None
            for _ in range(round(10 * SECONDS)):
                frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))
                container.mux(picture.encode(frame))
            container.mux(picture.encode(None))
            if voice is not None:
                wave = av.AudioFrame.from_ndarray(tone(SECONDS)[None], "fltp", "mono")
                wave.sample_rate, wave.pts = 44100, 0
                fifo = av.AudioFifo()
                fifo.write(wave)
                for chunk in [*fifo.read_many(1024), fifo.read(0, partial=True), None]:
                    container.mux(voice.encode(chunk))
        return folder / name

    return make


def picture(folder, name="cover.jpg"):
    """Make a JPEG."""
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width = encoder.height = 64
    encoder.pix_fmt, encoder.framerate = "yuvj420p", 1
    frame = av.VideoFrame.from_ndarray(np.zeros((96, 64), np.uint8), "yuvj420p")
    (folder / name).write_bytes(b"".join(bytes(p) for p in encoder.encode(frame)))
    return folder / name


def archive(folder, name="songs.zip"):
    """Make a zip of an mp3."""
    song = sound("a.mp3")(folder)
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as file:
        file.write(song, "a.mp3")
    song.unlink()
    return folder / name


def pipe(folder):
    """Make a pipe that nobody writes to."""
    os.mkfifo(folder / "pipe.mp3")
    return folder / "pipe.mp3"


def listening(folder):
    """Make a socket; its path may not be long, so that it is bound from inside its folder."""
    here = os.getcwd()
    os.chdir(folder)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("socket.mp3")
    finally:
        os.chdir(here)
    return folder / "socket.mp3"


def link(name, target):
    """Return a maker of a symbolic link."""

    def make(folder):
        (folder / name).symlink_to(target)
        return folder / name

    return make


def locked(folder):
    """Make a file that may not be read."""
    path = sound("locked.wav")(folder)
    path.chmod(0)
    return path


def directory(folder):
    """Make a folder that is called like a song."""
    (folder / "album.mp3").mkdir()
    return folder / "album.mp3"
