import json

import pytest


def test_health_tells_what_there_is(client, stored):
    health = client.get("/health").json()
    assert health["status"] == "ok"
    assert health["tracks"] == 7
    assert health["fingerprint"] == stored.metadata.fingerprint
    assert health["segments"] == stored.status().segments
    assert health["indexing"] is False
    assert health["features"] | {"upload_max_bytes": 0, "upload_max_seconds": 0} == {
        "separate": False, "index": False, "save_playlists": False,
        "upload_max_bytes": 0, "upload_max_seconds": 0,
    }  # fmt: skip


def test_tracks_come_in_order_page_by_page(client):
    first = client.get("/tracks", params={"limit": 3}).json()
    rest = client.get("/tracks", params={"limit": 500, "offset": 3}).json()
    titles = [item["title"] for item in first["items"] + rest["items"]]
    assert first["total"] == rest["total"] == len(titles) == 7
    assert titles == sorted(titles)
    assert client.get("/tracks", params={"offset": 99}).json()["items"] == []


@pytest.mark.parametrize(("text", "expected"), [("SÓNG 2", ["song 2"]), ("2 song", ["song 2"]),
                                                ("nothing", [])])  # fmt: skip
def test_tracks_are_found_by_words(client, text, expected):
    found = client.get("/tracks", params={"q": text}).json()
    assert [item["title"] for item in found["items"]] == expected
    assert found["total"] == len(expected)


def test_a_track_tells_its_segments_and_no_path(client, ids, stored, music):
    answer = client.get(f"/tracks/{ids['copy of 3']}")  # of two copies, the first by path
    track = answer.json()
    assert track["copies"] == 1
    assert track["duration_seconds"] == 8
    assert [(s["start_seconds"], s["end_seconds"]) for s in track["segments"]] == [
        (0, 2), (2, 4), (4, 6), (6, 8),
    ]  # fmt: skip
    known = next(piece for piece in stored.pieces() if piece.id == track["id"])
    levels = stored.read("segments", ["content", "level_db", "start_seconds"]).to_pylist()
    own = sorted((row["start_seconds"], row["level_db"]) for row in levels
                 if row["content"] == known.content)  # fmt: skip
    assert [s["level_db"] for s in track["segments"]] == pytest.approx(
        [level for _, level in own], abs=0.01
    )
    assert track["parts"]["drums"] == 1
    assert track["parts"]["piano"] == 0
    assert track["segments"][0]["presence"]["piano"] < 0.5
    assert str(music) not in answer.text
    assert music.name not in json.dumps({**track, "title": ""})


def test_unknown_tracks_are_told(client, failure):
    found = failure(client.get("/tracks/0123456789ab"), 404, "not_found")
    assert "0123456789ab" in found["message"]
    assert "GET /api/v1/tracks" in found["hint"]
    failure(client.get("/tracks/../../etc/passwd"), 404, "not_found")
    failure(client.get("/tracks/NOTHEX"), 422, "unprocessable")


def test_models_are_listed(client, stored):
    models = {model["name"]: model for model in client.get("/models").json()}
    assert set(models) == {"compact", "stemwise", "tiny"}
    assert models["tiny"]["live"] is True
    assert models["compact"]["live"] is False
    assert models["tiny"]["fingerprint"] == stored.metadata.fingerprint
    assert models["compact"]["parameters"] > models["tiny"]["parameters"] > 0
    assert models["compact"]["summary"]
