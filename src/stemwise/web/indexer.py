"""The process of an index job: ``python -m stemwise.web.indexer ORDER``, an order in JSON.

It is started at the lowest priority. It tells by lines of JSON on stdout: ``{"done": …, "total":
…}`` as it goes, and at the end ``{"summary": {…}}``, or ``{"failure": KIND, "message": …}``.
SIGTERM, or the end of stdin, stops it well: what was done is written. Its order names the
catalogue, the folders, `retry`, `prune`, and how many files are read at a time.
"""

import json
import os
import signal
import sys
import threading
import time
from typing import Any, NoReturn

from stemwise.errors import BusyError, StemwiseError
from stemwise.library.catalogue import Catalogue

__all__ = ["main"]

_TELL_SECONDS = 0.2
_EXIT_INTERRUPTED = 130


def main(order: dict[str, Any]) -> int:
    """Index as `order` says; return the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which ends us
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    told = 0.0

    def progress(done: int, total: int, hours: float) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told >= _TELL_SECONDS or done == total:
            told = now
            _tell({"done": done, "total": total})

    try:
        catalogue = Catalogue.open(order["catalogue"], create=True)
        summary = catalogue.index(
            order["folders"],
            jobs=order["jobs"],
            progress=progress,
            retry=order["retry"],
            prune=order["prune"],
        )
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED
    except StemwiseError as error:
        kind = "busy" if isinstance(error, BusyError) else "failed"
        _tell({"failure": kind, "message": str(error)})
        return error.exit_code
    counts = ("found", "added", "updated", "moved", "unchanged", "failed", "missing", "forgotten")
    _tell({"summary": {name: getattr(summary, name) for name in counts}})
    return 0


def _end_with_the_server() -> None:
    """Stop this process well once nobody holds the other end of stdin."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _interrupt(number: int, frame: Any) -> NoReturn:
    raise KeyboardInterrupt


def _tell(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
