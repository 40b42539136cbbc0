import time

import numpy as np
import pytest

from made_collection import add_song
from stemwise.library.catalogue import Catalogue
from stemwise.web.maps import within


def test_few_tracks_have_their_final_map_at_once(client, ids, failure):
    found = client.get("/map", params={"part": "bass"}).json()
    assert (found["part"], found["final"], found["kind"]) == ("bass", True, "pca")
    assert {point["id"] for point in found["points"]} == set(ids.values())
    places = np.array([[point["x"], point["y"]] for point in found["points"]])
    assert np.abs(places).max() == pytest.approx(1)
    assert client.get("/map", params={"part": "bass"}).json() == found
    assert client.get("/map", params={"part": "piano"}).json()["points"] == []
    failure(client.get("/map", params={"part": "flute"}), 422, "unprocessable")


def test_a_better_map_is_made_beside_and_kept(tmp_path, start, tiny_model):
    for seed in range(12):
        add_song(tmp_path / "music" / f"{seed}.wav", 3, seed)
    catalogue = Catalogue.open(tmp_path / "catalogue", create=True)
    catalogue.index(tmp_path / "music", tiny_model)
    with start(catalogue) as client:
        found = client.get("/map").json()
        assert (found["final"], found["kind"]) == (False, "pca")
        latest = time.monotonic() + 60
        while not found["final"]:
            assert time.monotonic() < latest
            time.sleep(0.1)
            found = client.get("/map").json()
    assert found["kind"] == "tsne"
    places = [point["x"] for point in found["points"]] + [point["y"] for point in found["points"]]
    assert len(places) == 24
    assert max(map(abs, places)) == pytest.approx(1)
    with start(catalogue) as client:  # another server finds it
        assert client.get("/map").json() == found


def test_maps_keep_their_shape():
    places = np.array([[0.0, 0.0], [4.0, 1.0], [2.0, 0.0]])
    assert within(places).tolist() == [[-1, -0.25], [1, 0.25], [0, -0.25]]
    assert within(np.zeros((3, 2))).tolist() == [[0, 0]] * 3
    assert len(within(np.zeros((0, 2)))) == 0
