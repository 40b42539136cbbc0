"""Music files to one NumPy archive of their vectors, without a catalogue.

Arrays, S segments of all files, files by path: ``embeddings`` (S, 5, 128) float32, ``presence``
(S, 5) float32, ``level_db`` (S,) float32, ``path`` (S,) text, ``start_seconds`` (S,) float64; and
``fingerprint``, text.

This machine holds all vectors in memory, 2.6 kB a segment. An engine, such as a cluster, first
writes them to tables beside the archive, in its precision, as an index does
(`stemwise.library.indexing`): so a run that was stopped goes on where it was, and the vectors are
not held. Once the archive is there, the tables go. Both make the same archive.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stemwise.errors import AudioError, UsageError
from stemwise.library.collection import Listing, Reason
from stemwise.library.embed import FileEmbedding, FileFailure, embed_files
from stemwise.library.engines import Engine, ThisMachine
from stemwise.library.indexing import IndexOptions, bring_up_to_date
from stemwise.library.places import Place, place_of
from stemwise.library.store import Store, one_writer
from stemwise.library.vectors import load_vectors, scan
from stemwise.models.checkpoint import Model
from stemwise.parts import BLOCK_DIMENSIONS, PARTS

__all__ = ["embed_to_archive", "save_vectors"]

_ROWS_AT_A_TIME = 4096

Progress = Callable[[int, int], None]


def embed_to_archive(
    paths: Sequence[Path | str],
    model: Model,
    archive: Path,
    jobs: int | None = None,
    progress: Progress = lambda done, total: None,
    engine: Engine | None = None,
) -> list[FileFailure]:
    """Embed the music files at and under `paths` into `archive`; return those that failed.

    Raises:
        UsageError: a path is neither a file nor a folder, or there is no music file; or the
            archive is to lie elsewhere.
        AudioError: every file failed; no archive is written.
        BusyError: another process is writing the same archive with an engine.
        CatalogueError: an engine's tables beside the archive cannot be written or read.
    """
    if isinstance(place_of(archive), Place):
        raise UsageError(f"{archive} is elsewhere; an archive is written on this machine's disks")
    listing = (engine or ThisMachine()).find(paths, (), by_content=False)
    files = listing.files
    unseen = [
        FileFailure(entry.path, str(entry))
        for entry in listing.passed_over
        if entry.reason in (Reason.UNREADABLE, Reason.VANISHED)
    ]
    if not files:
        reason = f": {unseen[0].reason}" if unseen else ""
        raise UsageError(f"no music file in {', '.join(map(str, paths)) or 'the lists'}{reason}")
    if engine is not None:
        tops = [str(place_of(path)) for path in paths]
        failures = _by_engine(tops, listing, model, archive, jobs, progress, engine)
        return unseen + failures
    embeddings, failures = [], []
    for done, result in enumerate(embed_files(files, model, jobs), start=1):
        if isinstance(result, FileEmbedding):
            embeddings.append(result)
        elif isinstance(result, FileFailure):
            failures.append(result)
        progress(done, len(files))
    _complain_if_none(files, failures)
    save_vectors(archive, embeddings, fingerprint=model.fingerprint)
    return unseen + failures


def save_vectors(path: Path, embeddings: Sequence[FileEmbedding], *, fingerprint: str) -> None:
    """Write the vectors of many files, segment by segment, to an archive at `path`.

    It appears whole or not at all.
    """
    empty = np.zeros((0, len(PARTS), BLOCK_DIMENSIONS), np.float32)
    arrays: dict[str, Any] = {
        "embeddings": _joined(embeddings, "embeddings", empty),
        "presence": _joined(embeddings, "presence", empty[..., 0]),
        "level_db": _joined(embeddings, "level_db", empty[:, 0, 0]),
        "start_seconds": _joined(embeddings, "start_seconds", np.zeros(0)),
        "path": np.array([str(e.path) for e in embeddings for _ in e.start_seconds], np.str_),
    }
    _write(path, arrays, fingerprint)


def _by_engine(
    tops: Sequence[str],
    listing: Listing,
    model: Model,
    archive: Path,
    jobs: int | None,
    progress: Progress,
    engine: Engine,
) -> list[FileFailure]:
    """Write `archive` through tables beside it, which stay there if this is interrupted."""
    work = archive.with_name(f"{archive.name}.{model.fingerprint}.partial").absolute()
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{work} cannot be made: {error.strerror or error}") from error
    with one_writer(work):
        store = Store(work, model.fingerprint)
        store.create(pa.float32())
        options = IndexOptions(jobs, engine=engine)
        bring_up_to_date(
            store, tops, listing, model, options, lambda done, total, hours: progress(done, total)
        )
        reasons = {failure.path: failure.reason for failure in store.failures()}
        pieces = {piece.path for piece in store.pieces() if piece.ready}
        failures = [
            FileFailure(path, reasons.get(path, f"{path} is not there any more"))
            for path in listing.files
            if path not in pieces
        ]
        if len(failures) < len(listing.files):
            _write(archive, _arrays(store, listing.files, work), model.fingerprint)
    shutil.rmtree(work)
    _complain_if_none(listing.files, failures)
    return failures


def _arrays(store: Store, files: Sequence[Path], folder: Path) -> dict[str, Any]:
    """Return the arrays of `files`, as far as they have vectors; the embeddings lie in `folder`."""
    known = {piece.path: piece for piece in store.pieces() if piece.ready}
    pieces = [known[path] for path in files if path in known]
    table = store.table("segments")
    vectors = load_vectors(pieces, table)
    order = {piece.content: k for k, piece in enumerate(vectors.pieces)}
    numbers = np.array([order[piece.content] for piece in pieces], np.int64)
    rows, bounds = vectors.rows_of(numbers)
    levels = scan(table, ["level_db"])
    places = np.searchsorted(levels["_rowid"].to_numpy(), vectors.row_ids[rows])
    shape = (int(bounds[-1]), len(PARTS), BLOCK_DIMENSIONS)
    embeddings = np.lib.format.open_memmap(folder / "embeddings.npy", "w+", np.float32, shape)
    done = 0
    for some in vectors.runs(numbers, _ROWS_AT_A_TIME):
        wanted, ends = vectors.rows_of(some)
        for part in range(len(PARTS)):
            embeddings[done : done + ends[-1], part] = vectors.take(part, wanted)
        done += int(ends[-1])
    return {
        "embeddings": embeddings,
        "presence": vectors.presence[rows],
        "level_db": levels["level_db"].to_numpy()[places],
        "start_seconds": vectors.start_seconds[rows],
        "path": np.repeat([str(piece.path) for piece in pieces], np.diff(bounds)),
    }


def _write(path: Path, arrays: dict[str, Any], fingerprint: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            np.savez(file, allow_pickle=False, fingerprint=np.array(fingerprint), **arrays)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _joined(
    embeddings: Sequence[FileEmbedding], name: str, empty: NDArray[np.generic]
) -> NDArray[np.generic]:
    return np.concatenate([empty, *(getattr(e, name) for e in embeddings)])


def _complain_if_none(files: Sequence[Path], failures: Sequence[FileFailure]) -> None:
    if len(failures) == len(files):
        raise AudioError(f"none of {len(files)} files can be embedded: {failures[0].reason}")
