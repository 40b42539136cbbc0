"""The server as one ASGI application: page, routes, their description, and the gate before them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path

import fastapi_offline
from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import FileResponse
from fastapi.routing import APIRoute

from stemwise import __version__
from stemwise.library.catalogue import Catalogue
from stemwise.web.changing import router as changing
from stemwise.web.failures import install
from stemwise.web.front import page_routes
from stemwise.web.routes import router as reading
from stemwise.web.security import Gate
from stemwise.web.services import Services
from stemwise.web.settings import Settings
from stemwise.web.subsonic import router as playing

__all__ = ["PREFIX", "create_app"]

PREFIX = "/api/v1"
_DESCRIPTION = """\
Find music that sounds alike one instrument at a time.

Times are seconds. The parts are drums, bass, piano, guitar and residuals (everything else). Every
failure has the same shape: `{"code": …, "message": …, "hint": …}`.
"""


def create_app(catalogue: Catalogue, settings: Settings | None = None) -> FastAPI:
    """Return the application that serves `catalogue`.

    Nothing is read or started before the server starts it (ASGI's lifespan).

    Args:
        catalogue: what is served.
        settings: how; the defaults if None.

    Raises:
        UsageError: an address that others can reach, and no token (`Settings`).
    """
    settings = settings or Settings()
    services = Services(catalogue, settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await services.start()
        try:
            yield
        finally:
            await services.stop()

    app = FastAPI(
        title="Stemwise",
        version=__version__,
        description=_DESCRIPTION,
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        generate_unique_id_function=_operation_id,
        redirect_slashes=False,
    )
    app.state.services = services
    install(app)
    app.add_middleware(Gate, settings=settings, sessions=services.sessions)
    app.include_router(reading, prefix=PREFIX)
    app.include_router(changing, prefix=PREFIX)
    app.include_router(_reference(), prefix=PREFIX)
    app.include_router(playing)
    app.router.routes.extend(page_routes())
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name


def _reference() -> APIRouter:
    """Return the routes of the page that shows the API's description."""
    own = _folder("reference")
    bundle = Path(str(resources.files(fastapi_offline))) / "static"
    files = {
        "": own / "index.html",
        "/start.js": own / "start.js",
        "/swagger-ui.css": bundle / "swagger-ui.css",
        "/swagger-ui-bundle.js": bundle / "swagger-ui-bundle.js",
    }
    router = APIRouter(include_in_schema=False)
    for name, path in files.items():

        def serve(path: Path = path) -> Response:
            return FileResponse(path)

        router.add_api_route(f"/docs{name}", serve, response_model=None)
    return router


def _folder(name: str) -> Path:
    return Path(str(resources.files("stemwise.web"))) / name
