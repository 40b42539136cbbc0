"""Music files to sound: decode, mix down, resample, cut into segments, measure levels and silence.

Conventions: sound is mono float32, (N,) samples or (..., N), full scale -1..1; louder float files
are passed on as they are, never clipped. Mono is the mean over the channels. Times are seconds from
the start of the file. Everything is streamed: memory does not grow with the length of a file.

How a file is read:

1. Its first bytes decide. WAV, AIFF, FLAC, Ogg, AU and CAF go to libsndfile; all else, and what
   libsndfile turns down, to FFmpeg. MPEG audio goes to FFmpeg because libsndfile prints warnings
   about it and fills a truncated file up with zeros without a word.
2. FFmpeg decodes in order from the start; it never seeks, as AAC is not repeatable after a seek.
3. A file that ends more than a second (and one percent) before the length its header promises is
   an error. Ogg, and MPEG audio without a Xing header, promise nothing: what is there is used.

References: section IV-C of the paper (mono, segments); the two silence rules are those of the
paper's group, Imamura (`sounding_by_range`) and Hashizume (`sounding_by_power`).
"""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from stemwise.errors import AudioError, UsageError

__all__ = [
    "EXTENSIONS",
    "RANGE_THRESHOLD",
    "audio_files",
    "cut",
    "level_db",
    "load",
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
EXCLUDING_MARKER = ".notmusic"
MINIMUM_SECONDS = 1.0
FLOOR_DB = -120.0
RANGE_THRESHOLD = 1e-4
POWER_THRESHOLD = 1e-4

_SNDFILE_MAGIC = (b"RIFF", b"RIFX", b"RF64", b"riff", b"FORM", b"fLaC", b"OggS", b".snd", b"caff")
_DECODE_SAMPLES = 65536
_UNKNOWN_BYTES = 0x7FFFFFF0  # a WAV written to a pipe names a length near 2**31 or 2**32
_CHUNK_CUT = re.compile(r"^ ?(?:data|SSND) : (\d+) \(should be (\d+)\)", re.MULTILINE)
_PROMISING = {"mov", "matroska", "asf", "flac", "wav", "aiff", "ape", "wv", "tta", "caf"}
_INTEGER_SCALE = {"u8": 128.0, "s16": 32768.0, "s32": 2147483648.0, "s64": 9223372036854775808.0}


def stream(path: Path | str, sample_rate_hz: int, block_seconds: float = 10.0) -> Iterator[Wave]:
    """Yield the whole file as consecutive mono blocks (N,) float32 at `sample_rate_hz`.

    Args:
        path: any file that libsndfile or FFmpeg reads.
        sample_rate_hz: rate of what comes out.
        block_seconds: length of every block but the last, which is shorter and never empty.

    Raises:
        AudioError: the file is missing, empty, unreadable, truncated, without an audio stream, or
            holds samples that are not finite numbers. Blocks before the fault were yielded.
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
    """
    size = round(segment_seconds * sample_rate_hz)
    position = 0
    previous = np.zeros(0, np.float32)
    for block in blocks:
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

    A full-scale square wave is 0 dB; digital silence, or an empty segment, is `FLOOR_DB`.
    """
    level: NDArray[np.float64] = 10 * np.log10(
        np.maximum(_mean_square(wave), 10 ** (FLOOR_DB / 10))
    )
    return level


def audio_files(paths: Iterable[Path | str], extensions: Sequence[str] | None = None) -> list[Path]:
    """Return the music files named by `paths` and under them, absolute, sorted and each once.

    Folders are searched to any depth for `extensions` (``EXTENSIONS`` if None, case ignored).
    Hidden files and folders, linked folders, and folders that hold a file ``.notmusic`` are left
    out with all below them. A file that is named itself is always taken.

    Raises:
        UsageError: a path is neither a file nor a folder.
    """
    wanted = EXTENSIONS if extensions is None else frozenset(e.lower() for e in extensions)
    found: set[str] = set()
    for path in paths:
        top = os.path.abspath(path)
        if os.path.isfile(top):
            found.add(top)
        elif not os.path.isdir(top):
            raise UsageError(f"{path} is neither a file nor a folder")
        for folder, inner, names in os.walk(top):
            if EXCLUDING_MARKER in names:
                inner.clear()
                continue
            inner[:] = [name for name in inner if not name.startswith(".")]
            for name in names:
                if os.path.splitext(name)[1].lower() in wanted and not name.startswith("."):
                    found.add(os.path.join(folder, name))
    return [Path(name) for name in sorted(found)]


def _mean_square(wave: Wave) -> NDArray[np.float64]:
    squares = np.square(wave, dtype=np.float64)
    mean: NDArray[np.float64] = squares.sum(axis=-1) / max(1, wave.shape[-1])
    return mean


def _resampled(path: Path, sample_rate_hz: int) -> Iterator[Wave]:
    """Yield non-empty mono chunks (N,) of any length at `sample_rate_hz`."""
    resampler: soxr.ResampleStream | None = None
    heard = False
    for rate_hz, chunk in _decoded(path):
        if not np.isfinite(chunk).all():
            raise AudioError(f"{path} holds samples that are not finite numbers; export it again")
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


def _decoded(path: Path) -> Iterator[tuple[int, Wave]]:
    """Yield (rate in Hz, mono chunk) from whichever library reads `path`."""
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise AudioError(f"{path} cannot be opened: {error.strerror}") from error
    if not magic:
        raise AudioError(f"{path} is empty: 0 bytes")
    sound = None
    if magic in _SNDFILE_MAGIC:
        # libsndfile may know a container and not the codec in it
        with contextlib.suppress(soundfile.LibsndfileError):
            sound = soundfile.SoundFile(os.fsencode(path))
    yield from _decoded_av(path) if sound is None else _decoded_sndfile(path, sound)


def _decoded_sndfile(path: Path, sound: soundfile.SoundFile) -> Iterator[tuple[int, Wave]]:
    with sound:
        cut = _CHUNK_CUT.search(sound.extra_info)
        if cut and int(cut[1]) < _UNKNOWN_BYTES:
            lost = 1 - int(cut[2]) / int(cut[1])
            _check_whole(path, promised=sound.frames / max(1e-9, 1 - lost), found=sound.frames,
                         rate_hz=sound.samplerate)  # fmt: skip
        try:
            while len(block := sound.read(_DECODE_SAMPLES, dtype="float32", always_2d=True)):
                yield sound.samplerate, block.mean(axis=1, dtype=np.float32)
        except soundfile.LibsndfileError as error:
            second = sound.tell() / sound.samplerate if sound.seekable() else 0.0
            raise AudioError(f"{path} is damaged or truncated near {second:.0f} s") from error


def _decoded_av(path: Path) -> Iterator[tuple[int, Wave]]:
    found = rate_hz = 0
    try:
        with av.open(str(path), metadata_errors="ignore") as container:
            track = container.streams.best("audio")
            if not isinstance(track, av.AudioStream):
                raise AudioError(f"{path} holds no audio that can be read")
            for frame in _gathered(path, _frames(container, track)):
                rate_hz = frame.sample_rate
                found += frame.samples
                yield rate_hz, _mixed_down(frame)
            promised_seconds = _promised_seconds(path, container, track)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise AudioError(f"{path} cannot be decoded: {reason}") from error
    if rate_hz:
        _check_whole(path, promised=promised_seconds * rate_hz, found=found, rate_hz=rate_hz)


def _frames(
    container: av.container.InputContainer, track: av.AudioStream
) -> Iterator[av.AudioFrame]:
    """Yield the frames of `track`; single packets that do not decode are passed over."""
    for packet in container.demux(track):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:
            continue


def _gathered(path: Path, frames: Iterator[av.AudioFrame]) -> Iterator[av.AudioFrame]:
    """Join the small frames of a codec into large ones, which cost less time per sample."""
    queue = av.AudioFifo()
    rate_hz = 0
    for frame in frames:
        if rate_hz and frame.sample_rate != rate_hz:
            raise AudioError(
                f"{path} changes its sample rate from {rate_hz} to {frame.sample_rate} Hz "
                "on the way; convert it first"
            )
        rate_hz = frame.sample_rate
        frame.pts = None
        queue.write(frame)
        if queue.samples >= _DECODE_SAMPLES and (joined := queue.read()) is not None:
            yield joined
    if (joined := queue.read()) is not None:
        yield joined


def _mixed_down(frame: av.AudioFrame) -> Wave:
    """Return the mean over the channels of `frame`, float32 at full scale -1..1."""
    data = frame.to_ndarray()
    if not frame.format.is_planar:
        data = data.reshape(-1, frame.layout.nb_channels).T
    kind = frame.format.name.removesuffix("p")
    mono: NDArray[np.float64] = data.mean(axis=0, dtype=np.float64)
    if kind in _INTEGER_SCALE:
        mono = (mono - (128.0 if kind == "u8" else 0.0)) / _INTEGER_SCALE[kind]
    return mono.astype(np.float32)


def _promised_seconds(
    path: Path, container: av.container.InputContainer, track: av.AudioStream
) -> float:
    """Return the length that the header promises, 0 if it promises none."""
    kinds = set(container.format.name.split(","))
    if not (_has_xing(path) if "mp3" in kinds else kinds & _PROMISING):
        return 0.0
    if track.duration is not None and track.time_base is not None:
        return float(track.duration * track.time_base)
    alone = len(container.streams.video) == 0
    return container.duration / av.time_base if alone and container.duration else 0.0


def _has_xing(path: Path) -> bool:
    """Tell whether the MPEG audio in `path` begins with a header that counts its frames."""
    with path.open("rb") as file:
        head = file.read(10)
        if head[:3] == b"ID3" and len(head) == 10:
            length = 0
            for byte in head[6:10]:
                length = length << 7 | byte & 0x7F
            file.seek(10 + length)
        else:
            file.seek(0)
        first_frame = file.read(2048)
    return any(name in first_frame for name in (b"Xing", b"Info", b"VBRI"))


def _check_whole(path: Path, *, promised: float, found: int, rate_hz: int) -> None:
    """Raise `AudioError` if `found` samples fall short of `promised` by over 1 s and 1 %."""
    if promised - found > rate_hz + promised / 100:
        raise AudioError(
            f"{path} is truncated: {found / rate_hz:.1f} of {promised / rate_hz:.1f} s are there"
        )
