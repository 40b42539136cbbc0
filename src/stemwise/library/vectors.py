"""All vectors of a catalogue in memory, ready for an exact search.

Conventions: S segments of P pieces, in order of piece id, then of time. Segments of one piece lie
side by side: piece k owns rows ``offsets[k]`` to ``offsets[k + 1]``.

Memory: 40 bytes per segment, and 512 more for each part that is asked for. A part is read when it
is first wanted. 100,000 segments (about 280 hours) take 55 MB for one part, 260 MB for all five.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stemwise.errors import CatalogueError
from stemwise.library.tables import Piece
from stemwise.parts import BLOCK_DIMENSIONS, PARTS

__all__ = ["PRESENCE_THRESHOLD", "Vectors", "load_vectors", "scan"]

PRESENCE_THRESHOLD = 0.5
"""A part sounds in a segment if its presence is at least this: as likely as not."""


@dataclass(frozen=True)
class Vectors:
    """The segments of all pieces whose file is there; get it from `Catalogue.vectors`."""

    pieces: tuple[Piece, ...]  # (P,) one per content; of copies, the first by path
    copies: dict[str, tuple[Piece, ...]]  # content -> every piece that holds it, by path
    offsets: NDArray[np.int64]  # (P + 1,)
    start_seconds: NDArray[np.float64]  # (S,)
    sounding: NDArray[np.bool_]  # (S, 5)
    _rows: NDArray[np.uint64] = field(repr=False)  # (S,) row ids in the table
    _table: Any = field(repr=False)  # a handle that stays at the version that was opened
    _blocks: dict[int, NDArray[np.float32]] = field(default_factory=dict, repr=False)

    def block(self, part: int) -> NDArray[np.float32]:
        """Return the vectors (S, 128) of the part with index `part`; zeros where all is silent."""
        if part not in self._blocks:
            table = scan(self._table, [PARTS[part]])
            flat = table[PARTS[part]].combine_chunks().flatten().to_numpy()
            stored = table["_rowid"].to_numpy()
            places = np.searchsorted(stored, self._rows)
            self._blocks[part] = flat.reshape(-1, BLOCK_DIMENSIONS)[places]
        return self._blocks[part]

    def rows(self, piece: int) -> slice:
        """Return which segments belong to piece number `piece`."""
        return slice(int(self.offsets[piece]), int(self.offsets[piece + 1]))


def scan(table: Any, columns: Sequence[str]) -> pa.Table:
    """Return whole columns of a LanceDB table and their ``_rowid``, in the order of the latter.

    Raises `CatalogueError` if a file of the table is missing or damaged.
    """
    try:
        query = table.search().select(list(columns)).with_row_id(True)
        return query.limit(None).to_arrow().sort_by("_rowid")
    except (ValueError, RuntimeError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise CatalogueError(
            f"a table of the catalogue cannot be read (if it is being indexed, try again): {reason}"
        ) from error


def load_vectors(pieces: Sequence[Piece], table: Any) -> Vectors:
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
    presence = np.stack([stored[name].to_numpy() for name in presences], axis=1)
    return Vectors(
        pieces=tuple(copies[name][0] for name in order_of),
        copies=copies,
        offsets=np.searchsorted(rank[order], np.arange(len(order_of) + 1)),
        start_seconds=start_seconds[order],
        sounding=presence[order] >= PRESENCE_THRESHOLD,
        _rows=stored["_rowid"].to_numpy()[order],
        _table=table,
    )
