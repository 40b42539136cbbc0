"""From distances to a similarity that means the same for every part.

Definition. F_p is the distribution of the distance D(c) (`stemwise.library.distances`) between
*unrelated* whole pieces, compared by part p alone, and Q_p its quantile function. The similarity in
part p at distance d is the share of unrelated pieces that are farther:

    s_p(d) = 1 − F_p(d)

For a distance D over several parts with weights w_p that sum to 1, it is the S in 0..1 that solves

    Σ_p w_p Q_p(1 − S) = D

so that all parts together are as near as they would be if each had similarity S. S falls with D,
never rises, and with one part it is that part's. 0.9 means: nearer than nine in ten unrelated
pieces. The nearest of a large collection are all close to 1.

Conventions. Q_p is kept at fixed levels, with Q_p(0) = 0 and Q_p(1) = 4, and is linear between
them. Below the smallest distance that was seen, similarity is a straight line up to 1 at 0.

Where F_p comes from, in this order:

1. the file ``MODEL.calibration.json`` beside the model's weights: pieces of different songs that
   the model was not trained on;
2. the catalogue itself, if it holds 30 pieces: up to 100 of its pieces, other files of the same
   recording left out. It is kept in the catalogue's folder ``search`` and made again only when the
   catalogue has grown fourfold;
3. else Q_p(u) = 4u, so that S = 1 − D/4. That is not calibrated: unrelated music does not score 0.

The file beside the model also holds the radius within which files are of one recording
(`stemwise.library.duplicates`).

Distances there are between whole pieces. A stretch of one segment has the same mean distance, but a
wider spread, so its similarities reach farther to both sides.
"""

import contextlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stemwise.errors import UsageError
from stemwise.library.distances import FARTHEST, Space, piece_distances
from stemwise.library.duplicates import same_recordings
from stemwise.library.hubs import FEWEST_PIECES, hub_terms
from stemwise.library.query import stored_query
from stemwise.library.vectors import RECORDING_RADIUS, Vectors
from stemwise.models.checkpoint import shipped_models
from stemwise.parts import PARTS

__all__ = [
    "LEVELS", "UNCALIBRATED", "Calibration", "calibrate", "calibration_beside", "calibration_of",
    "read_calibration", "recording_radius_of", "write_calibration",
]  # fmt: skip

LEVELS = np.concatenate([
    [0.0], [a * 10.0**b for b in (-4, -3) for a in (1, 2, 5)], np.linspace(0.01, 0.99, 99),
    [1 - a * 10.0**b for b in (-3, -4) for a in (5, 2, 1)], [1.0],
])  # fmt: skip
"""Shares of unrelated pieces (L,) at which the quantiles are kept."""

MOST_PIECES = 100
_GROWTH = 4
_DECIMALS = 5


@dataclass(frozen=True)
class Calibration:
    """The quantiles of the distances between unrelated pieces."""

    quantiles: NDArray[np.float64]  # (5, L), each row rising from 0 to 4
    source: str  # "held-out pieces", "this catalogue" or "none"
    fingerprint: str  # of the model
    about: Mapping[str, Any]  # what it was made from
    recording_radius: float = RECORDING_RADIUS

    def similarity(
        self, distance: NDArray[np.float64], weights: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return S (...,) in 0..1 at `distance` (...,), for `weights` (5,) with a sum above 0."""
        total = weights @ self.quantiles / weights.sum()
        similarity: NDArray[np.float64] = 1 - np.interp(distance, total, LEVELS)
        return similarity

    def distance_at(self, share: float, weights: NDArray[np.float64]) -> float:
        """Return the distance over `weights` (5,) that a `share`, 0..1, of pieces are within."""
        total = weights @ self.quantiles / weights.sum()
        return float(np.interp(share, LEVELS, total))


UNCALIBRATED = Calibration(
    np.tile(FARTHEST * LEVELS, (len(PARTS), 1)), source="none", fingerprint="", about={}
)


def calibrate(
    space: Space,
    songs: NDArray[np.int64],
    *,
    source: str,
    about: Mapping[str, Any],
    recording_radius: float = RECORDING_RADIUS,
) -> Calibration:
    """Return the calibration from all pairs of pieces of different songs, each way.

    A part of which no pair is known keeps the straight line of `UNCALIBRATED`.

    Args:
        space: the pieces, P of them, and their hub terms.
        songs: (P,) integers; pieces with the same one are not unrelated.
        source: as in `Calibration`.
        about: where the pieces come from; the number of pairs per part is added.
        recording_radius: as in `Calibration`.
    """
    vectors = space.vectors
    quantiles, pairs = UNCALIBRATED.quantiles.copy(), {}
    for part in range(len(PARTS)):
        there = np.flatnonzero(vectors.counts(part))
        vectors.block(part)
        found = []
        for k in there:
            query = stored_query(vectors, int(k), np.eye(len(PARTS))[part])
            others = there[songs[there] != songs[k]]
            found.append(piece_distances(space, query.only(query.sounding[:, part]), others))
        distances = np.concatenate([np.zeros(0), *found])
        pairs[PARTS[part]] = len(distances)
        if len(distances):
            inner = np.quantile(distances, LEVELS[1:-1]).clip(0, FARTHEST)
            quantiles[part, 1:-1] = inner.round(_DECIMALS)
    about = {**about, "pairs": pairs}
    return Calibration(quantiles, source, vectors.fingerprint, about, recording_radius)


def calibration_of(vectors: Vectors, model_source: str, folder: Path | None) -> Calibration:
    """Return the calibration for the distances between `vectors`, from where the module says.

    Args:
        vectors: of a catalogue.
        model_source: the catalogue's model: a shipped one's name, or the path of a file. A
            calibration that lies there, but is of another model, is passed over.
        folder: where one made from the catalogue itself is kept, and its hub terms; None: nowhere.

    Raises:
        UsageError: the file beside the model is damaged.
    """
    beside = _of_model(model_source, vectors.fingerprint)
    if beside is not None:
        return beside
    count = len(vectors.pieces)
    if count < FEWEST_PIECES:
        return UNCALIBRATED
    file = folder / "calibration.json" if folder else None
    with contextlib.suppress(UsageError):
        kept = read_calibration(file) if file else None
        if kept is not None and count < _GROWTH * int(kept.about.get("catalogue_pieces", 0)):
            return kept
    chosen = np.linspace(0, count - 1, min(count, MOST_PIECES)).astype(np.int64)
    terms = hub_terms(vectors, np.arange(len(PARTS)), folder)
    space = Space(vectors.subset(chosen), terms[chosen])
    songs = np.arange(len(chosen))
    for group in same_recordings(space.vectors):
        songs[list(group)] = group[0]
    about = {"catalogue_pieces": count, "pieces": len(chosen)}
    made = calibrate(space, songs, source="this catalogue", about=about)
    if file:
        with contextlib.suppress(OSError):  # a catalogue that is only read
            write_calibration(made, file)
    return made


def recording_radius_of(model_source: str, fingerprint: str) -> float:
    """Return the radius within which files are of one recording, for a catalogue of that model.

    Args:
        model_source: as for `calibration_of`.
        fingerprint: of the model that made the vectors.

    Raises:
        UsageError: the file beside the model is damaged.
    """
    beside = _of_model(model_source, fingerprint)
    return beside.recording_radius if beside else RECORDING_RADIUS


def _of_model(model_source: str, fingerprint: str) -> Calibration | None:
    beside = read_calibration(calibration_beside(model_source))
    return beside if beside is not None and beside.fingerprint == fingerprint else None


def calibration_beside(model_source: str) -> Path:
    """Return where the calibration of a model lies: beside its weights.

    `model_source` is a shipped model's name, or the path of a file or a run.
    """
    path = shipped_models().get(model_source, Path(model_source))
    return path / "calibration.json" if path.is_dir() else path.with_suffix(".calibration.json")


def write_calibration(calibration: Calibration, path: Path) -> None:
    """Write `calibration` to `path` as JSON, in one step."""
    document = {
        "fingerprint": calibration.fingerprint,
        "source": calibration.source,
        "about": dict(calibration.about),
        "recording_radius": round(calibration.recording_radius, _DECIMALS),
        "levels": LEVELS.round(6).tolist(),
        "quantiles": dict(zip(PARTS, calibration.quantiles.tolist(), strict=True)),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{uuid.uuid4().hex}.partial")
    partial.write_text(json.dumps(document) + "\n", encoding="utf-8")
    partial.replace(path)


def read_calibration(path: Path) -> Calibration | None:
    """Return the calibration in `path`; None if there is none.

    Raises:
        UsageError: the file is damaged, or of another version of Stemwise.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        quantiles = np.array([document["quantiles"][part] for part in PARTS], np.float64)
        levels = np.array(document["levels"])
        fits = quantiles.shape == (len(PARTS), len(LEVELS)) and np.allclose(levels, LEVELS)
        if not fits or (np.diff(quantiles, axis=1) < 0).any():
            raise ValueError("its quantiles are not those of this version")
        radius = float(document.get("recording_radius", RECORDING_RADIUS))
        return Calibration(
            quantiles, document["source"], document["fingerprint"], document["about"], radius
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} is no calibration: {error}; remove it, or make it again with: "
            "stemwise calibrate"
        ) from error
