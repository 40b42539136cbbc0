"""Calibration of a model on music that it was not trained on, such as a split of a corpus.

The caller hands in mixtures, one after the other; this module knows of no corpus. Mixtures are cut
into segments and described as music files are (`stemwise.library.embed`).
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stemwise.audio import MINIMUM_SECONDS
from stemwise.errors import ModelError, UsageError
from stemwise.library.calibration import Calibration, calibrate
from stemwise.library.description import describe_wave
from stemwise.library.distances import Space
from stemwise.library.duplicates import Recording, Recordings, radius_between
from stemwise.library.embed import one_thread
from stemwise.library.hubs import FEWEST_PIECES, hub_terms
from stemwise.library.tables import Piece
from stemwise.library.vectors import Vectors, vectors_in_memory
from stemwise.models.checkpoint import Model
from stemwise.parts import PARTS

__all__ = ["Mixture", "calibrate_model", "describe_mixtures"]

_CUT_SECONDS = 1.2


@dataclass(frozen=True)
class Mixture:
    """A piece as sound."""

    name: str  # no two alike
    song: str  # pieces of one song are not unrelated
    wave: NDArray[np.float32]  # (N,) at the model's rate


def calibrate_model(
    model: Model, mixtures: Iterable[Mixture], about: Mapping[str, Any]
) -> Calibration:
    """Return the calibration of `model` from all pairs of `mixtures` of different songs.

    The radius of one recording is measured too: each mixture is described again without its start.

    Args:
        model: any that takes mixtures.
        mixtures: held-out pieces, 30 or more.
        about: what they are, for the record.

    Raises:
        UsageError: fewer than 30 pieces.
        ModelError: the model reads stems.
    """
    if model.takes_stems:
        raise ModelError(f"model {model.name} reads stems, and search is in mixtures")
    with one_thread():  # a segment at a time: more threads cost time, and change bits
        copies: dict[str, Recording] = {}
        vectors, songs = describe_mixtures(model, _shortened(model, mixtures, copies))
    if len(songs) < FEWEST_PIECES:
        raise UsageError(
            f"a calibration needs {FEWEST_PIECES} pieces or more, and there are {len(songs)}"
        )
    space = Space(vectors, hub_terms(vectors, np.arange(len(PARTS)), folder=None))
    told = {**about, "pieces": len(songs), "songs": len(set(songs.tolist()))}
    recordings = Recordings(vectors)
    recordings.prepare(range(len(songs)))
    radius = radius_between(
        [recordings[k] for k in range(len(songs))],
        songs,
        {k: copies[p.title] for k, p in enumerate(vectors.pieces) if p.title in copies},
    )
    return calibrate(space, songs, source="held-out pieces", about=told, recording_radius=radius)


def describe_mixtures(
    model: Model, mixtures: Iterable[Mixture]
) -> tuple[Vectors, NDArray[np.int64]]:
    """Return the vectors of `mixtures`, and the number of the song of each (P,)."""
    found = sorted(
        (
            (_piece(one), one.song, *describe_wave(one.wave, model, name=one.name))
            for one in mixtures
        ),
        key=lambda described: described[0].content,
    )
    names = {song: k for k, song in enumerate(sorted({song for _, song, *_ in found}))}
    vectors = vectors_in_memory(
        [piece for piece, *_ in found],
        [starts for _, _, starts, _, _ in found],
        [embedding for _, _, _, embedding, _ in found],
        [presence for *_, presence in found],
        model.fingerprint,
    )
    return vectors, np.array([names[song] for _, song, *_ in found], np.int64)


def _shortened(
    model: Model, mixtures: Iterable[Mixture], copies: dict[str, Recording]
) -> Iterator[Mixture]:
    """Yield `mixtures`, and put into `copies` what is left of each after 1.2 s."""
    for one in mixtures:
        rest = one.wave[round(_CUT_SECONDS * model.sample_rate_hz) :]
        if len(rest) >= MINIMUM_SECONDS * model.sample_rate_hz:
            copies[one.name] = Recording(0.0, *describe_wave(rest, model, name=one.name))
        yield one


def _piece(mixture: Mixture) -> Piece:
    content = hashlib.blake2b(mixture.name.encode(), digest_size=16).hexdigest()
    return Piece(
        Path(mixture.name), content, 0, 0, 0.0, 1, mixture.name, "", "", None, "", None,
        missing=False,
    )  # fmt: skip
