"""The sound of tracks: files as they are, stretches of them, and what stands in for odd formats.

What a browser cannot play is written once as FLAC into a folder of the server's own, which holds a
bounded number of bytes and is removed when the server stops. So it has byte ranges like any file.
A file that lies on object storage is copied there in the same way.
"""

import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stemwise.errors import AudioError
from stemwise.library.places import Place, fetch
from stemwise.library.playback import content_type, rate_of, stretch, wav_bytes, write_flac
from stemwise.library.separation import separated
from stemwise.library.tables import Piece
from stemwise.library.waveform import outline
from stemwise.models.checkpoint import Model
from stemwise.web.current import Holding
from stemwise.web.failures import HttpError
from stemwise.web.messages import Waveform

__all__ = ["Sound", "Wav"]

_MOST_BYTES = 2 * 2**30
_MOST_OUTLINES = 512
_LONGEST_SUFFIX = 16
_DECIMALS = 4
_HEAD_BYTES = 44


@dataclass(frozen=True)
class Wav:
    """A WAV file that is made while it is sent, from its byte number `first_byte` on."""

    length_bytes: int  # of the whole
    first_byte: int
    blocks: Iterator[bytes]


class Sound:
    """Gives the sound of tracks; may be used by many threads."""

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._folder: Path | None = None
        self._made: OrderedDict[str, Path] = OrderedDict()  # by name, the oldest use first
        self._lock = threading.Lock()
        self._making: dict[str, threading.Lock] = {}
        self._outlines: OrderedDict[tuple[str, int], Waveform] = OrderedDict()

    def file(self, holding: Holding, identifier: str) -> tuple[Path, str]:
        """Return a file that browsers play, and its media type."""
        piece, path = self._place(holding, identifier)
        try:
            kind = content_type(path)
            if kind is not None:
                return path, kind
            made = self._kept(f"{piece.content}-made.flac", lambda target: write_flac(path, target))
            return made, "audio/flac"
        except AudioError as error:
            raise _unreadable(piece) from error

    def original(self, holding: Holding, identifier: str) -> Path:
        """Return the file of a track as it is."""
        return self._place(holding, identifier)[1]

    def wav(
        self,
        holding: Holding,
        identifier: str,
        start: float | None,
        end: float | None,
        first_byte: int = 0,
    ) -> Wav:
        """Return a stretch of a track as WAV, 16 bits, mono."""
        piece, path = self._place(holding, identifier)
        first, last = stretch_of(piece, start, end)
        try:
            rate_hz = rate_of(path)
        except AudioError as error:
            raise _unreadable(piece) from error

        def blocks(skip: int) -> Iterator[NDArray[np.float32]]:
            return stretch(path, rate_hz, first + skip / rate_hz, last)

        return _wav(blocks, rate_hz, last - first, first_byte)

    def part_alone(
        self,
        holding: Holding,
        identifier: str,
        model: Model,
        part: str,
        start: float | None,
        end: float | None,
        first_byte: int = 0,
    ) -> Wav:
        """Return one part of a stretch of a track as WAV, as `model` separates it."""
        piece, path = self._place(holding, identifier)
        first, last = stretch_of(piece, start, end)
        rate_hz = model.sample_rate_hz

        def blocks(skip: int) -> Iterator[NDArray[np.float32]]:
            return separated(stretch(path, rate_hz, first, last), model, part, skip)

        return _wav(blocks, rate_hz, last - first, first_byte)

    def waveform(self, holding: Holding, identifier: str, points: int) -> Waveform:
        """Return the outline of a track."""
        piece, path = self._place(holding, identifier)
        key = (piece.content, points)
        with self._lock:
            if key in self._outlines:
                self._outlines.move_to_end(key)
                return self._outlines[key]
        try:
            seconds, peaks = outline(path, points)
        except AudioError as error:
            raise _unreadable(piece) from error
        found = Waveform(duration_seconds=round(seconds, 3), peaks=_rounded(peaks))
        with self._lock:
            self._outlines[key] = found
            while len(self._outlines) > _MOST_OUTLINES:
                self._outlines.popitem(last=False)
        return found

    def close(self) -> None:
        """Remove all files that were made."""
        with self._lock:
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
            self._made.clear()

    def _place(self, holding: Holding, identifier: str) -> tuple[Piece, Path]:
        """Return a track and a file of it that is there, or a copy of one that is elsewhere."""
        piece = holding.pieces[holding.number(identifier)]
        copies = holding.searchable().vectors().copies[piece.content]
        for copy in copies:
            if isinstance(copy.path, Place):
                name = f"{piece.content}{copy.path.suffix[:_LONGEST_SUFFIX]}"
                with suppress(OSError):  # it has gone
                    return piece, self._kept(name, partial(fetch, copy.path))
            elif copy.path.is_file():
                return piece, copy.path
        raise HttpError(
            "not_found",
            f"the file of {piece.title!r} is not where it was",
            "mount its drive, or index its folder again",
        )

    def _kept(self, name: str, make: Callable[[Path], None]) -> Path:
        """Return the file `name` of the server's folder; one thread makes it, others wait."""
        with self._lock:
            making = self._making.setdefault(name, threading.Lock())
        with making:
            with self._lock:
                if self._folder is None:
                    self._folder = Path(tempfile.mkdtemp(prefix="stemwise-sound-"))
                target = self._folder / name
                known = name in self._made
                if known:
                    self._made.move_to_end(name)
            if not known:
                make(target)
                with self._lock:
                    self._made[name] = target
                    self._shrink()
        return target

    def _shrink(self) -> None:
        """Remove the files used longest ago until few enough bytes are left, but keep the last."""
        sizes = {name: path.stat().st_size for name, path in self._made.items()}
        while len(self._made) > 1 and sum(sizes.values()) > self._most_bytes:
            name, path = self._made.popitem(last=False)
            del sizes[name]
            with suppress(OSError):
                path.unlink()


def _wav(
    blocks: Callable[[int], Iterable[NDArray[np.float32]]],
    rate_hz: int,
    seconds: float,
    first_byte: int,
) -> Wav:
    """Return a WAV file of `blocks`, which are told how many samples to skip."""
    samples = round(seconds * rate_hz)
    skip = min(samples, max(0, first_byte - _HEAD_BYTES) // 2)
    whole = wav_bytes(blocks(skip), rate_hz, samples - skip)
    return Wav(_HEAD_BYTES + 2 * samples, first_byte, _without(whole, first_byte - 2 * skip))


def _without(blocks: Iterable[bytes], count: int) -> Iterator[bytes]:
    """Yield `blocks` without the first `count` bytes."""
    for block in blocks:
        if len(block) > count:
            yield block[count:]
        count = max(0, count - len(block))


def stretch_of(piece: Piece, start: float | None, end: float | None) -> tuple[float, float]:
    """Return where a stretch of `piece` begins and ends; a failure if it holds nothing."""
    first = start or 0.0
    last = piece.duration_seconds if end is None else min(end, piece.duration_seconds)
    if first >= last:
        raise HttpError(
            "unprocessable",
            f"nothing lies from {first:g} to {last:g} s; "
            f"{piece.title!r} lasts {piece.duration_seconds:.1f} s",
            "from must be before to, and inside the track",
        )
    return first, last


def _unreadable(piece: Piece) -> HttpError:
    return HttpError(
        "unsupported_audio",
        f"the file of {piece.title!r} cannot be read any more",
        "index its folder again",
    )


def _rounded(peaks: NDArray[np.float32]) -> list[float]:
    return [round(float(peak), _DECIMALS) for peak in peaks]
