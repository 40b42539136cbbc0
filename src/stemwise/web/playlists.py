"""Playlists of tracks: as text whose entries a player fetches here, or in the server's folder."""

import logging
import re
from pathlib import Path

from stemwise.errors import UsageError
from stemwise.library.playlist import write_playlist
from stemwise.library.tables import Piece
from stemwise.web.current import Holding
from stemwise.web.failures import HttpError
from stemwise.web.messages import PlaylistRequest, PlaylistSaved

__all__ = ["as_text", "save"]

log = logging.getLogger("stemwise.web")

_LONGEST_BYTES = 200
_RESERVED = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')


def as_text(holding: Holding, request: PlaylistRequest, tracks: str) -> str:
    """Return an extended M3U whose entries lie below the address `tracks`."""
    lines = ["#EXTM3U", f"#PLAYLIST:{_in_one_line(request.name)}"]
    for piece in _pieces(holding, request):
        name = f"{piece.artist} - {piece.title}" if piece.artist else piece.title
        lines.append(f"#EXTINF:{round(piece.duration_seconds)},{_in_one_line(name)}")
        lines.append(f"{tracks}/{piece.id}/audio")
    return "\n".join(lines) + "\n"


def save(holding: Holding, request: PlaylistRequest, folder: Path | None) -> PlaylistSaved:
    """Write a playlist of relative paths into `folder`.

    Raises:
        HttpError: there is no folder, the name is no name of a file, a playlist is called so
            already, or a track is not known.
    """
    if folder is None:
        raise HttpError(
            "conflict",
            "this server was started without a folder for playlists",
            "start it with: stemwise serve --playlists FOLDER, or leave out save",
        )
    name = " ".join(request.name.split())
    if _RESERVED.search(name) or name.startswith(".") or len(name.encode()) > _LONGEST_BYTES:
        raise HttpError(
            "unprocessable",
            f"{request.name!r} cannot be the name of a file",
            'use no / \\ : * ? " < > | and no dot at the start, and 200 bytes at most',
        )
    path = folder / f"{name}.m3u8"
    if not name or path.exists():
        raise HttpError("conflict", f"there is a playlist {name!r} already", "choose another name")
    try:
        return PlaylistSaved(name=name, tracks=write_playlist(path, _pieces(holding, request)))
    except UsageError as error:  # its text names files
        log.warning("a playlist cannot be written: %s", error)
        raise HttpError(
            "conflict", f"the playlist {name!r} cannot be written", "the server's log tells why"
        ) from error


def _pieces(holding: Holding, request: PlaylistRequest) -> list[Piece]:
    return [holding.pieces[holding.number(identifier)] for identifier in request.tracks]


def _in_one_line(text: str) -> str:
    return " ".join(text.split())
