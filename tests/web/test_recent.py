import pytest

from stemwise.library.snapshot import Snapshot
from stemwise.web import recent as recent_answers
from stemwise.web.current import Holding
from stemwise.web.messages import SearchRequest
from stemwise.web.searching import search


@pytest.fixture
def holding(stored):
    return Holding(Snapshot(stored))


def request(track, **more):
    return SearchRequest.model_validate({"queries": [{"track": track}], "n": 5} | more)


def found(holding, asked):
    return search(holding, asked, lambda _: pytest.fail("no upload is asked for"))


def untimed(answer):
    return answer.model_dump(exclude={"took_ms"})


def test_what_is_asked_again_is_answered_the_same(holding, ids):
    song, other = ids["song 1"], ids["song 2"]
    asked = [
        request(song), request(other), request(song, parts={"drums": 1}), request(song, n=3),
        request(song, parts={"drums": 0.5}), request(song, filters={"year": [1990, None]}),
    ]  # fmt: skip
    for one in asked:
        assert holding.recent.get(one) is None
        found(holding, one)
    for one in asked:
        fresh = Holding(holding.snapshot)
        assert untimed(holding.recent.get(one)) == untimed(found(fresh, one))
        assert holding.recent.get(one).took_ms < 100


@pytest.mark.parametrize("more", [{"explain": True}, {"n": 51}])
def test_large_answers_are_not_kept(holding, ids, more):
    asked = request(ids["song 1"], **more)
    found(holding, asked)
    assert holding.recent.get(asked) is None


def test_uploads_are_not_kept(holding, ids):
    answer = found(holding, request(ids["song 1"]))
    asked = SearchRequest.model_validate({"queries": [{"upload": "a" * 22}]})
    holding.recent.keep(asked, answer)
    assert holding.recent.get(asked) is None


def test_the_one_asked_for_longest_ago_is_forgotten(holding, ids, monkeypatch):
    monkeypatch.setattr(recent_answers, "_KEPT", 2)
    first, second, third = (request(ids[f"song {k}"]) for k in range(3))
    found(holding, first)
    found(holding, second)
    assert holding.recent.get(first) is not None
    found(holding, third)
    assert holding.recent.get(second) is None
    assert None not in (holding.recent.get(first), holding.recent.get(third))


def test_the_server_answers_from_it(client, ids, monkeypatch):
    body = {"queries": [{"track": ids["song 4"]}], "n": 4, "parts": {"bass": 1}}
    first = client.post("/search", json=body).json()
    monkeypatch.setattr("stemwise.web.routes.search", lambda *_: pytest.fail("searched again"))
    again = client.post("/search", json=body).json()
    assert again | {"took_ms": 0} == first | {"took_ms": 0}
