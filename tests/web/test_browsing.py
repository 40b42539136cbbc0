"""Browsing by players, by real requests in XML and JSON (`players.asking` compares the two)."""

import json
import os
import threading

import mutagen
import pytest

pytest.importorskip("fastapi_offline")

from made_music import tone, write_sndfile
from players import LOGIN, PASSWORD, USER, asking, refused, serve, token
from stemwise.library.albums import Albums
from stemwise.library.catalogue import Catalogue
from stemwise.web.browsing import BROWSING

SONGS = (  # folder, file, tags; changed so many days after 1970
    ("one", "1 first", {"title": "First", "artist": "The Ants", "album": "Hills", "date": "1999",
                        "genre": "Rock"}, 100),
    ("one", "2 second", {"title": "Second", "artist": "The Ants", "album": "Hills",
                         "date": "2001", "genre": "Jazz & Soul"}, 101),
    ("two", "a", {"title": "Third", "artist": "Beyoncé", "album": "Ängste", "date": "2010",
                  "genre": "Rock"}, 300),
    ("hits", "a", {"title": "Fourth", "artist": "The Ants", "album": "Hits", "genre": "Rock"}, 200),
    ("hits", "b", {"title": "Fifth", "artist": "Beyoncé", "album": "Hits"}, 200),
    ("loose", "untagged", {}, 50),
)  # fmt: skip
DAY = 86_400


@pytest.fixture(scope="module")
def collection(tmp_path_factory, tiny_model):
    folder = tmp_path_factory.mktemp("browsing") / "secret place"
    for number, (inside, name, tags, day) in enumerate(SONGS):
        (folder / inside).mkdir(parents=True, exist_ok=True)
        path = write_sndfile(folder / inside / f"{name}.flac", tone(5, 8000, number), 8000)
        file = mutagen.File(path)
        file.update(tags)
        file.save()
        os.utime(path, (day * DAY, day * DAY))
    catalogue = Catalogue.open(folder.parent / "catalogue", create=True)
    catalogue.index(folder, tiny_model)
    return catalogue


@pytest.fixture(scope="module")
def albums(ask):
    """The albums by name."""
    found = ask("getAlbumList2", type="alphabeticalByName")["albumList2"]["album"]
    return {album["name"]: album for album in found}


@pytest.fixture(scope="module")
def artists(ask):
    """The artists by name."""
    index = ask("getArtists")["artists"]["index"]
    return {artist["name"]: artist for letter in index for artist in letter["artist"]}


def titles(songs):
    return [song["title"] for song in songs]


def names(albums):
    return [album["name"] for album in albums]


def test_what_players_ask_at_their_start(ask, refusal):
    assert ask("getMusicFolders")["musicFolders"] == {"musicFolder": [{"id": 1, "name": "Music"}]}
    user = ask("getUser", username=USER)["user"]
    assert (user["username"], user["folder"], user["scrobblingEnabled"]) == (USER, [1], False)
    roles = {name for name in user if name.endswith("Role")}
    assert len(roles) == 12
    assert {name for name in roles if user[name]} == {"streamRole", "downloadRole"}
    refusal(50, "getUser", username="eve")
    refusal(10, "getUser")
    assert ask("getPlaylists")["playlists"] == {"playlist": []}
    nothing = {"artist": [], "album": [], "song": []}
    assert ask("getStarred")["starred"] == ask("getStarred2")["starred2"] == nothing
    assert ask("getScanStatus")["scanStatus"] == {"scanning": False, "count": 6}


def test_artists_by_letter(ask, artists):
    told = ask("getArtists")["artists"]
    assert told["ignoredArticles"] == "The"
    letters = {one["name"]: [a["name"] for a in one["artist"]] for one in told["index"]}
    assert letters == {
        "#": ["[Unknown Artist]"], "A": ["The Ants"], "B": ["Beyoncé"], "V": ["Various Artists"],
    }  # fmt: skip
    assert list(letters) == ["#", "A", "B", "V"]
    assert {name: artist["albumCount"] for name, artist in artists.items()} == {
        "[Unknown Artist]": 1, "The Ants": 2, "Beyoncé": 2, "Various Artists": 1,
    }  # fmt: skip
    indexes = ask("getIndexes")["indexes"]
    assert indexes.pop("lastModified") == 300 * DAY * 1000
    assert indexes == told


def test_artists_and_albums_lead_to_songs(ask, artists, albums):
    ants = ask("getArtist", id=artists["The Ants"]["id"])["artist"]
    assert {key: one for key, one in ants.items() if key != "album"} == artists["The Ants"]
    assert ants["album"] == [albums["Hills"], albums["Hits"]]
    hills = ask("getAlbum", id=albums["Hills"]["id"])["album"]
    songs = hills.pop("song")
    assert hills == albums["Hills"]
    assert titles(songs) == ["First", "Second"]
    for song in songs:
        assert song == ask("getSong", id=song["id"])["song"]
        assert (song["albumId"], song["artistId"]) == (hills["id"], ants["id"])
    assert hills == {
        "id": hills["id"], "name": "Hills", "artist": "The Ants", "artistId": ants["id"],
        "artists": [{"id": ants["id"], "name": "The Ants"}], "displayArtist": "The Ants",
        "coverArt": hills["id"], "songCount": 2, "duration": 10,
        "created": "1970-04-12T00:00:00Z", "year": 1999, "genre": hills["genre"],
        "genres": [{"name": hills["genre"]}],
    }  # fmt: skip
    loose = ask("getAlbum", id=albums["[Unknown Album]"]["id"])["album"]
    assert titles(loose["song"]) == ["untagged"]
    hits = ask("getAlbum", id=albums["Hits"]["id"])["album"]
    assert (hits["artist"], titles(hits["song"])) == ("Various Artists", ["Fourth", "Fifth"])


def test_browsing_as_if_by_folders(ask, refusal, artists, albums):
    ants = ask("getMusicDirectory", id=artists["The Ants"]["id"])["directory"]
    assert (ants["name"], [one["title"] for one in ants["child"]]) == (
        "The Ants",
        ["Hills", "Hits"],
    )
    assert all(one["isDir"] for one in ants["child"])
    hills = ask("getMusicDirectory", id=ants["child"][0]["id"])["directory"]
    assert (hills["name"], hills["parent"]) == ("Hills", ants["id"])
    assert hills["child"] == ask("getAlbum", id=albums["Hills"]["id"])["album"]["song"]
    listed = ask("getAlbumList", type="newest", size=1)["albumList"]["album"]
    assert [(one["title"], one["isDir"]) for one in listed] == [("Ängste", True)]
    refusal(70, "getMusicDirectory", id="1")


@pytest.mark.parametrize(("asked", "expected"), [
    ({"type": "alphabeticalByName"}, ["[Unknown Album]", "Ängste", "Hills", "Hits"]),
    ({"type": "alphabeticalByArtist"}, ["[Unknown Album]", "Ängste", "Hills", "Hits"]),
    ({"type": "newest"}, ["Ängste", "Hits", "Hills", "[Unknown Album]"]),
    ({"type": "newest", "size": 2, "offset": 1}, ["Hits", "Hills"]),
    ({"type": "newest", "size": 0}, []),
    ({"type": "newest", "offset": 9}, []),
    ({"type": "byYear", "fromYear": 1990, "toYear": 2020}, ["Hills", "Ängste"]),
    ({"type": "byYear", "fromYear": 2020, "toYear": 1990}, ["Ängste", "Hills"]),
    ({"type": "byYear", "fromYear": 2000, "toYear": 2020}, ["Ängste"]),
    ({"type": "byGenre", "genre": "ROCK"}, ["Ängste", "Hills", "Hits"]),
    ({"type": "byGenre", "genre": "Jazz & Soul"}, ["Hills"]),
    ({"type": "byGenre", "genre": "none"}, []),
    ({"type": "frequent"}, []), ({"type": "recent"}, []), ({"type": "starred"}, []),
    ({"type": "highest"}, []),
])  # fmt: skip
def test_lists_of_albums(ask, asked, expected):
    assert names(ask("getAlbumList2", **asked)["albumList2"]["album"]) == expected
    folders = ask("getAlbumList", **asked)["albumList"]["album"]
    assert [one["title"] for one in folders] == expected


def listed(server, name, **asked):
    """Ask in JSON alone: what chance gives differs from call to call."""
    answer = server.get(name, params=LOGIN | token() | {"f": "json"} | asked)
    return answer.json()["subsonic-response"]


def test_chance(server):
    albums = [
        names(listed(server, "getAlbumList2", type="random", size=3)["albumList2"]["album"])
        for _ in range(30)
    ]
    assert all(len(set(some)) == 3 for some in albums)
    assert len({tuple(some) for some in albums}) > 1
    songs = listed(server, "getRandomSongs")["randomSongs"]["song"]
    assert len(songs) == 6
    assert len(listed(server, "getRandomSongs", size=2)["randomSongs"]["song"]) == 2
    rock = listed(server, "getRandomSongs", genre="rock")["randomSongs"]["song"]
    assert set(titles(rock)) == {"First", "Third", "Fourth"}
    new = listed(server, "getRandomSongs", fromYear=2000)["randomSongs"]["song"]
    assert set(titles(new)) == {"Second", "Third"}
    old = listed(server, "getRandomSongs", toYear=2000)["randomSongs"]["song"]
    assert titles(old) == ["First"]


def test_genres(ask, refusal, server):
    genres = ask("getGenres")["genres"]["genre"]
    assert genres == [
        {"songCount": 1, "albumCount": 1, "value": "Jazz & Soul"},
        {"songCount": 3, "albumCount": 3, "value": "Rock"},
    ]
    assert "Jazz &amp; Soul</genre>" in server.get("getGenres", params=LOGIN | token()).text
    songs = ask("getSongsByGenre", genre="Rock")["songsByGenre"]["song"]
    assert titles(songs) == ["Third", "First", "Fourth"]
    page = ask("getSongsByGenre", genre="Rock", count=1, offset=1)["songsByGenre"]["song"]
    assert titles(page) == ["First"]
    refusal(10, "getSongsByGenre")


def test_search3_finds_artists_albums_and_songs(ask):
    found = ask("search3", query="beyonce")["searchResult3"]
    assert names(found["artist"]) == ["Beyoncé"]
    assert names(found["album"]) == ["Ängste"]
    assert titles(found["song"]) == ["Third", "Fifth"]
    found = ask("search3", query="hi ants")["searchResult3"]
    assert (found["artist"], names(found["album"])) == ([], ["Hills"])
    everything = ask("search3", query="")["searchResult3"]
    assert [len(everything[kind]) for kind in ("artist", "album", "song")] == [4, 4, 6]
    page = ask("search3", query="", artistCount=1, artistOffset=1, albumCount=0, songCount=0)
    assert page["searchResult3"] == {
        "artist": everything["artist"][1:2], "album": [], "song": [],
    }  # fmt: skip


def test_albums_have_pictures_and_artists_have_none(server, refusal, albums, artists):
    for album in albums.values():
        answer = server.get("getCoverArt", params=LOGIN | token() | {"id": album["coverArt"]})
        assert answer.headers["content-type"] == "image/png"
    refusal(70, "getCoverArt", id=artists["Beyoncé"]["id"])


@pytest.mark.parametrize("name", [
    "getAlbum", "getArtist", "getMusicDirectory", "getSong", "getPlaylist", "getCoverArt",
])  # fmt: skip
def test_unknown_ids_are_told(refusal, name, albums):
    for unknown in ("0" * 12, "al-0000000000000000", "../../etc/passwd", "é"):
        assert repr(unknown) in refusal(70, name, id=unknown)
    assert "'id'" in refusal(10, name)


def test_what_is_wrong_is_told(refusal):
    for name in ("getAlbumList", "getAlbumList2"):
        assert "'type'" in refusal(10, name)
        assert "'loudest'" in refusal(0, name, type="loudest")
        refusal(10, name, type="byGenre")
        refusal(10, name, type="byYear", fromYear=1999)
        assert "'new'" in refusal(0, name, type="byYear", fromYear="new", toYear=2000)
        assert "'-1'" in refusal(0, name, type="newest", size=-1)
    for name, more in (("getArtists", {}), ("getIndexes", {}), ("getRandomSongs", {}),
                       ("search3", {"query": ""}), ("getAlbumList2", {"type": "newest"}),
                       ("getSongsByGenre", {"genre": "Rock"})):  # fmt: skip
        assert "'7'" in refusal(70, name, musicFolderId=7, **more)


def test_nothing_can_be_changed(refusal, albums):
    for name in ("scrobble", "star", "unstar", "setRating", "createPlaylist", "startScan"):
        assert name in refusal(50, name, id=albums["Hills"]["id"])


@pytest.mark.parametrize("name", sorted(BROWSING))
def test_every_method_wants_a_login(server, name):
    assert refused(server.get(name, params=LOGIN | token(password="wrong")), 40)
    assert refused(server.get(name, params=LOGIN), 10)
    assert PASSWORD not in server.get(name, params=LOGIN | {"p": PASSWORD}).text


def test_no_answer_tells_a_place(ask, collection, albums, artists):
    told = [
        ask("search3", query=""), ask("getIndexes"), ask("getMusicFolders"),
        *(ask("getAlbum", id=album["id"]) for album in albums.values()),
        *(ask("getMusicDirectory", id=artist["id"]) for artist in artists.values()),
    ]  # fmt: skip
    text = json.dumps(told)
    assert "secret place" not in text
    assert str(collection.directory.parent) not in text


def test_an_empty_catalogue_is_an_empty_library(tmp_path):
    with serve(Catalogue.open(tmp_path / "catalogue", create=True)) as server:
        ask = asking(server)
        assert ask("getArtists")["artists"]["index"] == []
        assert ask("getIndexes")["indexes"]["lastModified"] == 0
        assert ask("getAlbumList2", type="random")["albumList2"] == {"album": []}
        assert ask("getRandomSongs")["randomSongs"] == {"song": []}
        assert ask("getGenres")["genres"] == {"genre": []}


def test_albums_are_made_out_beside_the_loop_and_once(collection, monkeypatch):
    made = []

    class Watched(Albums):
        def __init__(self, pieces):
            made.append(threading.current_thread().name)
            super().__init__(pieces)

    monkeypatch.setattr("stemwise.web.current.Albums", Watched)
    with serve(collection) as server:
        ask = asking(server)
        for name in ("getArtists", "getGenres", "getArtists"):
            ask(name)
    assert 1 <= len(made) <= 2  # of what was read first, and of what was made ready
    assert not any("asyncio" in name or name == "MainThread" for name in made)
