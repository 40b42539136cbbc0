"""Maps of the collection, part by part: a quick one at once, a better one when it is made.

The quick map are the two principal components of the pieces' means. The better one, t-SNE
(`stemwise.layout`), takes a minute for ten thousand pieces, so another process makes it, one at a
time and at low priority. It is kept in the catalogue's folder ``search``, if that can be written,
under a name that follows from what is on it. Without openTSNE the quick map is final.
"""

import hashlib
import importlib.util
import logging
import subprocess
import sys
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stemwise.library.tables import Piece
from stemwise.parts import index
from stemwise.principal import principal
from stemwise.web.current import Holding
from stemwise.web.messages import MapAnswer, MapPoint

__all__ = ["Maps", "within"]

log = logging.getLogger("stemwise.web")

FEWEST_FOR_TSNE = 10
_MOST_KEPT = 20
_DECIMALS = 5
_PATIENCE_SECONDS = 3600


@dataclass(frozen=True)
class _Plan:
    """What one map shows: its pieces, their means (P, 128), and a name for exactly that."""

    pieces: Sequence[Piece]
    means: NDArray[np.float64]
    name: str


class Maps:
    """Makes maps and keeps them."""

    def __init__(self) -> None:
        self._places: OrderedDict[str, NDArray[np.float64]] = OrderedDict()
        self._failed: set[str] = set()
        self._lock = threading.Lock()
        self._wanted: OrderedDict[str, tuple[_Plan, Path]] = OrderedDict()
        self._worker: threading.Thread | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False
        self._can_place = importlib.util.find_spec("openTSNE") is not None

    def get(self, holding: Holding, part: str) -> MapAnswer:
        """Return the best map of `part` that there is, and have a better one made."""
        plan = _plan(holding, part)
        if len(plan.pieces) < FEWEST_FOR_TSNE or not self._can_place:
            return _answer(part, plan, principal(plan.means), "pca", final=True)
        places = self._known(plan, holding)
        if places is not None:
            return _answer(part, plan, places, "tsne", final=True)
        final = plan.name in self._failed
        if not final:
            self._ask(plan, holding.searchable().folder)
        return _answer(part, plan, principal(plan.means), "pca", final=final)

    def stop(self) -> None:
        """Give up what is being made."""
        with self._lock:
            self._stopped = True
            self._wanted.clear()
            process = self._process
        if process is not None:
            process.kill()
        if self._worker is not None:
            self._worker.join(timeout=5)

    def _known(self, plan: _Plan, holding: Holding) -> NDArray[np.float64] | None:
        with self._lock:
            if plan.name in self._places:
                self._places.move_to_end(plan.name)
                return self._places[plan.name]
        try:
            places: NDArray[np.float64] = np.load(
                holding.searchable().folder / plan.name, allow_pickle=False
            )
        except (OSError, ValueError, EOFError):
            return None
        if places.shape != (len(plan.pieces), 2) or not np.isfinite(places).all():
            return None
        self._keep(plan.name, places)
        return places

    def _keep(self, name: str, places: NDArray[np.float64]) -> None:
        with self._lock:
            self._places[name] = places
            while len(self._places) > _MOST_KEPT:
                self._places.popitem(last=False)

    def _ask(self, plan: _Plan, folder: Path) -> None:
        """Have the map made, unless it is being made."""
        with self._lock:
            if self._stopped:
                return
            self._wanted.setdefault(plan.name, (plan, folder))
            if self._worker is None or not self._worker.is_alive():
                self._worker = threading.Thread(target=self._work, name="maps", daemon=True)
                self._worker.start()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._wanted:
                    self._worker = None
                    return
                plan, folder = next(iter(self._wanted.values()))
            try:
                self._make(plan, folder)
            except Exception as error:
                self._failed.add(plan.name)
                log.error("a map cannot be made", exc_info=error)
            with self._lock:
                self._wanted.pop(plan.name, None)

    def _make(self, plan: _Plan, folder: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="stemwise-map-") as place:
            means, places = Path(place) / "means.npy", Path(place) / "places.npy"
            np.save(means, plan.means)
            command = [sys.executable, "-m", "stemwise.web.mapper", str(means), str(places)]
            with self._lock:
                if self._stopped:
                    return
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
                )
            try:
                self._process.wait(_PATIENCE_SECONDS)
            finally:
                self._process.kill()
                self._process.wait()
            if self._stopped:
                return
            found: NDArray[np.float64] = np.load(places, allow_pickle=False)
        self._keep(plan.name, found)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            part = plan.name.split("-")[1]
            stale = [path for path in folder.glob(f"map-{part}-*.npy") if path.name != plan.name]
            partial = folder / f".{plan.name}.partial"
            with partial.open("wb") as file:
                np.save(file, found)
            partial.replace(folder / plan.name)
            for path in stale:
                path.unlink(missing_ok=True)
        except OSError as error:  # a catalogue that is only read: it is made again next time
            log.info("a map cannot be kept: %s", error)


def within(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `places` (P, 2) centred and scaled, alike in both directions, to -1..1."""
    if not len(places):
        return places
    middle = (places.max(axis=0) + places.min(axis=0)) / 2
    moved = places - middle
    size = np.abs(moved).max()
    scaled: NDArray[np.float64] = moved / size if size > 0 else moved
    return scaled


def _plan(holding: Holding, part: str) -> _Plan:
    if holding.snapshot is None or not holding.pieces:
        return _Plan((), np.zeros((0, 2)), "")
    i = index(part)
    vectors = holding.snapshot.vectors()
    there = np.flatnonzero(vectors.counts(i))
    means = vectors.means(i)[there].astype(np.float64)
    pieces = [vectors.pieces[k] for k in there]
    digest = hashlib.blake2b(means.tobytes(), digest_size=12).hexdigest()
    return _Plan(pieces, means, f"map-{part}-{digest}.npy")


def _answer(
    part: str, plan: _Plan, places: NDArray[np.float64], kind: str, *, final: bool
) -> MapAnswer:
    points = [
        MapPoint.model_construct(
            id=piece.id,
            title=piece.title,
            artist=piece.artist,
            x=round(float(x), _DECIMALS),
            y=round(float(y), _DECIMALS),
        )
        for piece, (x, y) in zip(plan.pieces, within(places), strict=True)
    ]
    return MapAnswer.model_construct(part=part, final=final, kind=kind, points=points)
