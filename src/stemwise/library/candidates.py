"""Candidates for a search in a large catalogue, from one approximate index per part.

While a catalogue has up to `MOST_IN_MEMORY` segments, all are compared: that is exact, and faster.
Beyond, and once `keep_indexes` was called, a search for one or two parts goes in rounds:

1. For each segment s of the query and each wanted part p, list the K segments nearest in p.
2. A piece is at least as far as its **bound**: in each (s, p) the nearest of its listed segments,
   or if none is listed the last of the list, r_p(s). A piece in no list has the bound

       T = Σ_s a_s Σ_p w_sp r_p(s),   a_s what s counts, w_sp what p counts in s.

3. Compute the exact distances of listed pieces in the order of their bounds, until no piece left
   can be among the best (Fagin's threshold algorithm).
4. If even T is no better than the last of the best, the search is over; else K is doubled, up to
   20,000 or one segment in twenty, whichever is more.

With exact lists that would be exact. The lists come from vectors coded with few bits, which may
miss a segment, so the result is called *probable*. Recall is measured in benchmarks/search.py.

The index is Lance's IVF_RQ by dot product: blocks have length 1, so ‖q − x‖² = 2 − 2 q·x.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from lancedb.index import IvfRq
from numpy.typing import NDArray

from stemwise.library.distances import FARTHEST, Space
from stemwise.library.query import Query
from stemwise.library.vectors import MOST_IN_MEMORY, Floats
from stemwise.parts import PARTS

__all__ = [
    "BITS",
    "ROWS_PER_PARTITION",
    "SAMPLES_PER_PARTITION",
    "Round",
    "build_indexes",
    "has_indexes",
    "keep_indexes",
    "nearest",
    "needs_indexes",
    "rounds",
]

BITS = 5
FIRST_LIST = 300
LONGEST_LIST = 20_000
_SHARE_LISTED = 20  # in a very large catalogue, one segment in so many
ROWS_PER_PARTITION = 4096
_SHARE_PROBED = 16  # of the partitions, one in so many, and no fewer than
_FEWEST_PROBES = 50
SAMPLES_PER_PARTITION = 64


@dataclass(frozen=True)
class Round:
    """What one length of the lists tells.

    Attributes:
        pieces: (K,) numbers of the pieces in a list, by bound.
        bounds: (K,) their least possible distances.
        unseen: the least possible distance of all other pieces.
    """

    pieces: NDArray[np.int64]
    bounds: NDArray[np.float64]
    unseen: float


def build_indexes(table: Any, *, bits: int = BITS) -> None:
    """Build the index of each part of `table`, a handle on "segments"; or build it anew.

    Rows added later are found without it, more slowly, until the table is optimized.
    """
    partitions = max(1, table.count_rows() // ROWS_PER_PARTITION)
    for part in PARTS:
        config = IvfRq(
            distance_type="dot",
            num_bits=bits,
            num_partitions=partitions,
            sample_rate=SAMPLES_PER_PARTITION,
        )
        table.create_index(part, config=config, wait_timeout=timedelta(days=1))


def keep_indexes(table: Any, most: int = MOST_IN_MEMORY) -> bool:
    """Build the indexes of a table that has become large; return whether that was done.

    To be called by the one who writes, after adding rows. They are built anew once half of the rows
    are not in them; up to that, ``table.optimize()`` adds rows to them.
    """
    if not needs_indexes(table, most):
        return False
    build_indexes(table)
    return True


def needs_indexes(table: Any, most: int = MOST_IN_MEMORY) -> bool:
    """Tell whether a table is large, and at least half of its rows are in no index."""
    rows = table.count_rows()
    if rows <= most:
        return False
    if not has_indexes(table):
        return True
    stats = [table.index_stats(i.name) for i in table.list_indices() if i.columns[0] in PARTS]
    return bool(2 * min(each.num_indexed_rows for each in stats) < rows)


def has_indexes(table: Any) -> bool:
    """Tell whether every part has an index."""
    indexed = {tuple(index.columns) for index in table.list_indices()}
    return indexed >= {(part,) for part in PARTS}


def rounds(space: Space, queries: Sequence[tuple[float, Query]]) -> Iterator[Round]:
    """Yield rounds with longer and longer lists.

    Args:
        space: a catalogue that has indexes.
        queries: what each counts, summing to 1, and its segments.
    """
    segments = len(space.vectors.row_ids)
    longest = min(max(LONGEST_LIST, segments // _SHARE_LISTED), segments)
    length = min(FIRST_LIST, longest)
    while True:
        yield _round(space, queries, length)
        if length == longest:
            return
        length = min(2 * length, longest)


def _round(space: Space, queries: Sequence[tuple[float, Query]], length: int) -> Round:
    gains = np.zeros(len(space.vectors.pieces))
    unseen = 0.0
    for count, query in queries:
        shares = query.shares * (count / len(query.start_seconds))  # (Q, 5)
        for part in np.flatnonzero(query.weights):
            asking = np.flatnonzero(shares[:, part])
            terms = space.hub_terms[:, part]
            found = nearest(space, query.embeddings[asking, part], int(part), length)
            for s, (rows, apart, last) in zip(asking, found, strict=True):
                last -= terms.max()
                unseen += shares[s, part] * last
                owners = space.vectors.owners[rows]
                apart = np.where(space.vectors.sounding[rows, part], apart - terms[owners], last)
                best = np.full(len(gains), last)
                np.minimum.at(best, owners, apart)
                gains += shares[s, part] * (last - best)
    listed = np.flatnonzero(gains > 0)
    bounds = unseen - gains[listed]
    order = np.argsort(bounds, kind="stable")
    return Round(listed[order], bounds[order], unseen)


def nearest(
    space: Space, vectors: Floats, part: int, length: int
) -> list[tuple[NDArray[np.int64], NDArray[np.float64], float]]:
    """Return for each of `vectors` (Q, 128) the `length` nearest segments, by the index of a part.

    They are rows (K,), their distances ‖q − x‖² (K,), nearly right, and the largest distance of the
    list. Rows that are not among the space's vectors are left out.
    """
    table = space.vectors.table
    partitions = len(space.vectors.row_ids) // ROWS_PER_PARTITION
    probes = max(_FEWEST_PROBES, partitions // _SHARE_PROBED)
    query = table.search(list(vectors), vector_column_name=PARTS[part], query_type="vector")
    query = query.distance_type("dot").nprobes(probes).select(["_distance"]).with_row_id(True)
    found: pa.Table = query.limit(length).to_arrow()
    numbers = np.zeros(len(found), np.int64)
    if "query_index" in found.column_names:  # there are several queries
        numbers = found["query_index"].to_numpy()
    rows = space.vectors.positions(found["_rowid"].to_numpy())
    apart = np.clip(2 * found["_distance"].to_numpy().astype(np.float64), 0, FARTHEST)
    lists = []
    for s in range(len(vectors)):
        listed = numbers == s
        own = listed & (rows >= 0)
        lists.append((rows[own], apart[own], float(apart[listed].max(initial=0))))
    return lists
