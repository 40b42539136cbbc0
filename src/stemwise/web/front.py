"""The page's files, and a doorway that shows them while the rest of the server is still loading."""

import asyncio
import logging
from collections.abc import Callable
from importlib import resources
from pathlib import Path

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from stemwise.errors import StemwiseError
from stemwise.web.security import Gate, Sessions
from stemwise.web.settings import Settings

__all__ = ["Doorway", "page_routes"]

log = logging.getLogger("stemwise.web")


def page_routes() -> list[BaseRoute]:
    """Return the routes of the page: ``/`` and ``/page/…``."""
    page = Path(str(resources.files("stemwise.web"))) / "page"

    async def index(request: Request) -> Response:
        return FileResponse(page / "index.html", headers={"Cache-Control": "no-cache"})

    return [Route("/", index), Mount("/page", _Page(directory=page, check_dir=False))]


class Doorway:
    """Serves the page at once, and all else as soon as `build` has made the application.

    Args:
        build: makes the application; it runs in a thread, as it imports large libraries.
        settings: those of the application.
        failed: called with what `build` raised.
    """

    def __init__(
        self,
        build: Callable[[], FastAPI],
        settings: Settings,
        failed: Callable[[Exception], None],
    ) -> None:
        self._build = build
        self._failed = failed
        self._page = Gate(Starlette(routes=page_routes()), settings, Sessions())
        self._app: FastAPI | None = None
        self._ready = asyncio.Event()
        self._ending = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif (self._app is None and scope["path"].startswith("/page/")) or scope["path"] == "/":
            await self._page(scope, receive, send)
        else:
            await self._ready.wait()
            if self._app is not None:
                await self._app(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        running = asyncio.create_task(self._run())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._ending.set()
        await running
        await send({"type": "lifespan.shutdown.complete"})

    async def _run(self) -> None:
        """Build the application, and keep it alive until the server stops."""
        try:
            app = await asyncio.to_thread(self._build)
            async with app.router.lifespan_context(app):
                self._app = app
                self._ready.set()
                await self._ending.wait()
        except Exception as error:
            if not isinstance(error, StemwiseError):
                log.error("the server cannot start", exc_info=error)
            self._failed(error)
        finally:
            self._app = None
            self._ready.set()


class _Page(StaticFiles):
    """Static files that browsers ask for again after an update."""

    def file_response(self, *args: object, **keywords: object) -> Response:
        """Return a file, to be checked each time it is used."""
        response = super().file_response(*args, **keywords)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = "no-cache"
        return response
