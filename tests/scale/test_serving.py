"""A catalogue and its songs on object storage, served like those in a folder."""

import io

import pytest
import soundfile

pytest.importorskip("fastapi_offline")

from fastapi.testclient import TestClient

from made_collection import add_song
from made_storage import put
from stemwise.library.catalogue import Catalogue
from stemwise.scale.engine import RayEngine
from stemwise.web.api import create_app
from stemwise.web.settings import Settings


@pytest.mark.filterwarnings("ignore:lance")
def test_songs_on_storage_are_listed_compared_and_heard(cluster, bucket, tmp_path, tiny_model):
    place = f"{bucket}/{tmp_path.name}"
    for seed in range(4):
        add_song(tmp_path / f"song {seed}.wav", 5 + seed, seed)
        put(f"{place}/music/song {seed}.wav", tmp_path / f"song {seed}.wav")
    catalogue = Catalogue.open(f"{place}/catalogue", create=True)
    catalogue.index(f"{place}/music", tiny_model, engine=RayEngine(actors=2))
    app = create_app(catalogue, Settings(port=0, prepare_uploads=False))
    with TestClient(app, base_url="http://127.0.0.1/api/v1") as client:
        tracks = {item["title"]: item["id"] for item in client.get("/tracks").json()["items"]}
        assert set(tracks) == {f"song {seed}" for seed in range(4)}
        own = tracks["song 1"]
        query = {"queries": [{"track": own, "parts": {"drums": 1}}]}
        found = client.post("/search", json=query)
        assert found.status_code == 200, found.text
        assert len(found.json()["matches"]) == 3
        heard = client.get(f"/tracks/{own}/audio")
        assert heard.status_code == 200
        sound, rate_hz = soundfile.read(io.BytesIO(heard.content))
        wanted, own_rate_hz = soundfile.read(tmp_path / "song 1.wav")
        assert rate_hz == own_rate_hz
        assert (sound == wanted).all()
