"""Albums and artists, as the tags of the pieces make them out.

Conventions: pieces of one folder whose album has the same name make one album, whoever plays them.
It is the artist's who has more than half of its pieces, else that of `VARIOUS`; albums of the same
name and artist in several folders are one. Pieces without an album, or an artist, belong to one of
the name `NO_ALBUM`, or `NO_ARTIST`, so that every piece is found. An artist has the albums that are
theirs, and those that they play on. The tags stored know no numbers of tracks: the pieces of an
album are in the order of their files' names.

Ids are made from names, without case and accents: they stay as long as the tags do, wherever the
files are, and tell nothing of the place.
"""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from stemwise.library.lookup import plain
from stemwise.library.tables import Piece

__all__ = ["NO_ALBUM", "NO_ARTIST", "VARIOUS", "Album", "Albums", "Artist"]

VARIOUS = "Various Artists"
NO_ALBUM = "[Unknown Album]"
NO_ARTIST = "[Unknown Artist]"
_ID_DIGITS = 16


@dataclass(frozen=True)
class Album:
    """An album; `pieces` are numbers."""

    id: str
    name: str
    artist: str
    artist_id: str
    pieces: tuple[int, ...]
    year: int | None  # the earliest of its pieces
    genre: str  # of most of its pieces that have one
    duration_seconds: float
    newest_ns: int  # when the youngest of its files was changed
    text: str  # its name and artist, plain


@dataclass(frozen=True)
class Artist:
    """An artist, with the ids of the albums, by year and name."""

    id: str
    name: str
    albums: tuple[str, ...]
    text: str  # the name, plain


class Albums:
    """All albums and artists of some pieces.

    Attributes:
        albums: by id, in the order of their names.
        artists: by id, in the order of their names.
        album_of: the id of each piece's album (P,).
        artist_of: the id of each piece's artist (P,).
    """

    def __init__(self, pieces: Sequence[Piece]) -> None:
        groups = _grouped(pieces)
        found = [_album(pieces, *group) for group in groups.values()]
        self.albums = {album.id: album for album in sorted(found, key=lambda a: (a.text, a.id))}
        self.album_of = [""] * len(pieces)
        for album in found:
            for k in album.pieces:
                self.album_of[k] = album.id
        self.artist_of = [_artist_id(piece.artist or NO_ARTIST) for piece in pieces]
        self.artists = self._artists(pieces)

    def _artists(self, pieces: Sequence[Piece]) -> dict[str, Artist]:
        names: dict[str, str] = {}
        theirs: defaultdict[str, set[str]] = defaultdict(set)
        for album in self.albums.values():
            names.setdefault(album.artist_id, album.artist)
            theirs[album.artist_id].add(album.id)
        for k, artist in enumerate(self.artist_of):
            names.setdefault(artist, pieces[k].artist or NO_ARTIST)
            theirs[artist].add(self.album_of[k])
        found = []
        for artist, name in names.items():
            order = sorted(
                (self.albums[one] for one in theirs[artist]),
                key=lambda album: (album.year or 9999, album.text, album.id),
            )
            found.append(Artist(artist, name, tuple(a.id for a in order), plain(name)))
        return {one.id: one for one in sorted(found, key=lambda one: (one.text, one.id))}


def _grouped(pieces: Sequence[Piece]) -> dict[str, tuple[str, str, list[int]]]:
    """Return name, artist and pieces of each album by id."""
    folders: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    groups: dict[str, tuple[str, str, list[int]]] = {}
    loose = []
    for k, piece in enumerate(pieces):
        if piece.album:
            folders[os.path.dirname(str(piece.path)), plain(piece.album)].append(k)
        else:
            loose.append((NO_ALBUM, piece.artist or NO_ARTIST, [k]))
    named = [(pieces[some[0]].album, _main_artist(pieces, some), some) for some in folders.values()]
    for name, artist, some in [*named, *loose]:
        groups.setdefault(_album_id(name, artist), (name, artist, []))[2].extend(some)
    return groups


def _main_artist(pieces: Sequence[Piece], some: Sequence[int]) -> str:
    """Return who has more than half of `some` pieces."""
    names = [pieces[k].artist or NO_ARTIST for k in some]
    ((most, count),) = Counter(map(plain, names)).most_common(1)
    return next(name for name in names if plain(name) == most) if 2 * count > len(some) else VARIOUS


def _album(pieces: Sequence[Piece], name: str, artist: str, some: Sequence[int]) -> Album:
    order = sorted(some, key=lambda k: (os.path.basename(str(pieces[k].path)), pieces[k].content))
    chosen = [pieces[k] for k in order]
    years = [piece.year for piece in chosen if piece.year is not None]
    genres = Counter(piece.genre for piece in chosen if piece.genre)
    return Album(
        id=_album_id(name, artist),
        name=name,
        artist=artist,
        artist_id=_artist_id(artist),
        pieces=tuple(order),
        year=min(years, default=None),
        genre=genres.most_common(1)[0][0] if genres else "",
        duration_seconds=sum(piece.duration_seconds for piece in chosen),
        newest_ns=max(piece.mtime_ns for piece in chosen),
        text=f"{plain(name)} {plain(artist)}",
    )


def _album_id(name: str, artist: str) -> str:
    return f"al-{_digest(plain(name), plain(artist))}"


def _artist_id(name: str) -> str:
    return f"ar-{_digest(plain(name))}"


def _digest(*texts: str) -> str:
    whole = "\n".join(texts).encode("utf-8", "surrogateescape")  # plain text holds no line breaks
    return hashlib.sha256(whole).hexdigest()[:_ID_DIGITS]
