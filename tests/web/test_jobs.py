"""Jobs: an index in another process, followed, cancelled, one at a time."""

import os
import time

import pytest

from made_collection import add_song
from stemwise.library.catalogue import Catalogue


def until(client, job, *states, seconds=300.0):
    """Wait until a job is in one of `states`; return it."""
    latest = time.monotonic() + seconds
    while time.monotonic() < latest:
        now = client.get(f"/jobs/{job['id']}").json()
        if now["state"] in states:
            return now
        time.sleep(0.05)
    raise AssertionError(f"still {now}")


@pytest.fixture
def place(tmp_path, tiny_model):
    """A catalogue of one song, whose folder has a second one now."""
    add_song(tmp_path / "music" / "one.wav", 5)
    catalogue = Catalogue.open(tmp_path / "catalogue", create=True)
    catalogue.index(tmp_path / "music", tiny_model)
    add_song(tmp_path / "music" / "two.wav", 6, 1)
    return catalogue, tmp_path / "music"


def test_without_folders_nothing_is_indexed(client, failure):
    answer = client.post("/jobs", json={"kind": "index"})
    assert "--music" in failure(answer, 409, "conflict")["hint"]
    assert client.get("/jobs").json() == []
    failure(client.get("/jobs/0123456789ab"), 404, "not_found")
    failure(client.delete("/jobs/0123456789ab"), 404, "not_found")
    for body in ({"kind": "rm"}, {"kind": "index", "folder": "/etc"}, {}):
        failure(client.post("/jobs", json=body), 422, "unprocessable")


def test_a_job_brings_new_tracks_while_the_server_answers(place, start, failure):
    catalogue, music = place
    (music / "bad.mp3").write_bytes(b"no music" * 99)
    with start(catalogue, music=(music,), jobs_kept=1) as client:
        assert client.get("/health").json()["tracks"] == 1
        job = client.post("/jobs", json={"kind": "index"}).json()
        assert job["state"] in ("queued", "running")
        assert client.get("/health").json()["indexing"] is True
        again = client.post("/jobs", json={"kind": "index"})
        assert job["id"] in failure(again, 409, "conflict")["hint"]
        assert client.get("/tracks").json()["total"] == 1
        done = until(client, job, "done", "failed")
        assert (done["state"], done["done"], done["total"]) == ("done", 3, 3)
        assert done["message"] == "3 files, 1 added, 1 unchanged, 1 failed"
        assert done["ended"] >= done["started"] > 0
        health = client.get("/health").json()
        assert (health["tracks"], health["indexing"]) == (2, False)
        assert client.delete(f"/jobs/{job['id']}").json() == done  # it is over: nothing changes


def test_a_cancelled_job_ends_well_and_so_does_the_servers_own_end(place, start):
    catalogue, music = place
    for seed in range(2, 40):
        add_song(music / f"{seed}.wav", 60, seed)
    with start(catalogue, music=(music,)) as client:
        job = client.post("/jobs", json={"kind": "index"}).json()
        until(client, job, "running")
        cancelled = client.delete(f"/jobs/{job['id']}").json()
        assert cancelled["state"] == "cancelled"
        latest = time.monotonic() + 60
        while client.get("/health").json()["indexing"]:
            assert time.monotonic() < latest
            time.sleep(0.05)
        assert "what was done is kept" in client.get(f"/jobs/{job['id']}").json()["message"]
        client.post("/jobs", json={"kind": "index"})
        until(client, client.get("/jobs").json()[0], "running")
        process = client.app.state.services.jobs._process
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == 19
        assert os.getsid(process.pid) == os.getsid(0)  # Linux may weigh priorities by session
        assert os.getpgid(process.pid) != os.getpgid(0)  # Ctrl-C is for the server
    with pytest.raises(ProcessLookupError):  # the server took it along
        os.kill(process.pid, 0)
    assert Catalogue.open(catalogue.directory).verify() == []


def test_a_job_that_fails_says_so_without_a_path(place, start):
    catalogue, music = place
    with start(catalogue, music=(music / "gone",)) as client:
        job = client.post("/jobs", json={"kind": "index"}).json()
        failed = until(client, job, "failed", "done")
    assert failed["state"] == "failed"
    assert str(music) not in str(failed)
