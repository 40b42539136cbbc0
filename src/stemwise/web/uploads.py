"""Uploaded files: streamed to a file of bounded size, described elsewhere, and removed at once.

Only vectors are kept, in memory, for a while and not too many. The file is removed on every way out
of `receive`: when it was described, when it failed, and when the client has gone.
"""

import asyncio
import contextlib
import secrets
import shutil
import tempfile
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import BinaryIO

import anyio.to_thread
import numpy as np
from fastapi import Request
from starlette.requests import ClientDisconnect

from stemwise.library.embed import FileEmbedding
from stemwise.library.vectors import PRESENCE_THRESHOLD
from stemwise.web.describing import Describer
from stemwise.web.failures import HttpError
from stemwise.web.messages import UploadAnswer
from stemwise.web.settings import Settings
from stemwise.web.tracks import by_part, segments_of

__all__ = ["Uploads", "name_of"]

_WRITE_BYTES = 1 << 20
_MOST_RECEIVED = 8
_LONGEST_NAME = 100


@dataclass(frozen=True)
class _Upload:
    found: FileEmbedding
    fingerprint: str
    expires: float  # by time.monotonic


class Uploads:
    """Receives files and remembers what they were described as."""

    def __init__(self, settings: Settings) -> None:
        self.describer = Describer(settings)
        self._settings = settings
        self._known: OrderedDict[str, _Upload] = OrderedDict()
        self._lock = Lock()
        self._receiving = 0
        self._folder: Path | None = None

    async def receive(
        self, request: Request, name: str, source: str, segment_seconds: float
    ) -> UploadAnswer:
        """Return what the body of `request` is described as by the model `source`.

        Raises:
            HttpError: too many at once; the body is empty, too large, or no music that can be read.
        """
        if self._receiving >= _MOST_RECEIVED:
            raise HttpError(
                "too_many", f"{self._receiving} uploads are being received", "try again soon"
            )
        self._receiving += 1
        try:
            async with self._received(request, name) as path:
                found, fingerprint = await _while_connected(
                    request, lambda: self.describer.describe(path, name, source)
                )
        finally:
            self._receiving -= 1
        identifier = self._keep(found, fingerprint)
        sounding = found.presence >= PRESENCE_THRESHOLD
        return UploadAnswer(
            upload=identifier,
            name=name,
            duration_seconds=round(found.duration_seconds, 3),
            segments=segments_of(
                found.start_seconds,
                found.level_db,
                found.presence,
                segment_seconds,
                found.duration_seconds,
            ),
            parts=by_part(np.mean(sounding, axis=0)),
            expires_seconds=self._settings.upload_expires_seconds,
        )

    def get(self, identifier: str, fingerprint: str) -> FileEmbedding:
        """Return what an upload was described as by the model with `fingerprint`.

        Raises:
            HttpError: it is not known, or not any more.
        """
        with self._lock:
            self._forget()
            known = self._known.get(identifier)
            if known is not None:
                self._known.move_to_end(identifier)
        if known is None or known.fingerprint != fingerprint:
            raise HttpError(
                "not_found",
                f"no upload {identifier!r} is known; uploads are kept for "
                f"{self._settings.upload_expires_seconds:g} s",
                "upload the file again",
            )
        return known.found

    async def stop(self) -> None:
        """End the process that describes, and remove what was written."""
        await self.describer.stop()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _keep(self, found: FileEmbedding, fingerprint: str) -> str:
        identifier = secrets.token_urlsafe(18)
        expires = time.monotonic() + self._settings.upload_expires_seconds
        with self._lock:
            self._known[identifier] = _Upload(found, fingerprint, expires)
            self._forget()
        return identifier

    def _forget(self) -> None:
        """Forget what has expired, and what was used longest ago of too many; under the lock."""
        now = time.monotonic()
        for identifier in [one for one, known in self._known.items() if known.expires <= now]:
            del self._known[identifier]
        while len(self._known) > self._settings.uploads_kept:
            self._known.popitem(last=False)

    @contextlib.asynccontextmanager
    async def _received(self, request: Request, name: str) -> AsyncIterator[Path]:
        """Give a file with the body of `request`, which is removed afterwards."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="stemwise-uploads-"))
        path = self._folder / secrets.token_hex(8)
        try:
            with path.open("xb") as file:
                size = await self._write(request, file, name)
            if not size:
                raise HttpError(
                    "unprocessable", f"{name} is empty: 0 bytes", "send the bytes of a music file"
                )
            yield path
        except OSError as error:
            raise HttpError("busy", "the upload cannot be stored", "try again later") from error
        finally:
            path.unlink(missing_ok=True)

    async def _write(self, request: Request, file: BinaryIO, name: str) -> int:
        """Write the body of `request` to `file`; return how many bytes it has."""
        held: list[bytes] = []
        size = waiting = 0
        try:
            async for chunk in request.stream():
                size += len(chunk)
                waiting += len(chunk)
                if size > self._settings.upload_max_bytes:
                    raise HttpError(
                        "too_large",
                        f"{name} has more than {self._settings.upload_max_bytes:,} bytes",
                        "upload a smaller file",
                    )
                held.append(chunk)
                if waiting >= _WRITE_BYTES:
                    await anyio.to_thread.run_sync(file.writelines, held)
                    held, waiting = [], 0
        except ClientDisconnect as error:
            raise HttpError("bad_request", "the client went away", "") from error
        await anyio.to_thread.run_sync(file.writelines, held)
        return size


def name_of(text: str) -> str:
    """Return `text` as a file's name for messages: no folders, no signs that cannot be printed."""
    last = text.replace("\\", "/").rpartition("/")[2]
    clean = "".join(sign for sign in last if sign.isprintable()).strip()
    if len(clean) > _LONGEST_NAME:
        clean = clean[: _LONGEST_NAME - 1] + "…"
    return clean if clean.strip(".") else "upload"


async def _while_connected(
    request: Request, work: Callable[[], Awaitable[tuple[FileEmbedding, str]]]
) -> tuple[FileEmbedding, str]:
    """Return what `work` returns; give it up when the client goes away."""
    working = asyncio.ensure_future(work())
    leaving = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise HttpError("bad_request", "the client went away", "")
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
