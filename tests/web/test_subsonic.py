"""The interface for players, by real requests; both shapes of answers are read as players do."""

import base64
import hashlib
import io
import json
from datetime import datetime

import av
import mutagen
import numpy as np
import pytest

pytest.importorskip("fastapi_offline")

from mutagen.flac import Picture
from mutagen.id3 import APIC, TIT2
from typer.testing import CliRunner

from made_collection import add_song
from made_music import tone, write_sndfile
from players import (
    LOGIN,
    NAMESPACE,
    PASSWORD,
    USER,
    in_json,
    in_xml,
    refused,
    serve,
    token,
)
from stemwise.cli import app
from stemwise.errors import UsageError
from stemwise.library.catalogue import Catalogue
from stemwise.library.search import similar
from stemwise.web import front, subsonic
from stemwise.web.settings import Settings

HOSTILE = 'A "quoted" & <b>bold</b> ]]> \x01\x1f title é 音 \U0001f3b5'
JPEG = b"\xff\xd8\xff\xe0 made up, but begins as a JPEG does"
FRONT = b"\x89PNG\r\n\x1a\n the front"


def with_picture(path, *pictures):
    """Embed (kind, bytes) in the FLAC or Ogg file `path`."""
    file = mutagen.File(path)
    for kind, data in pictures:
        picture = Picture()
        picture.type, picture.data, picture.mime = kind, data, "text/html"
        if path.suffix == ".flac":
            file.add_picture(picture)
        else:
            file["metadata_block_picture"] = [base64.b64encode(picture.write()).decode()]
    file.save()


@pytest.fixture(scope="module")
def collection(tmp_path_factory, tiny_model):
    """Seven songs; some with tags or pictures, one in a format that no browser plays."""
    folder = tmp_path_factory.mktemp("players") / "music"
    for seed in range(4):
        add_song(folder / f"song {seed}.wav", 5, seed)
    (folder / "zz copy.wav").write_bytes((folder / "song 3.wav").read_bytes())
    hostile = write_sndfile(folder / "hostile.flac", tone(5, 8000, 5), 8000)
    file = mutagen.File(hostile)
    file.update(title=HOSTILE, artist="..", album="a/b\\c", date="1999", genre="Rock & Roll",
                bpm="120.4")  # fmt: skip
    file.save()
    with_picture(hostile, (0, JPEG), (3, FRONT))
    with_picture(write_sndfile(folder / "ogg.ogg", tone(5, 8000, 6), 8000), (3, JPEG))
    odd = write_sndfile(folder / "odd.aiff", tone(5, 8000, 7), 8000)
    file = mutagen.File(odd)
    file.add_tags()
    file.tags.add(TIT2(text="odd"))
    file.tags.add(APIC(mime="image/png", type=3, data=b"<script>alert(1)</script>"))
    file.save()
    catalogue = Catalogue.open(folder.parent / "catalogue", create=True)
    catalogue.index(folder, tiny_model)
    return catalogue


def told(element):
    """Return an element as (name, attributes, text, children)."""
    name = element.tag.removeprefix(NAMESPACE)
    return name, dict(element.attrib), element.text, [told(child) for child in element]


@pytest.fixture(scope="module")
def ids(ask):
    return {song["title"]: song["id"] for song in ask("search3", query="")["searchResult3"]["song"]}


def test_ping_license_and_extensions(ask, server):
    assert set(ask("ping")) == {"status", "version", "type", "serverVersion", "openSubsonic"}
    assert ask("getLicense")["license"] == {"valid": True}
    known = ask("getOpenSubsonicExtensions")["openSubsonicExtensions"]
    assert known == [
        {"name": "formPost", "versions": [1]},
        {"name": "sonicSimilarity", "versions": [1]},
    ]
    anybody = in_json(server.get("getOpenSubsonicExtensions", params={"f": "json"}))
    assert anybody["openSubsonicExtensions"] == known


def test_the_example_of_the_protocol_logs_in(collection):
    with serve(collection, subsonic_user="joe", subsonic_password="sesame!!") as server:
        told = {"u": "joe", "v": "1.13.0", "c": "AwesomeClientName"}
        shown = {"t": hashlib.md5(b"sesame!!c19b2d").hexdigest(), "s": "c19b2d"}
        for _ in range(2):  # a salt may come again
            assert in_xml(server.get("ping.view", params=told | shown)).get("status") == "ok"
        upper = shown | {"t": shown["t"].upper()}
        assert in_xml(server.get("ping", params=told | upper)).get("status") == "ok"


@pytest.mark.parametrize("shown", [
    token(password="wrong"), {"t": token()["t"], "s": "another"}, {"t": PASSWORD, "s": "c19b2d"},
    token() | {"u": "eve"}, token() | {"u": USER + "x"}, {"p": "wrong"}, {"p": ""},
    {"p": "enc:wrong"}, {"p": "enc:" + b"wrong".hex()}, {"t": "é", "s": "ü"},
])  # fmt: skip
def test_wrong_logins_are_refused_alike(server, shown):
    for name in ("ping", "stream", "getSong", "nothing"):
        message = refused(server.get(name, params=LOGIN | {"f": "json"} | shown), 40)
        assert message == "wrong user or password"


@pytest.mark.parametrize(("shown", "code"), [
    ({}, 10), ({"t": "0" * 32}, 10), ({"s": "salt"}, 10), (token() | {"u": ""}, 10),
    (token() | {"c": ""}, 10), (token() | {"v": ""}, 10), (token() | {"v": "next"}, 0),
    (token() | {"v": "2.0.0"}, 30), (token() | {"v": "0.9"}, 20), (token() | {"p": PASSWORD}, 43),
    ({"apiKey": "key"}, 43), (token() | {"apiKey": "key"}, 43),
])  # fmt: skip
def test_logins_that_lack_something_are_told(server, shown, code):
    for shape in ("json", "xml"):
        refused(server.get("ping", params=LOGIN | {"f": shape} | shown), code)
    alone = {"v": "1.16.1", "c": "tests", "apiKey": "key"}
    refused(server.get("ping", params=alone), 42)


def test_the_password_itself_is_taken_on_loopback_only(server, collection):
    plain = ({"p": PASSWORD}, {"p": "enc:" + PASSWORD.encode().hex()})
    for shown in plain:
        assert in_xml(server.get("ping", params=LOGIN | shown)).get("status") == "ok"
    with serve(collection, host="0.0.0.0", token="a-token-of-good-length") as reachable:
        for shown in plain:
            assert "t and s" in refused(reachable.get("ping", params=LOGIN | shown), 42)
        assert in_xml(reachable.get("ping", params=LOGIN | token())).get("status") == "ok"
        assert reachable.get("http://127.0.0.1/api/v1/health").status_code == 401


def test_without_a_user_all_is_closed(collection, ids):
    with serve(collection, subsonic_user=None, subsonic_password=None) as server:
        for name in ("ping", "getOpenSubsonicExtensions", "stream", "getCoverArt.view"):
            everything = LOGIN | token() | {"id": ids["song 1"], "f": "json"}
            message = refused(server.get(name, params=everything), 42)
            assert "--subsonic-user" in message
        blank = {"u": "", "v": "1.16.1", "c": "tests", "p": "", "f": "json"}
        answer = server.get("ping", params=blank)
        refused(answer, 42)
        assert "access-control-allow-origin" not in answer.headers


def test_users_and_passwords_go_together():
    for known, told in (
        ({"subsonic_user": "joe"}, "--subsonic-password-file"),
        ({"subsonic_password": PASSWORD}, "--subsonic-user"),
        ({"subsonic_user": "", "subsonic_password": PASSWORD}, "--subsonic-user"),
        ({"subsonic_user": "joe", "subsonic_password": "short"}, "8 signs"),
    ):
        with pytest.raises(UsageError, match=told) as refusal:
            Settings(**known)
        assert PASSWORD not in str(refusal.value)
    assert PASSWORD not in repr(Settings(subsonic_user="joe", subsonic_password=PASSWORD))


def test_forms_are_taken_like_addresses(server, ids):
    everything = LOGIN | token() | {"f": "json", "id": ids["song 1"]}
    for name in ("getSong", "getSong.view"):
        for origin in ({}, {"Origin": "file://"}, {"Origin": "https://player.example"}):
            answer = server.post(name, data=everything, headers=origin)
            assert in_json(answer)["song"]["title"] == "song 1"
            assert answer.headers["access-control-allow-origin"] == "*"
            assert answer.headers["cache-control"] == "no-store"
    mixed = server.post("getSong?f=json", data=LOGIN | token() | {"id": ids["song 2"]})
    assert in_json(mixed)["song"]["title"] == "song 2"
    refused(server.post("ping", data={f"x{k}": k for k in range(200)}), 0)
    refused(server.post("ping", json=everything), 10)  # no form, so no login
    assert server.post("ping", data={"x": "y" * 2**21}).status_code == 413
    assert server.get("ping", headers={"Host": "evil.example"}).status_code == 403


def test_pages_of_other_origins_may_ask_but_bring_nothing_along(server):
    page = {"Origin": "https://player.example", "Cookie": "stemwise_session=x"}
    for shown in (token(), token(password="wrong")):  # a refusal must be readable, too
        answer = server.get("ping", params=LOGIN | shown, headers=page)
        assert answer.headers["access-control-allow-origin"] == "*"
        told = {name for name in answer.headers if name.startswith("access-control-")}
        assert told == {"access-control-allow-origin"}
    asked = page | {"Access-Control-Request-Method": "GET",
                    "Access-Control-Request-Headers": "authorization"}  # fmt: skip
    answer = server.options("ping", headers=asked)
    assert answer.status_code == 405
    assert "access-control-allow-headers" not in answer.headers
    outside = server.get("http://127.0.0.1/api/v1/health", headers=page)
    assert "access-control-allow-origin" not in outside.headers


def test_shapes(server, refusal):
    everything = LOGIN | token()
    answer = server.get("ping", params=everything | {"f": "jsonp", "callback": "show.it"})
    assert answer.headers["content-type"].startswith("application/javascript")
    inside = answer.text.removeprefix("show.it(").removesuffix(");")
    assert json.loads(inside)["subsonic-response"]["status"] == "ok"
    for callback, code in (("alert(1)//", 0), ("a b", 0), ("", 10)):
        wrong = {"f": "jsonp", "callback": callback}
        refused(server.get("ping", params=everything | wrong), code)
    assert "'yaml'" in refused(server.get("ping", params=everything | {"f": "yaml"}), 0)
    assert "'getMoon'" in refusal(0, "getMoon")


def test_a_song_is_told_without_its_place(ask, ids, collection):
    song = ask("getSong", id=ids["song 1"])["song"]
    album, artist = song.pop("albumId"), song.pop("artistId")
    assert song.pop("parent") == album
    assert song.pop("artists") == [{"id": artist, "name": "[Unknown Artist]"}]
    assert datetime.fromisoformat(song.pop("created")).year >= 2026
    assert song == {
        "id": ids["song 1"], "isDir": False, "title": "song 1", "displayArtist": "", "genres": [],
        "coverArt": ids["song 1"], "size": 2 * 40000 + 44, "contentType": "audio/wav",
        "suffix": "wav", "duration": 5, "bpm": 0, "type": "music", "mediaType": "song",
        "isVideo": False, "path": "[Unknown Artist]/[Unknown Album]/song 1.wav",
    }  # fmt: skip
    place = str(collection.directory.parent)
    assert place not in json.dumps(ask("search3", query=""))


def test_hostile_titles_stay_text(ask, ids):
    (title,) = (title for title in ids if "bold" in title)
    song = ask("getSong", id=ids[title])["song"]  # `ask` compares JSON and XML
    assert "<b>bold</b> ]]>" in title
    assert song["title"] == title
    assert (song["year"], song["genre"], song["bpm"]) == (1999, "Rock & Roll", 120)
    assert song["genres"] == [{"name": "Rock & Roll"}]
    artist, album, name = song["path"].split("/")
    assert (artist, album) == ("_", "a_b_c")  # players save songs under this path
    assert name.endswith(".flac")
    assert name.isprintable()


def test_search3_pages_and_needs_a_query(ask, refusal, ids):
    assert len(ids) == 7
    for everything in ("", '""'):
        found = ask("search3", query=everything)["searchResult3"]
        assert [song["id"] for song in found["song"]] == list(ids.values())
        assert sorted(artist["name"] for artist in found["artist"]) == ["..", "[Unknown Artist]"]
        assert [album["songCount"] for album in found["album"]] == [6, 1]
    page = ask("search3", query="", songCount=2, songOffset=3)["searchResult3"]["song"]
    assert [song["id"] for song in page] == list(ids.values())[3:5]
    assert ask("search3", query="", songCount=0)["searchResult3"]["song"] == []
    assert [s["title"] for s in ask("search3", query="SONG 2")["searchResult3"]["song"]] == [
        "song 2"
    ]
    assert "'query'" in refusal(10, "search3")
    refusal(0, "search3", query="x" * 201)
    assert "'-1'" in refusal(0, "search3", query="", songCount=-1)


def test_sonic_similar_tracks_are_those_of_the_library(ask, ids, collection):
    for part, weights in (
        (None, None), ("drums", {"drums": 1}), ("drums:1,bass:0.5", {"drums": 1, "bass": 0.5}),
        ("drums=1,bass=.5", {"drums": 1, "bass": 0.5}), ("bass:2", {"bass": 2}),
        (["drums", "bass:0.5"], {"drums": 1, "bass": 0.5}),
    ):  # fmt: skip
        asked = {} if part is None else {"part": part}
        matches = ask("getSonicSimilarTracks", id=ids["song 1"], **asked)["sonicMatch"]
        expected = similar(collection, ids["song 1"], weights).matches
        assert [m["entry"]["id"] for m in matches] == [m.piece.id for m in expected]
        near = [m["similarity"] for m in matches]
        assert near == pytest.approx([m.similarity for m in expected], abs=1e-6)
        assert near == sorted(near, reverse=True)
        assert all(0 <= one <= 1 for one in near)
        assert len(matches) == 6
        assert ids["song 1"] not in [m["entry"]["id"] for m in matches]
    assert set(matches[0]) == {"entry", "similarity"}
    song = ask("getSong", id=matches[0]["entry"]["id"])["song"]
    assert matches[0]["entry"] == song


@pytest.mark.parametrize("name", ["getSimilarSongs", "getSimilarSongs2"])
def test_similar_songs_are_the_same(ask, ids, name):
    inner = name.removeprefix("getS").join(("s", ""))
    for part in ({}, {"part": "guitar"}):
        songs = ask(name, id=ids["song 1"], **part)[inner]["song"]
        matches = ask("getSonicSimilarTracks", id=ids["song 1"], **part)["sonicMatch"]
        assert songs == [match["entry"] for match in matches]
    assert len(ask(name, id=ids["song 1"], count=2)[inner]["song"]) == 2


def test_similarity_in_xml_is_as_navidrome_has_it(server, ids):
    everything = LOGIN | token() | {"id": ids["song 1"], "count": 1}
    root = in_xml(server.get("getSonicSimilarTracks", params=everything))
    ((name, attributes, _, (entry, similarity)),) = map(told, root)
    assert (name, attributes) == ("sonicMatch", {})
    assert (entry[0], entry[1]["isDir"]) == ("entry", "false")
    assert similarity[:2] == ("similarity", {})
    assert 0 <= float(similarity[2]) <= 1


@pytest.mark.parametrize("name", ["getSonicSimilarTracks", "getSimilarSongs", "getSimilarSongs2"])
def test_counts_parts_and_ids_are_checked(ask, refusal, ids, name):
    song = ids["song 1"]
    for count in ("0", "-3", "many", "1.5", "", "9" * 30):
        assert repr(count) in refusal(0, name, id=song, count=count)
    assert ask(name, id=song, count=10**9)  # as many as there are
    for part, said in (
        ("flute", "'flute'"), ("drums:-1", "0 or more"), ("drums:nan", "finite"),
        ("drums:much", "not a number"), ("drums:0", "above 0"), ("", "above 0"),
        ("drums,drums", "named twice"), ("drums:1e7", "1000000"), ("piano", "no piano sounds"),
    ):  # fmt: skip
        assert said in refusal(0, name, id=song, part=part)
    for unknown in ("0" * 12, song.upper() + "x", "../../etc/passwd", "é"):
        assert repr(unknown) in refusal(70, name, id=unknown)
    assert "'id'" in refusal(10, name)


def test_a_sonic_path_leads_from_end_to_end(ask, refusal, ids):
    first, last = ids["song 0"], ids["song 3"]
    for part in ({}, {"part": "drums:1,bass:0.5"}):
        path = ask("findSonicPath", startSongId=first, endSongId=last, **part)["sonicMatch"]
        on_it = [match["entry"]["id"] for match in path]
        assert (on_it[0], on_it[-1]) == (first, last)
        assert len(set(on_it)) == len(on_it)
        assert path[0]["similarity"] == 1.0
        matches = ask("getSonicSimilarTracks", id=first, **part)["sonicMatch"]
        near = {match["entry"]["id"]: match["similarity"] for match in matches}
        for match in path[1:]:
            assert match["similarity"] == pytest.approx(near[match["entry"]["id"]], abs=2e-6)
    short = ask("findSonicPath", startSongId=first, endSongId=last, count=2)["sonicMatch"]
    assert [match["entry"]["id"] for match in short] == [first, last]
    refusal(10, "findSonicPath", startSongId=first)
    refusal(10, "findSonicPath", endSongId=first)
    refusal(70, "findSonicPath", startSongId=first, endSongId="0" * 12)
    refusal(0, "findSonicPath", startSongId=first, endSongId=last, count=1)
    refusal(0, "findSonicPath", startSongId=first, endSongId=last, part="flute")
    assert "two" in refusal(0, "findSonicPath", startSongId=first, endSongId=first)


def test_long_paths_are_thinned_evenly(ask, ids, monkeypatch):
    order = list(ids.values())
    whole = subsonic.find_path

    def through_all(holding, request):
        found = whole(holding, request)
        step = found.steps[0]
        steps = [
            step.model_copy(update={"track": step.track.model_copy(update={"id": one})})
            for one in order
        ]
        return found.model_copy(update={"steps": steps})

    monkeypatch.setattr(subsonic, "find_path", through_all)
    for count, kept in ((7, range(7)), (4, (0, 2, 4, 6)), (3, (0, 3, 6)), (2, (0, 6))):
        path = ask("findSonicPath", startSongId=order[0], endSongId=order[-1], count=count)
        assert [m["entry"]["id"] for m in path["sonicMatch"]] == [order[k] for k in kept]


def test_streams_and_downloads(server, ids, collection, refusal):
    folder = collection.directory.parent / "music"
    whole = (folder / "song 2.wav").read_bytes()
    everything = LOGIN | token() | {"id": ids["song 2"]}
    for name in ("stream", "stream.view", "download"):
        answer = server.get(name, params=everything)
        assert answer.content == whole
        assert answer.headers["content-type"] == "audio/wav"
        part = server.get(name, params=everything, headers={"Range": "bytes=100-199"})
        assert (part.status_code, part.content) == (206, whole[100:200])
        assert server.head(name, params=everything).headers["content-length"] == str(len(whole))
        refusal(70, name, id="0" * 12)
        refusal(10, name)
    assert (
        "song%202.wav" in server.get("download", params=everything).headers["content-disposition"]
    )
    everything["id"] = ids["odd"]
    flac = server.get("stream", params=everything)
    assert (flac.headers["content-type"], flac.content[:4]) == ("audio/flac", b"fLaC")
    raw = server.get("stream", params=everything | {"format": "raw"})
    assert raw.content == server.get("download", params=everything).content
    assert raw.content == (folder / "odd.aiff").read_bytes()
    assert raw.headers["content-type"] == "audio/x-aiff"


def test_covers_are_embedded_or_drawn(server, ids, ask, refusal):
    def cover(title):
        everything = LOGIN | token() | {"id": ids[title], "size": 64}
        answer = server.get("getCoverArt", params=everything)
        return answer.headers["content-type"], answer.content

    (hostile,) = (title for title in ids if "bold" in title)
    assert cover(hostile) == ("image/png", FRONT)
    assert cover("ogg") == ("image/jpeg", JPEG)
    for title in ("song 1", "odd"):  # the second claims a picture that is none
        kind, data = cover(title)
        assert kind == "image/png"
        with av.open(io.BytesIO(data)) as picture:
            drawn = next(picture.decode(video=0)).to_ndarray(format="rgb24")
        assert drawn.shape == (300, 300, 3)
        coloured = (np.ptp(drawn.astype(int), axis=2) > 40).sum(axis=0)
        bars = [int(coloured[30 + 50 * k : 70 + 50 * k].max()) for k in range(5)]
        assert bars == [240, 240, 2, 240, 240]  # the piano never sounds
    assert ask("getSong", id=ids["odd"])["song"]["transcodedSuffix"] == "flac"
    refusal(70, "getCoverArt", id="0" * 12)
    refusal(10, "getCoverArt")


def test_files_that_have_gone_are_told(tmp_path, tiny_model):
    gone = add_song(tmp_path / "music" / "gone.wav", 5)
    broken = add_song(tmp_path / "music" / "broken.wav", 6, 1)
    catalogue = Catalogue.open(tmp_path / "catalogue", create=True)
    catalogue.index(tmp_path / "music", tiny_model)
    gone.unlink()
    broken.write_bytes(b"no music")
    with serve(catalogue) as server:
        everything = LOGIN | token() | {"f": "json"}
        listed = in_json(server.get("search3", params=everything | {"query": ""}))
        ids = {song["title"]: song["id"] for song in listed["searchResult3"]["song"]}
        for name in ("stream", "download"):
            message = refused(server.get(name, params=everything | {"id": ids["gone"]}), 70)
            assert str(tmp_path) not in message
        message = refused(server.get("stream", params=everything | {"id": ids["broken"]}), 0)
        assert str(tmp_path) not in message
        for title in ids:
            answer = server.get("getCoverArt", params=everything | {"id": ids[title]})
            assert answer.headers["content-type"] == "image/png"


def test_an_empty_catalogue_answers(tmp_path):
    with serve(Catalogue.open(tmp_path / "catalogue", create=True)) as server:
        everything = LOGIN | token() | {"f": "json"}
        assert in_json(server.get("ping", params=everything))["status"] == "ok"
        found = in_json(server.get("search3", params=everything | {"query": ""}))
        assert found["searchResult3"]["song"] == []
        refused(server.get("getSonicSimilarTracks", params=everything | {"id": "0" * 12}), 70)


def test_faults_of_ours_are_told_as_such(server, ids, monkeypatch, caplog):
    def fail(*_):
        raise RuntimeError("a secret of the server")

    monkeypatch.setattr(subsonic, "search", fail)
    everything = LOGIN | token() | {"id": ids["song 1"]}
    message = refused(server.get("getSonicSimilarTracks", params=everything), 0)
    assert "secret" not in message
    assert "a secret of the server" in caplog.text
    assert PASSWORD not in caplog.text


@pytest.fixture
def given(collection, monkeypatch):
    """Run `stemwise serve` up to the server; return the settings, or the line it refuses with."""

    def run(*arguments, **environment):
        seen = []

        def doorway(build, settings, failed):
            seen.append(settings)
            raise UsageError("this is far enough")

        monkeypatch.setattr(front, "Doorway", doorway)
        command = ["serve", collection.directory, *arguments]
        result = CliRunner().invoke(app, [str(part) for part in command], env=environment)
        assert isinstance(result.exception, UsageError), result.output
        assert PASSWORD not in result.output + str(result.exception)
        return seen[0] if seen else str(result.exception)

    return run


def test_the_command_line_takes_the_password_from_a_file_or_the_environment(given, tmp_path):
    file = tmp_path / "password"
    file.write_bytes(f"{PASSWORD}\r\nanother line\n".encode())
    named = ("--subsonic-user", USER)
    by_file = given(*named, "--subsonic-password-file", file, STEMWISE_SUBSONIC_PASSWORD="unused")
    assert (by_file.subsonic_user, by_file.subsonic_password) == (USER, PASSWORD)
    assert given(*named, STEMWISE_SUBSONIC_PASSWORD=PASSWORD).subsonic_password == PASSWORD
    assert given(STEMWISE_SUBSONIC_USER=USER, STEMWISE_SUBSONIC_PASSWORD=PASSWORD) == by_file
    assert given(STEMWISE_SUBSONIC_PASSWORD=PASSWORD).subsonic_user is None
    assert "STEMWISE_SUBSONIC_PASSWORD" in given(*named)
    assert "--subsonic-user" in given("--subsonic-password-file", file)
    for wrong in (tmp_path / "gone", tmp_path):
        assert f"{wrong} cannot be read" in given(*named, "--subsonic-password-file", wrong)
    file.write_bytes(b"\xff\xfe\x00secret")
    assert "text file" in given(*named, "--subsonic-password-file", file)
