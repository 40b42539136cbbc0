"""Uploads: described by another process, within limits, and nothing of them is left."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from made_music import tone, write_av, write_sndfile
from stemwise.library.embed import embed_file
from stemwise.web.api import create_app
from stemwise.web.settings import Settings
from stemwise.web.uploads import name_of

SOUND = {"content-type": "audio/mpeg"}


@pytest.fixture(scope="module")
def uploading(stored, tmp_path_factory):
    settings = Settings(port=0, prepare_uploads=False, upload_max_seconds=60, uploads_kept=3,
                        upload_timeout_seconds=20)  # fmt: skip
    app = create_app(stored, settings)
    with TestClient(app, base_url="http://127.0.0.1/api/v1") as client:
        yield client


def send(client, body, name="song.mp3", headers=SOUND):
    return client.post("/uploads", params={"name": name}, content=body, headers=headers)


def left(client):
    folder = client.app.state.services.uploads._folder
    return list(folder.iterdir()) if folder else []


def embedder(client):
    return client.app.state.services.uploads.describer._process


def test_an_upload_is_what_the_library_makes_of_the_file(uploading, tmp_path, tiny_model):
    path = write_av(tmp_path / "new.mp3", tone(7, 44100, 40), "mp3")
    answer = send(uploading, path.read_bytes(), "C:\\Music\\new.mp3")
    assert answer.status_code == 201
    body = answer.json()
    expected = embed_file(path, tiny_model)
    assert body["name"] == "new.mp3"
    assert body["duration_seconds"] == pytest.approx(expected.duration_seconds, abs=1e-3)
    assert [s["start_seconds"] for s in body["segments"]] == pytest.approx(
        expected.start_seconds, abs=1e-3
    )
    assert body["parts"]["drums"] == 1
    found = uploading.post(
        "/search", json={"queries": [{"upload": body["upload"]}], "parts": {"bass": 1}, "n": 2}
    ).json()
    assert found["asked"][0]["upload"] == body["upload"]
    assert found["asked"][0]["name"] == "new.mp3"
    assert len(found["matches"]) == 2
    kept = uploading.app.state.services.upload(body["upload"])
    assert np.array_equal(kept.embeddings, expected.embeddings)
    assert left(uploading) == []


def test_an_upload_of_a_known_file_is_that_track(uploading, music, ids):
    body = send(uploading, (music / "song 2.wav").read_bytes(), "x.wav").json()
    found = uploading.post("/search", json={"queries": [{"upload": body["upload"]}], "n": 9}).json()
    assert ids["song 2"] not in [match["track"]["id"] for match in found["matches"]]


@pytest.mark.parametrize("body", [b"no music at all" * 999, b"RIFF" + b"\0" * 99, b"\xff\xfb" * 50])
def test_what_is_no_music_is_told_without_a_path(uploading, body, failure):
    answer = send(uploading, body)
    found = failure(answer, 415, "unsupported_audio")
    assert found["message"].startswith("song.mp3 ")
    assert "/" not in found["message"]
    assert left(uploading) == []


def test_empty_and_wrongly_named_bodies_are_told(uploading, failure):
    failure(send(uploading, b""), 422, "unprocessable")
    html = {"content-type": "text/html"}
    failure(send(uploading, b"x", headers=html), 415, "unsupported_audio")


def test_a_small_file_of_a_long_sound_is_told(uploading, tmp_path, failure):
    long = np.zeros(8000 * 61, np.float32)
    path = write_sndfile(tmp_path / "long.flac", long, 8000, format="FLAC")
    assert path.stat().st_size < 20_000
    found = failure(send(uploading, path.read_bytes(), "long.flac"), 413, "too_large")
    assert "longer than 60 s" in found["message"]


def test_a_child_that_dies_is_told_and_the_next_upload_works(uploading, music, failure):
    good = (music / "song 1.wav").read_bytes()
    assert send(uploading, good).status_code == 201
    process = embedder(uploading)
    os.kill(process.pid, signal.SIGKILL)
    time.sleep(0.2)
    first = send(uploading, good)
    if first.status_code != 201:  # its death was not noticed yet
        failure(first, 415, "unsupported_audio")
    assert send(uploading, good).status_code == 201
    assert embedder(uploading).pid != process.pid
    assert left(uploading) == []


def test_memory_and_time_are_limited(uploading, music, failure):
    settings = uploading.app.state.services.uploads.describer
    usual = settings._settings
    good = (music / "song 1.wav").read_bytes()
    pid = embedder(uploading).pid
    for limits in ({"upload_memory_bytes": 4096}, {"upload_timeout_seconds": 0.0}):
        object.__setattr__(settings, "_settings", _with(usual, limits))
        answer = send(uploading, good)
        object.__setattr__(settings, "_settings", usual)
        assert answer.status_code in (413, 415), answer.text
        failure(answer, answer.status_code, answer.json()["code"])
    assert send(uploading, good).status_code == 201
    assert embedder(uploading).pid == pid, "a limit must not end the process that was warm"


def _with(settings, limits):
    return replace(settings, **limits)


def test_few_uploads_are_kept(uploading, music, failure):
    good = (music / "song 1.wav").read_bytes()
    names = [send(uploading, good).json()["upload"] for _ in range(4)]
    assert len(set(names)) == 4
    first = {"queries": [{"upload": names[0]}]}
    failure(uploading.post("/search", json=first), 404, "not_found")
    last = {"queries": [{"upload": names[-1]}]}
    assert uploading.post("/search", json=last).status_code == 200


def test_the_process_has_one_thread(uploading, music):
    """It forks; a second thread could leave a lock held in the child for ever."""
    assert send(uploading, (music / "song 1.wav").read_bytes()).status_code == 201
    assert len(list(Path(f"/proc/{embedder(uploading).pid}/task").iterdir())) == 1


def test_names_are_for_messages_only():
    assert name_of("../../etc/passwd") == "passwd"
    assert name_of("a\n\x1b[31mb.mp3") == "a[31mb.mp3"
    assert name_of("..") == name_of("") == "upload"
    assert len(name_of("x" * 400)) == 100
