"""Make all vectors of a catalogue again with another model, beside the old ones.

Steps:

1. Note the new model in ``catalogue.json`` and make tables of its own.
2. Index every known file that is there into them, as `indexing` does; what an earlier, stopped
   rebuild has done is taken over.
3. Take over the pieces whose file has gone: they have no vectors until it comes back.
4. Name the new model in ``catalogue.json`` as the live one. From that moment searches use it.
5. Give running searches a few seconds, then remove the old tables.

Until step 4 the old vectors are searched, and an index adds to them; after a kill at any moment the
same command goes on.
"""

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stemwise.errors import CatalogueError, UsageError
from stemwise.library.collection import Listing
from stemwise.library.indexing import IndexOptions, Progress, bring_up_to_date
from stemwise.library.places import Place, place_of
from stemwise.library.store import Store
from stemwise.library.tables import Piece, as_row
from stemwise.models.checkpoint import Model

__all__ = ["RebuildSummary", "embed_again"]


@dataclass(frozen=True)
class RebuildSummary:
    """What a rebuild did; known = embedded + taken_over + failed + missing + left."""

    known: int  # files that the catalogue knows, whether they could be used or not
    embedded: int
    taken_over: int  # done by an earlier run
    failed: int
    missing: int  # their file has gone: kept without vectors
    left: int  # for the next run, because of the limit
    switched: bool  # whether searches use the new vectors now
    hours: float  # of music embedded
    seconds: float


def embed_again(
    old: Store,
    new: Store,
    model: Model,
    options: IndexOptions,
    progress: Progress,
    switch: Callable[[], None],
) -> RebuildSummary:
    """Bring `new` to all that `old` knows, and call `switch` if nothing is left to do.

    Raises:
        CatalogueError: not one of the known files is there.
        UsageError: some of them are not on this machine.
    """
    began = time.monotonic()
    pieces = {str(piece.path): piece for piece in old.pieces()}
    failures = {str(failure.path): failure for failure in old.failures()}
    known = pieces.keys() | failures.keys()
    if elsewhere := [name for name in known if isinstance(place_of(name), Place)]:
        raise UsageError(
            f"the catalogue knows {len(elsewhere)} files that are not on this machine (the first: "
            f"{min(elsewhere)}); index them with the other model into another catalogue"
        )
    files = tuple(Path(name) for name in sorted(known) if os.path.isfile(name))
    listing = Listing(files, counts={}, passed_over=())
    if known and not files:
        raise CatalogueError(
            f"none of the {len(known)} known files is there (the first: {min(known)}); is their "
            "drive mounted? Nothing was changed"
        )
    unusable = failures.keys() - {str(path) for path in files}  # or of a name that is no Unicode
    indexed = bring_up_to_date(new, [os.sep], listing, model, options, progress)
    if not indexed.left:
        new.drop("pieces", "path", {str(piece.path) for piece in new.pieces()} - known)
        new.put("errors", [as_row(failures[name]) for name in sorted(unusable)])
        new.put("pieces", _without_file(new, [p for p in pieces.values() if p.content]))
        new.remove_orphans()
        switch()
    return RebuildSummary(
        known=len(known),
        embedded=indexed.added + indexed.updated + indexed.moved,
        taken_over=indexed.unchanged,
        failed=indexed.failed + len(unusable),
        missing=len(known) - len(files) - len(unusable) + indexed.vanished,
        left=indexed.left,
        switched=not indexed.left,
        hours=indexed.hours,
        seconds=time.monotonic() - began,
    )


def _without_file(new: Store, pieces: Iterable[Piece]) -> list[dict[str, Any]]:
    """Return rows for those of `pieces` that `new` does not know: their file has gone."""
    there = {str(failure.path) for failure in new.failures()}
    segments: dict[str, int] = {}
    for piece in new.pieces():
        there.add(str(piece.path))
        segments[piece.content] = max(piece.segments, segments.get(piece.content, 0))
    return [
        as_row(piece) | {"segments": segments.get(piece.content, 0), "missing": True}
        for piece in pieces
        if str(piece.path) not in there
    ]
