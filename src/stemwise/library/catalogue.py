"""The catalogue: what is known of a music collection, and the vectors of its segments.

A catalogue is a folder: ``catalogue.json`` (format, model, fingerprint), ``lock`` (held by the one
process that writes), and LanceDB tables, a set for each model:

- **pieces**, a row per path: content hash, size, modification time, tags, duration;
- **segments**, a row per segment of each *content*: start, level, a vector and a presence per part;
- **errors**, a row per file that could not be read, with the reason.

Conventions: a piece is known by its content. ``content`` is the hash of the file's bytes, and the
``id`` its first 12 hex digits. Two paths with equal content share one set of vectors, so that a
moved or copied file is never embedded again. A piece can be searched once its row counts its
segments; these are written before it, and those that no row names are removed by the next index.

Reading needs no lock and sees each commit whole. What is read is always of one model: if a rebuild
switches in between, it is read again.
"""

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from stemwise.errors import CatalogueError, FingerprintError, UsageError
from stemwise.library.calibration import recording_radius_of
from stemwise.library.duplicates import are_one_recording
from stemwise.library.engines import Engine, ThisMachine
from stemwise.library.indexing import IndexOptions, IndexSummary, Progress, bring_up_to_date
from stemwise.library.metadata import FORMAT, Generation, Metadata, read_metadata, write_metadata
from stemwise.library.places import Place, exists, place_of
from stemwise.library.pruning import under
from stemwise.library.rebuilding import RebuildSummary, embed_again
from stemwise.library.search import similar as similar_to
from stemwise.library.status import Status, count
from stemwise.library.store import Store, one_writer, remove_other_tables
from stemwise.library.tables import Failure, Piece
from stemwise.library.vectors import Vectors, load_vectors
from stemwise.library.verification import Finding, check, mend
from stemwise.models.checkpoint import DEFAULT_MODEL, Model, load_model

__all__ = ["Catalogue"]

RETIRED_SECONDS = 5.0  # for searches that began before a rebuild switched
T = TypeVar("T")


def _silent(done: int, total: int, hours: float) -> None:
    """Say nothing of the progress."""


class Catalogue:
    """A catalogue on disk; get one with `Catalogue.open`. Not to be used across a fork."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._store: Store | None = None
        self._vectors: Vectors | None = None
        self._versions = ("", 0, 0)

    @classmethod
    def open(cls, path: Path | str, create: bool = False) -> "Catalogue":
        """Return the catalogue in the folder `path`.

        Raises:
            CatalogueError: there is none and `create` is false; it is damaged; or it has another
                format; or the folder cannot be made.
        """
        directory = place_of(path)
        try:
            if create and not isinstance(directory, Place):
                directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CatalogueError(f"{directory} cannot be made: {error.strerror}") from error
        if read_metadata(directory) is None and not create:
            raise CatalogueError(
                f"no catalogue in {directory}; make one with: stemwise index FOLDER"
            )
        return cls(directory)

    @property
    def model_source(self) -> str | None:
        """What `load_model` takes for the catalogue's own model; None if nothing was indexed."""
        metadata = read_metadata(self.directory)
        return metadata.model if metadata else None

    @property
    def metadata(self) -> Metadata:
        """Model, fingerprint and format, as they are now.

        Raises:
            CatalogueError: nothing was indexed yet, or ``catalogue.json`` is damaged.
        """
        metadata = read_metadata(self.directory)
        if metadata is None:
            raise CatalogueError(
                f"the catalogue in {self.directory} is empty; index a folder first"
            )
        return metadata

    def index(
        self,
        paths: Path | str | Iterable[Path | str],
        model: Model | None = None,
        jobs: int | None = None,
        progress: Progress = _silent,
        *,
        retry: bool = False,
        limit: int | None = None,
        prune: bool = False,
        prune_empty: bool = False,
        exclude: Iterable[str] = (),
        by_content: bool = False,
        engine: Engine | None = None,
    ) -> IndexSummary:
        """Bring the catalogue up to date with the music files at and under `paths`.

        Files whose size and modification time are unchanged are not opened; of the others, those
        with known content are not decoded. A file that cannot be read is recorded and stops
        nothing. A killed run loses at most half a minute's work, and the next one goes on from
        there.

        Args:
            paths: files and folders, as `stemwise.library.collection.music_files` takes them.
            model: makes the vectors; must be the one that made those already stored. If None, the
                catalogue's own is loaded, or the shipped one.
            jobs: files at a time; the number of cores if None.
            progress: called with (files done, files in all, hours of music embedded).
            retry: try files that failed before, even if they did not change.
            limit: open at most so many files; the others are left for the next index.
            prune: forget pieces whose file has gone, with their vectors, but for those that
                `stemwise.library.pruning` spares because their drive may not be mounted.
            prune_empty: forget them too, and those of a folder in `paths` that is not there.
            exclude: globs of files and folders to pass over.
            by_content: look also into files whose extension is not that of music.
            engine: who finds and reads the files: this machine's threads, or a cluster.

        Raises:
            FingerprintError: the catalogue holds vectors of another model.
            BusyError: another process is indexing.
            UsageError: a path is neither a file nor a folder.
            CatalogueError: the catalogue is damaged, or cannot be written.
        """
        if limit is not None and limit < 1:
            raise UsageError(f"the limit must be 1 file or more, got {limit}")
        engine = engine or ThisMachine()
        named = [paths] if isinstance(paths, str | Path) else list(paths)
        places = [place_of(path) for path in named]
        tops = [str(place) for place in places]
        there = [place for place in places if exists(place)]
        if len(there) < len(tops) and not prune_empty:
            self._complain_of_missing(sorted(set(tops) - set(map(str, there))))
        listing = engine.find(there if prune_empty else named, exclude, by_content=by_content)
        if model is None:
            model = load_model(self.model_source or DEFAULT_MODEL)
        options = IndexOptions(jobs, retry, limit, prune, prune_empty, engine)
        with one_writer(self.directory):
            store = self._claim(model)
            summary = bring_up_to_date(store, tops, listing, model, options, progress)
            engine.keep_indexes(store)
        return summary

    def rebuild(
        self,
        model: Model,
        jobs: int | None = None,
        progress: Progress = _silent,
        *,
        retry: bool = False,
        limit: int | None = None,
    ) -> RebuildSummary:
        """Make all vectors again with another `model`, and use them once they are complete.

        The old vectors stay in use, and can be added to, until then. A run that was stopped goes on
        if it is called again with the same model; one with a third model is dropped. Arguments are
        those of `index`.

        Raises:
            UsageError: the vectors are of this model already.
            BusyError: another process is indexing.
            CatalogueError: no known file is there; the catalogue is damaged or cannot be written.
        """
        with one_writer(self.directory):
            metadata = self.metadata
            if model.fingerprint == metadata.fingerprint:
                raise UsageError(
                    f"the catalogue in {self.directory} holds vectors of {model.name} (fingerprint "
                    f"{model.fingerprint}) already; name another model with --model"
                )
            made = Generation(
                model=model.source or model.name,
                fingerprint=model.fingerprint,
                segment_seconds=model.segment_seconds,
            )
            old = Store(self.directory, metadata.fingerprint)
            new = Store(self.directory, made.fingerprint)
            remove_other_tables(self.directory, (old.fingerprint, new.fingerprint))
            new.create()
            write_metadata(self.directory, metadata.model_copy(update={"rebuild": made}))

            def switch() -> None:
                live = metadata.model_dump() | made.model_dump() | {"rebuild": None}
                write_metadata(self.directory, Metadata(**live))

            options = IndexOptions(jobs, retry, limit)
            summary = embed_again(old, new, model, options, progress, switch)
            if summary.switched:
                time.sleep(RETIRED_SECONDS)
                remove_other_tables(self.directory, (new.fingerprint,))
            return summary

    def check_fingerprint(self, model: Model) -> None:
        """Raise `FingerprintError` unless `model` made the vectors of this catalogue."""
        metadata = self.metadata
        if metadata.fingerprint != model.fingerprint:
            raise FingerprintError(
                f"the catalogue in {self.directory} holds vectors of model {metadata.model} "
                f"(fingerprint {metadata.fingerprint}), not of {model.name} (fingerprint "
                f"{model.fingerprint}); use the first model, or make all vectors again with: "
                "stemwise index --rebuild --model MODEL"
            )

    def pieces(self, *, missing: bool = False) -> list[Piece]:
        """Return the pieces that can be searched, by path; with `missing`, all that are known."""
        known = self._reading(Store.pieces)
        return known if missing else [piece for piece in known if piece.ready]

    def errors(self) -> list[Failure]:
        """Return the files that could not be read, by path."""
        return self._reading(Store.failures)

    def status(self) -> Status:
        """Return the catalogue in figures."""
        return self._reading(lambda store: count(self.directory, self.metadata, store))

    def verify(self, *, repair: bool = False) -> list[Finding]:
        """Return what is wrong with the catalogue; nothing if all is well.

        With `repair`, what is wrong is removed, and pieces that lose vectors by it wait for the
        next index. The findings are still returned.

        Raises:
            BusyError: another process is indexing, and `repair` is true.
        """
        if not repair:
            return self._reading(lambda store: check(store, self.metadata))
        with one_writer(self.directory):
            metadata = self.metadata
            store = Store(self.directory, metadata.fingerprint)
            findings = check(store, metadata)
            mend(store, findings)
            return findings

    def find(self, text: str) -> Piece:
        """Return the piece with the id or path `text`, or with `text` in its title alone.

        Of several files of one recording, it is the first by path.

        Raises:
            UsageError: no piece fits, or several recordings do.
        """
        pieces = self.pieces()
        path = place_of(text)
        folded = text.casefold()
        tests: list[Callable[[Piece], bool]] = [
            lambda piece: piece.id == folded or piece.path == path,
            lambda piece: piece.title.casefold() == folded,
            lambda piece: folded in piece.title.casefold(),
        ]
        for test in tests:
            fitting = {piece.content: piece for piece in reversed(pieces) if test(piece)}
            if fitting and self._one_recording(fitting):
                return min(fitting.values(), key=lambda piece: piece.path)
            if fitting:
                some = sorted(f"{piece.id} ({piece.title})" for piece in fitting.values())[:5]
                raise UsageError(
                    f"{text!r} fits {len(fitting)} pieces; choose one by its id: {', '.join(some)}"
                )
        raise UsageError(f"no piece in the catalogue has the id, path or title {text!r}")

    similar = similar_to

    def vectors(self) -> Vectors:
        """Return all vectors, ready for search; kept in memory until the catalogue changes."""
        return self._reading(self._load)

    def read(self, kind: str, columns: Sequence[str]) -> pa.Table:
        """Return whole columns of "pieces", "segments" or "errors", as they are now."""
        return self._reading(lambda store: store.read(kind, columns))

    def _load(self, store: Store) -> Vectors:
        """Return the vectors in `store`: pieces and segments as they were at one moment."""
        held = store.snapshot()
        pieces, segments = held.table("pieces"), held.table("segments")
        versions = (store.fingerprint, pieces.version, segments.version)
        if self._vectors is None or self._versions != versions:
            ready = [piece for piece in held.pieces() if piece.ready]
            radius = recording_radius_of(self.metadata.model, store.fingerprint)
            self._vectors = load_vectors(ready, segments, radius)
            self._versions = versions
        return self._vectors

    def _reading(self, read: Callable[[Store], T]) -> T:
        """Return what `read` makes of the live tables; again if a rebuild switched meanwhile."""
        while True:
            fingerprint = self.metadata.fingerprint
            if self._store is None or self._store.fingerprint != fingerprint:
                self._store = Store(self.directory, fingerprint)
            try:
                return read(self._store)
            except CatalogueError:
                if self.metadata.fingerprint == fingerprint:
                    raise

    def _one_recording(self, contents: Collection[str]) -> bool:
        """Tell whether all pieces of these `contents` are of one recording."""
        if len(contents) == 1:
            return True
        vectors = self.vectors()
        numbers = [vectors.number_of(content) for content in contents]
        known = [k for k in numbers if k is not None]
        return len(known) == len(contents) and are_one_recording(vectors, known)

    def _claim(self, model: Model) -> Store:
        """Make a new catalogue `model`'s own, check that an old one is; return its tables."""
        metadata = read_metadata(self.directory)
        if metadata is not None:
            self.check_fingerprint(model)
        store = Store(self.directory, model.fingerprint)
        again = metadata.rebuild if metadata else None
        remove_other_tables(
            self.directory, [model.fingerprint, *([again.fingerprint] if again else [])]
        )
        if metadata is None:
            store.create()
            metadata = Metadata(
                format=FORMAT,
                model=model.source or model.name,
                fingerprint=model.fingerprint,
                segment_seconds=model.segment_seconds,
                created=datetime.now(UTC).isoformat(timespec="seconds"),
            )
            write_metadata(self.directory, metadata)
        elif model.source not in (None, metadata.model):  # its file has moved
            write_metadata(self.directory, metadata.model_copy(update={"model": model.source}))
        return store

    def _complain_of_missing(self, tops: Sequence[str]) -> None:
        """Raise `UsageError` if pieces are known under `tops`, which are not there."""
        known = [] if self.model_source is None else self._reading(Store.pieces)
        for top in tops:
            if lost := sum(under(str(piece.path), [top]) for piece in known):
                raise UsageError(
                    f"{top} is not there, but {lost} known pieces lie in it; is its drive mounted? "
                    "Nothing was changed; to forget them, add --prune-empty"
                )
