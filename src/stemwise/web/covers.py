"""Pictures of tracks: the one embedded in the file, or else five bars that show what sounds in it.

Only JPEG, PNG, GIF and WebP are given away, known by their first bytes, whatever the tags claim.
"""

import base64
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import mutagen
import numpy as np
from mutagen.flac import Picture

__all__ = ["drawn", "embedded"]

_FRONT = 3  # the kind of a picture that is a front cover
_SIDE = 300  # pixels
_MARGIN = 30
_BAR = 40
_GAP = 10
_BACKGROUND = (28, 30, 38)
_TRACK = (46, 49, 60)
_COLOURS = ((232, 93, 77), (240, 170, 60), (92, 176, 120), (78, 145, 220), (160, 120, 210))


def embedded(path: Path) -> tuple[bytes, str] | None:
    """Return the picture in the tags of `path` and its media type; None if there is none.

    The front cover comes first. Tags of MP3, WAV and AIFF (ID3), FLAC, Ogg and MP4 are read.
    """
    try:
        file: Any = mutagen.File(path)
        found = sorted(_pictures(file), key=lambda one: one[0] != _FRONT)
    except Exception:  # damaged tags take many forms, and none of them matters here
        return None
    for _, data in found:
        kind = _kind(data)
        if kind is not None:
            return data, kind
    return None


def _pictures(file: Any) -> Iterator[tuple[int, bytes]]:
    """Yield the pictures in a file that mutagen opened, each with its kind."""
    for picture in getattr(file, "pictures", ()):  # FLAC
        yield picture.type, picture.data
    tags = getattr(file, "tags", None)
    if tags is None:
        return
    if hasattr(tags, "getall"):  # ID3
        for frame in tags.getall("APIC"):
            yield frame.type, frame.data
        return
    for cover in tags.get("covr", ()):  # MP4
        yield _FRONT, bytes(cover)
    for text in tags.get("metadata_block_picture", ()):  # Ogg
        stored: Any = Picture(base64.b64decode(text))  # type: ignore[no-untyped-call]
        yield stored.type, stored.data


def _kind(data: bytes) -> str | None:
    """Return the media type of a picture; None if it is of no usual kind."""
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return None


def drawn(shares: Sequence[float]) -> bytes:
    """Return a PNG of 300 × 300 pixels: a bar for each part, as high as its share 0..1."""
    picture = np.full((_SIDE, _SIDE, 3), _BACKGROUND, np.uint8)
    highest = _SIDE - 2 * _MARGIN
    for number, (share, colour) in enumerate(zip(shares, _COLOURS, strict=True)):
        left = _MARGIN + number * (_BAR + _GAP)
        bar = picture[_MARGIN : _SIDE - _MARGIN, left : left + _BAR]
        bar[:] = _TRACK
        bar[highest - max(2, round(highest * share)) :] = colour
    rows = np.zeros((_SIDE, 1 + 3 * _SIDE), np.uint8)  # each row begins with its filter, 0: none
    rows[:, 1:] = picture.reshape(_SIDE, -1)
    header = struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
