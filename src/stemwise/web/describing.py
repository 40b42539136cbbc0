"""The server's side of the process that describes uploaded files (`stemwise.web.embedder`).

One file at a time; a few may wait. The process is started before it is needed and again whenever it
has died, or the catalogue has another model.
"""

import asyncio
import contextlib
import io
import itertools
import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np

from stemwise.library.embed import FileEmbedding
from stemwise.web.failures import HttpError
from stemwise.web.settings import Settings, child_environment

__all__ = ["Describer"]

log = logging.getLogger("stemwise.web")

_MOST_WAITING = 8
_START_SECONDS = 120.0
_SLACK_SECONDS = 15.0
_MOST_BYTES = 1 << 30


class Describer:
    """Describes files in another process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None
        self._source = ""
        self._lock = asyncio.Lock()
        self._waiting = 0
        self._numbers = itertools.count()
        self._fingerprint = ""
        self._asking: set[asyncio.Task[tuple[dict[str, Any], bytes, str]]] = set()
        self._given_up: set[int] = set()

    async def warm_up(self, source: str) -> None:
        """Start the process for the model `source`, so that the first upload does not wait."""
        async with self._lock:
            await self._running(source)

    async def describe(self, path: Path, name: str, source: str) -> tuple[FileEmbedding, str]:
        """Return the vectors of the file at `path`, called `name`, and the model's fingerprint.

        If the caller is cancelled, the work is given up.

        Raises:
            HttpError: it cannot be described; or too many are waiting.
        """
        if self._waiting >= _MOST_WAITING:
            raise HttpError(
                "too_many", f"{self._waiting} uploads are waiting already", "try again soon"
            )
        number = next(self._numbers)
        asking = asyncio.create_task(self._in_turn(number, path, source))
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)
        try:
            answer, body, fingerprint = await asyncio.shield(asking)
        except asyncio.CancelledError:
            self._given_up.add(number)  # the task goes on to read the answer, which comes soon
            if self._process is not None and self._process.returncode is None:
                _send(self._process, {"cancel": number})
            raise
        if "failure" in answer:
            raise self._failure(answer, name)
        with np.load(io.BytesIO(body), allow_pickle=False) as stored:
            found = FileEmbedding(
                path=Path(name),
                content=str(stored["content"]),
                duration_seconds=float(stored["duration_seconds"]),
                start_seconds=stored["start_seconds"],
                embeddings=stored["embeddings"],
                presence=stored["presence"],
                level_db=stored["level_db"],
            )
        return found, fingerprint

    async def stop(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _in_turn(
        self, number: int, path: Path, source: str
    ) -> tuple[dict[str, Any], bytes, str]:
        """Wait for the process to be free; return its answer and the model's fingerprint."""
        self._waiting += 1
        try:
            async with self._lock:
                if number in self._given_up:
                    return {"failure": "crashed", "message": ""}, b"", ""
                return *await self._ask(number, path, source), self._fingerprint
        finally:
            self._waiting -= 1
            self._given_up.discard(number)

    async def _ask(self, number: int, path: Path, source: str) -> tuple[dict[str, Any], bytes]:
        settings = self._settings
        order = {
            "id": number,
            "path": str(path),
            "most_seconds": settings.upload_max_seconds,
            "timeout_seconds": settings.upload_timeout_seconds,
            "memory_bytes": settings.upload_memory_bytes,
        }
        process = await self._running(source)
        try:
            _send(process, order)
            async with asyncio.timeout(settings.upload_timeout_seconds + _SLACK_SECONDS):
                return await _answer(process)
        except (TimeoutError, OSError, ValueError, asyncio.IncompleteReadError) as error:
            log.error("the process that describes uploads failed: %r", error)
            await self.stop()
            return {"failure": "crashed", "message": ""}, b""

    async def _running(self, source: str) -> asyncio.subprocess.Process:
        """Return the process; start it if it is not there, or has another model."""
        process = self._process
        if process is not None and process.returncode is None and self._source == source:
            return process
        await self.stop()
        self._source = source
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "stemwise.web.embedder", source,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=child_environment(storage=False),
            process_group=0,  # no session of its own: priorities may count within one only
        )  # fmt: skip
        self._process = process
        try:
            async with asyncio.timeout(_START_SECONDS):
                ready, _ = await _answer(process)
            self._fingerprint = ready["ready"]
        except asyncio.CancelledError:
            await self.stop()
            raise
        except (TimeoutError, OSError, ValueError, KeyError, asyncio.IncompleteReadError) as error:
            await self.stop()
            log.error("the process that describes uploads does not start: %r", error)
            raise HttpError(
                "busy", "uploads cannot be described now", "the server's log tells why"
            ) from error
        return process

    def _failure(self, answer: dict[str, Any], name: str) -> HttpError:
        kind, settings = answer["failure"], self._settings
        if kind == "long":
            return HttpError(
                "too_large",
                f"{name} lasts longer than {settings.upload_max_seconds:g} s",
                "upload a part of it",
            )
        if kind == "slow":
            return HttpError(
                "too_large",
                f"{name} takes longer than {settings.upload_timeout_seconds:g} s to be read",
                "upload a part of it",
            )
        if kind == "large":
            return HttpError(
                "too_large", f"{name} needs too much memory to be read", "convert it to FLAC first"
            )
        if kind == "damaged":
            text = str(answer["message"]).removeprefix("it ")
            return HttpError(
                "unsupported_audio", f"{name} {text}", "export it again, as WAV or FLAC"
            )
        return HttpError(
            "unsupported_audio",
            f"{name} made its decoder fail",
            "export it again, as WAV or FLAC",
        )


def _send(process: asyncio.subprocess.Process, order: dict[str, Any]) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(order).encode() + b"\n")


async def _answer(process: asyncio.subprocess.Process) -> tuple[dict[str, Any], bytes]:
    assert process.stdout is not None
    answer = json.loads(await process.stdout.readuntil(b"\n"))
    size = int(answer.get("bytes", 0))
    if size > _MOST_BYTES:
        raise ValueError(f"an answer of {size} bytes")
    return answer, await process.stdout.readexactly(size)
