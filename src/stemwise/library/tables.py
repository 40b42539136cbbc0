"""The rows of a catalogue: the schema of each table, and pieces and failures as values.

Conventions: ``content`` is the hash of a file's bytes (32 hex digits), ``id`` its first 12. Vectors
are one column per part, 128 float16, so that a search reads the parts it needs and no others; they
were measured to find the same as float32 (docs/catalogue.md), which tables hold that are to become
an archive (`stemwise.library.archive`). Presence stays float32.

Each model's vectors have tables of their own, ``pieces-FINGERPRINT`` and so on, so that two sets
can stand side by side. The fingerprint is also written in the tables themselves.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from stemwise.parts import BLOCK_DIMENSIONS, PARTS

__all__ = [
    "ID_DIGITS",
    "SCHEMAS",
    "Failure",
    "Piece",
    "as_row",
    "reason_of",
    "schema",
    "table_name",
]

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
        *((part, pa.list_(pa.float16(), BLOCK_DIMENSIONS)) for part in PARTS),
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


def table_name(kind: str, fingerprint: str) -> str:
    """Return the name of the table for "pieces", "segments" or "errors" of one model."""
    return f"{kind}-{fingerprint}"


def schema(kind: str, fingerprint: str, precision: pa.DataType | None = None) -> pa.Schema:
    """Return the schema of a table of one model; its vectors are float16 if not told otherwise."""
    fields = [
        field.with_type(pa.list_(precision, BLOCK_DIMENSIONS))
        if precision is not None and field.name in PARTS
        else field
        for field in SCHEMAS[kind]
    ]
    return pa.schema(fields, metadata={"fingerprint": fingerprint})


@dataclass(frozen=True)
class Piece:
    """One music file; what its tags do not say is empty or None."""

    path: Path
    content: str  # empty if the file was never read
    size_bytes: int
    mtime_ns: int
    duration_seconds: float
    segments: int  # 0: its vectors are still to be made
    title: str
    artist: str
    album: str
    year: int | None
    genre: str
    bpm: float | None
    missing: bool  # when its folder was last indexed, the file was gone, excluded or locked away

    @property
    def id(self) -> str:
        """The first 12 hex digits of the content hash; equal for copies of one file."""
        return self.content[:ID_DIGITS]

    @property
    def ready(self) -> bool:
        """Whether it can be searched: it has vectors, and its file is there."""
        return self.segments > 0 and not self.missing


@dataclass(frozen=True)
class Failure:
    """A file that could not be read, and why."""

    path: Path
    reason: str
    size_bytes: int
    mtime_ns: int


def as_row(value: Piece | Failure) -> dict[str, Any]:
    """Return the row of a piece or a failure, by column."""
    return {**vars(value), "path": str(value.path)}


def reason_of(error: Exception) -> str:
    """Return in one line what LanceDB means by `error`, without the places in its own source."""
    lines = str(error).splitlines() or [type(error).__name__]
    text = re.sub(r",? /\S+\.rs:\d+:\d+.*", "", lines[0])
    return re.sub(r"^(lance error: )?(LanceError\(\w+\): )?", "", text)
