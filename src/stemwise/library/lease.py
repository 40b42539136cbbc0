"""The one writer of a catalogue on object storage, where no file can be locked.

Leases are numbered. Number n belongs to whoever has made the first version of the table
``writers/writer-n.lance``, which Lance does by a put-if-absent: of many who try, one has it. Its
holder writes the object ``writers/beat-n`` every ten seconds, and an end mark when it is done. Who
finds no end mark watches the beat for 45 seconds; if it does not move, its holder is dead, and
lease n + 1 may be taken. No two clocks are compared.

A holder that finds a lease after its own stops at once, and it looks before a commit if its last
beat is older than 20 seconds, time in which the machine was suspended included. What is left is a
holder that is stopped for 45 seconds between that look and the commit: then segments may be there
twice, which ``stemwise catalogue verify --repair`` finds and mends.
"""

import re
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import lancedb
import pyarrow as pa

from stemwise.errors import BusyError, CatalogueError
from stemwise.library.places import Place, read_text, write_text

__all__ = ["Lease", "check_lease", "lease_on", "unfinished"]

BEAT_SECONDS = 10.0
STALE_SECONDS = 20.0
DEAD_SECONDS = 45.0
_ENDED = "ended"
_FAILURES = (ValueError, RuntimeError, OSError)
_held: dict[str, "Lease"] = {}


class Lease:
    """A lease that this process holds on the catalogue at `place`."""

    def __init__(self, place: Place, number: int) -> None:
        self.place, self.number = place, number
        self.lost = False
        self._ended = threading.Event()
        self._beaten = 0.0
        self._beats = threading.Thread(target=self._go_on, name="lease", daemon=True)
        self.beat()
        self._beats.start()

    def beat(self) -> None:
        """Tell that the holder lives, and look whether somebody else has taken over."""
        write_text(_beat(self.place, self.number), uuid.uuid4().hex)
        self._beaten = _now()
        self.lost = self.lost or _newest(_database(self.place)) > self.number

    def check(self) -> None:
        """Raise `CatalogueError` if the lease is lost."""
        if not self.lost and _now() - self._beaten > STALE_SECONDS:
            self.beat()
        if self.lost:
            raise CatalogueError(
                f"another process has taken over writing {self.place}, as this one gave no sign of "
                "life; run the same command again"
            )

    def end(self, mark: str) -> None:
        """Stop beating and leave `mark`."""
        self._ended.set()
        self._beats.join()
        if not self.lost:
            write_text(_beat(self.place, self.number), mark)

    def _go_on(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            with suppress(*_FAILURES):  # the storage does not answer: `check` tries again
                self.beat()


@contextmanager
def lease_on(place: Place) -> Iterator[None]:
    """Hold the lease on the catalogue at `place`.

    Raises:
        BusyError: another process holds it.
        CatalogueError: the storage cannot be written.
    """
    try:
        lease = _take(place)
    except CatalogueError:
        raise
    except _FAILURES as error:
        reason = str(error).splitlines()[0]
        raise CatalogueError(f"{place} cannot be written: {reason}") from error
    _held[str(place)] = lease
    mark = f"{_ENDED}, but not well"
    try:
        yield
        mark = _ENDED
    finally:
        del _held[str(place)]
        with suppress(*_FAILURES):
            lease.end(mark)


def check_lease(place: Place) -> None:
    """Raise `CatalogueError` if this process held the lease on `place` and has lost it."""
    if (lease := _held.get(str(place))) is not None:
        lease.check()


def unfinished(place: Place) -> bool:
    """Tell whether a writer is at work, or the last one was killed or failed."""
    number = _newest(_database(place))
    return number > 0 and _read_beat(place, number) != _ENDED


def _take(place: Place) -> Lease:
    database = _database(place)
    number = _newest(database)
    if number:
        beat = _read_beat(place, number)
        if not beat.startswith(_ENDED):
            _watch(place, number, beat)
    if not _won(database, _name(number + 1)):
        raise _busy(place)
    lease = Lease(place, number + 1)
    for old in range(max(1, number - 1), number + 1):
        with suppress(*_FAILURES):
            database.drop_table(_name(old))
    return lease


def _won(database: Any, name: str) -> bool:
    """Make the table `name`; tell whether it was this process that made its first version.

    LanceDB looks before it makes a table, so that two may find none, and the second overwrites it.
    But there is one first version, as its manifest is put if absent.
    """
    holder = uuid.uuid4().hex
    try:
        database.create_table(name, pa.table({"holder": [holder]}))
    except (ValueError, RuntimeError) as error:
        if not re.search("already exists|conflict", str(error)):
            raise
    table = database.open_table(name)
    table.checkout(1)
    return bool(table.to_arrow()["holder"][0].as_py() == holder)


def _watch(place: Place, number: int, beat: str) -> None:
    """Raise `BusyError` unless the beat of a lease stays as it is."""
    latest = time.monotonic() + DEAD_SECONDS
    while time.monotonic() < latest:
        time.sleep(min(1.0, DEAD_SECONDS / 10))
        if _read_beat(place, number) != beat:
            raise _busy(place)


def _busy(place: Place) -> BusyError:
    return BusyError(
        f"the catalogue in {place} is being indexed by another process; wait until it is done"
    )


def _read_beat(place: Place, number: int) -> str:
    try:
        return read_text(_beat(place, number))
    except FileNotFoundError:
        return ""  # taken a moment ago


def _database(place: Place) -> Any:
    return lancedb.connect(str(place / "writers"))


def _newest(database: Any) -> int:
    names = database.list_tables(limit=1000).tables
    return max((int(name.removeprefix("writer-")) for name in names), default=0)


def _name(number: int) -> str:
    return f"writer-{number:06d}"


def _beat(place: Place, number: int) -> Place:
    found = place / "writers" / f"beat-{number:06d}"
    assert isinstance(found, Place)
    return found


def _now() -> float:
    """Seconds that go on while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
