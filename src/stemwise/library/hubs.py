"""Hubs: pieces that are near to everything, and what is done about them.

N_k is the number of lists of k nearest pieces in which a piece occurs. In spaces of many dimensions
some pieces, the *hubs*, are in very many lists, and others in none, whatever they sound like. It is
told by the skewness of N_k, E[(N_k − mean)³] / deviation³: 0 if hubs are as rare as their opposite.

They are countered by local scaling (CSLS), here with one term per piece and part. The **closeness**
of piece c in part p is its mean distance to the ten nearest of a sample of other pieces:

    ρ_p(c) = mean of the 10 smallest over pieces a ≠ c of min over sampled s of a, t of c of d_p
    h_p(c) = (ρ_p(c) − mean of ρ_p over all pieces) / 2

and h_p(c) is subtracted from the distances of c in p, so that a piece near to everything comes
later. The sample is 1,000 segments, spread evenly. It is drawn again only when the catalogue has
grown or shrunk fourfold; till then distances do not move but by a constant. In a catalogue of fewer
than 30 pieces all terms are 0. Each piece of the sample counts once, so that another file of the
same recording is one of ten.

The closeness is kept in the catalogue's folder ``search`` and computed once per piece.

References: Radovanović, Nanopoulos, Ivanović, "Hubs in Space", JMLR 11, 2010; Conneau et al., "Word
Translation without Parallel Data" (CSLS), ICLR 2018; Schnitzer et al., "Local and Global Scaling
Reduce Hubs in Space", JMLR 13, 2012.
"""

import contextlib
import uuid
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stemwise.library.distances import FARTHEST, Space, piece_distances
from stemwise.library.query import stored_query
from stemwise.library.vectors import Floats, Vectors
from stemwise.parts import PARTS, index

if TYPE_CHECKING:
    from stemwise.library.catalogue import Catalogue

__all__ = ["FEWEST_PIECES", "Hubness", "Sample", "closeness", "draw_sample", "hub_terms", "hubness",
           "hubness_of",           "skewness", "terms_of"]  # fmt: skip

FEWEST_PIECES = 30
SAMPLE_SEGMENTS = 1000
NEIGHBOURS = 10
_GROWTH = 4
_ROWS_AT_A_TIME = 16384
_QUERIES = 1000


@dataclass(frozen=True)
class Hubness:
    """How unevenly the pieces of a catalogue are found in one part."""

    part: str
    pieces: int  # in which the part sounds
    skewness: float  # of N_10
    largest: float  # share of the lists, 0..1, that hold the largest hub
    never: float  # share of the pieces, 0..1, that are in no list
    hub: str  # title of the largest hub


@dataclass(frozen=True)
class Sample:
    """Segments, R of them by content, that closeness is measured against."""

    contents: NDArray[np.str_]  # (R,), sorted
    embeddings: Floats  # (R, 128)
    pieces: int  # in the catalogue when they were drawn


def draw_sample(vectors: Vectors, part: int) -> Sample:
    """Return 1,000 segments at most in which `part` sounds, evenly over all of them."""
    sounding = np.flatnonzero(vectors.sounding[:, part])
    count = min(SAMPLE_SEGMENTS, len(sounding))
    rows = sounding[np.linspace(0, len(sounding) - 1, count).astype(np.int64)]
    contents = np.array([vectors.pieces[k].content for k in vectors.owners[rows]], np.str_)
    return Sample(contents, vectors.take(part, rows), len(vectors.pieces))


def closeness(
    vectors: Vectors, part: int, sample: Sample, pieces: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return ρ (K,) of some `pieces`; nan where the part does not sound, or nothing is near."""
    found = np.full(len(pieces), np.nan)
    if not len(sample.contents) or not len(pieces):
        return found
    whole = vectors.whole(part)
    names, groups = np.unique(sample.contents, return_index=True)
    done = 0
    for some in vectors.runs(pieces, _ROWS_AT_A_TIME):
        rows, bounds = vectors.rows_of(some)
        apart = np.clip(2 - 2 * (sample.embeddings @ whole[rows].T), 0, FARTHEST)
        apart[:, ~vectors.sounding[rows, part]] = np.inf
        apart = np.minimum.reduceat(apart, bounds[:-1], axis=1)
        apart = np.minimum.reduceat(apart, groups, axis=0)  # (sampled pieces, some)
        own = np.array([[vectors.pieces[k].content for k in some]])
        apart[names[:, None] == own] = np.inf
        apart = np.sort(apart, axis=0)[:NEIGHBOURS]
        heard = np.isfinite(apart)
        sums = np.where(heard, apart, 0).sum(axis=0, dtype=np.float64)
        counts = heard.sum(axis=0)
        found[done : done + len(some)] = np.where(counts, sums / np.maximum(counts, 1), np.nan)
        done += len(some)
    return found


def terms_of(nearness: NDArray[np.float64]) -> Floats:
    """Return the hub terms h (P,) that follow from ρ (P,); 0 where that is nan."""
    known = np.isfinite(nearness)
    terms = np.zeros(len(nearness), np.float32)
    if known.any():
        terms[known] = (nearness[known] - nearness[known].mean()) / 2
    return terms


def hub_terms(vectors: Vectors, parts: NDArray[np.int64], folder: Path | None) -> Floats:
    """Return the hub terms (P, 5) of `parts`, from the files in `folder` as far as they are there.

    What is new is computed, and written to `folder` if that can be written; None: never kept.
    """
    terms = np.zeros((len(vectors.pieces), len(PARTS)), np.float32)
    if len(vectors.pieces) < FEWEST_PIECES:
        return terms
    for part in parts:
        terms[:, part] = terms_of(_closeness(vectors, int(part), folder))
    return terms


def _closeness(vectors: Vectors, part: int, folder: Path | None) -> NDArray[np.float64]:
    """Return ρ (P,) of all pieces."""
    file = folder / f"hubs-{PARTS[part]}.npz" if folder else None
    sample, known = _read(file) if file else (None, {})
    count = len(vectors.pieces)
    if sample is None or not sample.pieces / _GROWTH <= count <= sample.pieces * _GROWTH:
        sample, known = draw_sample(vectors, part), {}
    contents = [piece.content for piece in vectors.pieces]
    new = np.array([k for k, name in enumerate(contents) if name not in known], np.int64)
    known |= dict(
        zip([contents[k] for k in new], closeness(vectors, part, sample, new), strict=True)
    )
    nearness = np.array([known[name] for name in contents])
    if file and len(new):
        _write(file, sample, contents, nearness)
    return nearness


def _read(file: Path) -> tuple[Sample | None, dict[str, float]]:
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as stored:
            sample = Sample(
                stored["sample_contents"],
                stored["sample_embeddings"].astype(np.float32),
                int(stored["pieces"]),
            )
            return sample, dict(zip(stored["contents"].tolist(), stored["closeness"], strict=True))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None, {}


def _write(file: Path, sample: Sample, contents: list[str], nearness: NDArray[np.float64]) -> None:
    partial = file.with_suffix(f".{uuid.uuid4().hex}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as opened:
            np.savez(
                opened,
                contents=np.array(contents, np.str_),
                closeness=nearness,
                sample_contents=sample.contents,
                sample_embeddings=sample.embeddings.astype(np.float16),
                pieces=sample.pieces,
            )
        partial.replace(file)
    except OSError:  # a catalogue that is only read: it is computed again next time
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def hubness(space: Space, part: str) -> Hubness | None:
    """Return how unevenly pieces are found by `part`: whole pieces ask for their ten nearest.

    Up to 1,000 pieces ask, spread evenly; all can be found. None if it sounds in fewer than two.
    """
    vectors, i = space.vectors, index(part)
    there = np.flatnonzero(vectors.counts(i))
    if len(there) < 2:
        return None
    asking = there[np.linspace(0, len(there) - 1, min(_QUERIES, len(there))).astype(np.int64)]
    vectors.block(i)
    lists = []
    for k in asking:
        whole = stored_query(vectors, int(k), np.eye(len(PARTS))[i])
        apart = piece_distances(space, whole.only(whole.sounding[:, i]), there)
        apart[there == k] = np.inf
        count = min(NEIGHBOURS, len(there) - 1)
        lists.append(np.argsort(apart, kind="stable")[:count])
    found = np.bincount(np.concatenate(lists), minlength=len(there))
    return Hubness(
        part,
        len(there),
        skewness(found),
        float(found.max() / len(asking)),
        float((found == 0).mean()),
        vectors.pieces[there[found.argmax()]].title,
    )


def hubness_of(
    catalogue: "Catalogue", parts: Sequence[str] = PARTS
) -> list[tuple[Hubness, Hubness]]:
    """Return per part how unevenly pieces are found, by plain distances and with hub terms.

    Parts that sound in fewer than two pieces are left out.
    """
    vectors = catalogue.vectors()
    folder = catalogue.directory / "search" / vectors.fingerprint
    wanted = np.array([index(part) for part in parts])
    scaled = Space(vectors, hub_terms(vectors, wanted, folder))
    found = []
    for part in parts:
        before, after = hubness(Space.plain(vectors), part), hubness(scaled, part)
        if before is not None and after is not None:
            found.append((before, after))
    return found


def skewness(counts: NDArray[np.int64]) -> float:
    """Return the skewness of `counts`, 0 if they are all equal."""
    apart = counts - counts.mean()
    deviation = apart.std()
    return float((apart**3).mean() / deviation**3) if deviation else 0.0
