"""Music files to sound: mix down, resample, cut into segments, measure levels and silence.

Conventions: sound is mono float32, (N,) samples or (..., N), full scale -1..1; louder float files
are passed on as they are, never clipped. Mono is the mean over the channels. Times are seconds from
the start of the file. Everything is streamed: memory does not grow with the length of a file.

How a file is read, and which file is refused, is told in `stemwise.decoding`; docs/files.md shows
what every kind of broken or odd file gets. A file is read wholly or refused: what came before a
fault is yielded by `stream`, but the error that follows tells that it is not to be kept.

References: section IV-C of the paper (mono, segments); the two silence rules are those of the
paper's group, Imamura (`sounding_by_range`) and Hashizume (`sounding_by_power`).
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from stemwise.decoding import decode, open_file
from stemwise.errors import AudioError

__all__ = [
    "EXTENSIONS",
    "LOUDEST",
    "MINIMUM_SECONDS",
    "RANGE_THRESHOLD",
    "cut",
    "level_db",
    "load",
    "open_file",
    "segments",
    "sounding_by_power",
    "sounding_by_range",
    "stream",
]

Wave = NDArray[np.float32]

EXTENSIONS = frozenset(
    (".aac", ".aif", ".aifc", ".aiff", ".alac", ".ape", ".au", ".caf", ".flac", ".m4a", ".m4b",
     ".mka", ".mp2", ".mp3", ".mp4", ".mpc", ".oga", ".ogg", ".opus", ".tta", ".w64", ".wav",
     ".wave", ".weba", ".webm", ".wma", ".wv")
)  # fmt: skip
MINIMUM_SECONDS = 1.0
FLOOR_DB = -120.0
RANGE_THRESHOLD = 1e-4
POWER_THRESHOLD = 1e-4
LOUDEST = 2.0**31
"""Samples beyond this are no sound; some programs store 32-bit integers as floats, unscaled."""


def stream(path: Path | str, sample_rate_hz: int, block_seconds: float = 10.0) -> Iterator[Wave]:
    """Yield the whole file as consecutive mono blocks (N,) float32 at `sample_rate_hz`.

    Args:
        path: any file that libsndfile or FFmpeg reads.
        sample_rate_hz: rate of what comes out.
        block_seconds: length of every block but the last, which is shorter and never empty.

    Raises:
        AudioError: the file is missing, empty, unreadable, damaged, truncated, without an audio
            stream, or holds samples that are not finite numbers or beyond `LOUDEST`. Blocks before
            the fault were yielded: keep none of them.
    """
    size = max(1, round(block_seconds * sample_rate_hz))
    parts: list[Wave] = []
    held = 0
    for chunk in _resampled(Path(path), sample_rate_hz):
        parts.append(chunk)
        held += len(chunk)
        if held >= size:
            joined = np.concatenate(parts)
            whole = held - held % size
            for start in range(0, whole, size):
                yield joined[start : start + size].copy()
            parts, held = [joined[whole:]], held - whole
    if held:
        yield np.concatenate(parts)


def load(
    path: Path | str,
    sample_rate_hz: int,
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
) -> Wave:
    """Return the file, or a stretch of it, as mono (N,) float32 at `sample_rate_hz`.

    A stretch that runs over the end is cut there. Decoding starts at the beginning of the file, so
    that a stretch equals the same samples of the whole, and stops where the stretch ends.

    Raises:
        AudioError: as `stream`; also if the stretch begins after the end.
        ValueError: a negative start, or a duration that is not positive.
    """
    if start_seconds < 0 or (duration_seconds is not None and duration_seconds <= 0):
        raise ValueError(
            f"expected a stretch inside the file, got {start_seconds=}, {duration_seconds=}"
        )
    first = round(start_seconds * sample_rate_hz)
    last = None if duration_seconds is None else first + round(duration_seconds * sample_rate_hz)
    kept: list[Wave] = []
    position = 0
    for block in stream(path, sample_rate_hz):
        here = block[max(0, first - position) : None if last is None else last - position]
        if len(here):
            kept.append(here)
        position += len(block)
        if last is not None and position >= last:
            break
    if not kept:
        length_seconds = position / sample_rate_hz
        raise AudioError(
            f"{path} lasts {length_seconds:.1f} s; nothing lies after {start_seconds:.1f} s"
        )
    return np.concatenate(kept)


def segments(
    path: Path | str, sample_rate_hz: int, segment_seconds: float
) -> Iterator[tuple[float, Wave]]:
    """Yield (start in seconds, samples (N,)) of consecutive segments that cover the whole file.

    Segments do not overlap, but for the last: if a remainder is left, the last segment is aligned
    to the end of the file, so that it overlaps the one before and no sound goes unheard. A file
    shorter than a segment is repeated up to one segment.

    Raises:
        AudioError: as `stream`; also if the file is shorter than `MINIMUM_SECONDS`.
    """
    blocks = stream(path, sample_rate_hz, segment_seconds)
    return cut(blocks, sample_rate_hz, segment_seconds, name=str(path))


def cut(
    blocks: Iterable[Wave], sample_rate_hz: int, segment_seconds: float, *, name: str
) -> Iterator[tuple[float, Wave]]:
    """Yield the segments of `blocks` as `segments` does; `blocks` are those of `stream`.

    Each block but the last must be one segment long. `name` is what an error calls the sound.

    Raises:
        AudioError: shorter than `MINIMUM_SECONDS`.
        ValueError: a block is longer than a segment.
    """
    size = round(segment_seconds * sample_rate_hz)
    position = 0
    previous = np.zeros(0, np.float32)
    for block in blocks:
        if len(block) > size:
            raise ValueError(f"a block of {len(block)} samples for segments of {size}")
        if len(block) == size:
            yield position / sample_rate_hz, block
        elif position:
            start = position + len(block) - size
            yield start / sample_rate_hz, np.concatenate([previous[len(block) :], block])
        elif len(block) < MINIMUM_SECONDS * sample_rate_hz:
            raise AudioError(
                f"{name} lasts {len(block) / sample_rate_hz:.2f} s; "
                f"at least {MINIMUM_SECONDS:g} s are needed"
            )
        else:
            yield 0.0, np.resize(block, size)
        position += len(block)
        previous = block


def sounding_by_range(wave: Wave, step_samples: int = 5000) -> NDArray[np.bool_]:
    """Tell whether `wave` (..., N) sounds by rule A; returns (...,) booleans.

    A segment is silent if any window of a quarter of its length has max - min < 1e-4. Windows start
    at 0, `step_samples`, 2 `step_samples`, ... and lie wholly inside the segment. The step of 5,000
    samples belongs to 44.1 kHz and is *not* scaled with the rate unless the caller says so: at a
    lower rate the same step scans somewhat fewer windows. An empty segment is silent.
    """
    length = wave.shape[-1]
    window = max(1, length // 4)
    sounding = np.full(wave.shape[:-1], length > 0)
    for start in range(0, length - window + 1, step_samples):
        stretch = wave[..., start : start + window]
        sounding &= stretch.max(axis=-1) - stretch.min(axis=-1) >= RANGE_THRESHOLD
    return sounding


def sounding_by_power(wave: Wave) -> NDArray[np.bool_]:
    """Tell whether `wave` (..., N) sounds by rule B; returns (...,) booleans.

    A segment sounds if the mean of its squared samples exceeds 1e-4. An empty segment is silent.
    """
    return _mean_square(wave) > POWER_THRESHOLD


def level_db(wave: Wave) -> NDArray[np.float64]:
    """Return the level of `wave` (..., N) in dBFS, 10 log10(mean square), as (...,).

    A full-scale square wave is 0 dB; digital silence, or an empty segment, is `FLOOR_DB`. Exact to
    a thousandth of a dB.
    """
    squares = np.einsum("...n,...n->...", wave, wave)  # in single precision, which is fast
    mean = np.asarray(squares, np.float64) / max(1, wave.shape[-1])
    level: NDArray[np.float64] = 10 * np.log10(np.maximum(mean, 10 ** (FLOOR_DB / 10)))
    return level


def _mean_square(wave: Wave) -> NDArray[np.float64]:
    squares = np.square(wave, dtype=np.float64)
    mean: NDArray[np.float64] = squares.sum(axis=-1) / max(1, wave.shape[-1])
    return mean


def _resampled(path: Path, sample_rate_hz: int) -> Iterator[Wave]:
    """Yield non-empty mono chunks (N,) of any length at `sample_rate_hz`."""
    resampler: soxr.ResampleStream | None = None
    heard = False
    for rate_hz, chunk in decode(path):
        _check_samples(path, chunk)
        heard = heard or len(chunk) > 0
        if rate_hz != sample_rate_hz:
            if resampler is None:
                resampler = soxr.ResampleStream(rate_hz, sample_rate_hz, 1, dtype="float32")
            chunk = resampler.resample_chunk(chunk)
        if len(chunk):
            yield chunk
    if resampler is not None:
        rest = resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        if len(rest):
            yield rest
    if not heard:
        raise AudioError(f"{path} holds no sound: 0 samples")


def _check_samples(path: Path, chunk: Wave) -> None:
    """Raise `AudioError` if a sample of `chunk` (N,) is not finite or beyond `LOUDEST`."""
    peak = float(np.abs(chunk).max(initial=0))  # not a number if one sample is none
    if not np.isfinite(peak):
        raise AudioError(f"{path} holds samples that are not finite numbers; export it again")
    if peak > LOUDEST:
        raise AudioError(f"{path} holds samples of {peak:.1e} times full scale; export it again")
