"""All vectors of a catalogue, ready for search: read part by part, kept in memory while few.

Conventions: S segments of P pieces, in order of content, then of time. Segments of one piece lie
side by side: piece k owns rows ``offsets[k]`` to ``offsets[k + 1]``. Vectors come out as float32,
however they are stored.

Memory: 64 bytes per segment, and 512 more for each part that is asked for as a whole (`block`). A
part is read when it is first wanted. 100,000 segments (about 280 hours) take 57 MB for one part,
262 MB for all five. Few rows of a part (`gather`) are read from the table and not kept, and so is a
part of a large catalogue that is only averaged (`means`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stemwise.errors import CatalogueError
from stemwise.library.tables import Piece
from stemwise.parts import BLOCK_DIMENSIONS, PARTS

__all__ = ["MOST_IN_MEMORY", "PRESENCE_THRESHOLD", "RECORDING_RADIUS", "Floats", "Rows", "Vectors",
           "load_vectors", "scan", "vectors_in_memory"]  # fmt: skip

PRESENCE_THRESHOLD = 0.5
"""A part sounds in a segment if its presence is at least this: as likely as not."""

MOST_IN_MEMORY = 300_000
"""Up to so many segments (12,000 songs) a part is kept once many of its rows are wanted."""

RECORDING_RADIUS = 0.02
"""Files are of one recording up to this distance, where a model's calibration says no other."""

_FEW_ROWS = 4096
_SHARE_TO_SCAN = 8  # taking one row in eight by its number costs what reading all does

Floats = NDArray[np.float32]
Rows = slice | NDArray[np.int64]


@dataclass(frozen=True)
class Vectors:
    """The segments of all pieces whose file is there; get it from `Catalogue.vectors`."""

    pieces: tuple[Piece, ...]  # (P,) one per content; of copies, the first by path
    copies: dict[str, tuple[Piece, ...]]  # content -> every piece that holds it, by path
    offsets: NDArray[np.int64]  # (P + 1,)
    start_seconds: NDArray[np.float64]  # (S,)
    presence: Floats  # (S, 5), 0..1
    sounding: NDArray[np.bool_]  # (S, 5), presence at or above the threshold
    row_ids: NDArray[np.uint64] = field(repr=False)  # (S,) in the table
    table: Any = field(repr=False)  # a handle that stays at the version that was opened
    fingerprint: str = ""  # of the model that made them
    recording_radius: float = RECORDING_RADIUS  # see `stemwise.library.duplicates`
    _blocks: dict[int, Floats] = field(default_factory=dict, repr=False)
    _means: dict[int, Floats] = field(default_factory=dict, repr=False)

    def rows(self, piece: int) -> slice:
        """Return which segments belong to piece number `piece`."""
        return slice(int(self.offsets[piece]), int(self.offsets[piece + 1]))

    def rows_of(self, pieces: NDArray[np.int64]) -> tuple[Rows, NDArray[np.int64]]:
        """Return the segments of `pieces` (K,), side by side, and where each begins there (K + 1,).

        The rows are a slice if the pieces follow each other.
        """
        counts = self.offsets[pieces + 1] - self.offsets[pieces]
        bounds = np.concatenate([[0], np.cumsum(counts)])
        if len(pieces) and (np.diff(pieces) == 1).all():
            return slice(int(self.offsets[pieces[0]]), int(self.offsets[pieces[-1] + 1])), bounds
        first = np.repeat(self.offsets[pieces] - bounds[:-1], counts)
        return first + np.arange(bounds[-1]), bounds

    @cached_property
    def owners(self) -> NDArray[np.int32]:
        """The number of the piece (S,) that each segment belongs to."""
        numbers = np.arange(len(self.pieces), dtype=np.int32)
        return np.repeat(numbers, np.diff(self.offsets))

    def subset(self, pieces: NDArray[np.int64], parts: Sequence[int] = ()) -> "Vectors":
        """Return the vectors of some `pieces` by number, in that order, with `parts` in memory."""
        rows, bounds = self.rows_of(pieces)
        chosen = tuple(self.pieces[k] for k in pieces)
        blocks = {part: block[rows] for part, block in self._blocks.items()}
        missing = [part for part in parts if part not in blocks]
        if missing and len(self.owners) > _FEW_ROWS:
            blocks |= self._take(missing, rows)
        elif missing:
            blocks |= {part: self.block(part)[rows] for part in missing}
        return Vectors(
            pieces=chosen,
            copies={piece.content: self.copies[piece.content] for piece in chosen},
            offsets=bounds,
            start_seconds=self.start_seconds[rows],
            presence=self.presence[rows],
            sounding=self.sounding[rows],
            row_ids=self.row_ids[rows],
            table=self.table,
            fingerprint=self.fingerprint,
            recording_radius=self.recording_radius,
            _blocks=blocks,
        )

    def number_of(self, content: str) -> int | None:
        """Return the number of the piece with `content`; None if there is none."""
        return self._numbers.get(content)

    def positions(self, row_ids: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the segments with `row_ids` (R,) in the table; -1 for what is not among them."""
        if not len(self.row_ids):
            return np.full(len(row_ids), -1)
        order = self._by_row_id
        places = np.searchsorted(self.row_ids, row_ids, sorter=order)
        found = order[np.minimum(places, len(order) - 1)]
        return np.where(self.row_ids[found] == row_ids, found, -1)

    def block(self, part: int) -> Floats:
        """Return the vectors (S, 128) of the part with index `part`, and keep them in memory.

        Zeros where all is silent.
        """
        if part not in self._blocks:
            self._blocks[part] = self._read(part)
        return self._blocks[part]

    def whole(self, part: int) -> Floats:
        """Return what `block` does, but keep it only if the catalogue is not large."""
        if part in self._blocks or len(self.owners) <= MOST_IN_MEMORY:
            return self.block(part)
        return self._read(part)

    def gather(self, part: int, rows: Rows) -> Floats:
        """Return the vectors (R, 128) of `rows`: of many, by `block` if all may be kept."""
        many = len(self.owners[rows]) > _FEW_ROWS and len(self.owners) <= MOST_IN_MEMORY
        if part in self._blocks or many:
            return self.block(part)[rows]
        return self.take(part, rows)

    def take(self, part: int, rows: Rows) -> Floats:
        """Return the vectors (R, 128) of `rows`, however many, without keeping a large part."""
        if part in self._blocks or len(self.owners) <= _FEW_ROWS:
            return self.block(part)[rows]
        return self._take([part], rows)[part]

    def take_all(self, rows: Rows) -> Floats:
        """Return the vectors (R, 5, 128) of `rows` in all parts, without keeping a large part."""
        missing = [part for part in range(len(PARTS)) if part not in self._blocks]
        read = self._take(missing, rows) if missing and len(self.owners) > _FEW_ROWS else {}
        found = np.empty((len(self.owners[rows]), len(PARTS), BLOCK_DIMENSIONS), np.float32)
        for part in range(len(PARTS)):
            found[:, part] = read[part] if part in read else self.block(part)[rows]
        return found

    def means(self, part: int) -> Floats:
        """Return the mean (P, 128) of the vectors of the segments in which a part sounds.

        Zeros where it sounds in none.
        """
        if part not in self._means:
            whole = self.whole(part)
            sums = np.zeros((len(self.pieces), BLOCK_DIMENSIONS), np.float32)
            for k in range(len(self.pieces)):
                rows = self.rows(k)
                sums[k] = self.sounding[rows, part].astype(np.float32) @ whole[rows]
            sums /= np.maximum(self.counts(part), 1)[:, None]
            self._means[part] = sums
        return self._means[part]

    def counts(self, part: int) -> NDArray[np.int64]:
        """Return in how many segments (P,) of each piece a part sounds."""
        return self._counts[:, part]

    def runs(self, pieces: NDArray[np.int64], most_rows: int) -> Iterator[NDArray[np.int64]]:
        """Yield `pieces`, some at a time: as many as have `most_rows` together, one at least."""
        ends = np.cumsum(self.offsets[pieces + 1] - self.offsets[pieces])
        first = 0
        while first < len(pieces):
            limit = (ends[first - 1] if first else 0) + most_rows
            last = max(int(np.searchsorted(ends, limit, side="right")), first + 1)
            yield pieces[first:last]
            first = last

    @cached_property
    def durations_seconds(self) -> NDArray[np.float64]:
        """How long each piece lasts (P,)."""
        return np.array([piece.duration_seconds for piece in self.pieces])

    @cached_property
    def _counts(self) -> NDArray[np.int64]:
        so_far = np.zeros((len(self.sounding) + 1, len(PARTS)), np.int64)
        np.cumsum(self.sounding, axis=0, out=so_far[1:])
        counts: NDArray[np.int64] = np.diff(so_far[self.offsets], axis=0)
        return counts

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {piece.content: k for k, piece in enumerate(self.pieces)}

    @cached_property
    def _by_row_id(self) -> NDArray[np.int64]:
        return np.argsort(self.row_ids)

    def _read(self, part: int) -> Floats:
        if len(self.row_ids) * _SHARE_TO_SCAN < self.table.count_rows():
            return self._take([part], slice(None))[part]
        table = scan(self.table, [PARTS[part]])
        places = np.searchsorted(table["_rowid"].to_numpy(), self.row_ids)
        whole = _matrix(table[PARTS[part]])
        in_order = len(places) == len(whole) and (np.diff(places) == 1).all()
        return whole if in_order else whole[places]

    def _take(self, parts: Sequence[int], rows: Rows) -> dict[int, Floats]:
        names = [PARTS[part] for part in parts]
        ids = self.row_ids[rows]
        found = _arrow(self.table.take_row_ids(ids.tolist()).select(names).with_row_id())
        stored = found["_rowid"].to_numpy()
        order = np.argsort(stored)
        places = order[np.searchsorted(stored, ids, sorter=order)]
        return {part: _matrix(found[PARTS[part]])[places] for part in parts}


def scan(table: Any, columns: Sequence[str]) -> pa.Table:
    """Return whole columns of a LanceDB table and their ``_rowid``, in the order of the latter.

    Raises `CatalogueError` if a file of the table is missing or damaged.
    """
    query = table.search().select(list(columns)).with_row_id(True).limit(None)
    return _arrow(query).sort_by("_rowid")


def load_vectors(
    pieces: Sequence[Piece], table: Any, recording_radius: float = RECORDING_RADIUS
) -> Vectors:
    """Return the segments of `pieces` in `table`, a handle on "segments"; pieces come by path.

    Pieces whose segments are not there are left out.
    """
    copies: dict[str, tuple[Piece, ...]] = {}
    for piece in pieces:
        copies[piece.content] = (*copies.get(piece.content, ()), piece)
    presences = [f"presence_{part}" for part in PARTS]
    stored = scan(table, ["content", "start_seconds", *presences])
    codes = stored["content"].combine_chunks().dictionary_encode()
    names = codes.dictionary.to_pylist()
    order_of = {name: i for i, name in enumerate(sorted(set(names) & copies.keys()))}
    rank = np.array([order_of.get(name, -1) for name in names], np.int64)
    rank = rank[codes.indices.to_numpy()] if len(stored) else rank
    start_seconds = stored["start_seconds"].to_numpy()
    order = np.lexsort((start_seconds, rank))[np.count_nonzero(rank < 0) :]
    presence = np.stack([stored[name].to_numpy() for name in presences], axis=1)[order]
    return Vectors(
        pieces=tuple(copies[name][0] for name in order_of),
        copies=copies,
        offsets=np.searchsorted(rank[order], np.arange(len(order_of) + 1)),
        start_seconds=start_seconds[order],
        presence=presence,
        sounding=presence >= PRESENCE_THRESHOLD,
        row_ids=stored["_rowid"].to_numpy()[order],
        table=table,
        fingerprint=(table.schema.metadata or {}).get(b"fingerprint", b"").decode(),
        recording_radius=recording_radius,
    )


def vectors_in_memory(
    pieces: Sequence[Piece],
    start_seconds: Sequence[NDArray[np.float64]],
    embeddings: Sequence[Floats],
    presence: Sequence[Floats],
    fingerprint: str = "",
) -> Vectors:
    """Return vectors that no catalogue holds: per piece (S,), (S, 5, 128) and (S, 5).

    Pieces of different content, in the order of their contents.

    Raises:
        ValueError: contents are not in order, or repeated.
    """
    contents = [piece.content for piece in pieces]
    if contents != sorted(set(contents)):
        raise ValueError(f"contents must rise and differ, got {contents[:5]}…")
    counts = [len(starts) for starts in start_seconds]
    joined = np.concatenate([np.zeros((0, len(PARTS)), np.float32), *presence])
    blocks = np.concatenate([np.zeros((0, len(PARTS), BLOCK_DIMENSIONS), np.float32), *embeddings])
    return Vectors(
        pieces=tuple(pieces),
        copies={piece.content: (piece,) for piece in pieces},
        offsets=np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]),
        start_seconds=np.concatenate([np.zeros(0), *start_seconds]),
        presence=joined,
        sounding=joined >= PRESENCE_THRESHOLD,
        row_ids=np.arange(len(joined), dtype=np.uint64),
        table=None,
        fingerprint=fingerprint,
        _blocks={i: np.ascontiguousarray(blocks[:, i]) for i in range(len(PARTS))},
    )


def _arrow(query: Any) -> pa.Table:
    try:
        return query.to_arrow()
    except (ValueError, RuntimeError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise CatalogueError(
            f"a table of the catalogue cannot be read (if it is being indexed, try again): {reason}"
        ) from error


def _matrix(column: pa.ChunkedArray) -> Floats:
    """Return a column of vectors as (R, 128) float32."""
    flat = column.combine_chunks().flatten().to_numpy()
    whole: Floats = flat.reshape(-1, BLOCK_DIMENSIONS).astype(np.float32, copy=False)
    return whole
