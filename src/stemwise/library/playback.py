"""Pieces to be listened to: what a browser plays as it is, and what it is given instead.

Conventions: 16 bits; louder than full scale is clipped. Stretches are mono, as `stemwise.decoding`
mixes down; what stands in for a whole file keeps its two channels. Memory does not grow with the
length of a file.
"""

import io
import itertools
import struct
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from mutagen.mp3 import MP3
from mutagen.mp4 import MP4
from numpy.typing import NDArray

from stemwise.audio import open_file, stream
from stemwise.decoding import decode
from stemwise.errors import AudioError

__all__ = ["content_type", "rate_of", "stretch", "wav_bytes", "write_flac"]

_HIGHEST_HZ = 96_000
_USUAL_HZ = 48_000
_BLOCK_SECONDS = 1.0
_WAV_SUBTYPES = frozenset(("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "ULAW", "ALAW"))


def content_type(path: Path) -> str | None:
    """Return the media type of a file that today's browsers play; None for any other.

    The content decides, not the name: MPEG layer 3, AAC in MP4, FLAC, Vorbis and Opus in Ogg, WAV,
    WebM.

    Raises:
        AudioError: the file cannot be opened.
    """
    with open_file(path) as file:
        head = file.read(4096)
        file.seek(0)
        try:
            return _kind(head, file)
        except Exception:  # a damaged file takes many forms; none of them is known to play
            return None


def _kind(head: bytes, file: io.FileIO) -> str | None:
    """Return the media type of `file`, which begins with `head`."""
    if head[:4] == b"\x1aE\xdf\xa3":
        return "audio/webm" if b"webm" in head[:64] else None
    if head[:4] == b"fLaC":
        return "audio/flac"
    if head[:4] == b"OggS":
        return "audio/ogg" if b"OpusHead" in head or b"\x01vorbis" in head else None
    if head[:4] == b"RIFF":
        with soundfile.SoundFile(file.fileno(), closefd=False) as sound:
            plays = sound.format in ("WAV", "WAVEX") and sound.subtype in _WAV_SUBTYPES
        return "audio/wav" if plays else None
    if head[4:8] == b"ftyp":
        film: Any = MP4(file)  # type: ignore[no-untyped-call]
        return "audio/mp4" if film.info.codec.startswith("mp4a") else None
    mpeg: Any = MP3(file)  # type: ignore[no-untyped-call]
    return "audio/mpeg" if mpeg.info.layer == 3 else None


def rate_of(path: Path) -> int:
    """Return the rate in Hz at which `path` is best listened to: its own, if that is usual.

    Raises:
        AudioError: the file cannot be decoded.
    """
    with closing(decode(path)) as chunks:  # type: ignore[type-var]
        for rate_hz, _ in chunks:
            return rate_hz if rate_hz <= _HIGHEST_HZ else _USUAL_HZ
    raise AudioError(f"{path} holds no sound: 0 samples")


def stretch(
    path: Path, rate_hz: int, start_seconds: float, end_seconds: float
) -> Iterator[NDArray[np.float32]]:
    """Yield the blocks (N,) of a stretch of `path`; what lies beyond its end is left out.

    Decoding starts at the beginning of the file, as `stemwise.audio.load` explains.

    Raises:
        AudioError: the file cannot be decoded.
    """
    first, last = round(start_seconds * rate_hz), round(end_seconds * rate_hz)
    position = 0
    blocks = stream(path, rate_hz, _BLOCK_SECONDS)
    with closing(blocks):  # type: ignore[type-var]
        for block in blocks:
            here = block[max(0, first - position) : max(0, last - position)]
            position += len(block)
            if len(here):
                yield here
            if position >= last:
                return


def wav_bytes(blocks: Iterable[NDArray[np.float32]], rate_hz: int, samples: int) -> Iterator[bytes]:
    """Yield a WAV file of exactly `samples` samples: `blocks`, cut or followed by silence.

    It is 44 + 2 × `samples` bytes long.
    """
    size = 2 * samples
    form = struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE")
    kind = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate_hz, 2 * rate_hz, 2, 16)
    yield form + kind + struct.pack("<4sI", b"data", size)
    left = samples
    for block in blocks:
        here = np.clip(block[:left], -1, 1)
        left -= len(here)
        yield (here * 32767).astype("<i2").tobytes()
        if not left:
            return
    for count in itertools.chain([rate_hz] * (left // rate_hz), [left % rate_hz]):
        yield bytes(2 * count)


def write_flac(path: Path, target: Path) -> None:
    """Write the sound of `path` to `target` as FLAC in stereo; it appears whole or not at all.

    Of any other number of channels, both are the mean.

    Raises:
        AudioError: `path` cannot be decoded.
    """
    rate_hz = rate_of(path)
    partial = target.with_name(target.name + ".partial")
    try:
        with (
            soundfile.SoundFile(partial, "w", rate_hz, 2, subtype="PCM_16", format="FLAC") as sound,
            closing(_stereo(path, rate_hz)) as blocks,  # type: ignore[type-var]
        ):
            for block in blocks:
                sound.write(np.clip(np.nan_to_num(block), -1, 1))
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _stereo(path: Path, rate_hz: int) -> Iterator[NDArray[np.float32]]:
    """Yield the sound of `path` as blocks (N, 2) at `rate_hz`."""
    resampler: soxr.ResampleStream | None = None
    with closing(decode(path, stereo=True)) as chunks:  # type: ignore[type-var]
        for own_rate_hz, chunk in chunks:
            if own_rate_hz == rate_hz:
                yield chunk.T
                continue
            resampler = resampler or soxr.ResampleStream(own_rate_hz, rate_hz, 2, dtype="float32")
            yield resampler.resample_chunk(np.ascontiguousarray(chunk.T))
    if resampler is not None:
        yield resampler.resample_chunk(np.zeros((0, 2), np.float32), last=True)
