"""The catalogue as the server knows it now: read once, and again whenever it has changed.

Requests take what is there and never wait for a newer state. Only the very first is waited for: by
most until it is read, by searches until all is ready that makes them fast. A thread looks for
changes; it rests ten times as long as the last reading took, so that an index that commits often
does not keep the server reading.
"""

import gc
import logging
import os
import sys
import threading
import time
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stemwise.errors import StemwiseError
from stemwise.library.albums import Albums
from stemwise.library.catalogue import Catalogue
from stemwise.library.lookup import Lookup
from stemwise.library.metadata import read_metadata
from stemwise.library.snapshot import Snapshot
from stemwise.library.tables import ID_DIGITS, Piece
from stemwise.parts import PARTS
from stemwise.web.failures import HttpError
from stemwise.web.recent import Recent

__all__ = ["Current", "Holding"]

log = logging.getLogger("stemwise.web")

LOOK_SECONDS = 2.0
_REST = 10
_PRIORITY = 10  # of reading: searches come first


@dataclass(frozen=True)
class Holding:
    """What the catalogue holds; `snapshot` is None if nothing was ever indexed."""

    snapshot: Snapshot | None

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """One piece per content."""
        return self.snapshot.vectors().pieces if self.snapshot else ()

    @cached_property
    def lookup(self) -> Lookup:
        """For the search box."""
        return Lookup(self.pieces)

    @cached_property
    def albums(self) -> Albums:
        """For browsing."""
        return Albums(self.pieces)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The number of each piece by its id."""
        return {piece.content[:ID_DIGITS]: k for k, piece in enumerate(self.pieces)}

    @cached_property
    def recent(self) -> Recent:
        """The last answers to searches in it."""
        return Recent()

    @cached_property
    def shares(self) -> NDArray[np.float64]:
        """In which share of its segments each part sounds (P, 5)."""
        if self.snapshot is None:
            return np.zeros((0, len(PARTS)))
        vectors = self.snapshot.vectors()
        counts = np.stack([vectors.counts(part) for part in range(len(PARTS))], axis=1)
        return counts / np.maximum(np.diff(vectors.offsets), 1)[:, None]

    def number(self, identifier: str) -> int:
        """Return the number of the track `identifier`; a failure if there is none."""
        number = self.numbers.get(identifier)
        if number is None:
            raise HttpError(
                "not_found",
                f"no track has the id {identifier!r}",
                "it may have been removed; find tracks with GET /api/v1/tracks?q=",
            )
        return number

    def searchable(self) -> Snapshot:
        """Return the snapshot; a failure if there is nothing to search."""
        if self.snapshot is None or not self.pieces:
            raise HttpError(
                "conflict",
                "the catalogue holds no track yet",
                "index a folder of music: stemwise index FOLDER, or POST /api/v1/jobs",
            )
        return self.snapshot

    def prepare(self) -> None:
        """Make ready all that requests will ask for."""
        if self.snapshot is not None:
            self.snapshot.prepare()
        _ = self.shares, self.numbers, self.recent, self.albums, self.lookup.find("a")


class Current:
    """Keeps a `Holding` up to date."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._holding: Holding | None = None
        self._ready: Holding | None = None
        self._lock = threading.Lock()  # held by the one that reads
        self._refreshing = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, name="catalogue", daemon=True)
        self._took_seconds = 0.0

    @property
    def known(self) -> Holding | None:
        """What was read last; None if nothing was yet."""
        return self._holding

    @property
    def known_ready(self) -> Holding | None:
        """What was made ready last; None if nothing was yet."""
        return self._ready

    def start(self) -> None:
        """Begin to read, and to look for changes."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def get(self) -> Holding:
        """Return what the catalogue holds; only the first call waits, till it is read."""
        if self._holding is None:
            self._read()
        assert self._holding is not None
        return self._holding

    def ready(self) -> Holding:
        """Return what the catalogue holds, ready to be searched; only the first calls wait."""
        if self._ready is None:
            self.refresh()
        assert self._ready is not None
        return self._ready

    def refresh(self) -> None:
        """Read the catalogue if it has changed, and make all ready that requests will ask for.

        Raises:
            CatalogueError: it cannot be read; what was known stays.
        """
        with self._refreshing:
            began = time.monotonic()
            fresh = self._read()
            if fresh is not self._ready:
                fresh.prepare()
                self._holding = self._ready = fresh
                # To look through all pieces for cycles stops all requests for a fifth of a second
                # with 10,000 songs; there are none, and what is dropped goes without.
                gc.freeze()
                self._took_seconds = time.monotonic() - began

    def _read(self) -> Holding:
        """Return the catalogue as it is now; known at once if nothing was."""
        with self._lock:
            if read_metadata(self.catalogue.directory) is None:
                self._holding = self._holding or Holding(None)
                return self._holding
            vectors = self.catalogue.vectors()
            known = self._holding
            if known is not None and known.snapshot and known.snapshot.vectors() is vectors:
                return known
            fresh = Holding(Snapshot(self.catalogue))
            if known is None or known.snapshot is None:
                self._holding = fresh
            return fresh

    def _look(self) -> None:
        if sys.platform == "linux":  # where a thread has a priority of its own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _PRIORITY)
        while True:
            try:
                self.refresh()
            except StemwiseError as error:
                log.warning("the catalogue cannot be read: %s", error)
            except Exception as error:
                log.error("the catalogue cannot be read", exc_info=error)
            if self._stop.wait(max(LOOK_SECONDS, _REST * self._took_seconds)):
                return
