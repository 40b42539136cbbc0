import logging

import pytest

from stemwise.library.catalogue import Catalogue
from stemwise.web.failures import CODES


def test_what_is_not_there_is_told(client, failure):
    failure(client.get("/nothing"), 404, "not_found")
    failure(client.get("http://127.0.0.1/nothing"), 404, "not_found")
    failure(client.get("/tracks/"), 404, "not_found")


@pytest.mark.parametrize(("method", "path"), [("PUT", "/health"), ("DELETE", "/tracks"),
                                              ("GET", "/search"), ("POST", "/map")])  # fmt: skip
def test_other_methods_are_told(client, failure, method, path):
    answer = client.request(method, path)
    found = failure(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] in found["hint"]


def test_what_nobody_expected_is_told_without_a_word_of_it(client, monkeypatch, failure, caplog):
    def broken(*arguments):
        raise RuntimeError("secret of /home/somebody")

    monkeypatch.setattr("stemwise.web.routes.found_tracks", broken)
    with caplog.at_level(logging.ERROR, "stemwise.web"):
        answer = client.get("/tracks")
    failure(answer, 500, "internal")
    assert "secret" not in answer.text
    assert "secret of /home/somebody" in caplog.text


def test_what_is_wrong_is_told_in_one_line_with_the_value(client, failure):
    found = failure(client.get("/tracks?limit=" + "9" * 200), 422, "unprocessable")
    assert found["message"].startswith("query.limit: ")
    assert "…" in found["message"]
    assert len(found["message"]) < 300


def test_a_damaged_catalogue_is_told_without_its_place(tmp_path, start, failure):
    (tmp_path / "catalogue.json").write_text("no json")
    with start(Catalogue(tmp_path)) as client:
        answer = client.get("/tracks")
        failure(answer, 503, "busy")
        assert str(tmp_path) not in answer.text


def test_every_code_has_its_status():
    assert len(set(CODES.values())) == len(CODES)
