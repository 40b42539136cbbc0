import pytest

from stemwise.library.catalogue import Catalogue
from stemwise.library.query import Example
from stemwise.library.search import similar


def ask(client, *queries, **body):
    return client.post("/search", json={"queries": list(queries), **body})


def test_a_search_is_what_the_library_finds(client, ids, stored):
    body = ask(client, {"track": ids["song 1"], "from": 2, "to": 5},
               parts={"drums": 1, "bass": 0.5}, n=3, explain=True).json()  # fmt: skip
    expected = similar(stored, Example("song 1", {"drums": 1, "bass": 0.5}, 2, 5), n=3)
    assert [m["track"]["id"] for m in body["matches"]] == [m.piece.id for m in expected.matches]
    assert [m["distance"] for m in body["matches"]] == pytest.approx(
        [m.distance for m in expected.matches], abs=1e-5
    )
    assert body["searched"] == expected.searched == 6
    assert body["kind"] == "exact"
    assert body["calibration"] == expected.calibration
    assert body["asked"] == [{
        "track": ids["song 1"], "upload": None, "name": "song 1 0:02–0:05", "away": False,
        "weights": {"drums": 1.0, "bass": 0.5}, "absent_parts": [],
    }]  # fmt: skip
    first, best = body["matches"][0], expected.matches[0]
    assert first["passage"]["match_seconds"] == best.best.match_seconds
    assert first["passage"] in first["passages"]
    assert len(first["passages"]) == len(best.passages)
    assert set(first["parts"]) == {"drums", "bass"}
    assert first["examples"][0]["name"] == "song 1 0:02–0:05"


def test_several_queries_each_with_its_parts(client, ids):
    body = ask(
        client,
        {"track": ids["song 0"], "parts": {"drums": 1}},
        {"track": ids["song 1"], "parts": {"bass": 2}},
        {"track": ids["song 2"], "away": True},
        n=200,
        collapse=False,
    ).json()
    assert {m["passage"]["query"] for m in body["matches"]} <= {0, 1}
    assert [one["away"] for one in body["asked"]] == [False, False, True]
    assert [one["weights"] for one in body["asked"][:2]] == [{"drums": 1}, {"bass": 2}]
    assert body["matches"][0]["passages"] is body["matches"][0]["examples"] is None
    assert len(body["matches"]) == 4


def test_what_cannot_be_asked_is_told_with_what_can(client, ids, failure):
    found = failure(ask(client, {"track": ids["song 1"]}, parts={"piano": 1}), 422, "unprocessable")
    assert found["message"] == "no piano sounds in song 1"
    assert found["hint"] == "what sounds there: drums, bass, guitar, residuals"
    found = failure(ask(client, {"track": ids["song 1"], "from": 99}), 422, "unprocessable")
    assert "song 1 lasts 0:06" in found["message"]
    failure(ask(client, {"track": "0123456789ab"}), 404, "not_found")
    failure(ask(client, {"upload": "nothing-like-this"}), 404, "not_found")
    failure(ask(client, {"track": ids["song 1"], "away": True}), 422, "unprocessable")


@pytest.mark.parametrize(
    "body",
    [
        {"queries": []},
        {"queries": [{}]},
        {"queries": [{"track": "0123456789ab", "upload": "0123456789abcdef"}]},
        {"queries": [{"track": "0123456789ab"}] * 17},
        {"queries": [{"track": "0123456789ab"}], "n": 201},
        {"queries": [{"track": "0123456789ab"}], "n": 0},
        {"queries": [{"track": "0123456789ab"}], "parts": {"drum": 1}},
        {"queries": [{"track": "0123456789ab"}], "parts": {"drums": -1}},
        {"queries": [{"track": "0123456789ab"}], "filters": {"year": [2000, 1990]}},
        {"queries": [{"track": "0123456789ab"}], "folder": "/etc"},
        {"queries": [{"track": "/etc/passwd"}]},
        [],
    ],
    ids=str,
)
def test_wrong_requests_are_told(client, body, failure):
    failure(client.post("/search", json=body), 422, "unprocessable")


def test_infinities_and_broken_json_are_told(client, ids, failure):
    weight = '{"queries": [{"track": "' + ids["song 1"] + '"}], "parts": {"drums": Infinity}}'
    headers = {"content-type": "application/json"}
    failure(client.post("/search", content=weight, headers=headers), 422, "unprocessable")
    failure(client.post("/search", content="{", headers=headers), 400, "bad_request")


def test_filters_reach_the_library(client, ids):
    wanted = {"duration_seconds": [7.5, None]}
    body = ask(client, {"track": ids["song 1"]}, filters=wanted, collapse=False).json()
    assert {m["track"]["duration_seconds"] for m in body["matches"]} == {8, 9, 10}
    body = ask(client, {"track": ids["song 1"]}, filters={"genres": ["jazz"]}).json()
    assert body["matches"] == []
    assert body["searched"] == 0


def test_a_path_leads_from_one_to_the_other(client, ids, failure):
    ends = {"from": ids["song 0"], "to": ids["song 5"]}
    steps = client.post("/path", json={**ends, "parts": {"drums": 1}}).json()["steps"]
    assert [steps[0]["track"]["id"], steps[-1]["track"]["id"]] == list(ends.values())
    assert steps[0]["distance"] is None
    assert all(step["distance"] >= 0 for step in steps[1:])
    same = {"from": ids["song 0"], "to": ids["song 0"]}
    failure(client.post("/path", json=same), 422, "unprocessable")
    failure(client.post("/path", json={**ends, "to": "0123456789ab"}), 404, "not_found")


def test_an_empty_catalogue_serves_and_says_what_to_do(tmp_path, start, failure):
    with start(Catalogue.open(tmp_path / "new", create=True)) as client:
        assert client.get("/health").json()["tracks"] == 0
        assert client.get("/tracks").json() == {"total": 0, "items": []}
        assert client.get("/map").json()["points"] == []
        assert not any(model["live"] for model in client.get("/models").json())
        found = failure(ask(client, {"track": "0123456789ab"}), 409, "conflict")
        assert "stemwise index FOLDER" in found["hint"]
        failure(client.get("/tracks/0123456789ab"), 404, "not_found")
