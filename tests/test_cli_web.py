"""`stemwise serve` as a process, over real sockets; and what it says instead of starting."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import replace

import pytest
from typer.testing import CliRunner

pytest.importorskip("fastapi_offline")

from made_collection import add_song
from made_storage import put, remove
from stemwise.cli import app
from stemwise.errors import CatalogueError, UsageError
from stemwise.library.catalogue import Catalogue
from stemwise.library.collection import Listing
from stemwise.library.embed import embed_files
from stemwise.library.engines import ThisMachine
from stemwise.library.places import place_of
from stemwise.library.search import similar


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_model):
    folder = tmp_path_factory.mktemp("serve")
    for seed in range(3):
        add_song(folder / "music" / f"{seed}.wav", 5 + seed, seed)
    Catalogue.open(folder / "catalogue", create=True).index(folder / "music", tiny_model)
    return folder


def refused(*arguments):
    result = CliRunner().invoke(app, ["serve", *map(str, arguments)])
    assert isinstance(result.exception, CatalogueError | UsageError), result.output
    assert "\n" not in str(result.exception)
    return str(result.exception)


def test_what_cannot_be_served_is_told_in_one_line(place, tmp_path):
    assert "stemwise index FOLDER" in refused(tmp_path / "nothing")
    assert "--music" in refused(place / "catalogue", "--music", tmp_path / "gone")
    assert "--playlists" in refused(place / "catalogue", "--playlists", tmp_path / "gone")
    assert "token" in refused(place / "catalogue", "--token", "short")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert "choose another with --port" in refused(place / "catalogue", "--port", port)
    assert "cannot be used" in refused(
        place / "catalogue", "--host", "256.1.1.1", "--token", "x" * 20
    )


def free_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


def get(address, **headers):
    with urllib.request.urlopen(urllib.request.Request(address, headers=headers)) as answer:
        return answer.status, answer.read()


def patiently(address, seconds=120.0, **headers):
    latest = time.monotonic() + seconds
    while True:
        try:
            return get(address, **headers)
        except urllib.error.HTTPError:
            raise
        except OSError:
            assert time.monotonic() < latest, "the server does not answer"
            time.sleep(0.05)


class Elsewhere(ThisMachine):
    """Embeds the files of a folder as if they were those of a URI."""

    def __init__(self, folder, uri):
        self.folder, self.uri = folder, uri

    def find(self, paths, exclude, *, by_content):
        files = sorted(self.folder.iterdir())
        places = [place_of(f"{self.uri}/{path.name}") for path in files]
        return Listing(tuple(places), Counter(), (), dict.fromkeys(places, (1, 1)))

    def embed(self, files, store, model, jobs, known):
        for found in embed_files([self.folder / place.name for place in files], model, jobs):
            yield replace(found, path=place_of(f"{self.uri}/{found.path.name}"))


def test_a_catalogue_and_its_music_on_storage_are_served(place, bucket, tmp_path, tiny_model):
    uri = f"{bucket}/{tmp_path.name}/music"
    for path in (place / "music").iterdir():
        put(f"{uri}/{path.name}", path)
    there = f"{bucket}/{tmp_path.name}/catalogue"
    engine = Elsewhere(place / "music", uri)
    Catalogue.open(there, create=True).index(uri, tiny_model, engine=engine)
    remove(f"{uri}/2.wav")
    port = free_port()
    command = [sys.executable, "-m", "stemwise.cli", "serve", there, "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              env=os.environ | {"TMPDIR": str(tmp_path)})  # fmt: skip
    base = f"http://127.0.0.1:{port}/api/v1"
    try:
        assert server.stdout.readline()
        tracks = json.loads(patiently(f"{base}/tracks")[1])["items"]
        ids = {track["title"]: track["id"] for track in tracks}
        assert sorted(ids) == ["0", "1", "2"]
        question = {"queries": [{"track": ids["1"], "parts": {"drums": 1}}], "n": 2}
        asked = urllib.request.Request(
            f"{base}/search", json.dumps(question).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(asked) as answer:
            matches = json.load(answer)["matches"]
        wanted = similar(Catalogue.open(there), ids["1"], {"drums": 1}, n=2)
        assert [match["track"]["id"] for match in matches] == [m.piece.id for m in wanted.matches]
        song = (place / "music" / "1.wav").read_bytes()
        assert get(f"{base}/tracks/{ids['1']}/audio") == (200, song)
        assert get(f"{base}/tracks/{ids['1']}/audio", Range="bytes=0-3") == (206, b"RIFF")
        assert (
            len(json.loads(get(f"{base}/tracks/{ids['0']}/waveform?points=40")[1])["peaks"]) == 40
        )
        with pytest.raises(urllib.error.HTTPError) as gone:
            get(f"{base}/tracks/{ids['2']}/audio")
        assert gone.value.code == 404
        gone.value.close()
    finally:
        server.send_signal(signal.SIGTERM)
        _, said = server.communicate(timeout=60)
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


def test_a_real_server_shows_its_page_keeps_its_token_and_ends_well(place):
    port = free_port()
    command = [sys.executable, "-m", "stemwise.cli", "serve", place / "catalogue", "--port", port,
               "--host", "0.0.0.0"]  # fmt: skip
    (place / "temporary").mkdir()
    server = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True,
                              env=os.environ | {"TMPDIR": str(place / "temporary")})  # fmt: skip
    try:
        printed = server.stdout.readline()
        token = re.search(r"#token=(\S{20,})", printed)[1]
        base = f"http://127.0.0.1:{port}"
        assert patiently(f"{base}/page/parts.js")[0] == 200  # needs no token, and does not wait
        with pytest.raises(urllib.error.HTTPError) as refusal:
            get(f"{base}/api/v1/health")
        assert refusal.value.code == 401
        refusal.value.close()
        bearer = {"Authorization": f"Bearer {token}"}
        status, body = get(f"{base}/api/v1/tracks", **bearer)
        assert status == 200
        identifier = re.search(rb'"id":"([0-9a-f]{12})"', body)[1].decode()
        song = f"{base}/api/v1/tracks/{identifier}/audio"
        assert get(song, Range="bytes=0-3", **bearer) == (206, b"RIFF")
    finally:
        server.send_signal(signal.SIGTERM)
        _, said = server.communicate(timeout=60)
    assert "Traceback" not in said
    assert token not in said
    assert list((place / "temporary").iterdir()) == []
