"""Artists, albums, genres and lists of songs, for players (`stemwise.web.subsonic`).

Albums and artists are those of `stemwise.library.albums`. There is one music folder, number 1. What
nobody can make here (playlists, stars) is an empty list, and so are albums by how often they were
played, which is not recorded. A method is an async function of a call and the services; it returns
the content of the answer.

Reference: OpenSubsonic, https://opensubsonic.netlify.app/docs/.
"""

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from stemwise.library.albums import Album, Artist
from stemwise.library.lookup import plain
from stemwise.web.current import Holding
from stemwise.web.envelope import Call, SubsonicError
from stemwise.web.services import Services
from stemwise.web.songs import Song, moment, number_of, song_of

__all__ = ["BROWSING"]

T = TypeVar("T")
Content = Mapping[str, Any]

_MOST = 500
_LONGEST_QUERY = 200
_FOLDER = "1"
_FIRST = 10**9  # as large as an offset may be
_ARTICLES = "The"
_UNRECORDED = frozenset(("frequent", "highest", "recent", "starred"))


async def _folders(call: Call, services: Services) -> Content:
    return {"musicFolders": {"musicFolder": [{"id": int(_FOLDER), "name": "Music"}]}}


async def _user(call: Call, services: Services) -> Content:
    user = services.settings.subsonic_user
    if call.need("username") != user:
        raise SubsonicError(50, "you may ask about yourself only")
    roles = {"stream": True, "download": True} | dict.fromkeys(
        ("admin", "settings", "upload", "playlist", "coverArt", "comment", "podcast", "jukebox",
         "share", "videoConversion"), False,
    )  # fmt: skip
    told = {f"{role}Role": has for role, has in roles.items()}
    return {
        "user": {
            "username": user, "scrobblingEnabled": False, **told, "folder": [int(_FOLDER)],
        }
    }  # fmt: skip


async def _artists(call: Call, services: Services) -> Content:
    return {"artists": await _indexed(call, services)}


async def _indexes(call: Call, services: Services) -> Content:
    holding = await _holding(call, services)
    newest = max((album.newest_ns for album in holding.albums.albums.values()), default=0)
    return {"indexes": {"lastModified": newest // 10**6, **await _indexed(call, services)}}


async def _indexed(call: Call, services: Services) -> Content:
    """Return all artists by the first sign of their names, but for an article."""
    holding = await _holding(call, services)

    def find() -> Content:
        groups: dict[str, list[Content]] = {}
        for artist in sorted(holding.albums.artists.values(), key=lambda a: (_sorted(a), a.id)):
            first = _sorted(artist)[:1].upper()
            groups.setdefault(first if first.isalpha() else "#", []).append(_artist_told(artist))
        index = [{"name": name, "artist": some} for name, some in groups.items()]
        return {"ignoredArticles": _ARTICLES, "index": index}

    return await services.look_up(find)


def _sorted(artist: Artist) -> str:
    """Return what an artist is found under; names without a letter in front come first."""
    name = artist.text.removeprefix(f"{_ARTICLES.lower()} ")
    return name if name[:1].isalpha() else f" {name}"


async def _artist(call: Call, services: Services) -> Content:
    holding = await services.browsable()
    artist = _known(holding.albums.artists, call.need("id"), "artist")
    albums = [_album_told(holding.albums.albums[one]) for one in artist.albums]
    return {"artist": {**_artist_told(artist), "album": albums}}


async def _album(call: Call, services: Services) -> Content:
    holding = await services.browsable()
    album = _known(holding.albums.albums, call.need("id"), "album")
    return {"album": {**_album_told(album), "song": _songs(holding, album.pieces)}}


async def _directory(call: Call, services: Services) -> Content:
    """Tell what an artist or album holds, for players that browse as if by folders."""
    holding = await services.browsable()
    identifier = call.need("id")
    album = holding.albums.albums.get(identifier)
    if album is not None:
        children = _songs(holding, album.pieces)
        told = {"id": album.id, "parent": album.artist_id, "name": album.name, "child": children}
        return {"directory": told}
    artist = _known(holding.albums.artists, identifier, "artist or album")
    albums = [_as_folder(holding.albums.albums[one]) for one in artist.albums]
    return {"directory": {"id": artist.id, "name": artist.name, "child": albums}}


async def _song(call: Call, services: Services) -> Content:
    holding = await services.browsable()
    return {"song": song_of(holding, number_of(holding, call.need("id")))}


async def _genres(call: Call, services: Services) -> Content:
    holding = await services.browsable()

    def find() -> list[Content]:
        songs = Counter(piece.genre for piece in holding.pieces if piece.genre)
        albums = Counter(
            genre
            for album in holding.albums.albums.values()
            for genre in {holding.pieces[k].genre for k in album.pieces}
        )
        return [
            {"songCount": songs[genre], "albumCount": albums[genre], "value": genre}
            for genre in sorted(songs, key=lambda genre: (plain(genre), genre))
        ]

    return {"genres": {"genre": await services.look_up(find)}}


async def _album_list(call: Call, services: Services) -> Content:
    albums = await _listed(call, services)
    return {"albumList": {"album": [_as_folder(album) for album in albums]}}


async def _album_list2(call: Call, services: Services) -> Content:
    albums = await _listed(call, services)
    return {"albumList2": {"album": [_album_told(album) for album in albums]}}


async def _listed(call: Call, services: Services) -> list[Album]:
    """Return the page of albums that is asked for."""
    order = call.need("type")
    holding = await _holding(call, services)
    size, first = call.whole("size", 10, 0, _MOST), call.whole("offset", 0, 0, _FIRST)
    albums = list(holding.albums.albums.values())
    if order == "byYear":
        start, end = (_year(call, name) for name in ("fromYear", "toYear"))
        low, high = sorted((start, end))
        albums = [album for album in albums if album.year and low <= album.year <= high]
        albums.sort(key=lambda album: album.year or 0, reverse=start > end)
    elif order == "byGenre":
        genre = plain(call.need("genre"))
        pieces = holding.pieces
        albums = [a for a in albums if any(plain(pieces[k].genre) == genre for k in a.pieces)]
    elif order == "alphabeticalByArtist":
        albums.sort(key=lambda album: (plain(album.artist), album.year or 9999))
    elif order == "newest":
        albums.sort(key=lambda album: album.newest_ns, reverse=True)
    elif order == "random":
        return random.sample(albums, min(size, len(albums)))
    elif order in _UNRECORDED:
        return []
    elif order != "alphabeticalByName":
        raise SubsonicError(0, f"there is no list of albums of the type {order[:80]!r}")
    return albums[first : first + size]


def _year(call: Call, name: str) -> int:
    call.need(name)
    return call.whole(name, 0, 0, 9999)


async def _random_songs(call: Call, services: Services) -> Content:
    holding = await _holding(call, services)
    size, genre = call.whole("size", 10, 0, _MOST), call.get("genre")
    low = call.whole("fromYear", 0, 0, 9999)
    high = call.whole("toYear", 9999, 0, 9999)
    dated = call.get("fromYear") is not None or call.get("toYear") is not None

    def find() -> list[Song]:
        some = _of_genre(holding, genre) if genre else range(len(holding.pieces))
        years = {k: holding.pieces[k].year for k in some} if dated else {}
        fitting = [k for k in some if not dated or low <= (years[k] or -1) <= high]
        return _songs(holding, random.sample(fitting, min(size, len(fitting))))

    return {"randomSongs": {"song": await services.look_up(find)}}


async def _songs_by_genre(call: Call, services: Services) -> Content:
    holding = await _holding(call, services)
    genre = call.need("genre")
    count, first = call.whole("count", 10, 0, _MOST), call.whole("offset", 0, 0, _FIRST)

    def find() -> list[Song]:
        return _songs(holding, _of_genre(holding, genre)[first : first + count])

    return {"songsByGenre": {"song": await services.look_up(find)}}


def _of_genre(holding: Holding, genre: str) -> list[int]:
    wanted = plain(genre)
    return [k for k in holding.lookup.in_order if plain(holding.pieces[k].genre) == wanted]


async def _search3(call: Call, services: Services) -> Content:
    text = call.get("query")
    if text is None:
        call.need("query")
    text = (text or "").strip().strip('"')  # some clients send "" for everything
    if len(text) > _LONGEST_QUERY:
        raise SubsonicError(0, f"query has {len(text)} signs; {_LONGEST_QUERY} is the most")
    pages = {}
    for kind in ("artist", "album", "song"):
        first = call.whole(f"{kind}Offset", 0, 0, _FIRST)
        pages[kind] = slice(first, first + call.whole(f"{kind}Count", 20, 0, _MOST))
    holding = await _holding(call, services)

    def find() -> Content:
        known, words = holding.albums, plain(text).split()
        artists = _with_words(known.artists.values(), words)[pages["artist"]]
        albums = _with_words(known.albums.values(), words)[pages["album"]]
        songs = holding.lookup.find(text)[pages["song"]]
        return {
            "artist": [_artist_told(artist) for artist in artists],
            "album": [_album_told(album) for album in albums],
            "song": _songs(holding, songs),
        }

    return {"searchResult3": await services.look_up(find)}


Named = TypeVar("Named", Album, Artist)


def _with_words(some: Iterable[Named], words: Sequence[str]) -> list[Named]:
    return [one for one in some if all(word in one.text for word in words)]


async def _playlists(call: Call, services: Services) -> Content:
    return {"playlists": {"playlist": []}}


async def _playlist(call: Call, services: Services) -> Content:
    raise SubsonicError(70, f"no playlist has the id {call.need('id')[:80]!r}")


async def _starred(call: Call, services: Services) -> Content:
    return {"starred": {"artist": [], "album": [], "song": []}}


async def _starred2(call: Call, services: Services) -> Content:
    return {"starred2": {"artist": [], "album": [], "song": []}}


async def _scan_status(call: Call, services: Services) -> Content:
    holding = await services.holding()
    return {"scanStatus": {"scanning": services.jobs.busy, "count": len(holding.pieces)}}


async def _holding(call: Call, services: Services) -> Holding:
    """Return what the catalogue holds; a refusal if another music folder is asked for."""
    folder = call.get("musicFolderId")
    if folder not in (None, "", _FOLDER):
        raise SubsonicError(70, f"no music folder has the id {str(folder)[:80]!r}")
    return await services.browsable()


def _known(those: Mapping[str, T], identifier: str, kind: str) -> T:
    found = those.get(identifier)
    if found is None:
        raise SubsonicError(70, f"no {kind} has the id {identifier[:80]!r}")
    return found


def _songs(holding: Holding, numbers: Sequence[int]) -> list[Song]:
    return [song_of(holding, k) for k in numbers]


def _artist_told(artist: Artist) -> Content:
    """Return an ArtistID3; there are no pictures of artists."""
    return {"id": artist.id, "name": artist.name, "albumCount": len(artist.albums)}


def _album_told(album: Album) -> Content:
    """Return an AlbumID3."""
    return {
        "id": album.id,
        "name": album.name,
        "artist": album.artist,
        "artistId": album.artist_id,
        "artists": [{"id": album.artist_id, "name": album.artist}],
        "displayArtist": album.artist,
        "coverArt": album.id,
        "songCount": len(album.pieces),
        "duration": round(album.duration_seconds),
        "created": moment(album.newest_ns),
        "year": album.year,
        "genre": album.genre or None,
        "genres": [{"name": album.genre}] if album.genre else [],
    }


def _as_folder(album: Album) -> Content:
    """Return an album as a Child that holds others; some players read name and songCount, too."""
    return {
        "id": album.id,
        "parent": album.artist_id,
        "isDir": True,
        "title": album.name,
        "name": album.name,
        "album": album.name,
        "artist": album.artist,
        "coverArt": album.id,
        "created": moment(album.newest_ns),
        "duration": round(album.duration_seconds),
        "songCount": len(album.pieces),
        "year": album.year,
        "genre": album.genre or None,
    }


BROWSING: Mapping[str, Callable[[Call, Services], Awaitable[Content]]] = {
    "getAlbum": _album,
    "getAlbumList": _album_list,
    "getAlbumList2": _album_list2,
    "getArtist": _artist,
    "getArtists": _artists,
    "getGenres": _genres,
    "getIndexes": _indexes,
    "getMusicDirectory": _directory,
    "getMusicFolders": _folders,
    "getPlaylist": _playlist,
    "getPlaylists": _playlists,
    "getRandomSongs": _random_songs,
    "getScanStatus": _scan_status,
    "getSong": _song,
    "getSongsByGenre": _songs_by_genre,
    "getStarred": _starred,
    "getStarred2": _starred2,
    "getUser": _user,
    "search3": _search3,
}
"""What answers each method by its name."""
