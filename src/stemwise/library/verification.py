"""Is a catalogue whole? What each finding means, and what mends it.

========  =======================================================  =============================
kind      what is wrong                                            repair
========  =======================================================  =============================
model     the catalogue's own model cannot be loaded, or gives     none: name the model's file,
          other vectors now                                        or rebuild
table     a table is missing, damaged or of another model          "segments": made anew, all
                                                                   pieces wait; others: none
path      a path has several rows, or a row that makes no sense    its rows are dropped; the
                                                                   next index finds the file
piece     a piece has not exactly its segments: too few, too       its segments are dropped, it
          many, twice the same, or another number in a copy        waits for the next index
vectors   a vector is not of length 1, nor zeros in a silent       its segments are dropped, it
          segment; a number is not finite or out of range          waits for the next index
orphan    segments that no piece names                             they are dropped
========  =======================================================  =============================

Orphans are no fault while the catalogue is being written, and after a writer was killed: then they
are the rows that it wrote last, and the next index drops them.

Memory: per piece a row, per segment 60 bytes; vectors are read in stretches.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stemwise.errors import CatalogueError, ModelError
from stemwise.library.metadata import Metadata
from stemwise.library.store import Store, was_interrupted
from stemwise.library.tables import SCHEMAS, Piece, as_row, reason_of, schema
from stemwise.models.checkpoint import load_model
from stemwise.parts import BLOCK_DIMENSIONS, PARTS

__all__ = ["Finding", "check", "mend"]

LENGTH_TOLERANCE = 2e-3  # the model's 1e-3, and as much for float16
_ROWS_AT_A_TIME = 16384
_PRESENCES = [f"presence_{part}" for part in PARTS]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong."""

    kind: str  # as in the table of this module
    subject: str  # a path, a content hash, the kind of a table, or the model
    text: str

    def __str__(self) -> str:
        """Return the finding as one line."""
        return f"{self.kind} {self.subject}: {self.text}"


def check(store: Store, metadata: Metadata) -> list[Finding]:
    """Return what is wrong with the live tables of a catalogue; nothing if all is well."""
    findings = [*_check_model(metadata), *_check_tables(store)]
    if any(finding.kind == "table" for finding in findings):
        return findings
    interrupted = was_interrupted(store.directory)
    held = store.snapshot()
    pieces = held.pieces()
    findings += [*_check_paths(pieces), *_check_segments(held, _segments_of(pieces))]
    if interrupted or was_interrupted(store.directory):
        findings = [finding for finding in findings if finding.kind != "orphan"]
    return [*findings, *_check_vectors(held)]


def mend(store: Store, findings: Sequence[Finding]) -> None:
    """Repair what `findings` say, as the table of this module tells; the caller has the lock.

    Raises:
        CatalogueError: the table of pieces or of errors is damaged, which nothing can mend.
    """
    subjects = {kind: {f.subject for f in findings if f.kind == kind} for kind in
                ("table", "path", "piece", "vectors", "orphan")}  # fmt: skip
    if lost := subjects["table"] - {"segments"}:
        raise CatalogueError(
            f"the catalogue in {store.directory} cannot be repaired: table {' and '.join(lost)} is "
            "damaged; index into another catalogue"
        )
    store.drop("pieces", "path", subjects["path"])
    broken = subjects["piece"] | subjects["vectors"]
    every = "segments" in subjects["table"]
    waiting = [piece for piece in store.pieces() if every or piece.content in broken]
    store.put("pieces", [as_row(piece) | {"segments": 0} for piece in waiting])
    if every:
        store.replace_segments()
    else:
        store.drop("segments", "content", broken | subjects["orphan"])
    store.remove_orphans()


def _check_model(metadata: Metadata) -> Iterator[Finding]:
    try:
        model = load_model(metadata.model)
    except ModelError as error:
        yield Finding("model", metadata.model, f"cannot be loaded: {error}")
        return
    if model.fingerprint != metadata.fingerprint:
        yield Finding(
            "model", metadata.model,
            f"has fingerprint {model.fingerprint} now; the vectors are of {metadata.fingerprint}",
        )  # fmt: skip


def _check_tables(store: Store) -> Iterator[Finding]:
    for kind in SCHEMAS:
        wanted = schema(kind, store.fingerprint)
        try:
            found = store.table(kind).schema
            if not found.equals(wanted):
                yield Finding("table", kind, "has other columns than it should have")
            elif found.metadata != wanted.metadata:
                stated = (found.metadata or {}).get(b"fingerprint", b"none").decode()
                yield Finding("table", kind, f"is of another model, fingerprint {stated}")
            else:
                for _ in _batches(store, kind, SCHEMAS[kind].names):
                    pass
        except CatalogueError as error:
            yield Finding("table", kind, str(error))


def _check_paths(pieces: Sequence[Piece]) -> Iterator[Finding]:
    rows = Counter(str(piece.path) for piece in pieces)
    for name, number in rows.items():
        if number > 1:
            yield Finding("path", name, f"has {number} rows")
    for piece in pieces:
        if piece.segments < 0 or (piece.segments and not piece.content):
            yield Finding("path", str(piece.path), f"has {piece.segments} segments of no content")


def _segments_of(pieces: Sequence[Piece]) -> dict[str, set[int]]:
    """Return the numbers of segments that the rows of each content name; none for those waiting."""
    counts: dict[str, set[int]] = {}
    for piece in pieces:
        if piece.content:
            counts.setdefault(piece.content, set()).add(piece.segments)
    return {content: numbers for content, numbers in counts.items() if numbers != {0}}


def _check_segments(store: Store, counts: dict[str, set[int]]) -> Iterator[Finding]:
    rows = store.read("segments", ["content", "start_seconds"])
    places = rows.group_by("content").aggregate(
        [("start_seconds", "count"), ("start_seconds", "count_distinct"), ("start_seconds", "min")]
    )
    found = {row["content"]: row for row in places.to_pylist()}
    for content, numbers in sorted(counts.items()):
        wanted = max(numbers)
        row = found.get(content)
        there = row["start_seconds_count"] if row else 0
        if len(numbers) > 1:
            some = " and ".join(map(str, sorted(numbers)))
            yield Finding("piece", content, f"its copies name {some} segments")
        elif there != wanted:
            yield Finding("piece", content, f"has {there} segments in place of {wanted}")
        elif row and row["start_seconds_count_distinct"] != wanted:
            yield Finding("piece", content, "has several segments that start at one time")
        elif row and row["start_seconds_min"] != 0:
            yield Finding("piece", content, f"starts at {row['start_seconds_min']:g} s")
    for content in sorted(found.keys() - counts.keys()):
        number = found[content]["start_seconds_count"]
        yield Finding("orphan", content, f"{number} segments belong to no piece")


def _check_vectors(store: Store) -> Iterator[Finding]:
    told: set[str] = set()
    for batch in _batches(store, "segments", SCHEMAS["segments"].names):
        presence = np.stack([batch[name].to_numpy() for name in _PRESENCES], axis=1)
        numbers = np.stack([batch["level_db"].to_numpy(), batch["start_seconds"].to_numpy()])
        bad = ~np.isfinite(numbers).all(axis=0) | ~((presence >= 0) & (presence <= 1)).all(axis=1)
        silent = ~presence.any(axis=1)
        for part in PARTS:
            flat = pc.list_flatten(batch[part]).to_numpy().astype(np.float32)
            lengths = np.linalg.norm(flat.reshape(-1, BLOCK_DIMENSIONS), axis=1)
            unit = np.abs(lengths - 1) <= LENGTH_TOLERANCE  # false for what is not finite
            bad |= ~(unit | (silent & (lengths == 0)))
        for content in batch["content"].filter(pa.array(bad)).to_pylist():
            if content not in told:
                told.add(content)
                yield Finding(
                    "vectors", content, "a number is not finite, or a vector not of length 1"
                )


def _batches(store: Store, kind: str, columns: list[str]) -> Iterator[Any]:
    """Yield a table in stretches; `CatalogueError` if it cannot be read."""
    query = store.table(kind).search().select(columns).limit(None)
    try:
        yield from query.to_batches(batch_size=_ROWS_AT_A_TIME)
    except (ValueError, RuntimeError, OSError) as error:
        raise CatalogueError(f"cannot be read: {reason_of(error)}") from error
