"""Songs as players are told of them: never where their files are."""

from datetime import UTC, datetime
from typing import Any

from stemwise.library.albums import NO_ALBUM, NO_ARTIST
from stemwise.web.current import Holding
from stemwise.web.envelope import SubsonicError

__all__ = ["Song", "file_name", "moment", "number_of", "song_of"]

Song = dict[str, Any]

_MEDIA = {
    "aac": "audio/aac", "aif": "audio/x-aiff", "aiff": "audio/x-aiff", "ape": "audio/x-ape",
    "flac": "audio/flac", "m4a": "audio/mp4", "mp3": "audio/mpeg", "mp4": "audio/mp4",
    "oga": "audio/ogg", "ogg": "audio/ogg", "opus": "audio/ogg", "wav": "audio/wav",
    "webm": "audio/webm", "wma": "audio/x-ms-wma", "wv": "audio/x-wavpack",
}  # fmt: skip
_CONVERTED = frozenset(("aif", "aiff", "ape", "wma", "wv"))  # by stream, into FLAC


def number_of(holding: Holding, identifier: str) -> int:
    """Return the number of the piece with this id; a refusal if there is none."""
    number = holding.numbers.get(identifier)
    if number is None:
        raise SubsonicError(70, f"no song has the id {identifier[:80]!r}")
    return number


def moment(nanoseconds: int) -> str:
    """Return a time since 1970 as the protocol writes it; files keep no other date."""
    seconds = min(max(nanoseconds // 10**9, 0), 253_402_300_799)  # up to the year 9999
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def song_of(holding: Holding, number: int) -> Song:
    """Return what a player is told of piece `number` (Child); its path is made up of the tags."""
    piece = holding.pieces[number]
    suffix = piece.path.suffix.lower().lstrip(".")
    albums = holding.albums
    album, artist = albums.album_of[number], albums.artist_of[number]
    names = (piece.artist or NO_ARTIST, piece.album or NO_ALBUM, piece.title)
    path = "/".join(map(file_name, names))
    converted = suffix in _CONVERTED
    return {
        "id": piece.id,
        "parent": album,
        "isDir": False,
        "title": piece.title,
        "album": piece.album or None,
        "albumId": album,
        "artist": piece.artist or None,
        "artistId": artist,
        "artists": [{"id": artist, "name": albums.artists[artist].name}],
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
        "created": moment(piece.mtime_ns),
        "duration": round(piece.duration_seconds),
        "bpm": round(piece.bpm or 0),
        "path": f"{path}.{suffix}" if suffix else path,
        "type": "music",
        "mediaType": "song",
        "isVideo": False,
    }


def file_name(text: str) -> str:
    """Return `text` as a file may be called: players save songs under the path they are told."""
    name = "".join("_" if sign in "/\\" or not sign.isprintable() else sign for sign in text)
    return name if name.strip(". ") else "_"
