"""The tables of one model's vectors, on disk: read by anybody, written by one process at a time.

A write is one commit: it is there wholly or not at all, whatever happens to the process or the
disk. Many small commits make reading slow, so callers gather rows first, and `Store.tidy` merges
what has piled up.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import lancedb
import pyarrow as pa

from stemwise.errors import BusyError, CatalogueError
from stemwise.library.lease import check_lease, lease_on, unfinished
from stemwise.library.places import Place, place_of
from stemwise.library.tables import SCHEMAS, Failure, Piece, reason_of, schema, table_name
from stemwise.library.vectors import scan

__all__ = ["Store", "one_writer", "remove_other_tables", "was_interrupted"]

_VALUES_PER_STATEMENT = 500
_VERSIONS_KEPT = 16
_VERSION_LIFE = timedelta(minutes=1)  # longer than a reader needs to load what it opened
_POLL_SECONDS = 0.1
_FAILURES = (ValueError, RuntimeError, OSError)  # what LanceDB raises


class Store:
    """The tables "pieces", "segments" and "errors" of one fingerprint. Not for use across a fork.

    All methods raise `CatalogueError` if a table is missing, damaged or cannot be written.
    """

    def __init__(self, directory: Path, fingerprint: str) -> None:
        self.directory = directory
        self.fingerprint = fingerprint
        self._database = lancedb.connect(str(directory / "tables"))
        self._held: dict[str, Any] = {}

    def uri(self, kind: str) -> str:
        """Return where a table lies, as Lance names it."""
        return str(self.directory / "tables" / f"{table_name(kind, self.fingerprint)}.lance")

    def create(self, precision: pa.DataType | None = None) -> None:
        """Make those tables that are not there; vectors as `stemwise.library.tables.schema`."""
        with _told(self.directory):
            for kind in SCHEMAS:
                name = table_name(kind, self.fingerprint)
                wanted = schema(kind, self.fingerprint, precision)
                self._database.create_table(name, schema=wanted, exist_ok=True)

    def table(self, kind: str) -> Any:
        """Return a handle on the newest version of a table; it stays at that version."""
        if kind in self._held:
            return self._held[kind]
        name = table_name(kind, self.fingerprint)
        try:
            return self._database.open_table(name)
        except _FAILURES as error:
            raise CatalogueError(
                f"the catalogue in {self.directory} is damaged: table {name}: {reason_of(error)}; "
                "see: stemwise catalogue verify"
            ) from error

    def snapshot(self) -> "Store":
        """Return these tables, to be read only, with pieces and segments as at one moment.

        Every piece has its segments there, whatever a writer does in the meantime.
        """
        pieces, segments = self.table("pieces"), self.table("segments")
        while (again := self.table("pieces")).version != pieces.version:
            pieces, segments = again, self.table("segments")
        store = Store(self.directory, self.fingerprint)
        store._held = {"pieces": pieces, "segments": segments}
        return store

    def read(self, kind: str, columns: Sequence[str]) -> pa.Table:
        """Return whole columns of a table and their ``_rowid``."""
        return _scan(self.table(kind), columns)

    def pieces(self) -> list[Piece]:
        """Return all pieces by path, those without vectors or file too."""
        rows = self.read("pieces", SCHEMAS["pieces"].names).drop_columns("_rowid").to_pylist()
        pieces = [Piece(**{**row, "path": place_of(row["path"])}) for row in rows]
        return sorted(pieces, key=lambda piece: piece.path)

    def failures(self) -> list[Failure]:
        """Return the files that could not be used, by path."""
        rows = self.read("errors", SCHEMAS["errors"].names).drop_columns("_rowid").to_pylist()
        failures = [Failure(**{**row, "path": place_of(row["path"])}) for row in rows]
        return sorted(failures, key=lambda failure: failure.path)

    def append(self, kind: str, rows: pa.Table) -> None:
        """Add `rows` to a table, in one commit."""
        if rows.num_rows:
            with _told(self.directory):
                self.table(kind).add(rows)

    def put(
        self, kind: str, rows: Sequence[dict[str, Any]], forget: Iterable[str] = frozenset()
    ) -> None:
        """Replace the rows of "pieces" or "errors" with equal paths; drop the paths in `forget`.

        A path in both stays. It is one commit, unless there is only something to forget.
        """
        stale = set(forget) - {row["path"] for row in rows}
        if not rows:
            self.drop(kind, "path", stale)
            return
        with _told(self.directory):
            merge = self.table(kind).merge_insert("path")
            merge = merge.when_matched_update_all().when_not_matched_insert_all()
            if stale:
                merge = merge.when_not_matched_by_source_delete(_among("path", sorted(stale)))
            merge.execute(pa.Table.from_pylist(list(rows), schema(kind, self.fingerprint)))

    def drop(self, kind: str, column: str, values: Iterable[str]) -> None:
        """Delete the rows of a table whose `column` is one of `values`."""
        ordered = sorted(values)
        with _told(self.directory):
            for start in range(0, len(ordered), _VALUES_PER_STATEMENT):
                some = ordered[start : start + _VALUES_PER_STATEMENT]
                self.table(kind).delete(_among(column, some))

    def remove_orphans(self) -> None:
        """Remove the segments that no piece names."""
        named = set(self.read("pieces", ["content"])["content"].to_pylist())
        stored = set(self.read("segments", ["content"])["content"].unique().to_pylist())
        self.drop("segments", "content", stored - named)

    def replace_segments(self) -> None:
        """Put an empty table in place of "segments", which may be damaged."""
        name = table_name("segments", self.fingerprint)
        if isinstance(self.directory, Place):
            with suppress(*_FAILURES):  # it is not there
                self._database.drop_table(name)
        else:
            shutil.rmtree(self.directory / "tables" / f"{name}.lance", ignore_errors=True)
        self.create()

    def tidy(self) -> None:
        """Merge small files and forget old versions, if many have piled up."""
        with _told(self.directory):
            for kind in SCHEMAS:
                table = self.table(kind)
                if len(table.list_versions()) > _VERSIONS_KEPT:
                    table.optimize(cleanup_older_than=_VERSION_LIFE, delete_unverified=True)


@contextmanager
def one_writer(directory: Path, patience_seconds: float = 0.0) -> Iterator[None]:
    """Hold the lock of the one writer; the system frees it if the process dies.

    The file ``lock`` holds a 1 from the start of a writer to its good end, see `was_interrupted`.
    On object storage it is a `stemwise.library.lease`, and there is no patience.

    Raises:
        BusyError: another process holds it, and did so for `patience_seconds`.
        CatalogueError: `directory` cannot be written.
    """
    if isinstance(directory, Place):
        with lease_on(directory):
            yield
        return
    try:
        file = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise CatalogueError(f"{directory} cannot be written: {error.strerror}") from error
    try:
        latest = time.monotonic() + patience_seconds
        while not _locked(file):
            if time.monotonic() >= latest:
                raise BusyError(
                    f"the catalogue in {directory} is being indexed by another process; "
                    "wait until it is done"
                )
            time.sleep(_POLL_SECONDS)
        _mark(directory, file, b"1")
        yield
        _mark(directory, file, b"0")
    finally:
        os.close(file)


def was_interrupted(directory: Path) -> bool:
    """Tell whether a writer is at work, or the last one was killed or failed."""
    if isinstance(directory, Place):
        return unfinished(directory)
    try:
        return (directory / "lock").read_bytes() == b"1"
    except FileNotFoundError:
        return False


def remove_other_tables(
    directory: Path, fingerprints: Iterable[str], also: Iterable[str] = ()
) -> None:
    """Remove all tables but those of `fingerprints`, and those whose whole name is in `also`.

    What was computed from the tables for searches, in the folder ``search``, goes with them.
    """
    kept = set(fingerprints)
    wanted = {table_name(kind, name) for name in kept for kind in SCHEMAS} | set(also)
    with _told(directory):
        if isinstance(directory, Place):
            database = lancedb.connect(str(directory / "tables"))
            for name in set(database.list_tables(limit=1000).tables) - wanted:
                database.drop_table(name)
            return
        for path in sorted((directory / "tables").glob("*.lance")):
            if path.stem not in wanted:
                shutil.rmtree(path)
    for path in (directory / "search").glob("*"):
        if path.name not in kept:
            shutil.rmtree(path, ignore_errors=True)  # a search may be writing there


def _scan(table: Any, columns: Sequence[str]) -> pa.Table:
    try:
        return scan(table, columns)
    except CatalogueError as error:
        raise CatalogueError(reason_of(error)) from error


def _mark(directory: Path, file: int, mark: bytes) -> None:
    try:
        os.pwrite(file, mark, 0)
    except OSError as error:
        raise CatalogueError(f"{directory} cannot be written: {error.strerror}") from error


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _told(directory: Path) -> Iterator[None]:
    """Turn what LanceDB raises when it writes into one line."""
    try:
        if isinstance(directory, Place):
            check_lease(directory)
        yield
    except CatalogueError:
        raise
    except _FAILURES as error:
        raise CatalogueError(
            f"the catalogue in {directory} cannot be written: {reason_of(error)}; what was written "
            "before is safe: mend the cause, then run the same command again"
        ) from error


def _among(column: str, values: Sequence[str]) -> str:
    """Return the SQL condition that `column` is one of `values`."""
    literals = ", ".join("'" + value.replace("'", "''") + "'" for value in values)
    return f"{column} IN ({literals})"
