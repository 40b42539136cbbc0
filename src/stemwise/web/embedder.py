"""The process that describes uploaded files: ``python -m stemwise.web.embedder MODEL``.

It loads the model once and then, for each file, splits off a child with limits on memory, on the
time of the processor and on the clock. So a file that crashes its decoder, or makes it swell, takes
nothing with it but that child, and nothing of one file is left when the next one comes. Splitting
off is safe, because this process has one thread and never starts another.

It is told by lines of JSON on stdin, and tells on stdout: one line ``{"ready": FINGERPRINT}``, then
for each ``{"id": …, "path": …, …}`` one line ``{"id": …, "bytes": N}`` and N bytes, an archive of
NumPy's (never a pickle), or ``{"id": …, "failure": KIND, "message": …}`` with one of the kinds

    long      it lasts longer than was allowed
    slow      it took longer than was allowed
    large     it wanted more memory than was allowed
    damaged   it is no music that can be read; the message says why
    crashed   the child died

``{"cancel": ID}`` ends a child early. When stdin ends, so does everything.
"""

import io
import json
import os
import resource
import select
import signal
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch

from stemwise.decoding import decode
from stemwise.errors import AudioError, StemwiseError
from stemwise.library.embed import embed_file
from stemwise.models.checkpoint import Model, load_model

__all__ = ["main"]

_PAGE_BYTES = resource.getpagesize()
_MOST_FILES = 64
_READ_BYTES = 1 << 20
_PRIORITY = 5  # searches come first


class _TooLongError(Exception):
    """It lasts longer than was allowed."""


class Orders:
    """What is still to be done, as it comes in."""

    def __init__(self) -> None:
        self._held = b""
        self.waiting: deque[dict[str, Any]] = deque()

    def read(self) -> None:
        """Take in what has come; end the process if nothing ever will again."""
        found = os.read(0, _READ_BYTES)
        if not found:
            raise SystemExit
        *lines, self._held = (self._held + found).split(b"\n")
        for order in map(json.loads, lines):
            if "cancel" in order:
                gone = [one for one in self.waiting if one["id"] == order["cancel"]]
                for one in gone:
                    self.waiting.remove(one)
            self.waiting.append(order)


def main(source: str) -> None:
    """Serve orders until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which ends us
    torch.set_num_threads(1)
    os.nice(_PRIORITY)
    model = load_model(source)
    _tell({"ready": model.fingerprint})
    orders = Orders()
    while True:
        while not orders.waiting:
            orders.read()
        order = orders.waiting.popleft()
        if "cancel" not in order:
            _serve(order, model, orders)


def _serve(order: dict[str, Any], model: Model, orders: Orders) -> None:
    """Have one file described by a child, and tell what became of it."""
    inner, outer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(inner)
        _describe(order, model, outer)
    os.close(outer)
    try:
        failure, found = _watched(order, inner, orders)
    finally:
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        os.close(inner)
    head, _, body = found.partition(b"\n")
    if failure:
        _tell({"id": order["id"], "failure": failure, "message": ""})
    elif not head:
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status)
        kind = "slow" if killed == signal.SIGXCPU else "crashed"
        _tell({"id": order["id"], "failure": kind, "message": ""})
    else:
        answer = json.loads(head)
        whole = answer.get("bytes", 0) == len(body)
        if not whole:
            answer, body = {"failure": "crashed", "message": ""}, b""
        _tell({"id": order["id"], **answer}, body)


def _watched(order: dict[str, Any], inner: int, orders: Orders) -> tuple[str, bytes]:
    """Return what a child writes to `inner`; or the failure, if it is to be ended before that."""
    latest = time.monotonic() + order["timeout_seconds"]
    found: list[bytes] = []
    while True:
        left = latest - time.monotonic()
        ready, _, _ = select.select([0, inner], [], [], max(0.0, left))
        if not ready:
            return "slow", b""
        if inner in ready:
            some = os.read(inner, _READ_BYTES)
            if not some:
                return "", b"".join(found)
            found.append(some)
        if 0 in ready:
            orders.read()
            if any(other.get("cancel") == order["id"] for other in orders.waiting):
                return "crashed", b""


def _describe(order: dict[str, Any], model: Model, outer: int) -> NoReturn:
    """Write the vectors of a file, or why there are none, to `outer`; this is the child."""
    try:
        _limit(order)
        answer, body = _described(Path(order["path"]), order["most_seconds"], model)
    except _TooLongError:
        answer, body = {"failure": "long", "message": ""}, b""
    except MemoryError:
        answer, body = {"failure": "large", "message": ""}, b""
    except RuntimeError as error:  # what torch raises if it is out of memory
        out = "alloc" in str(error) or "memory" in str(error)
        answer, body = {"failure": "large" if out else "crashed", "message": ""}, b""
    except AudioError as error:
        kind = "large" if isinstance(error.__cause__, MemoryError) else "damaged"
        text = str(error).replace(order["path"], "it").partition("\n")[0]
        answer, body = {"failure": kind, "message": text}, b""
    except StemwiseError as error:
        print(f"an upload cannot be described: {error}", file=sys.stderr)
        answer, body = {"failure": "crashed", "message": ""}, b""
    except BaseException as error:
        print(f"an upload cannot be described: {error!r}", file=sys.stderr)
        os._exit(1)
    with os.fdopen(outer, "wb") as file:
        file.write(json.dumps(answer).encode() + b"\n" + body)
    os._exit(0)


def _limit(order: dict[str, Any]) -> None:
    """Limit what this process can use from now on."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    memory = pages * _PAGE_BYTES + order["memory_bytes"]
    seconds = int(order["timeout_seconds"]) + 1
    for kind, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, _MOST_FILES),
    ):
        _, hard = resource.getrlimit(kind)
        ceiling = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (ceiling, ceiling))


def _described(path: Path, most_seconds: float, model: Model) -> tuple[dict[str, Any], bytes]:
    seconds = 0.0
    for rate_hz, chunk in decode(path):  # a small file can be a very long one
        seconds += len(chunk) / rate_hz
        if seconds > most_seconds:
            raise _TooLongError
    found = embed_file(path, model)
    archive = io.BytesIO()
    np.savez(
        archive,
        allow_pickle=False,
        start_seconds=found.start_seconds,
        embeddings=found.embeddings,
        presence=found.presence,
        level_db=found.level_db,
        duration_seconds=np.array(found.duration_seconds),
        content=np.array(found.content),
    )
    body = archive.getvalue()
    return {"bytes": len(body)}, body


def _tell(answer: dict[str, Any], body: bytes = b"") -> None:
    """Write one answer."""
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n" + body)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1])
