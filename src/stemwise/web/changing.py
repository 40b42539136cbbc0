"""The routes that make something: sessions, uploads, playlists, jobs; and the list of models."""

from pathlib import Path as FilePath
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.datastructures import Headers

from stemwise.web.failures import HttpError, declared
from stemwise.web.messages import (
    Job,
    JobRequest,
    ModelAnswer,
    PlaylistRequest,
    PlaylistSaved,
    UploadAnswer,
)
from stemwise.web.playlists import as_text, save
from stemwise.web.security import COOKIE, session_of
from stemwise.web.services import Here
from stemwise.web.uploads import name_of

__all__ = ["router"]

JobId = Annotated[str, Path(pattern="^[0-9a-f]{12}$", description="A job's id.")]
_BYTES = {"schema": {"type": "string", "format": "binary"}}
_UPLOAD_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The bytes of a music file.",
        "content": dict.fromkeys(("application/octet-stream", "audio/*"), _BYTES),
    }
}

router = APIRouter()


@router.post("/session", tags=["server"], status_code=204, responses=declared())
async def open_session(services: Here, request: Request) -> Response:
    """Give a browser that shows the token a cookie, so that players can ask for sound."""
    response = Response(status_code=204)
    if services.settings.token is not None:
        response.set_cookie(
            COOKIE,
            services.sessions.open(),
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
    return response


@router.delete("/session", tags=["server"], status_code=204, responses=declared())
async def close_session(services: Here, request: Request) -> Response:
    """Forget the session that the cookie names."""
    services.sessions.close(session_of(Headers(scope=request.scope)))
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


@router.post(
    "/uploads",
    tags=["search"],
    status_code=201,
    responses=declared("too_large", "unsupported_audio", "too_many"),
    openapi_extra=_UPLOAD_BODY,
)
async def upload(
    services: Here,
    request: Request,
    name: Annotated[str, Query(max_length=500, description="For messages only.")] = "upload",
) -> UploadAnswer:
    """Describe a music file, to search by it; the file is deleted before the answer."""
    kind = request.headers.get("content-type", "application/octet-stream").partition(";")[0]
    if kind != "application/octet-stream" and not kind.startswith("audio/"):
        raise HttpError(
            "unsupported_audio",
            f"the content type {kind[:80]!r} is not that of a music file",
            "send application/octet-stream, or audio/…",
        )
    source, segment_seconds = await services.look_up(services.model_for_uploads)
    return await services.uploads.receive(request, name_of(name), source, segment_seconds)


@router.post(
    "/playlists",
    tags=["tracks"],
    response_model=PlaylistSaved,
    responses={
        200: {
            "description": "The playlist, or with `save` what was written.",
            "content": {"audio/x-mpegurl": {"schema": {"type": "string"}}},
        },
        **declared("not_found", "conflict"),
    },
)
async def make_playlist(
    services: Here, request: Request, playlist: PlaylistRequest
) -> PlaylistSaved | Response:
    """Make a playlist of tracks: to download, or in the server's own folder."""
    holding = await services.holding()
    if playlist.save:
        folder: FilePath | None = services.settings.playlists
        return await services.look_up(lambda: save(holding, playlist, folder))
    base = f"{request.url.scheme}://{request.headers['host']}/api/v1/tracks"
    name = f"{name_of(playlist.name)}.m3u8"
    text = await services.look_up(lambda: as_text(holding, playlist, base))
    return Response(
        text,
        media_type="audio/x-mpegurl",
        headers={"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}"},
    )


@router.get("/jobs", tags=["jobs"], responses=declared())
async def list_jobs(services: Here) -> list[Job]:
    """List the jobs that are remembered, the newest first."""
    return services.jobs.list()


@router.post("/jobs", tags=["jobs"], status_code=202, responses=declared("conflict"))
async def start_job(services: Here, request: JobRequest) -> Job:
    """Index the folders that the server was started with."""
    return await services.look_up(lambda: services.jobs.start(request))


@router.get("/jobs/{id}", tags=["jobs"], responses=declared("not_found"))
async def get_job(services: Here, id: JobId) -> Job:  # noqa: A002
    """Tell how far a job is."""
    return services.jobs.get(id)


@router.delete("/jobs/{id}", tags=["jobs"], responses=declared("not_found"))
async def cancel_job(services: Here, id: JobId) -> Job:  # noqa: A002
    """End a job; what was done is kept."""
    return await services.look_up(lambda: services.jobs.cancel(id))


@router.get("/models", tags=["server"], responses=declared())
async def list_models(services: Here) -> list[ModelAnswer]:
    """List the models that can make vectors."""
    return await services.decode(services.list_models)
