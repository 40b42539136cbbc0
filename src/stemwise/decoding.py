"""Music files to samples: which library reads which file, and which files are refused.

Conventions: chunks are mono float32 (N,) at the rate of the file, full scale -1..1; mono is the
mean over the channels. Memory does not grow with the length of a file.

How a file is read:

1. Only regular files are opened, once; pipes and devices never are, so nothing can hang on them.
2. The first bytes decide, not the name. WAV, AIFF, FLAC, AU and CAF go to libsndfile; all else, and
   what libsndfile turns down, to FFmpeg. MPEG audio goes to FFmpeg because libsndfile prints
   warnings about it and fills a truncated file up with zeros without a word; Ogg, because
   libsndfile reads only the first of chained streams.
3. FFmpeg may open the containers of music and nothing else: a playlist or a list of files in
   disguise could lead it to other files, or to the network.
4. FFmpeg decodes in order from the start; it never seeks, as AAC is not repeatable after a seek.
   Packets that do not decode are passed over; libsndfile stops at the first.
5. A file that ends over a second and one percent before the length its header promises is refused,
   whether its end or its middle is missing. MPEG audio without a Xing header, and raw AAC, promise
   nothing: what is there is used. So it is with a WAV or AIFF that was written to a pipe.
"""

import contextlib
import io
import os
import re
import stat
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

from stemwise.errors import AudioError

__all__ = ["decode", "open_file"]

Wave = NDArray[np.float32]
_Chunks = Generator[tuple[int, Wave], None, None]

CONTAINERS = (
    "aac", "aiff", "ape", "asf", "au", "caf", "flac", "matroska", "mov", "mp3", "mpc", "mpc8",
    "ogg", "tta", "w64", "wav", "wv",
)  # fmt: skip
_SNDFILE_MAGIC = (b"RIFF", b"RIFX", b"RF64", b"riff", b"FORM", b"fLaC", b".snd", b"caff")
SLOWEST_HZ = 1_000
FASTEST_HZ = 3_000_000  # DSD512 comes as 2,822,400 Hz
_DECODE_SAMPLES = 65536
_USUAL_CHANNELS = 8  # with more, fewer samples are read at a time
_CHUNK_CUT = re.compile(r"^ ?(?:data|SSND) : (-?\d+) \(should be (\d+)\)", re.MULTILINE)
_SLACK_BYTES = 4096  # programs that write to a pipe name 2**31 or 2**32 bytes, or a little less
_UNKNOWN_SAMPLES = 1 << 62
_NO_AUDIO = "it holds no audio that can be read"
_PROMISING = {
    "aiff", "ape", "asf", "caf", "flac", "matroska", "mov", "ogg", "tta", "wav", "wv",
}  # fmt: skip
_HALVED_EXACTLY = {np.dtype(np.float32), np.dtype(np.int16), np.dtype(np.uint8)}
_HALF = np.float32(0.5)
_INTEGER_SCALE = {"u8": 128.0, "s16": 32768.0, "s32": 2147483648.0, "s64": 9223372036854775808.0}


def open_file(path: Path | str) -> io.FileIO:
    """Return the regular file `path`, open for reading, without ever waiting for it.

    Raises:
        AudioError: there is none, it is a folder, pipe, socket or device, or may not be read.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise AudioError(f"{path} cannot be opened: it is not a regular file")
        file = io.FileIO(path, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise AudioError(f"{path} cannot be opened: {reason}") from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # it was exchanged in between
        file.close()
        raise AudioError(f"{path} cannot be opened: it is not a regular file")
    return file


def decode(path: Path, *, stereo: bool = False) -> Iterator[tuple[int, Wave]]:
    """Yield (rate in Hz, mono chunk (N,)) from start to end of `path`.

    With `stereo` chunks are (2, N): the channels if there are two, else their mean twice.

    Chunks may be empty; there may be none. Samples are passed on even if they are not finite.

    Raises:
        AudioError: the file cannot be opened, read as music, or is not whole (steps 1 to 5 above).
            What was yielded before is not to be kept.
    """
    with open_file(path) as file:
        try:
            magic = file.read(4)
        except OSError as error:
            raise AudioError(f"{path} cannot be read: {error.strerror}") from error
        if not magic:
            raise AudioError(f"{path} is empty: 0 bytes")
        sound = _sndfile(file) if magic in _SNDFILE_MAGIC else None
        found = (
            _decoded_av(path, file, stereo)
            if sound is None
            else _decoded_sndfile(path, sound, stereo)
        )
        with contextlib.closing(found) as chunks:
            for rate_hz, chunk in chunks:
                if not SLOWEST_HZ <= rate_hz <= FASTEST_HZ:
                    raise AudioError(
                        f"{path} claims a sample rate of {rate_hz} Hz; only {SLOWEST_HZ:,} to "
                        f"{FASTEST_HZ:,} Hz can be read"
                    )
                yield rate_hz, chunk


def _sndfile(file: io.FileIO) -> soundfile.SoundFile | None:
    """Return `file` as libsndfile reads it; None if it knows the container but not the codec.

    None also if it sees no samples, as a recorder that was stopped hard leaves a length of 0; or no
    end, as it takes the end of a FLAC without a length for damage.
    """
    file.seek(0)
    with contextlib.suppress(soundfile.LibsndfileError):
        sound = soundfile.SoundFile(file.fileno(), closefd=False)
        if 0 < sound.frames < _UNKNOWN_SAMPLES:
            return sound
        sound.close()
    return None


def _decoded_sndfile(path: Path, sound: soundfile.SoundFile, stereo: bool) -> _Chunks:
    rate_hz = sound.samplerate
    size = _DECODE_SAMPLES * _USUAL_CHANNELS // max(_USUAL_CHANNELS, sound.channels)
    found = 0
    with sound:
        cut = _CHUNK_CUT.search(sound.extra_info)
        if cut and not _is_unknown(int(cut[1])):
            promised = sound.frames * int(cut[1]) / max(1, int(cut[2]))
            _check_whole(path, promised=promised, found=sound.frames, rate_hz=rate_hz)
        try:
            while len(block := sound.read(size, dtype="float32", always_2d=True)):
                found += len(block)
                # a mean over the last axis takes ten times as long as this copy and mean
                with np.errstate(invalid="ignore", over="ignore"):
                    mixed: Wave = _mixed(np.ascontiguousarray(block.T), np.float32, stereo)
                yield rate_hz, mixed
        except soundfile.LibsndfileError as error:
            raise _not_whole(path, sound.frames, max(found, sound.tell()), rate_hz) from error
        _check_whole(path, promised=sound.frames, found=found, rate_hz=rate_hz)


def _is_unknown(size_bytes: int) -> bool:
    """Tell whether a chunk's length says that its writer did not know it."""
    size = size_bytes % 2**32
    return size == 0 or any(abs(size - end) <= _SLACK_BYTES for end in (2**31, 2**32))


def _decoded_av(path: Path, file: io.FileIO, stereo: bool) -> _Chunks:
    found = rate_hz = 0
    options = {
        "fd": str(file.fileno()),
        "protocol_whitelist": "fd",
        "format_whitelist": ",".join(CONTAINERS),
    }
    file.seek(0)
    try:
        with av.open("fd:", options=options, metadata_errors="ignore") as container:
            track = container.streams.best("audio")
            if not isinstance(track, av.AudioStream):
                raise AudioError(f"{path} cannot be decoded: {_NO_AUDIO}")
            for frame in _gathered(path, _packed(_frames(container, track))):
                rate_hz = frame.sample_rate
                found += frame.samples
                yield rate_hz, _samples(frame, stereo)
            promised_seconds = _promised_seconds(file, container, track)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise AudioError(f"{path} cannot be decoded: {_reason(error)}") from error
    if rate_hz:
        _check_whole(path, promised=promised_seconds * rate_hz, found=found, rate_hz=rate_hz)
    elif promised_seconds:
        raise AudioError(
            f"{path} cannot be decoded: nothing of its {promised_seconds:.1f} s can be read; its "
            "codec may be unknown, or it is encrypted"
        )


def _reason(error: Exception) -> str:
    if isinstance(error, av.error.ArgumentError):  # a container that is not in the list
        return _NO_AUDIO
    if isinstance(error, av.error.InvalidDataError):
        return "it is damaged, truncated or no music"
    return getattr(error, "strerror", None) or str(error)


def _frames(
    container: av.container.InputContainer, track: av.AudioStream
) -> Iterator[av.AudioFrame]:
    """Yield the frames of `track`; single packets that do not decode are passed over."""
    for packet in container.demux(track):
        try:
            yield from packet.decode()
        except av.error.FFmpegError:
            continue


def _packed(frames: Iterator[av.AudioFrame]) -> Iterator[av.AudioFrame]:
    """Interleave the channels of frames that keep eight or more of them apart.

    PyAV miscounts the planes of such a frame and reads beyond its memory: the process would die.
    """
    kind: tuple[int, str, str] | None = None
    for frame in frames:
        if not frame.format.is_planar or frame.layout.nb_channels < _USUAL_CHANNELS:
            yield frame
            continue
        this = (frame.sample_rate, frame.format.name, frame.layout.name)
        if this != kind:
            packer = av.AudioResampler(frame.format.packed)
            kind = this
        frame.pts = None
        yield from packer.resample(frame)


def _gathered(path: Path, frames: Iterator[av.AudioFrame]) -> Iterator[av.AudioFrame]:
    """Join the small frames of a codec into large ones, which cost less time per sample."""
    queue = av.AudioFifo()
    known: tuple[str, str] | None = None
    rate_hz = 0
    for frame in frames:
        if rate_hz and frame.sample_rate != rate_hz:
            raise AudioError(
                f"{path} changes its sample rate from {rate_hz} to {frame.sample_rate} Hz "
                "on the way; convert it first"
            )
        rate_hz = frame.sample_rate
        kind = (frame.format.name, frame.layout.name)
        if kind != known:  # the first frame; or mono has become stereo
            if (joined := queue.read()) is not None:
                yield joined
            queue = av.AudioFifo()
            known = kind
        frame.pts = None
        queue.write(frame)
        if queue.samples >= _DECODE_SAMPLES and (joined := queue.read()) is not None:
            yield joined
    if (joined := queue.read()) is not None:
        yield joined


def _samples(frame: av.AudioFrame, stereo: bool) -> Wave:
    """Return the channels of `frame` mixed, float32 at full scale -1..1."""
    data: NDArray[np.generic] = frame.to_ndarray()
    if not frame.format.is_planar:
        data = np.ascontiguousarray(data.reshape(-1, frame.layout.nb_channels).T)
    kind = frame.format.name.removesuffix("p")
    with np.errstate(invalid="ignore", over="ignore"):
        mixed = _mixed(data, np.float64, stereo)
        if kind in _INTEGER_SCALE:
            mixed = (mixed - (128.0 if kind == "u8" else 0.0)) / _INTEGER_SCALE[kind]
        return mixed.astype(np.float32)


def _mixed(channels: NDArray[Any], dtype: type[np.floating], stereo: bool) -> NDArray[Any]:
    """Return the mean of `channels` (C, N) as (N,); with `stereo` two channels or that twice."""
    if stereo and len(channels) == 2:
        return channels.astype(dtype)
    mono: NDArray[Any]
    if len(channels) == 2 and channels.dtype in _HALVED_EXACTLY:
        mono = channels[0] * _HALF + channels[1] * _HALF  # a third to half of the time of a mean
    else:
        mono = channels.mean(axis=0, dtype=dtype)
    return np.stack([mono, mono]) if stereo else mono


def _promised_seconds(
    file: io.FileIO, container: av.container.InputContainer, track: av.AudioStream
) -> float:
    """Return the length that the header promises, 0 if it promises none."""
    kinds = set(container.format.name.split(","))
    if not (_has_xing(file) if "mp3" in kinds else kinds & _PROMISING):
        return 0.0
    if track.duration is not None and track.time_base is not None:
        return float(track.duration * track.time_base)
    alone = len(container.streams.video) == 0
    return container.duration / av.time_base if alone and container.duration else 0.0


def _has_xing(file: io.FileIO) -> bool:
    """Tell whether the MPEG audio in `file` begins with a header that counts its frames."""
    head = os.pread(file.fileno(), 10, 0)
    begin = 0
    if head[:3] == b"ID3" and len(head) == 10:
        length = 0
        for byte in head[6:10]:
            length = length << 7 | byte & 0x7F
        begin = 10 + length
    first_frame = os.pread(file.fileno(), 2048, begin)
    return any(name in first_frame for name in (b"Xing", b"Info", b"VBRI"))


def _check_whole(path: Path, *, promised: float, found: int, rate_hz: int) -> None:
    """Raise `AudioError` if `found` samples fall short of `promised` by over 1 s and 1 %."""
    if promised - found > rate_hz + promised / 100:
        raise _not_whole(path, promised, found, rate_hz)


def _not_whole(path: Path, promised: float, found: int, rate_hz: int) -> AudioError:
    return AudioError(
        f"{path} is damaged or truncated: {found / rate_hz:.1f} of {promised / rate_hz:.1f} s "
        "can be read"
    )
