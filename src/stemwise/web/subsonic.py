"""The interface for music players: the Subsonic protocol with OpenSubsonic's sonic similarity.

What is here lets a player find songs, ask what sounds alike, and play it. Nobody can change
anything, and there is no browsing by artist or album. docs/subsonic.md tells what each method does.

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
from stemwise.web.covers import drawn, embedded
from stemwise.web.current import Holding
from stemwise.web.envelope import Call, SubsonicError, answer, read_call, refuse
from stemwise.web.failures import HttpError, internal, of_library
from stemwise.web.messages import PathRequest, SearchRequest
from stemwise.web.searching import find_path, search
from stemwise.web.services import Here, Services
from stemwise.web.settings import MOST_MATCHES, Settings, is_loopback

__all__ = ["router"]

Song = dict[str, Any]

_MOST_SONGS = 500
_LONGEST_QUERY = 200
_DECIMALS = 6
_EXTENSIONS = {"formPost": [1], "sonicSimilarity": [1]}
_MEDIA = {
    "aac": "audio/aac", "aif": "audio/x-aiff", "aiff": "audio/x-aiff", "ape": "audio/x-ape",
    "flac": "audio/flac", "m4a": "audio/mp4", "mp3": "audio/mpeg", "mp4": "audio/mp4",
    "oga": "audio/ogg", "ogg": "audio/ogg", "opus": "audio/ogg", "wav": "audio/wav",
    "webm": "audio/webm", "wma": "audio/x-ms-wma", "wv": "audio/x-wavpack",
}  # fmt: skip
_CONVERTED = frozenset(("aif", "aiff", "ape", "wma", "wv"))  # by stream, into FLAC

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


async def _song(call: Call, services: Services) -> Mapping[str, Any]:
    holding = await services.holding()
    return {"song": _song_of(holding, _number(holding, call.need("id")))}


async def _search3(call: Call, services: Services) -> Mapping[str, Any]:
    text = call.get("query")
    if text is None:
        call.need("query")
    text = (text or "").strip().strip('"')  # some clients send "" for everything
    if len(text) > _LONGEST_QUERY:
        raise SubsonicError(0, f"query has {len(text)} signs; {_LONGEST_QUERY} is the most")
    count = call.whole("songCount", 20, 0, _MOST_SONGS)
    first = call.whole("songOffset", 0, 0, 10**9)
    holding = await services.holding()

    def find() -> list[Song]:
        numbers = holding.lookup.find(text)[first : first + count]
        return [_song_of(holding, number) for number in numbers]

    return {"searchResult3": {"artist": [], "album": [], "song": await services.look_up(find)}}


async def _similar_songs(call: Call, services: Services) -> Mapping[str, Any]:
    return {"similarSongs": {"song": [song for song, _ in await _alike(call, services, 50)]}}


async def _similar_songs2(call: Call, services: Services) -> Mapping[str, Any]:
    return {"similarSongs2": {"song": [song for song, _ in await _alike(call, services, 50)]}}


async def _sonic_similar_tracks(call: Call, services: Services) -> Mapping[str, Any]:
    return _sonic_matches(await _alike(call, services, 10))


async def _sonic_path(call: Call, services: Services) -> Mapping[str, Any]:
    holding = await services.holding()
    first, last = call.need("startSongId"), call.need("endSongId")
    for identifier in (first, last):
        _number(holding, identifier)
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
        return [(_song_of(holding, k), s) for k, s in zip(numbers, near, strict=True)]

    return _sonic_matches(await services.search(find))


async def _stream(call: Call, services: Services) -> Response:
    if call.get("format") == "raw":
        return await _file(call, services, attached=False)
    holding = await services.holding()
    identifier = call.need("id")
    _number(holding, identifier)
    path, kind = await services.decode(lambda: services.sound.file(holding, identifier))
    return FileResponse(path, media_type=kind)


async def _download(call: Call, services: Services) -> Response:
    return await _file(call, services, attached=True)


async def _file(call: Call, services: Services, *, attached: bool) -> Response:
    """Return the file of a song as it is."""
    holding = await services.holding()
    identifier = call.need("id")
    song = _song_of(holding, _number(holding, identifier))
    path = await services.decode(lambda: services.sound.original(holding, identifier))
    name = _file_name(song["path"].rpartition("/")[2]) if attached else None
    return FileResponse(path, media_type=song["contentType"], filename=name)


async def _cover(call: Call, services: Services) -> Response:
    holding = await services.holding()
    number = _number(holding, call.need("id"))

    def find() -> tuple[bytes, str]:
        path = _place(holding, number)
        found = embedded(path) if path is not None else None
        return found or (drawn(holding.shares[number].tolist()), "image/png")

    picture, kind = await services.decode(find)
    return Response(picture, media_type=kind, headers={"Cache-Control": "private, max-age=3600"})


_METHODS: Mapping[
    str, Callable[[Call, Services], Awaitable[Mapping[str, Any]] | Awaitable[Response]]
] = {
    "ping": _ping,
    "getLicense": _license,
    "getSong": _song,
    "search3": _search3,
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
    _number(holding, identifier)
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
            (_song_of(holding, holding.number(match.track.id)), match.similarity)
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


def _number(holding: Holding, identifier: str) -> int:
    number = holding.numbers.get(identifier)
    if number is None:
        raise SubsonicError(70, f"no song has the id {identifier[:80]!r}")
    return number


def _place(holding: Holding, number: int) -> Path | None:
    """Return a file of piece `number` that is there, on this machine."""
    vectors = holding.searchable().vectors()
    copies = vectors.copies[vectors.pieces[number].content]
    return next((copy.path for copy in copies if copy.path.is_file()), None)


def _song_of(holding: Holding, number: int) -> Song:
    """Return what a player is told of piece `number` (Child); its path is made up of the tags."""
    piece = holding.pieces[number]
    suffix = piece.path.suffix.lower().lstrip(".")
    names = (piece.artist or "[Unknown Artist]", piece.album or "[Unknown Album]", piece.title)
    path = "/".join(map(_file_name, names))
    converted = suffix in _CONVERTED
    return {
        "id": piece.id,
        "isDir": False,
        "title": piece.title,
        "album": piece.album or None,
        "artist": piece.artist or None,
        "displayArtist": piece.artist,
        "year": piece.year,
        "genre": piece.genre or None,
        "genres": [{"name": piece.genre}] if piece.genre else [],
        "coverArt": piece.id,
        "size": piece.size_bytes,
        "contentType": _MEDIA.get(suffix, "application/octet-stream"),
        "suffix": suffix,
        "transcodedContentType": "audio/flac" if converted else None,
        "transcodedSuffix": "flac" if converted else None,
        "duration": round(piece.duration_seconds),
        "bpm": round(piece.bpm or 0),
        "path": f"{path}.{suffix}" if suffix else path,
        "type": "music",
        "mediaType": "song",
        "isVideo": False,
    }


def _file_name(text: str) -> str:
    """Return `text` as a file may be called: players save songs under the path they are told."""
    name = "".join("_" if sign in "/\\" or not sign.isprintable() else sign for sign in text)
    return name if name.strip(". ") else "_"
