"""A search that every machine of a cluster takes a share in, for catalogues that fit into none.

`stemwise.library.search` keeps what it knows of every segment in memory, 64 bytes each. Here
nothing is kept: for each segment of the query and each wanted part, the machines list the nearest
segments by index (lance-ray merges their lists); the pieces listed are fetched, five parts and all,
and compared exactly, as on one machine. The answer is *probable*: a piece in no list is not found.

Departures from a search on one machine: no hub terms, which need the whole catalogue, and lists of
one length, which are not doubled until the answer is proven.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stemwise.errors import UsageError, extra
from stemwise.library.calibration import calibration_of
from stemwise.library.catalogue import Catalogue
from stemwise.library.distances import Space
from stemwise.library.filters import Filter
from stemwise.library.matches import SearchResult
from stemwise.library.places import place_of
from stemwise.library.query import Query, stored_query, weight_row
from stemwise.library.search import Question, search
from stemwise.library.selection import Limits
from stemwise.library.store import Store
from stemwise.library.tables import ID_DIGITS, SCHEMAS, Piece
from stemwise.library.vectors import Vectors, vectors_in_memory
from stemwise.parts import BLOCK_DIMENSIONS, PARTS
from stemwise.scale.indexes import at_work, workers

with extra("scale"):
    import lance
    import lance_ray

__all__ = ["similar_on_cluster"]

LISTED = 300


def similar_on_cluster(
    catalogue: Catalogue,
    query: str | Path,
    weights: Mapping[str, float] | None = None,
    n: int = 20,
    *,
    filters: Filter | None = None,
    listed: int = LISTED,
) -> SearchResult:
    """Return the `n` pieces most like `query`: the path, URI, id, content hash or title of a piece.

    Args:
        catalogue: whose indexes `stemwise.scale.indexes` has built; without, every row is compared.
        query: of a piece in the catalogue.
        weights: per part, 0 or more; all five alike if None.
        n: matches at most.
        filters: what a match must be; applied to what the lists hold.
        listed: segments in each list.

    Raises:
        UsageError: no such piece, or several; no weight above 0, or no wanted part sounds in it.
        CatalogueError: the tables cannot be read.
    """
    store = Store(catalogue.directory, catalogue.metadata.fingerprint)
    row = weight_row(weights)
    with at_work(store):
        own = _fetched(store, [_content_of(store, query)])
        whole = stored_query(own, 0, row)
        heard = whole.sounding.any(axis=0) & (row > 0)
        if not heard.any():
            raise UsageError(f"no wanted part sounds in {whole.name}; choose others")
        asks: NDArray[np.bool_] = np.any(whole.sounding & heard, axis=1)
        asked = replace(whole.only(asks), weights=np.where(heard, row, 0))
        contents = _listed(store, asked, listed)
        vectors = _fetched(store, sorted({whole.content, *contents}))
    calibration = calibration_of(own, catalogue.metadata.model, None)
    question = Question(Space.plain(vectors), (asked,), calibration)
    found = search(question, Limits(n, None, collapse=True), filters, exact=True)
    return replace(found, kind="probable")


def _content_of(store: Store, query: str | Path) -> str:
    pieces = lance.dataset(store.uri("pieces"))
    text = str(query)
    tests = [_among("content", [text]), _among("path", [str(place_of(query))])]
    if len(text) == ID_DIGITS:
        tests.append(f"starts_with(content, {_literal(text)})")
    tests.append(f"lower(title) = lower({_literal(text)})")
    for test in tests:
        rows = pieces.to_table(columns=["content"], filter=f"({test}) AND segments > 0")
        found = sorted(set(rows["content"].to_pylist()))
        if len(found) > 1:
            some = ", ".join(content[:ID_DIGITS] for content in found[:5])
            raise UsageError(f"{text!r} fits {len(found)} pieces; choose one by its id: {some}")
        if found:
            return str(found[0])
    raise UsageError(f"no piece in the catalogue has the path, URI, id or title {text!r}")


def _listed(store: Store, query: Query, length: int) -> set[str]:
    """Return the contents of the segments nearest to those of `query`, in each wanted part."""
    segments = lance.dataset(store.uri("segments"))
    found: set[str] = set()
    for part in np.flatnonzero(query.weights):
        for s in np.flatnonzero(query.sounding[:, part]):
            nearest = {"column": PARTS[part], "q": query.embeddings[s, part], "k": length,
                       "metric": "dot", "nprobes": 50}  # fmt: skip
            rows = lance_ray.vector_search(
                segments, nearest=nearest, columns=["content"], num_workers=workers()
            )
            found |= set(rows["content"].to_pylist())
    return found


def _fetched(store: Store, contents: Sequence[str]) -> Vectors:
    """Return the pieces with `contents`, which are sorted, and their segments."""
    where = _among("content", contents)
    names = SCHEMAS["pieces"].names
    rows = lance.dataset(store.uri("pieces")).to_table(columns=names, filter=where).to_pylist()
    pieces: dict[str, Piece] = {}
    for one in sorted(rows, key=lambda one: str(one["path"])):
        piece = Piece(**{**one, "path": place_of(one["path"])})
        if piece.ready:
            pieces.setdefault(piece.content, piece)
    segments = lance.dataset(store.uri("segments")).to_table(
        columns=SCHEMAS["segments"].names, filter=where
    )
    segments = segments.sort_by([("content", "ascending"), ("start_seconds", "ascending")])
    owners = np.array(segments["content"].to_pylist(), np.str_)
    known = sorted(pieces.keys() & set(owners.tolist()))
    first, last = (np.searchsorted(owners, known, side=side) for side in ("left", "right"))
    each = [slice(a, b) for a, b in zip(first, last, strict=True)]
    starts = segments["start_seconds"].to_numpy()
    presence = np.stack([segments[f"presence_{part}"].to_numpy() for part in PARTS], axis=1)
    blocks = [segments[part].combine_chunks().flatten().to_numpy() for part in PARTS]
    shaped = [block.reshape(-1, BLOCK_DIMENSIONS).astype(np.float32) for block in blocks]
    embeddings = np.stack(shaped, axis=1)
    return vectors_in_memory(
        [pieces[content] for content in known],
        [starts[rows] for rows in each],
        [embeddings[rows] for rows in each],
        [presence[rows] for rows in each],
        store.fingerprint,
    )


def _among(column: str, values: Iterable[str]) -> str:
    return f"{column} IN ({', '.join(map(_literal, values))})"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
