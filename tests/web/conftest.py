import pytest

pytest.importorskip("fastapi_offline")

from fastapi.testclient import TestClient

from made_collection import add_song
from made_music import tone, write_av
from players import asking, refusing, serve
from stemwise.library.catalogue import Catalogue
from stemwise.web.api import create_app
from stemwise.web.settings import Settings

QUIET = {"port": 0, "prepare_uploads": False}


@pytest.fixture(scope="session")
def music(tmp_path_factory):
    """Six songs of 5 to 10 seconds, a copy of one, and one in a format that no browser plays."""
    folder = tmp_path_factory.mktemp("web") / "music"
    for seed in range(6):
        add_song(folder / f"song {seed}.wav", 5 + seed, seed)
    (folder / "copy of 3.wav").write_bytes((folder / "song 3.wav").read_bytes())
    write_av(folder / "odd.m4a", tone(6, 44100, 7), "alac")
    return folder


@pytest.fixture(scope="session")
def stored(music, tmp_path_factory, tiny_model):
    """A catalogue of these songs, which no test changes."""
    catalogue = Catalogue.open(tmp_path_factory.mktemp("web catalogue") / "catalogue", create=True)
    catalogue.index(music, tiny_model)
    return catalogue


def started(catalogue, **settings):
    """Return a client of the server of `catalogue`; use it as a context."""
    app = create_app(catalogue, Settings(**QUIET | settings))
    return TestClient(app, base_url="http://127.0.0.1/api/v1", raise_server_exceptions=False)


@pytest.fixture(scope="session")
def client(stored):
    with started(stored) as client:
        yield client


@pytest.fixture(scope="session")
def start():
    return started


@pytest.fixture(scope="session")
def ids(client):
    """The ids of the songs by title."""
    return {item["title"]: item["id"] for item in client.get("/tracks").json()["items"]}


def told(response, status, code):
    """Check that `response` is a failure of the one shape; return it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    failure = response.json()
    assert set(failure) == {"code", "message", "hint"}
    assert failure["code"] == code
    assert failure["message"]
    assert "\n" not in failure["message"]
    return failure


@pytest.fixture
def failure():
    return told


@pytest.fixture(scope="module")
def server(collection):
    """A server for players of the module's own `collection`."""
    with serve(collection) as server:
        yield server


@pytest.fixture(scope="module")
def ask(server):
    return asking(server)


@pytest.fixture(scope="module")
def refusal(server):
    return refusing(server)
