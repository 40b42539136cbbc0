"""What a music file says about itself: title, artist, album, year, genre, tempo.

Tags never decide anything: a file without tags, or with damaged ones, is called by its file name.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mutagen

__all__ = ["Tags", "read_tags"]

# Names in Vorbis comments and mutagen's easy views, ID3, Windows Media; APE ignores case.
_NAMES = {
    "title": ("title", "TIT2", "Title"),
    "artist": ("artist", "TPE1", "Author", "Artist"),
    "album": ("album", "TALB", "WM/AlbumTitle", "Album"),
    "date": ("date", "year", "originaldate", "TDRC", "TYER", "WM/Year", "Year"),
    "genre": ("genre", "TCON", "WM/Genre", "Genre"),
    "bpm": ("bpm", "tempo", "TBPM", "WM/BeatsPerMinute", "BPM"),
}
_LONGEST = 500


@dataclass(frozen=True)
class Tags:
    """Tags of one piece; what is not known is empty or None."""

    title: str
    artist: str = ""
    album: str = ""
    year: int | None = None
    genre: str = ""
    bpm: float | None = None


def read_tags(path: Path) -> Tags:
    """Return the tags of `path`; the title falls back to the file name. Never raises."""
    try:
        file = mutagen.File(path, easy=True)
        found: Mapping[str, Any] = {} if file is None or file.tags is None else file.tags
        texts = {field: _text(found, names) for field, names in _NAMES.items()}
    except Exception:  # damaged tags take many forms, and none of them matters here
        texts = dict.fromkeys(_NAMES, "")
    year = re.search(r"\d{4}", texts["date"])
    return Tags(
        title=texts["title"] or path.stem,
        artist=texts["artist"],
        album=texts["album"],
        year=int(year[0]) if year else None,
        genre=texts["genre"],
        bpm=_bpm(texts["bpm"]),
    )


def _text(tags: Mapping[str, Any], names: tuple[str, ...]) -> str:
    for name in names:
        try:
            value = tags[name]
        except (KeyError, ValueError):
            continue
        first = value[0] if isinstance(value, list) and value else value
        text = " ".join(str(first).replace("\0", "/").split())
        text = text.encode("utf-8", "replace").decode("utf-8")
        if text and text != "[]":
            return text[:_LONGEST]
    return ""


def _bpm(text: str) -> float | None:
    try:
        bpm = float(text)
    except ValueError:
        return None
    return bpm if 0 < bpm < math.inf else None
