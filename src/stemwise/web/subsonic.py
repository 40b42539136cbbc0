"""The interface for music players: the Subsonic protocol with OpenSubsonic's sonic similarity.

What is here lets a player find songs, ask what sounds alike, and play it; `stemwise.web.browsing`
has artists, albums and lists. Nobody can change anything: `scrobble`, too, is refused, as "ok"
would say that a play was recorded. docs/subsonic.md tells what each method does.

Who may ask: the gate's token is not wanted here; a player logs in with the user and password that
the server was started with. Usually it sends t = md5(password + salt) and the salt as s, which are
good for ever to those who overhear them. The password itself (p) is taken on loopback only.

Reference: OpenSubsonic, https://opensubsonic.netlify.app, extension sonicSimilarity version 1 as of
its commit d5dc049.
"""

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import FileResponse
from pydantic import ValidationError

from stemwise.errors import StemwiseError, UsageError
from stemwise.library.query import Example, resolve, weight_row
from stemwise.library.search import Question
from stemwise.library.snapshot import Snapshot
from stemwise.parts import parse_weights
from stemwise.web.browsing import BROWSING
from stemwise.web.covers import drawn, embedded
from stemwise.web.current import Holding
from stemwise.web.envelope import Call, SubsonicError, answer, read_call, refuse
from stemwise.web.failures import HttpError, internal, of_library
from stemwise.web.messages import PathRequest, SearchRequest
from stemwise.web.searching import find_path, search
from stemwise.web.services import Here, Services
from stemwise.web.settings import MOST_MATCHES, Settings, is_loopback
from stemwise.web.songs import Song, file_name, number_of, song_of

__all__ = ["router"]

_MOST_SONGS = 500
_DECIMALS = 6
_CHANGING = frozenset((  # what players try by themselves, or offer a button for
    "createPlaylist", "deletePlaylist", "savePlayQueue", "scrobble", "setRating", "star",
    "startScan", "unstar", "updatePlaylist",
))  # fmt: skip
_EXTENSIONS = {"formPost": [1], "sonicSimilarity": [1]}
router = APIRouter(include_in_schema=False)


@router.api_route("/rest/{name}", methods=["GET", "HEAD", "POST"], response_model=None)
async def take_call(name: str, request: Request, services: Here) -> Response:
    """Answer one call, whatever comes of it."""
    call = Call()
    try:
        call = await read_call(request)
        call.check_shape()
        found = await _answered(name.removesuffix(".view"), call, services)
        return found if isinstance(found, Response) else answer(call, found)
    except HTTPException:  # the body is too large
        raise
    except Exception as error:
        return refuse(call, _refusal(error))


async def _answered(name: str, call: Call, services: Services) -> Mapping[str, Any] | Response:
    if services.settings.subsonic_user is None:
        raise SubsonicError(
            42,
            "the interface for players is not enabled; start the server with --subsonic-user NAME "
            "and a password",
        )
    if name == "getOpenSubsonicExtensions":  # open to everybody, says the protocol
        known = [{"name": name, "versions": numbers} for name, numbers in _EXTENSIONS.items()]
        return {"openSubsonicExtensions": known}
    _check_version(call)
    _check_login(call, services.settings)
    if name not in _METHODS:
        if name in _CHANGING:
            raise SubsonicError(50, f"{name} would change something, which nobody can do here")
        raise SubsonicError(0, f"there is no method {name[:80]!r} here; see docs/subsonic.md")
    return await _METHODS[name](call, services)


def _check_version(call: Call) -> None:
    """Raise `SubsonicError` unless the caller names itself and a version that we understand."""
    call.need("c")
    version = call.need("v")
    major = version.partition(".")[0]
    if not (major.isascii() and major.isdigit()):
        raise SubsonicError(0, f"v must be a version such as 1.16.1, got {version[:80]!r}")
    if major.lstrip("0") != "1":
        raise SubsonicError(
            30 if major.lstrip("0") else 20,
            f"version {version[:80]} of the protocol is not known here; this is 1.16.1",
        )


def _check_login(call: Call, settings: Settings) -> None:
    """Raise `SubsonicError` unless the caller shows the user and the password."""
    plain, token = call.get("p"), call.get("t")
    if call.get("apiKey") is not None:
        if any(call.get(name) is not None for name in ("u", "p", "t", "s")):
            raise SubsonicError(43, "apiKey goes with none of u, p, t, s")
        raise SubsonicError(42, "API keys are not known here; send u, t and s")
    user = call.need("u")
    if plain is not None and token is not None:
        raise SubsonicError(43, "send either p, or t and s")
    password = (settings.subsonic_password or "").encode()
    if plain is None:
        shown = call.need("t").lower().encode()
        salted = password + call.need("s").encode()
        right = hashlib.md5(salted, usedforsecurity=False).hexdigest().encode()
    elif is_loopback(settings.host):
        shown, right = _plain(plain), password
    else:
        raise SubsonicError(42, "the password itself is not taken over a network; send t and s")
    # digests of equal length are compared, both of them, so that time tells nothing
    same_user = hmac.compare_digest(_digest(user.encode()), _digest(_user(settings)))
    same_password = hmac.compare_digest(_digest(shown), _digest(right))
    if not (same_user & same_password):
        raise SubsonicError(40, "wrong user or password")


def _user(settings: Settings) -> bytes:
    return (settings.subsonic_user or "").encode()


def _plain(text: str) -> bytes:
    """Return the password that `text` holds, plain or after enc: in hexadecimal digits."""
    if not text.startswith("enc:"):
        return text.encode()
    try:
        return bytes.fromhex(text.removeprefix("enc:"))
    except ValueError:
        raise SubsonicError(40, "wrong user or password") from None


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()


def _refusal(error: Exception) -> SubsonicError:
    """Return what the caller may know of `error`."""
    if isinstance(error, SubsonicError):
        return error
    if isinstance(error, UsageError):
        return SubsonicError(0, str(error))
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return SubsonicError(
            0, f"{first['loc'][-1]}: {first['msg']}, got {str(first['input'])[:80]!r}"
        )
    if isinstance(error, StemwiseError):
        error = of_library(error)
    failure = (error if isinstance(error, HttpError) else internal(error)).failure
    text = f"{failure.message}; {failure.hint}" if failure.hint else failure.message
    return SubsonicError(70 if failure.code == "not_found" else 0, text)


async def _ping(call: Call, services: Services) -> Mapping[str, Any]:
    return {}


async def _license(call: Call, services: Services) -> Mapping[str, Any]:
    return {"license": {"valid": True}}


async def _similar_songs(call: Call, services: Services) -> Mapping[str, Any]:
    return {"similarSongs": {"song": [song for song, _ in await _alike(call, services, 50)]}}


async def _similar_songs2(call: Call, services: Services) -> Mapping[str, Any]:
    return {"similarSongs2": {"song": [song for song, _ in await _alike(call, services, 50)]}}


async def _sonic_similar_tracks(call: Call, services: Services) -> Mapping[str, Any]:
    return _sonic_matches(await _alike(call, services, 10))


async def _sonic_path(call: Call, services: Services) -> Mapping[str, Any]:
    holding = await services.browsable()
    first, last = call.need("startSongId"), call.need("endSongId")
    for identifier in (first, last):
        number_of(holding, identifier)
    weights = _weights(call)
    most = call.whole("count", 25, 2, _MOST_SONGS)
    request = PathRequest.model_validate({"from": first, "to": last, "parts": weights})

    def find() -> list[tuple[Song, float]]:
        steps = find_path(holding, request).steps
        numbers = [holding.number(step.track.id) for step in steps]
        if len(numbers) > most:  # both ends, and as many between them, evenly
            kept = np.linspace(0, len(numbers) - 1, most).round().astype(int)
            numbers = [numbers[k] for k in kept]
        near = _similarities(holding.searchable(), numbers, weights)
        return [(song_of(holding, k), s) for k, s in zip(numbers, near, strict=True)]

    return _sonic_matches(await services.search(find))


async def _stream(call: Call, services: Services) -> Response:
    if call.get("format") == "raw":
        return await _file(call, services, attached=False)
    holding = await services.holding()
    identifier = call.need("id")
    number_of(holding, identifier)
    path, kind = await services.decode(lambda: services.sound.file(holding, identifier))
    return FileResponse(path, media_type=kind)


async def _download(call: Call, services: Services) -> Response:
    return await _file(call, services, attached=True)


async def _file(call: Call, services: Services, *, attached: bool) -> Response:
    """Return the file of a song as it is."""
    holding = await services.browsable()
    identifier = call.need("id")
    song = song_of(holding, number_of(holding, identifier))
    path = await services.decode(lambda: services.sound.original(holding, identifier))
    name = file_name(song["path"].rpartition("/")[2]) if attached else None
    return FileResponse(path, media_type=song["contentType"], filename=name)


async def _cover(call: Call, services: Services) -> Response:
    holding = await services.browsable()
    identifier = call.need("id")
    album = holding.albums.albums.get(identifier)
    number = number_of(holding, identifier) if album is None else album.pieces[0]

    def find() -> tuple[bytes, str]:
        path = _place(holding, number)
        found = embedded(path) if path is not None else None
        return found or (drawn(holding.shares[number].tolist()), "image/png")

    picture, kind = await services.decode(find)
    return Response(picture, media_type=kind, headers={"Cache-Control": "private, max-age=3600"})


_METHODS: Mapping[
    str, Callable[[Call, Services], Awaitable[Mapping[str, Any]] | Awaitable[Response]]
] = {
    **BROWSING,
    "ping": _ping,
    "getLicense": _license,
    "getSimilarSongs": _similar_songs,
    "getSimilarSongs2": _similar_songs2,
    "getSonicSimilarTracks": _sonic_similar_tracks,
    "findSonicPath": _sonic_path,
    "stream": _stream,
    "download": _download,
    "getCoverArt": _cover,
}


async def _alike(call: Call, services: Services, count: int) -> list[tuple[Song, float]]:
    """Return the songs most like the one asked about, nearest first, with their similarities."""
    holding = await services.searchable()
    identifier = call.need("id")
    number_of(holding, identifier)
    request = SearchRequest.model_validate(
        {
            "queries": [{"track": identifier}],
            "parts": _weights(call),
            "n": call.whole("count", count, 1, MOST_MATCHES),
        }
    )

    def find() -> list[tuple[Song, float]]:
        matches = search(holding, request, services.upload).matches
        return [
            (song_of(holding, holding.number(match.track.id)), match.similarity)
            for match in matches
        ]

    return await services.search(find)


def _similarities(
    snapshot: Snapshot, numbers: list[int], weights: Mapping[str, float] | None
) -> list[float]:
    """Return how similar pieces are to the first of them; it itself has 1."""
    pieces = snapshot.vectors().pieces
    query = resolve(snapshot, Example(pieces[numbers[0]]), weight_row(weights), None)
    space = snapshot.space(np.flatnonzero(query.weights))
    question = Question(space, (query,), snapshot.calibration)
    distances = question.on(np.array(numbers[1:])).distances()
    near = snapshot.calibration.similarity(distances, query.shares.mean(axis=0))
    return [1.0, *(round(float(one), _DECIMALS) for one in near)]


def _sonic_matches(found: list[tuple[Song, float]]) -> Mapping[str, Any]:
    return {"sonicMatch": [{"entry": song, "similarity": near} for song, near in found]}


def _weights(call: Call) -> dict[str, float] | None:
    """Return the weights that `part` asks for, as in drums:1,bass:0.5; None if it is not there."""
    texts = call.all("part")
    return dict(parse_weights(",".join(texts).replace(":", "="))) if texts else None


def _place(holding: Holding, number: int) -> Path | None:
    """Return a file of piece `number` that is there, on this machine."""
    vectors = holding.searchable().vectors()
    copies = vectors.copies[vectors.pieces[number].content]
    return next((copy.path for copy in copies if copy.path.is_file()), None)
