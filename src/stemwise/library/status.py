"""A catalogue in figures that add up.

Every path that the catalogue knows is counted once, by the first of these that is true of it:

- it is ready to be searched: one path of each content is a *piece*, all further ones are *copies*;
- it is an *error*: it was tried and cannot be used;
- it is *missing*: its file was not there when its folder was last indexed;
- else it is *waiting*: it was found and not read yet, or its vectors are to be made again.

So ``files = pieces + copies + waiting + errors``: after an index of all folders this is the number
of music files found there. ``missing`` come on top of it.
"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from pyarrow import fs

from stemwise.library.metadata import Metadata
from stemwise.library.places import Place, filesystem_of
from stemwise.library.store import Store

__all__ = ["Status", "count"]


@dataclass(frozen=True)
class Status:
    """A catalogue in figures; files = pieces + copies + waiting + errors."""

    path: Path
    model: str
    fingerprint: str
    created: str
    files: int
    pieces: int
    copies: int
    waiting: int
    errors: int
    missing: int
    segments: int  # of the pieces
    hours: float  # of the pieces
    size_bytes: int
    rebuild: str  # how far an unfinished one is; empty if there is none


def count(directory: Path, metadata: Metadata, store: Store) -> Status:
    """Return the figures of the catalogue in `directory`, whose live tables are `store`."""
    known = {str(piece.path): piece for piece in store.pieces()}
    failed = {str(failure.path) for failure in store.failures()}
    ready = [piece for piece in known.values() if piece.ready]
    contents = {piece.content: piece for piece in ready}
    errors = failed - {str(piece.path) for piece in ready}
    rest = [piece for name, piece in known.items() if not piece.ready and name not in errors]
    missing = sum(piece.missing for piece in rest)
    rebuild = ""
    if metadata.rebuild is not None:
        again = Store(directory, metadata.rebuild.fingerprint)
        done = len(again.failures()) + sum(piece.segments > 0 for piece in again.pieces())
        total = len(known.keys() | failed)
        rebuild = f"{metadata.rebuild.model}: {done} of {total} files; go on with: index --rebuild"
    return Status(
        path=directory,
        model=metadata.model,
        fingerprint=metadata.fingerprint,
        created=metadata.created,
        files=len(known) - missing + len(errors - known.keys()),
        pieces=len(contents),
        copies=len(ready) - len(contents),
        waiting=len(rest) - missing,
        errors=len(errors),
        missing=missing,
        segments=sum(piece.segments for piece in contents.values()),
        hours=sum(piece.duration_seconds for piece in contents.values()) / 3600,
        size_bytes=_bytes_below(directory),
        rebuild=rebuild,
    )


def _bytes_below(directory: Path) -> int:
    """Return the bytes of all files below; what a writer removes meanwhile does not count."""
    if isinstance(directory, Place):
        storage, inner = filesystem_of(directory)
        below = fs.FileSelector(inner, recursive=True, allow_not_found=True)
        return sum(info.size or 0 for info in storage.get_file_info(below))
    total = 0
    for folder, _, names in os.walk(directory):  # passes over folders that vanish; rglob raises
        for name in names:
            with contextlib.suppress(OSError):
                total += os.stat(os.path.join(folder, name)).st_size
    return total
