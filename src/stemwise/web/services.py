"""What the routes work with: the catalogue as it is now, and all that runs beside the requests."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable
from typing import Annotated, TypeVar

import anyio
import anyio.to_thread
import torch
from fastapi import Depends, Request
from threadpoolctl import threadpool_limits

from stemwise import __version__
from stemwise.errors import ModelError
from stemwise.library.catalogue import Catalogue
from stemwise.library.embed import FileEmbedding
from stemwise.models.checkpoint import DEFAULT_MODEL
from stemwise.web.current import Current, Holding
from stemwise.web.failures import HttpError
from stemwise.web.jobs import Jobs
from stemwise.web.known_models import KnownModels
from stemwise.web.maps import Maps
from stemwise.web.messages import Features, Health, ModelAnswer
from stemwise.web.security import Sessions
from stemwise.web.settings import Settings
from stemwise.web.sound import Sound, Wav
from stemwise.web.uploads import Uploads

__all__ = ["Here", "Services"]

T = TypeVar("T")
_DECODERS = 2
_READERS = 4
_SWITCH_SECONDS = 0.0005  # what asks for the interpreter waits so long while others compute


class Services:
    """One catalogue, served."""

    def __init__(self, catalogue: Catalogue, settings: Settings) -> None:
        self.settings = settings
        self.catalogue = catalogue
        self.current = Current(catalogue)
        self.sessions = Sessions()
        self.sound = Sound()
        self.maps = Maps()
        self.models = KnownModels()
        self.uploads = Uploads(settings)
        self.jobs = Jobs(self.current, settings)
        self._searches = anyio.CapacityLimiter(settings.searches_at_once)
        self._decoders = anyio.CapacityLimiter(_DECODERS)
        self._readers = anyio.CapacityLimiter(_READERS)
        self._warming: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to read the catalogue; requests that need it wait for that."""
        threadpool_limits(1, user_api="blas")  # searches run side by side: more would but wait
        sys.setswitchinterval(_SWITCH_SECONDS)
        self.current.start()
        if self.settings.prepare_uploads:
            self._warming = asyncio.create_task(self._warm_up())

    async def stop(self) -> None:
        """End everything that was started, and remove what was written for the moment."""
        if self._warming is not None:
            self._warming.cancel()
            await asyncio.gather(self._warming, return_exceptions=True)
        await self.uploads.stop()
        await anyio.to_thread.run_sync(self._stop)

    def _stop(self) -> None:
        self.jobs.stop()
        self.maps.stop()
        self.current.stop()
        self.sound.close()

    async def _warm_up(self) -> None:
        """Once the catalogue is there, make ready what the first upload would wait for."""
        with contextlib.suppress(HttpError):
            await self.searchable()
            source, _ = await self.look_up(self.model_for_uploads)
            await self.uploads.describer.warm_up(source)

    async def holding(self) -> Holding:
        """Return what the catalogue holds; the first requests wait until it is read."""
        known = self.current.known
        return known if known is not None else await self.look_up(self.current.get)

    async def browsable(self) -> Holding:
        """Return the same with its albums; half a second's work for 10,000 songs, done once."""
        holding = await self.holding()
        if "albums" not in vars(holding):
            await self.look_up(lambda: holding.albums)
        return holding

    async def searchable(self) -> Holding:
        """Return the same to search in; the first searches wait until they will be fast."""
        known = self.current.known_ready
        return known if known is not None else await self.search(self.current.ready)

    async def search(self, call: Callable[[], T]) -> T:
        """Run `call`, which computes, with few others beside it."""
        return await self._run(call, self._searches)

    async def decode(self, call: Callable[[], T]) -> T:
        """Run `call`, which reads a music file."""
        return await self._run(call, self._decoders)

    async def look_up(self, call: Callable[[], T]) -> T:
        """Run `call`, which is over soon."""
        return await self._run(call, self._readers)

    async def _run(self, call: Callable[[], T], limiter: anyio.CapacityLimiter) -> T:
        if limiter.statistics().tasks_waiting >= self.settings.waiting_at_most:
            raise HttpError("busy", "too many requests are waiting", "try again in a second")
        return await anyio.to_thread.run_sync(_in_one_thread, call, limiter=limiter)

    def model_for_uploads(self) -> tuple[str, float]:
        """Return the model that describes uploads, and the length of its segments in seconds."""
        snapshot = self.current.get().snapshot
        if snapshot is not None:
            return snapshot.metadata.model, snapshot.metadata.segment_seconds
        return DEFAULT_MODEL, self.models.told(DEFAULT_MODEL).segment_seconds

    def upload(self, identifier: str) -> FileEmbedding:
        """Return what an upload was described as; a failure if it is not known."""
        snapshot = self.current.get().snapshot
        return self.uploads.get(identifier, snapshot.metadata.fingerprint if snapshot else "")

    def part_alone(
        self,
        holding: Holding,
        identifier: str,
        part: str,
        start: float | None,
        end: float | None,
        first_byte: int = 0,
    ) -> Wav:
        """Return one part of a stretch of a track as WAV; a failure if the model cannot."""
        holding.number(identifier)
        model = self.models.separator(holding.searchable().metadata.model)
        return self.sound.part_alone(holding, identifier, model, part, start, end, first_byte)

    def list_models(self) -> list[ModelAnswer]:
        """Return the models that are known."""
        snapshot = self.current.get().snapshot
        if snapshot is None:
            return self.models.list(None, None)
        return self.models.list(snapshot.metadata.model, snapshot.metadata.fingerprint)

    def health(self) -> Health:
        """Return how the server is."""
        holding = self.current.get()
        snapshot, settings = holding.snapshot, self.settings
        try:
            separate = snapshot is not None and self.models.told(snapshot.metadata.model).separates
        except ModelError:  # its file has gone
            separate = False
        return Health(
            version=__version__,
            model=os.path.basename(snapshot.metadata.model) if snapshot else None,
            fingerprint=snapshot.metadata.fingerprint if snapshot else None,
            tracks=len(holding.pieces),
            segments=len(snapshot.vectors().start_seconds) if snapshot else 0,
            indexing=self.jobs.busy,
            features=Features(
                separate=separate,
                index=bool(settings.music),
                save_playlists=settings.playlists is not None,
                upload_max_bytes=settings.upload_max_bytes,
                upload_max_seconds=settings.upload_max_seconds,
            ),
        )


def _in_one_thread(call: Callable[[], T]) -> T:
    """Return what `call` does, which starts no threads; OpenMP has a setting for each thread."""
    torch.set_num_threads(1)
    return call()


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


Here = Annotated[Services, Depends(_services)]
