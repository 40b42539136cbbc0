"""A catalogue as it was at one moment, with all that searches need kept in memory.

Whoever asks many questions takes a `Snapshot` and asks it in place of the catalogue: the disk is
not touched again, and answers do not change until a newer one is taken. It does for a search what
the catalogue itself does, and gives the same answers.

Memory: the vectors of the parts asked for (`stemwise.library.vectors`), hub terms and what follows
from them, 4 bytes per segment and part.
"""

from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stemwise.errors import FingerprintError, UsageError
from stemwise.library.calibration import Calibration, calibration_of
from stemwise.library.distances import Space
from stemwise.library.hubs import hub_terms
from stemwise.library.metadata import Metadata
from stemwise.library.sieve import Sieve
from stemwise.library.tables import ID_DIGITS, Piece
from stemwise.library.vectors import MOST_IN_MEMORY, Floats, Vectors, scan
from stemwise.models.checkpoint import Model
from stemwise.parts import PARTS

if TYPE_CHECKING:
    from stemwise.library.catalogue import Catalogue

__all__ = ["Snapshot"]


class Snapshot:
    """The vectors of a catalogue and what belongs to them; may be used by many threads.

    Attributes:
        directory: of the catalogue.
        metadata: of the catalogue.
        sieve: makes searches faster; None before `prepare`, and if the catalogue is large.
    """

    def __init__(self, catalogue: "Catalogue") -> None:
        self.directory = catalogue.directory
        self._vectors = catalogue.vectors()
        self.metadata: Metadata = catalogue.metadata
        self._lock = Lock()
        self._terms = np.zeros((len(self._vectors.pieces), len(PARTS)), np.float32)
        self._known = np.zeros(len(PARTS), np.bool_)
        self._scaled = Space(self._vectors, self._terms)
        self._plain = Space.plain(self._vectors)
        self._calibration: Calibration | None = None
        self._levels: Floats | None = None
        self.sieve: Sieve | None = None

    @cached_property
    def _by_id(self) -> dict[str, Piece]:
        return {piece.content[:ID_DIGITS]: piece for piece in reversed(self._vectors.pieces)}

    @property
    def folder(self) -> Path:
        """Where the catalogue keeps what searches need beside the vectors."""
        return self.directory / "search" / self._vectors.fingerprint

    @property
    def calibration(self) -> Calibration:
        """What similarities rest on."""
        with self._lock:
            if self._calibration is None:
                self._calibration = calibration_of(self._vectors, self.metadata.model, self.folder)
            return self._calibration

    def vectors(self) -> Vectors:
        """Return the vectors, always the same."""
        return self._vectors

    def space(self, parts: NDArray[np.int64], *, scaling: bool = True) -> Space:
        """Return the vectors with the hub terms of `parts`; all terms are 0 without `scaling`."""
        if not scaling:
            return self._plain
        with self._lock:
            new = np.array([part for part in parts if not self._known[part]], np.int64)
            if len(new):
                self._terms[:, new] = hub_terms(self._vectors, new, self.folder)[:, new]
                self._known[new] = True
        return self._scaled

    def levels(self) -> Floats:
        """Return the levels (S,) of all segments in dBFS."""
        with self._lock:
            if self._levels is None:
                stored = scan(self._vectors.table, ["level_db"])
                places = np.searchsorted(stored["_rowid"].to_numpy(), self._vectors.row_ids)
                self._levels = stored["level_db"].to_numpy()[places]
            return self._levels

    def prepare(self) -> None:
        """Read and compute all that searches need, so that none of them waits."""
        everything = np.arange(len(PARTS))
        space = self.space(everything)
        if len(self._vectors.owners) <= MOST_IN_MEMORY:
            for part in range(len(PARTS)):
                space.floor(part)
            self.sieve = Sieve(space, range(len(PARTS)))
        _ = self.calibration, self.levels()

    def find(self, text: str) -> Piece:
        """Return the piece with the id `text`; titles are not looked up.

        Raises:
            UsageError: there is none.
        """
        piece = self._by_id.get(text)
        if piece is None:
            raise UsageError(f"no piece in the catalogue has the id {text!r}")
        return piece

    def check_fingerprint(self, model: Model) -> None:
        """Raise `FingerprintError` unless `model` made the vectors."""
        if self.metadata.fingerprint != model.fingerprint:
            raise FingerprintError(
                f"the catalogue holds vectors of fingerprint {self.metadata.fingerprint}, not of "
                f"{model.name} (fingerprint {model.fingerprint})"
            )
