"""The catalogue as the server knows it: when requests wait, and for what."""

import gc
import threading
import weakref

import pytest

from stemwise.library.snapshot import Snapshot
from stemwise.web.current import Holding


@pytest.fixture
def gate(monkeypatch):
    """Keeps catalogues from being made ready for searches until it is set."""
    opened, prepare = threading.Event(), Snapshot.prepare

    def wait(self):
        assert opened.wait(60)
        prepare(self)

    monkeypatch.setattr(Snapshot, "prepare", wait)
    yield opened
    opened.set()


def test_only_searches_wait_until_the_catalogue_is_ready_for_them(stored, start, gate):
    answers = []

    def search(client, track):
        answers.append(client.post("/search", json={"queries": [{"track": track}]}))

    with start(stored) as client:
        assert client.get("/health").json()["tracks"] == 7
        track = client.get("/tracks").json()["items"][0]["id"]
        asking = threading.Thread(target=search, args=(client, track))
        asking.start()
        asking.join(0.5)
        assert asking.is_alive(), "it did not wait"
        assert client.get(f"/tracks/{track}").status_code == 200
        gate.set()
        asking.join(60)
    assert answers[0].status_code == 200
    assert answers[0].json()["matches"]


def test_a_catalogue_that_could_not_be_made_ready_is_tried_again(stored, start, monkeypatch):
    prepare, failures = Snapshot.prepare, [OSError("the disk is away")]

    def once(self):
        if failures:
            raise failures.pop()
        prepare(self)

    monkeypatch.setattr(Snapshot, "prepare", once)
    with start(stored) as client:
        track = client.get("/tracks").json()["items"][0]["id"]
        answer = client.post("/search", json={"queries": [{"track": track}]})
        if answer.status_code != 200:  # its own attempt was the one that failed
            answer = client.post("/search", json={"queries": [{"track": track}]})
    assert not failures
    assert answer.status_code == 200


def test_what_was_known_goes_without_a_collection(stored):
    """So that it may be kept out of collections, which take long where there is much of it."""
    holding = Holding(Snapshot(stored))
    holding.prepare()
    kept = [holding, holding.snapshot, holding.snapshot.sieve, holding.albums, holding.lookup]
    known = [weakref.ref(one) for one in kept]
    gc.disable()
    try:
        del holding, kept
        assert [one() for one in known] == [None] * 5
    finally:
        gc.enable()
