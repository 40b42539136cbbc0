"""Bring the tables of one model up to date with a collection of files, losing little if killed.

Steps:

1. Remove segments that no piece names (a run was killed between two writes).
2. Of the files listed, those with known size and modification time are done. The new ones are noted
   in one commit as pieces that wait, so that what is known adds up to what was found from now on.
3. Hash the rest; embed those with unknown content; collect rows. Which files are being read is
   noted, so that one that kills the process is found out by the next run (`suspects`).
4. Every 256 files, 16,384 segments or 30 seconds write: segments, then errors, then pieces. So a
   piece that is there has all its segments, and what is lost by a kill is half a minute's work.
5. Mark pieces whose file has gone, or forget them; remove segments that no piece names any more.

A path may for a moment be both a piece and an error; the next run then opens the file again.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stemwise.library.collection import Listing
from stemwise.library.embed import FileEmbedding, FileFailure, FileMatch
from stemwise.library.engines import Engine, FileStored, Found, ThisMachine
from stemwise.library.places import exists, place_of
from stemwise.library.pruning import forgettable, under
from stemwise.library.store import Store
from stemwise.library.tables import Failure, Piece, as_row
from stemwise.library.tags import Tags, read_tags
from stemwise.models.checkpoint import Model

__all__ = ["IndexOptions", "IndexSummary", "Progress", "bring_up_to_date"]

FILES_PER_COMMIT = 256
SEGMENTS_PER_COMMIT = 16384  # 23 MB
SECONDS_PER_COMMIT = 30.0
COMMITS_PER_TIDYING = 128  # each rewrites up to a million segments
_COUNTS = ("added", "updated", "moved", "unchanged", "failed", "vanished")
_NEVER = -1  # a modification time that no file has

Progress = Callable[[int, int, float], None]
"""Called with files done, files in all, and the hours of music that were embedded."""


@dataclass(frozen=True)
class IndexSummary:
    """What an index did; found = added + updated + moved + unchanged + failed + vanished + left."""

    found: int  # music files
    added: int
    updated: int  # the file holds something else now, or its vectors were to be made again
    moved: int
    unchanged: int
    failed: int
    vanished: int  # found, but gone when they were to be read
    left: int  # for the next index, because of the limit
    missing: int  # known pieces under the same folders, kept, whose file is not among those found
    forgotten: int  # known pieces whose file was not among those found
    spared: tuple[Path, ...]  # folders whose missing pieces were kept, though they were to go
    passed_over: tuple[str, ...]  # what is no file to index, though it looks like one, and why
    hours: float  # of music embedded
    seconds: float


@dataclass
class _Batch:
    """Rows that wait to be written."""

    segments: list[FileEmbedding | FileStored] = field(default_factory=list)
    pieces: dict[str, dict[str, Any]] = field(default_factory=dict)  # by path
    errors: dict[str, dict[str, Any]] = field(default_factory=dict)  # by path
    stale_pieces: set[str] = field(default_factory=set)
    stale_errors: set[str] = field(default_factory=set)
    rows_held: int = 0  # segments whose vectors are in memory

    def full(self, most_files: int) -> bool:
        """Tell whether this is enough for one commit."""
        files = len(self.pieces) + len(self.errors)
        return files >= most_files or self.rows_held >= SEGMENTS_PER_COMMIT


class _Run:
    """The state of one index: what is known, what has changed, what waits to be written."""

    def __init__(self, store: Store, engine: Engine, retry: bool) -> None:
        self.store = store
        self.engine = engine
        self.retry = retry
        self.pieces = {str(piece.path): piece for piece in store.pieces()}
        self.errors = {str(failure.path): failure for failure in store.failures()}
        # per stored content, what a piece's row says of it
        self.contents = {
            p.content: (p.duration_seconds, p.segments) for p in self.pieces.values() if p.segments
        }
        self.places: dict[str, set[str]] = {}
        for name, piece in self.pieces.items():
            self.places.setdefault(piece.content, set()).add(name)
        self.counts = dict.fromkeys(_COUNTS, 0)
        self.states: dict[str, tuple[int, int]] = {}  # size in bytes, modification time in ns
        self.gone: set[str] = set()  # not found
        self.vanished: set[str] = set()  # found, but gone since
        self.batch = _Batch()
        self.written = time.monotonic()
        self.commits = 0
        self.hours = 0.0

    def look(self, tops: Sequence[str], files: Sequence[Path]) -> None:
        """Note what was known at and under `tops`, and is not among `files`, which are there."""
        names = {_text(path) for path in files}
        self.gone = {name for name in self.pieces if name not in names and under(name, tops)}
        lost = {name for name in self.errors if name not in names and under(name, tops)}
        self.batch.stale_errors |= lost

    def pending(self, listing: Listing) -> Iterator[Path]:
        """Yield the files that must be opened; settle the others."""
        for path in listing.files:
            name = _text(path)
            state = listing.states.get(path) or _state(path)
            self.states[name] = state
            piece, failure = self.pieces.get(name), self.errors.get(name)
            if not self.retry and piece is None and _same(failure, state):
                self.counts["failed"] += 1
            elif name != str(path):
                self.fail(name, f"{name} has a name that is not valid Unicode; rename it")
            elif failure is None and piece is not None and piece.segments and _same(piece, state):
                self.counts["unchanged"] += 1
                if piece.missing:
                    self.batch.pieces[name] = as_row(piece) | {"missing": False}
            else:
                yield path

    def announce(self, waiting: Sequence[Path]) -> None:
        """Write rows for those of the files in `waiting` that were never seen before."""
        new = [name for path in waiting if (name := str(path)) not in self.pieces]
        rows = {name: self.waiting_row(name) for name in new if name not in self.errors}
        if rows:
            self.batch.pieces |= rows
            self.write()
            for name, row in rows.items():
                self.pieces[name] = Piece(**{**row, "path": place_of(name)})

    def waiting_row(self, name: str) -> dict[str, Any]:
        """Return the row of a file that is there and was not read yet."""
        nothing = {"content": "", "segments": 0, "duration_seconds": 0.0, "missing": False}
        texts = dict.fromkeys(("title", "artist", "album", "genre"), "")
        row = {"path": name, "year": None, "bpm": None} | nothing | texts
        return row | {"size_bytes": self.states[name][0], "mtime_ns": _NEVER}

    def take(self, result: Found) -> None:
        """Note the result of one file, and write if enough has come together."""
        name = str(result.path)
        if not isinstance(result, FileFailure):
            if not isinstance(result, FileMatch):
                self.hours += result.duration_seconds / 3600
                if result.content not in self.contents:
                    self.batch.segments.append(result)
                    if isinstance(result, FileEmbedding):
                        self.batch.rows_held += result.segments
                    self.contents[result.content] = (result.duration_seconds, result.segments)
            tags = None if isinstance(result, FileEmbedding) else result.tags
            self.keep(name, result.content, tags or read_tags(result.path))
        elif exists(result.path):
            self.fail(name, result.reason, unread=result.unread)
        else:
            self.vanish(name)
        pace = self.engine.seconds_per_commit or SECONDS_PER_COMMIT
        late = time.monotonic() - self.written > pace
        if late or self.batch.full(self.engine.files_per_commit or FILES_PER_COMMIT):
            self.write()

    def keep(self, name: str, content: str, tags: Tags) -> None:
        """Note that the file `name` holds `content`."""
        old = self.pieces.get(name)
        if old is not None and not old.content:
            old = None  # it was only known to be there
        before = self.moved_from(content) if old is None else None
        if old is not None:
            same = old.content == content and old.segments > 0
            self.counts["unchanged" if same else "updated"] += 1
        elif before is not None:
            self.counts["moved"] += 1
            self.batch.stale_pieces.add(before)
            self.gone.discard(before)
            self.vanished.discard(before)
            self.places[content].remove(before)
            del self.pieces[before]
        else:
            self.counts["added"] += 1
        duration_seconds, segments = self.contents[content]
        row: dict[str, Any] = {
            "path": name,
            "content": content,
            "size_bytes": self.states[name][0],
            "mtime_ns": self.states[name][1],
            "duration_seconds": duration_seconds,
            "segments": segments,
            "missing": False,
        }
        row |= vars(tags)
        self.batch.pieces[name] = row
        self.pieces[name] = Piece(**{**row, "path": place_of(name)})
        self.places.setdefault(content, set()).add(name)
        if name in self.errors:
            self.batch.stale_errors.add(name)

    def fail(self, name: str, reason: str, unread: bool = False) -> None:
        """Note that the file `name` cannot be used; keep its vectors if it could not be read."""
        (size_bytes, mtime_ns), piece = self.states[name], self.pieces.get(name)
        self.counts["failed"] += 1
        clean = reason.encode("utf-8", "backslashreplace").decode()
        mtime_ns = _NEVER if unread else mtime_ns  # a file that is locked is tried again
        row = {"path": name, "reason": clean, "size_bytes": size_bytes, "mtime_ns": mtime_ns}
        if name not in self.errors or row != as_row(self.errors[name]):
            self.batch.errors[name] = row
        if piece is not None and unread and piece.segments:
            self.batch.pieces[name] = as_row(piece) | {"missing": True}
        elif piece is not None:
            self.batch.stale_pieces.add(name)
            del self.pieces[name]

    def vanish(self, name: str) -> None:
        """Note that the file `name` has gone since it was found."""
        self.counts["vanished"] += 1
        if name in self.pieces:
            self.vanished.add(name)
        if name in self.errors:
            self.batch.stale_errors.add(name)

    def moved_from(self, content: str) -> str | None:
        """Return the first path that held `content` and no longer exists."""
        for name in sorted(self.places.get(content, ())):
            if name in self.gone or not exists(place_of(name), follow=True):
                return name
        return None

    def write(self) -> None:
        """Commit what waits. Segments first: a piece whose row is there has all its vectors."""
        batch, self.batch = self.batch, _Batch()  # so that an interrupt never writes it twice
        self.engine.store(self.store, batch.segments)
        self.store.put("errors", list(batch.errors.values()))
        self.store.put("pieces", list(batch.pieces.values()), forget=batch.stale_pieces)
        self.store.drop("errors", "path", batch.stale_errors)
        self.commits += 1
        if self.commits % COMMITS_PER_TIDYING == 0:
            self.engine.tidy(self.store)
        self.written = time.monotonic()

    def finish(self, forget: set[str]) -> None:
        """Write what is left, `forget` pieces, mark those that have gone, and clean up."""
        for name in self.gone | self.vanished:
            piece = self.pieces[name]
            if name in forget or not piece.content:
                self.batch.stale_pieces.add(name)
                self.batch.pieces.pop(name, None)
            elif not piece.missing:
                self.batch.pieces[name] = as_row(piece) | {"missing": True}
        for name in self.pieces.keys() - self.batch.stale_pieces:
            piece = self.pieces[name]
            if not piece.segments and (known := self.contents.get(piece.content)):
                row = self.batch.pieces.get(name, as_row(piece))  # a copy of it was embedded now
                self.batch.pieces[name] = row | {"duration_seconds": known[0], "segments": known[1]}
        self.write()
        self.store.remove_orphans()
        self.engine.tidy(self.store)


@dataclass(frozen=True)
class IndexOptions:
    """How an index goes about its work."""

    jobs: int | None = None  # files at a time; the number of cores if None
    retry: bool = False  # try files that failed before, even if they did not change
    limit: int | None = None  # files to open at most
    prune: bool = False  # forget pieces whose file has gone, but for those that `pruning` spares
    prune_empty: bool = False  # forget also those of empty and vanished folders
    engine: Engine = field(default_factory=ThisMachine)


def bring_up_to_date(
    store: Store,
    tops: Sequence[str],
    listing: Listing,
    model: Model,
    options: IndexOptions,
    progress: Progress,
) -> IndexSummary:
    """Make `store` agree with `listing`, what is under `tops`; the caller has the lock.

    What was known under `tops` and is not among the files of `listing` has gone.
    """
    began = time.monotonic()
    files = listing.files
    store.remove_orphans()
    run = _Run(store, options.engine, options.retry)
    run.look(tops, files)
    waiting = list(run.pending(listing))
    run.announce(waiting)
    now = waiting[: options.limit]
    done, total = len(files) - len(waiting), len(files) - len(waiting) + len(now)
    progress(done, total, run.hours)
    embedding = options.engine.embed(now, store, model, options.jobs, run.contents)
    try:
        with closing(embedding) as results:  # whatever happens, no worker is left
            for result in results:
                run.take(result)
                done += 1
                progress(done, total, run.hours)
    except KeyboardInterrupt:
        run.write()
        raise
    forget: set[str] = set()
    spared: tuple[Path, ...] = ()
    if options.prune or options.prune_empty:
        forget, spared = forgettable(
            run.gone, tops, files, listing.unseen, even_if_empty=options.prune_empty
        )
    known = {name for name in run.gone | run.vanished if run.pieces[name].content}
    run.finish(forget)
    return IndexSummary(
        found=len(files),
        **run.counts,
        left=len(waiting) - len(now),
        missing=len(known - forget),
        forgotten=len(known & forget),
        spared=spared,
        passed_over=tuple(map(str, listing.passed_over)),
        hours=run.hours,
        seconds=time.monotonic() - began,
    )


def _same(known: Piece | Failure | None, state: tuple[int, int]) -> bool:
    """Tell whether the file is, by size and modification time, the one that is known."""
    return known is not None and (known.size_bytes, known.mtime_ns) == state


def _state(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError:
        return 0, 0  # gone or locked away: reading it says which
    return stat.st_size, stat.st_mtime_ns


def _text(path: Path) -> str:
    """Return `path` as valid Unicode; bytes that are none of it are written as escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
