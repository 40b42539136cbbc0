"""The catalogue: what is known of a music collection, and the vectors of its segments.

A catalogue is a folder: ``catalogue.json`` (format, model, fingerprint), ``lock`` (held by the one
process that writes), and LanceDB tables:

- **pieces**, a row per path: content hash, size, modification time, tags, duration;
- **segments**, a row per segment of each *content*: start, level, a vector and a presence per part;
- **errors**, a row per file that could not be read, with the reason.

Conventions: a piece is known by its content. ``content`` is the hash of the file's bytes, and the
``id`` its first 12 hex digits. Two paths with equal content share one set of vectors, so that a
moved or copied file is never embedded again. A piece is there once its row is there; segments are
written before it, and those that no row names are removed by the next index.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import lancedb
import pyarrow as pa

from stemwise.audio import audio_files
from stemwise.errors import CatalogueError, FingerprintError, UsageError
from stemwise.library.indexing import IndexSummary, bring_up_to_date
from stemwise.library.tables import SCHEMAS, Failure, Piece
from stemwise.library.vectors import Vectors, load_vectors, scan
from stemwise.models.checkpoint import Model, shipped_models

__all__ = ["Catalogue", "Metadata", "Status"]

FORMAT = 1
_PATHS_PER_STATEMENT = 500
_VERSIONS_KEPT = 16
_VERSION_LIFE = timedelta(minutes=1)  # longer than a reader needs to load what it opened


@dataclass(frozen=True)
class Metadata:
    """What all vectors of a catalogue have in common."""

    format: int
    model: str  # a shipped model's name, or the path of a checkpoint
    fingerprint: str
    segment_seconds: float
    created: str  # ISO 8601, UTC


@dataclass(frozen=True)
class Status:
    """A catalogue in figures."""

    path: Path
    model: str
    fingerprint: str
    created: str
    pieces: int
    copies: int  # further paths of content counted already
    missing: int
    segments: int
    hours: float
    errors: int
    size_bytes: int


class Catalogue:
    """A catalogue on disk; get one with `Catalogue.open`. Not to be used across a fork."""

    def __init__(self, directory: Path, metadata: Metadata | None) -> None:
        self.directory = directory
        self._metadata = metadata
        self._database = lancedb.connect(directory / "tables")
        self._vectors: Vectors | None = None
        self._versions = (0, 0)

    @classmethod
    def open(cls, path: Path | str, create: bool = False) -> "Catalogue":
        """Return the catalogue in the folder `path`.

        Raises:
            CatalogueError: there is none and `create` is false; it is damaged; or it has another
                format; or the folder cannot be made.
        """
        directory = Path(path).absolute()
        file = directory / "catalogue.json"
        try:
            metadata = Metadata(**json.loads(file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            if not create:
                raise CatalogueError(
                    f"no catalogue in {directory}; make one with: stemwise index FOLDER"
                ) from None
            metadata = None
        except (OSError, ValueError, TypeError) as error:
            raise CatalogueError(f"{file} is damaged or cannot be read: {error}") from error
        if metadata is not None and metadata.format != FORMAT:
            raise CatalogueError(
                f"{directory} has format {metadata.format}, but this version of Stemwise reads "
                f"format {FORMAT}; index into another catalogue"
            )
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CatalogueError(f"{directory} cannot be made: {error.strerror}") from error
        return cls(directory, metadata)

    @property
    def model_source(self) -> str | None:
        """What `load_model` takes for the catalogue's own model; None if nothing was indexed."""
        return self._metadata.model if self._metadata else None

    @property
    def metadata(self) -> Metadata:
        """Model, fingerprint and format; `CatalogueError` if nothing was indexed yet."""
        if self._metadata is None:
            raise CatalogueError(
                f"the catalogue in {self.directory} is empty; index a folder first"
            )
        return self._metadata

    def index(
        self,
        paths: Iterable[Path | str],
        model: Model,
        jobs: int | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
        *,
        retry: bool = False,
        model_source: str | None = None,
    ) -> IndexSummary:
        """Bring the catalogue up to date with the music files at and under `paths`.

        Files whose size and modification time are unchanged are not opened; of the others, those
        with known content are not decoded. A file that cannot be read is recorded and stops
        nothing. What was done is committed every 64 files or 30 seconds, so a killed run loses
        little and the next one goes on from there.

        Args:
            paths: files and folders, as `stemwise.audio.audio_files` takes them.
            model: makes the vectors; must be the one that made those already stored.
            jobs: files at a time; the number of cores if None.
            progress: called with (files done, files in all).
            retry: try files that failed before, even if they did not change.
            model_source: what `load_model` was given, noted in a new catalogue; the model's name if
                None.

        Raises:
            FingerprintError: the catalogue holds vectors of another model.
            CatalogueError: another process is indexing.
            UsageError: a path is neither a file nor a folder.
        """
        paths = list(paths)
        files = audio_files(paths)
        with self._writing():
            self._claim(model, model_source or model.name)
            return bring_up_to_date(self, paths, files, model, jobs, progress, retry)

    def check_fingerprint(self, model: Model) -> None:
        """Raise `FingerprintError` unless `model` made the vectors of this catalogue."""
        if self.metadata.fingerprint != model.fingerprint:
            raise FingerprintError(
                f"the catalogue in {self.directory} holds vectors of model {self.metadata.model} "
                f"(fingerprint {self.metadata.fingerprint}), not of {model.name} (fingerprint "
                f"{model.fingerprint}); use the first model, or index into another catalogue"
            )

    def pieces(self, *, missing: bool = False) -> list[Piece]:
        """Return the pieces by path; those whose file has gone only if `missing`."""
        return _pieces(self._table("pieces"), missing)

    def errors(self) -> list[Failure]:
        """Return the files that could not be read, by path."""
        rows = self.read("errors", SCHEMAS["errors"].names).drop_columns("_rowid").to_pylist()
        failures = [Failure(**{**row, "path": Path(row["path"])}) for row in rows]
        return sorted(failures, key=lambda failure: failure.path)

    def status(self) -> Status:
        """Return the catalogue in figures."""
        pieces = self.pieces(missing=True)
        there = {piece.content: piece for piece in pieces if not piece.missing}
        missing = sum(piece.missing for piece in pieces)
        files = (file for file in self.directory.rglob("*") if file.is_file())
        return Status(
            path=self.directory,
            model=self.metadata.model,
            fingerprint=self.metadata.fingerprint,
            created=self.metadata.created,
            pieces=len(there),
            copies=len(pieces) - missing - len(there),
            missing=missing,
            segments=sum(piece.segments for piece in there.values()),
            hours=sum(piece.duration_seconds for piece in there.values()) / 3600,
            errors=len(self.errors()),
            size_bytes=sum(file.stat().st_size for file in files),
        )

    def find(self, text: str) -> Piece:
        """Return the piece with the id or path `text`, or with `text` in its title alone.

        Raises:
            UsageError: no piece fits, or several of different content do.
        """
        pieces = self.pieces()
        path = Path(os.path.abspath(text))
        folded = text.casefold()
        tests: list[Callable[[Piece], bool]] = [
            lambda piece: piece.id == folded or piece.path == path,
            lambda piece: piece.title.casefold() == folded,
            lambda piece: folded in piece.title.casefold(),
        ]
        for test in tests:
            fitting = {piece.content: piece for piece in reversed(pieces) if test(piece)}
            if len(fitting) == 1:
                return next(iter(fitting.values()))
            if fitting:
                some = sorted(f"{piece.id} ({piece.title})" for piece in fitting.values())[:5]
                raise UsageError(
                    f"{text!r} fits {len(fitting)} pieces; choose one by its id: {', '.join(some)}"
                )
        raise UsageError(f"no piece in the catalogue has the id, path or title {text!r}")

    def vectors(self) -> Vectors:
        """Return all vectors, ready for search; kept in memory until the catalogue changes."""
        pieces, segments = self._table("pieces"), self._table("segments")
        versions = (pieces.version, segments.version)
        if self._vectors is None or self._versions != versions:
            self._vectors = load_vectors(_pieces(pieces, missing=False), segments)
            self._versions = versions
        return self._vectors

    def read(self, table: str, columns: Sequence[str]) -> pa.Table:
        """Return whole columns of the table "pieces", "segments" or "errors", as they are now."""
        return scan(self._table(table), columns)

    def put(self, table: str, rows: pa.Table) -> None:
        """Add `rows` to "segments"; in the other tables, replace the rows with equal paths."""
        if not rows.num_rows:
            return
        if table == "segments":
            self._table(table).add(rows)
        else:
            merge = self._table(table).merge_insert("path")
            merge.when_matched_update_all().when_not_matched_insert_all().execute(rows)

    def drop(self, table: str, column: str, values: Iterable[str]) -> None:
        """Delete the rows of `table` whose `column` is one of `values`."""
        ordered = sorted(values)
        for start in range(0, len(ordered), _PATHS_PER_STATEMENT):
            some = ordered[start : start + _PATHS_PER_STATEMENT]
            literals = ", ".join("'" + value.replace("'", "''") + "'" for value in some)
            self._table(table).delete(f"{column} IN ({literals})")

    def tidy(self) -> None:
        """Merge small files and forget old versions, if many have piled up."""
        for name in SCHEMAS:
            table = self._table(name)
            if len(table.list_versions()) > _VERSIONS_KEPT:
                table.optimize(cleanup_older_than=_VERSION_LIFE, delete_unverified=True)

    def _table(self, name: str) -> Any:
        """Return a handle on the newest version of a table."""
        self.metadata  # noqa: B018 - an empty catalogue says so here
        try:
            return self._database.open_table(name)
        except (ValueError, RuntimeError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise CatalogueError(
                f"the catalogue in {self.directory} is damaged: table {name}: {reason}"
            ) from error

    def _claim(self, model: Model, source: str) -> None:
        """Make a new catalogue `model`'s own; check that an old one is."""
        if self._metadata is not None:
            self.check_fingerprint(model)
            return
        for name, schema in SCHEMAS.items():
            self._database.create_table(name, schema=schema, exist_ok=True)
        source = source if source in shipped_models() else os.path.abspath(source)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        metadata = Metadata(FORMAT, source, model.fingerprint, model.segment_seconds, now)
        partial = self.directory / "catalogue.json.partial"
        partial.write_text(json.dumps(vars(metadata), indent=1) + "\n", encoding="utf-8")
        partial.replace(self.directory / "catalogue.json")
        self._metadata = metadata

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the lock of the one writer; the system frees it if the process dies."""
        with (self.directory / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise CatalogueError(
                    f"the catalogue in {self.directory} is being indexed by another process; "
                    "wait until it is done"
                ) from None
            yield


def _pieces(table: Any, missing: bool) -> list[Piece]:
    rows = scan(table, SCHEMAS["pieces"].names).drop_columns("_rowid").to_pylist()
    pieces = [Piece(**{**row, "path": Path(row["path"])}) for row in rows]
    wanted = (piece for piece in pieces if missing or not piece.missing)
    return sorted(wanted, key=lambda piece: piece.path)
