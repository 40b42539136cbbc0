"""The routes that only read: tracks, their sound, searches, paths, maps."""

import re
from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Path, Query, Response
from fastapi.responses import FileResponse, StreamingResponse

from stemwise.web.failures import declared
from stemwise.web.messages import (
    Health,
    MapAnswer,
    PathAnswer,
    PathRequest,
    SearchAnswer,
    SearchRequest,
    TrackAnswer,
    TrackId,
    Tracks,
    Waveform,
)
from stemwise.web.searching import find_path, search
from stemwise.web.services import Here
from stemwise.web.sound import Wav
from stemwise.web.tracks import found_tracks, whole_track

__all__ = ["router"]

Part = Literal["drums", "bass", "piano", "guitar", "residuals"]
Id = Annotated[TrackId, Path(description="A track's id.")]
Second = Annotated[float | None, Query(ge=0, le=1e7, allow_inf_nan=False)]
_AUDIO = {"schema": {"type": "string", "format": "binary"}}

_KINDS = ("audio/mpeg", "audio/mp4", "audio/ogg", "audio/flac", "audio/wav", "audio/webm")

router = APIRouter()


@router.get("/health", tags=["server"], responses=declared())
async def health(services: Here) -> Health:
    """Tell how the server is, and what it can do."""
    return await services.look_up(services.health)


@router.get("/tracks", tags=["tracks"], responses=declared())
async def list_tracks(
    services: Here,
    q: Annotated[str, Query(max_length=200, description="Words of title, artist, album.")] = "",
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
) -> Tracks:
    """Find tracks by words; without words, list them all by artist and title."""
    holding = await services.holding()
    return await services.look_up(partial(found_tracks, holding, q, limit, offset))


@router.get("/tracks/{id}", tags=["tracks"], responses=declared("not_found"))
async def get_track(services: Here, id: Id) -> TrackAnswer:  # noqa: A002
    """Return a track with its segments."""
    holding = await services.holding()
    return await services.look_up(lambda: whole_track(holding, holding.number(id)))


@router.get("/tracks/{id}/waveform", tags=["tracks"],
            responses=declared("not_found", "unsupported_audio"))  # fmt: skip
async def get_waveform(
    services: Here,
    id: Id,  # noqa: A002
    points: Annotated[int, Query(ge=1, le=8000)] = 800,
) -> Waveform:
    """Return the outline of a track, to draw."""
    holding = await services.holding()
    return await services.decode(lambda: services.sound.waveform(holding, id, points))


@router.get(
    "/tracks/{id}/audio",
    tags=["tracks"],
    response_class=Response,
    responses={
        200: {
            "description": "The file, or a part or stretch of it as WAV.",
            "content": dict.fromkeys(_KINDS, _AUDIO),
        },
        206: {"description": "The bytes that Range asked for.", "content": {"audio/*": _AUDIO}},
        416: {"description": "The range lies outside the file.", "content": {"text/plain": {}}},
        **declared("not_found", "conflict", "unsupported_audio"),
    },
)  # fmt: skip
async def get_audio(
    services: Here,
    id: Id,  # noqa: A002
    start: Annotated[Second, Query(alias="from", description="Seconds; gives WAV.")] = None,
    end: Annotated[Second, Query(alias="to", description="Seconds; gives WAV.")] = None,
    part: Annotated[Part | None, Query(description="This part alone, as WAV.")] = None,
    wanted: Annotated[str | None, Header(alias="Range", include_in_schema=False)] = None,
) -> Response:
    """Return the sound of a track; it takes byte ranges, WAV those without an end."""
    holding = await services.holding()
    if start is None and end is None and part is None:
        path, kind = await services.decode(lambda: services.sound.file(holding, id))
        return FileResponse(path, media_type=kind, headers={"Cache-Control": "private, no-cache"})
    first_byte = _first_byte(wanted)
    if part is None:
        wav = await services.decode(
            lambda: services.sound.wav(holding, id, start, end, first_byte or 0)
        )
    else:
        wav = await services.decode(
            lambda: services.part_alone(holding, id, part, start, end, first_byte or 0)
        )
    return _sent(wav, ranged=first_byte is not None)


def _first_byte(wanted: str | None) -> int | None:
    """Return where the range begins that a player asks for; None: the whole, or a range of ends."""
    found = re.fullmatch(r"bytes=(\d{1,15})-", wanted or "")
    return int(found[1]) if found else None


def _sent(wav: Wav, *, ranged: bool) -> Response:
    """Return the answer that sends `wav`."""
    length, first = wav.length_bytes, wav.first_byte
    if first >= length:
        return Response(status_code=416, headers={"Content-Range": f"bytes */{length}"})
    headers = {"Accept-Ranges": "bytes", "Content-Length": str(length - first)}
    if ranged:
        headers["Content-Range"] = f"bytes {first}-{length - 1}/{length}"
    status = 206 if ranged else 200
    return StreamingResponse(wav.blocks, status, headers, media_type="audio/wav")


@router.post("/search", tags=["search"], responses=declared("not_found", "conflict"))
async def search_tracks(services: Here, request: SearchRequest) -> SearchAnswer:
    """Find tracks and passages alike in the weighted parts."""
    holding = await services.searchable()
    known = holding.recent.get(request)  # without waiting for the searches of others
    if known is not None:
        return known
    return await services.search(lambda: search(holding, request, services.upload))


@router.post("/path", tags=["search"], responses=declared("not_found", "conflict"))
async def find_journey(services: Here, request: PathRequest) -> PathAnswer:
    """Find a chain of tracks from one to another in which every step is small."""
    holding = await services.searchable()
    return await services.search(lambda: find_path(holding, request))


@router.get("/map", tags=["search"], responses=declared())
async def get_map(services: Here, part: Part = "drums") -> MapAnswer:
    """Return the map of one part: what is alike in it lies close together."""
    holding = await services.searchable()
    return await services.search(lambda: services.maps.get(holding, part))
