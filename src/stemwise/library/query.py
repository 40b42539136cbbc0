"""What is asked for: examples in words, and the segments they stand for.

An **example** is a piece or a file, a stretch of it, a weight per part, and whether it is to be
come near to or to move away from. A **query** is an example with its segments: those of the stretch
in which at least one wanted part sounds.

In one line of text, as the command line takes it::

    PIECE[@FROM-TO][:PARTS]        "Blue in Green@0:10-0:20:bass=1"   "song.mp3@0:42"   "B:drums"

PIECE is a file, an id, a title or a part of one; FROM and TO are times, of which one may be left
out; PARTS are as in ``drums=1,bass=0.5``. The end of the text counts as a stretch or as parts only
if it reads wholly as such, so that a title may hold ``@`` and ``:``.
"""

import dataclasses
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stemwise.clock import clock, read_clock
from stemwise.errors import UsageError
from stemwise.library.duplicates import Recording
from stemwise.library.embed import FileEmbedding, content_hash, embed_file
from stemwise.library.tables import Piece
from stemwise.library.vectors import Floats, Vectors
from stemwise.models.checkpoint import Model, load_model
from stemwise.parts import BLOCK_DIMENSIONS, PARTS, index, parse_weights

if TYPE_CHECKING:
    from stemwise.library.catalogue import Catalogue
    from stemwise.library.snapshot import Snapshot

__all__ = ["Example", "Query", "parse_example", "resolve", "stored_query", "weight_row"]

_CLOCK = r"\d+(?::\d+){0,2}(?:\.\d*)?"
_PART = rf"(?:{'|'.join(PARTS)})(?:=[^,:=]*)?"
_FORM = re.compile(
    rf"(?P<piece>.+?)(?:@(?=[\d-])(?P<start>{_CLOCK})?(?:-(?P<end>{_CLOCK})?)?)?"
    rf"(?::(?P<parts>{_PART}(?:,{_PART})*))?",
    re.DOTALL,
)


@dataclass(frozen=True)
class Example:
    """A stretch of a piece that matches should, or should not, sound like.

    Attributes:
        piece: a music file, in the catalogue or not, or the id or title of a piece in it; or a
            piece itself, or what `stemwise.library.embed` made of a file, which is not read again.
        weights: per part, 0 or more; those of the whole search if None.
        start_seconds: where the stretch begins; the start if None.
        end_seconds: where it ends; the end if None. Segments count if any of them lies in it.
        away: move away from it, rather than come near.
    """

    piece: str | Path | Piece | FileEmbedding
    weights: Mapping[str, float] | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None
    away: bool = False


@dataclass(frozen=True)
class Query:
    """The Q segments of an example in which a wanted part sounds."""

    name: str  # title or file name, and the stretch if one was given
    content: str  # of its file
    duration_seconds: float  # of the whole piece
    start_seconds: NDArray[np.float64]  # (Q,)
    embeddings: Floats  # (Q, 5, 128); blocks of parts that are not wanted may be zeros
    sounding: NDArray[np.bool_]  # (Q, 5)
    weights: NDArray[np.float64]  # (5,) of the wanted parts that sound in one of the segments
    away: bool = False
    absent_parts: tuple[str, ...] = ()  # wanted, but silent in the stretch
    recording: Recording | None = None  # the whole file, if it is not in the catalogue

    @property
    def shares(self) -> NDArray[np.float64]:
        """What each part counts in each segment (Q, 5); a row sums to 1, silent parts have 0."""
        asked = self.sounding * self.weights
        shares: NDArray[np.float64] = asked / asked.sum(axis=1, keepdims=True)
        return shares

    def only(self, chosen: NDArray[np.bool_] | slice) -> "Query":
        """Return the query with some of its segments."""
        return dataclasses.replace(
            self,
            start_seconds=self.start_seconds[chosen],
            embeddings=self.embeddings[chosen],
            sounding=self.sounding[chosen],
        )


def parse_example(text: str, *, away: bool = False) -> Example:
    """Return the example that `text` names; see the module's text.

    Raises:
        UsageError: no piece is named, or a time or weight is wrong.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise UsageError(f"{text!r} names no piece; write PIECE@FROM-TO:PARTS, such as B:drums=1")
    start, end, parts = found["start"], found["end"], found["parts"]
    if os.path.isfile(text) or not (start or end or parts):
        return Example(text, away=away)
    return Example(
        piece=found["piece"],
        weights=parse_weights(parts) if parts else None,
        start_seconds=read_clock(start) if start else None,
        end_seconds=read_clock(end) if end else None,
        away=away,
    )


def weight_row(weights: Mapping[str, float] | None) -> NDArray[np.float64]:
    """Return `weights` as (5,), all 1 if None; `UsageError` if one is wrong or none is above 0."""
    row = np.zeros(len(PARTS))
    for part, weight in (weights if weights is not None else dict.fromkeys(PARTS, 1.0)).items():
        if not 0 <= weight < np.inf:
            raise UsageError(f"the weight of {part} must be a finite number, 0 or more: {weight}")
        row[index(part)] = weight
    if not row.any():
        raise UsageError("no part has a weight above 0; choose at least one")
    return row


def resolve(
    catalogue: "Catalogue | Snapshot",
    example: Example,
    weights: NDArray[np.float64],
    model: Model | None,
) -> Query:
    """Return the segments of `example`, stored ones if the catalogue has them.

    Args:
        catalogue: where pieces are looked up.
        example: what is asked for.
        weights: (5,) for an example that has none of its own.
        model: for a file outside the catalogue; the catalogue's own is loaded if None.

    Raises:
        UsageError: unknown piece or part, no weight above 0, a stretch outside the piece, or none
            of the wanted parts sounds in it.
        AudioError: a file outside the catalogue cannot be decoded.
        FingerprintError: `model` is not the one that made the catalogue.
    """
    row = weights if example.weights is None else weight_row(example.weights)
    whole = _whole(catalogue, example, row, model)
    query = _stretch(whole, example, catalogue.metadata.segment_seconds)
    wanted = query.weights > 0
    heard = wanted & query.sounding.any(axis=0)
    if not heard.any():
        silent = " or ".join(part for part in PARTS if wanted[index(part)])
        others = ", ".join(part for part in PARTS if query.sounding[:, index(part)].any())
        raise UsageError(
            f"no {silent} sounds in {query.name}; what sounds there: {others or 'nothing'}"
        )
    absent = tuple(part for part in PARTS if wanted[index(part)] and not heard[index(part)])
    asks: NDArray[np.bool_] = np.any(query.sounding & heard, axis=1)
    return dataclasses.replace(
        query.only(asks), weights=np.where(heard, query.weights, 0), absent_parts=absent
    )


def _whole(
    catalogue: "Catalogue | Snapshot",
    example: Example,
    row: NDArray[np.float64],
    model: Model | None,
) -> Query:
    """Return all segments of the piece; of a stored one, the blocks of the wanted parts."""
    vectors = catalogue.vectors()
    given = example.piece
    if isinstance(given, FileEmbedding):
        content, name = given.content, given.path.name
    elif isinstance(given, Piece):
        content, name = given.content, given.title
    elif os.path.isfile(given):
        content, name = content_hash(given), Path(given).name
    else:
        piece = catalogue.find(str(given))
        content, name = piece.content, piece.title
    k = vectors.number_of(content)
    if k is not None:
        return dataclasses.replace(stored_query(vectors, k, row), away=example.away)
    if isinstance(given, Piece):
        raise UsageError(f"{name} cannot be searched by: the catalogue does not hold it any more")
    if isinstance(given, FileEmbedding):
        found = given
    else:
        model = load_model(catalogue.metadata.model) if model is None else model
        catalogue.check_fingerprint(model)
        found = embed_file(given, model)
    recording = Recording(
        found.duration_seconds, found.start_seconds, found.embeddings, found.presence
    )
    return Query(
        name, content, found.duration_seconds, found.start_seconds, found.embeddings,
        recording.sounding, row, example.away, recording=recording,
    )  # fmt: skip


def stored_query(vectors: Vectors, piece: int, weights: NDArray[np.float64]) -> Query:
    """Return all segments of piece number `piece`, with the blocks of the parts that have a weight.

    Blocks are brought to length 1, which they may have lost where they are stored.
    """
    known, rows = vectors.pieces[piece], vectors.rows(piece)
    sounding = vectors.sounding[rows]
    embeddings = np.zeros((*sounding.shape, BLOCK_DIMENSIONS), np.float32)
    for part in np.flatnonzero(weights):
        block = vectors.gather(int(part), rows)
        lengths = np.linalg.norm(block, axis=1, keepdims=True)
        embeddings[:, part] = block / np.where(lengths > 0, lengths, 1)
    return Query(
        known.title, known.content, known.duration_seconds, vectors.start_seconds[rows],
        embeddings, sounding, weights,
    )  # fmt: skip


def _stretch(query: Query, example: Example, segment_seconds: float) -> Query:
    """Return the segments of `query` that reach into the stretch, and its name with the stretch."""
    start_seconds, end_seconds = example.start_seconds, example.end_seconds
    if start_seconds is None and end_seconds is None:
        return query
    first = 0.0 if start_seconds is None else start_seconds
    last = np.inf if end_seconds is None else end_seconds
    end = "the end" if end_seconds is None else clock(end_seconds)
    stretch = f"{clock(first)}–{end}"
    if not 0 <= first < last:
        raise UsageError(f"a stretch must end after it starts: {stretch}")
    ends = np.minimum(query.start_seconds + segment_seconds, query.duration_seconds)
    inside = (query.start_seconds < last) & (ends > first)
    if not inside.any():
        raise UsageError(
            f"{query.name} lasts {clock(query.duration_seconds)}; nothing lies in {stretch}"
        )
    return dataclasses.replace(query.only(inside), name=f"{query.name} {stretch}")
