"""The rows of a catalogue: the schema of each table, and pieces and failures as values.

Conventions: ``content`` is the hash of a file's bytes (32 hex digits), ``id`` its first 12. Vectors
are one column per part, 128 float32, so that a search reads the parts it needs and no others.
"""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from stemwise.parts import BLOCK_DIMENSIONS, PARTS

__all__ = ["ID_DIGITS", "SCHEMAS", "Failure", "Piece"]

ID_DIGITS = 12

_PIECES = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("content", pa.string(), nullable=False),
        ("size_bytes", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("duration_seconds", pa.float64()),
        ("segments", pa.int32()),
        ("title", pa.string()),
        ("artist", pa.string()),
        ("album", pa.string()),
        ("year", pa.int32()),
        ("genre", pa.string()),
        ("bpm", pa.float64()),
        ("missing", pa.bool_()),
    ]
)
_SEGMENTS = pa.schema(
    [
        pa.field("content", pa.string(), nullable=False),
        ("start_seconds", pa.float64()),
        ("level_db", pa.float32()),
        *((part, pa.list_(pa.float32(), BLOCK_DIMENSIONS)) for part in PARTS),
        *((f"presence_{part}", pa.float32()) for part in PARTS),
    ]
)
_ERRORS = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        ("reason", pa.string()),
        ("size_bytes", pa.int64()),
        ("mtime_ns", pa.int64()),
    ]
)
SCHEMAS = {"pieces": _PIECES, "segments": _SEGMENTS, "errors": _ERRORS}


@dataclass(frozen=True)
class Piece:
    """One music file; what its tags do not say is empty or None."""

    path: Path
    content: str
    size_bytes: int
    mtime_ns: int
    duration_seconds: float
    segments: int
    title: str
    artist: str
    album: str
    year: int | None
    genre: str
    bpm: float | None
    missing: bool  # the file was not there when its folder was last indexed

    @property
    def id(self) -> str:
        """The first 12 hex digits of the content hash; equal for copies of one file."""
        return self.content[:ID_DIGITS]


@dataclass(frozen=True)
class Failure:
    """A file that could not be read, and why."""

    path: Path
    reason: str
    size_bytes: int
    mtime_ns: int
