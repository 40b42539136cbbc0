"""Playlists: extended M3U in UTF-8, with paths relative to the playlist.

A playlist that is moved together with the music goes on working. Players read such files by the
extension ``.m3u8`` or ``.m3u``.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from stemwise.errors import UsageError
from stemwise.library.tables import Piece

__all__ = ["write_playlist"]


def write_playlist(path: Path, pieces: Iterable[Piece]) -> int:
    """Write `pieces` in their order to the playlist `path`; return how many there are.

    Line breaks in titles become spaces. The file appears whole or not at all.

    Raises:
        UsageError: `path` does not end in .m3u8 or .m3u, there is no piece, the folder cannot be
            written, or the path of a piece has a line break, which a playlist cannot hold.
    """
    if path.suffix.lower() not in (".m3u8", ".m3u"):
        raise UsageError(f"a playlist is an .m3u8 file, but {path.name} does not end in .m3u8")
    lines = ["#EXTM3U"]
    folder = os.path.abspath(path.parent)
    for piece in pieces:
        relative = os.path.relpath(piece.path, folder)
        if len(relative.splitlines()) != 1:
            raise UsageError(f"{piece.path} has a line break in its path; rename it first")
        name = f"{piece.artist} - {piece.title}" if piece.artist else piece.title
        lines.append(f"#EXTINF:{round(piece.duration_seconds)},{' '.join(name.split())}")
        lines.append(f"./{relative}" if relative.startswith("#") else relative)
    if len(lines) == 1:
        raise UsageError("there is no piece to put into the playlist")
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    return len(lines) // 2
