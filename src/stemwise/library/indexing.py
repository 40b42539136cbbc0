"""Bring a catalogue up to date with a collection of files, losing little if it is killed.

Steps:

1. Remove segments that no piece names (a run was killed between two writes).
2. List the files; those with known size and modification time are done.
3. Hash the rest; embed those with unknown content; collect rows.
4. Every 64 files or 30 seconds write: segments, then pieces, then what has become untrue.
5. Mark pieces whose file has gone; remove segments that no piece names any more.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from stemwise.library.embed import FileEmbedding, FileFailure, FileMatch, embed_files
from stemwise.library.tables import SCHEMAS, Failure, Piece
from stemwise.library.tags import read_tags
from stemwise.models.checkpoint import Model
from stemwise.parts import PARTS

if TYPE_CHECKING:
    from stemwise.library.catalogue import Catalogue

__all__ = ["IndexSummary", "bring_up_to_date"]

FILES_PER_COMMIT = 64
SECONDS_PER_COMMIT = 30.0


@dataclass(frozen=True)
class IndexSummary:
    """What an index did; found = added + updated + unchanged + moved + failed."""

    found: int
    added: int
    updated: int
    unchanged: int
    moved: int
    failed: int
    missing: int  # pieces under the same folders whose file has gone
    seconds: float


@dataclass
class _Batch:
    """Rows that wait to be written."""

    segments: list[FileEmbedding] = field(default_factory=list)
    pieces: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    stale_pieces: set[str] = field(default_factory=set)
    stale_errors: set[str] = field(default_factory=set)


class _Run:
    """The state of one index: what is known, what has changed, what waits to be written."""

    def __init__(self, catalogue: "Catalogue", retry: bool) -> None:
        self.catalogue = catalogue
        self.retry = retry
        self.pieces = {str(piece.path): piece for piece in catalogue.pieces(missing=True)}
        self.errors = {str(failure.path): failure for failure in catalogue.errors()}
        # per stored content, what a piece's row says of it
        self.contents = {p.content: (p.duration_seconds, p.segments) for p in self.pieces.values()}
        self.places: dict[str, set[str]] = {}
        for name, piece in self.pieces.items():
            self.places.setdefault(piece.content, set()).add(name)
        self.counts = dict.fromkeys(("added", "updated", "unchanged", "moved", "failed"), 0)
        self.stats: dict[str, os.stat_result] = {}
        self.gone: set[str] = set()
        self.batch = _Batch()
        self.written = time.monotonic()

    def look(self, paths: Sequence[Path | str], files: Sequence[Path]) -> None:
        """Note what was known at and under `paths`, and is not among `files`, which are there."""
        names = {_text(path) for path in files}
        tops = [os.path.abspath(path) for path in paths]
        self.gone = {name for name in self.pieces if name not in names and _under(name, tops)}
        lost = {name for name in self.errors if name not in names and _under(name, tops)}
        self.batch.stale_errors |= lost

    def pending(self, files: Sequence[Path]) -> Iterator[Path]:
        """Yield the files that must be opened; settle the others."""
        for path in files:
            name = _text(path)
            try:
                stat = path.stat()
            except OSError:
                stat = os.stat_result((0,) * 10)  # gone or locked away: reading it says which
            self.stats[name] = stat
            if name != str(path):
                self.fail(name, f"{name} has a name that is not valid Unicode; rename it")
            elif _same(self.pieces.get(name), stat):
                self.counts["unchanged"] += 1
                if self.pieces[name].missing:
                    self.batch.pieces.append({**_row(self.pieces[name]), "missing": False})
            elif not self.retry and _same(self.errors.get(name), stat):
                self.counts["failed"] += 1
            else:
                yield path

    def take(self, result: FileEmbedding | FileMatch | FileFailure) -> None:
        """Note the result of one file, and write if enough has come together."""
        name = str(result.path)
        if isinstance(result, FileFailure):
            self.fail(name, result.reason)
        else:
            if isinstance(result, FileEmbedding) and result.content not in self.contents:
                self.batch.segments.append(result)
                self.contents[result.content] = (
                    result.duration_seconds,
                    len(result.start_seconds),
                )
            self.keep(name, result.content)
        late = time.monotonic() - self.written > SECONDS_PER_COMMIT
        if late or len(self.batch.pieces) + len(self.batch.errors) >= FILES_PER_COMMIT:
            self.write()

    def keep(self, name: str, content: str) -> None:
        """Note that the file `name` holds `content`."""
        old = self.pieces.get(name)
        before = self.moved_from(content) if old is None else None
        if old is not None:
            self.counts["unchanged" if old.content == content else "updated"] += 1
        elif before is not None:
            self.counts["moved"] += 1
            self.batch.stale_pieces.add(before)
            self.gone.discard(before)
            self.places[content].remove(before)
        else:
            self.counts["added"] += 1
        duration_seconds, segments = self.contents[content]
        row = {
            "path": name,
            "content": content,
            "size_bytes": self.stats[name].st_size,
            "mtime_ns": self.stats[name].st_mtime_ns,
            "duration_seconds": duration_seconds,
            "segments": segments,
            "missing": False,
        }
        self.batch.pieces.append(row | vars(read_tags(Path(name))))
        if name in self.errors:
            self.batch.stale_errors.add(name)

    def fail(self, name: str, reason: str) -> None:
        """Note that the file `name` cannot be used."""
        stat = self.stats[name]
        self.counts["failed"] += 1
        clean = reason.encode("utf-8", "backslashreplace").decode()
        row = {"path": name, "reason": clean}
        self.batch.errors.append(row | {"size_bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns})
        if name in self.pieces:
            self.batch.stale_pieces.add(name)

    def moved_from(self, content: str) -> str | None:
        """Return the first path that held `content` and no longer exists."""
        for name in sorted(self.places.get(content, ())):
            if name in self.gone or not os.path.exists(name):
                return name
        return None

    def write(self) -> None:
        """Commit what waits. Segments first: a piece whose row is there has all its vectors."""
        from_lists = pa.Table.from_pylist
        self.catalogue.put("segments", _segment_rows(self.batch.segments))
        self.catalogue.put("pieces", from_lists(self.batch.pieces, SCHEMAS["pieces"]))
        self.catalogue.put("errors", from_lists(self.batch.errors, SCHEMAS["errors"]))
        self.catalogue.drop("pieces", "path", self.batch.stale_pieces)
        self.catalogue.drop("errors", "path", self.batch.stale_errors)
        self.batch = _Batch()
        self.written = time.monotonic()

    def finish(self) -> None:
        """Write what is left, mark what has gone, and clean up."""
        gone = (self.pieces[name] for name in sorted(self.gone))
        self.batch.pieces += [{**_row(p), "missing": True} for p in gone if not p.missing]
        self.write()
        remove_orphans(self.catalogue)
        self.catalogue.tidy()


def bring_up_to_date(
    catalogue: "Catalogue",
    paths: Sequence[Path | str],
    files: Sequence[Path],
    model: Model,
    jobs: int | None,
    progress: Callable[[int, int], None],
    retry: bool,
) -> IndexSummary:
    """Do what `Catalogue.index` says for the `files` under `paths`; the caller has the lock."""
    began = time.monotonic()
    remove_orphans(catalogue)
    run = _Run(catalogue, retry)
    run.look(paths, files)
    waiting = list(run.pending(files))
    done = len(files) - len(waiting)
    progress(done, len(files))
    try:
        for result in embed_files(waiting, model, jobs, known=run.contents):
            run.take(result)
            done += 1
            progress(done, len(files))
    except KeyboardInterrupt:
        run.write()
        raise
    run.finish()
    seconds = time.monotonic() - began
    return IndexSummary(len(files), **run.counts, missing=len(run.gone), seconds=seconds)


def remove_orphans(catalogue: "Catalogue") -> None:
    """Remove the segments that no piece names."""
    named = set(catalogue.read("pieces", ["content"])["content"].to_pylist())
    stored = set(catalogue.read("segments", ["content"])["content"].unique().to_pylist())
    catalogue.drop("segments", "content", stored - named)


def _segment_rows(files: list[FileEmbedding]) -> pa.Table:
    """Return the segments of `files` as rows."""
    columns: dict[str, pa.Array] = {
        "content": pa.array(
            [file.content for file in files for _ in file.start_seconds], pa.string()
        )
    }
    schema = SCHEMAS["segments"]
    if not files:
        return schema.empty_table()
    columns["start_seconds"] = pa.array(np.concatenate([file.start_seconds for file in files]))
    columns["level_db"] = pa.array(np.concatenate([file.level_db for file in files]))
    embeddings = np.concatenate([file.embeddings for file in files])
    presence = np.concatenate([file.presence for file in files])
    for i, part in enumerate(PARTS):
        flat = pa.array(np.ascontiguousarray(embeddings[:, i]).reshape(-1))
        columns[part] = pa.FixedSizeListArray.from_arrays(flat, embeddings.shape[-1])
        columns[f"presence_{part}"] = pa.array(np.ascontiguousarray(presence[:, i]))
    return pa.table(columns, schema=schema)


def _row(piece: Piece) -> dict[str, Any]:
    return {**vars(piece), "path": str(piece.path)}


def _same(known: Piece | Failure | None, stat: os.stat_result) -> bool:
    """Tell whether the file is, by size and modification time, the one that is known."""
    return (
        known is not None
        and known.size_bytes == stat.st_size
        and known.mtime_ns == stat.st_mtime_ns
    )


def _text(path: Path) -> str:
    """Return `path` as valid Unicode; bytes that are none of it are written as escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _under(name: str, tops: list[str]) -> bool:
    return any(name == top or name.startswith(top.rstrip(os.sep) + os.sep) for top in tops)
