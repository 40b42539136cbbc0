"""Keep a catalogue up to date with folders while they change.

The system tells of changes (watchfiles); once nothing has changed for a second, the folders are
indexed, which opens new and changed files only. A file that is still being copied is thus left
alone, or, if it was caught half way, read again when it is complete.

Conventions: what happens in folders of a network drive by another machine's hand is not told by the
system; set ``WATCHFILES_FORCE_POLLING=1`` to have the folders looked through instead.
"""

import math
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Event

import watchfiles

from stemwise.audio import EXTENSIONS
from stemwise.errors import BusyError
from stemwise.library.catalogue import Catalogue
from stemwise.library.collection import MARKER
from stemwise.library.indexing import IndexSummary
from stemwise.models.checkpoint import Model

__all__ = ["watch"]

SETTLED_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 60.0  # even if something changes all the time


def watch(
    catalogue: Catalogue,
    paths: Iterable[Path | str],
    model: Model,
    jobs: int | None = None,
    *,
    prune: bool = False,
    exclude: Iterable[str] = (),
    stop: Event | None = None,
) -> Iterator[IndexSummary]:
    """Index `paths` now and whenever they change; yield what each index did.

    It ends when `stop` is set, or with `KeyboardInterrupt`: an index that is under way writes what
    it has done. If another process is indexing, it waits. Arguments are those of `Catalogue.index`.

    Raises:
        UsageError: a path is no file or folder, or a folder has gone; what is known of it is kept.
        CatalogueError: as `Catalogue.index`.
    """
    tops = [os.path.abspath(path) for path in paths]
    globs = list(exclude)
    stop = stop or Event()
    told = watchfiles.watch(
        *tops,
        watch_filter=None,
        rust_timeout=round(1000 * SETTLED_SECONDS),
        yield_on_timeout=True,
        stop_event=stop,
        ignore_permission_denied=True,
    )
    first = last = -math.inf  # when something changed that is not indexed yet
    for changes in told:
        now = time.monotonic()
        if any(_matters(path, str(catalogue.directory)) for _, path in changes):
            first, last = min(first, now), now
        settled = now - last >= SETTLED_SECONDS or now - first >= LONGEST_WAIT_SECONDS
        if first < math.inf and settled and not stop.is_set():
            try:
                yield catalogue.index(tops, model, jobs, prune=prune, exclude=globs)
                first = math.inf
            except BusyError:
                continue  # and try again soon


def _matters(path: str, catalogue: str) -> bool:
    """Tell whether a change of `path` can change what is indexed."""
    if path == catalogue or path.startswith(catalogue + os.sep):
        return False
    known = os.path.splitext(path)[1].lower() in EXTENSIONS or os.path.basename(path) == MARKER
    return known or not os.path.isfile(path)  # of a folder, or of what has gone
