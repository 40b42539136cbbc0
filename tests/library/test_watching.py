import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from made_collection import add_song, counts, known
from stemwise.errors import UsageError
from stemwise.library import watching
from stemwise.library.catalogue import Catalogue
from stemwise.library.store import one_writer
from stemwise.library.watching import watch

PROGRAM = Path(sys.executable).parent / "stemwise"


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(watching, "SETTLED_SECONDS", 0.2)


@pytest.fixture
def seen(catalogue, music, tiny_model, quick):
    """A list that fills with the summaries of a watcher in another thread, which it stops."""
    stop = threading.Event()
    summaries = []

    def go():
        summaries.extend(map(counts, watch(catalogue, [music], tiny_model, stop=stop)))

    thread = threading.Thread(target=go)
    thread.start()
    yield summaries
    stop.set()
    thread.join(20)
    assert not thread.is_alive()


def until(condition, seconds=20):
    latest = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < latest, "nothing happens"
        time.sleep(0.02)


def test_whatever_changes_is_indexed(seen, catalogue, music):
    until(lambda: seen == [{"added": 4}])
    add_song(music / "deep" / "er" / "new.wav", seed=20)
    until(lambda: known(catalogue) == {"pieces": 5})
    (music / "song 0.wav").rename(music / "deep" / "moved.wav")
    until(lambda: {"unchanged": 4, "moved": 1} in seen)
    shutil.rmtree(music / "deep")
    until(lambda: known(catalogue) == {"pieces": 3, "missing": 2})
    (music / ".notmusic").touch()
    until(lambda: known(catalogue) == {"missing": 5})


def test_what_is_no_music_is_passed_over(seen, catalogue, music):
    until(lambda: len(seen) == 1)
    (music / "cover.jpg").write_bytes(b"picture")
    (catalogue.directory / "something.wav").write_bytes(b"in the catalogue itself")
    time.sleep(1)
    assert seen == [{"added": 4}]


def test_a_file_is_read_when_it_is_complete(seen, catalogue, music, tmp_path):
    until(lambda: len(seen) == 1)
    whole = add_song(tmp_path / "whole.wav", 4, 20).read_bytes()
    with (music / "growing.wav").open("wb") as file:
        for start in range(0, len(whole), 4000):
            file.write(whole[start : start + 4000])
            file.flush()
            time.sleep(0.05)
    until(lambda: len(seen) == 2)
    assert seen == [{"added": 4}, {"unchanged": 4, "added": 1}]


def test_what_never_settles_is_indexed_all_the_same(seen, catalogue, music, monkeypatch):
    until(lambda: len(seen) == 1)
    monkeypatch.setattr(watching, "LONGEST_WAIT_SECONDS", 0.5)
    add_song(music / "new.wav", seed=20)
    began = time.monotonic()
    while len(seen) == 1 and time.monotonic() - began < 10:
        (music / "song 0.wav").touch()
        time.sleep(0.05)
    assert 0.4 < time.monotonic() - began < 9


def test_it_waits_for_another_indexer(catalogue, music, tiny_model, quick):
    stop = threading.Event()
    with one_writer(catalogue.directory):
        found = watch(catalogue, [music], tiny_model, stop=stop)
        threading.Timer(0.5, stop.set).start()
        assert list(found) == []
    assert counts(next(watch(catalogue, [music], tiny_model))) == {"added": 4}


def test_a_folder_that_has_gone_ends_it_and_loses_nothing(catalogue, music, tiny_model, quick):
    found = watch(catalogue, [music], tiny_model)
    assert counts(next(found)) == {"added": 4}
    music.rename(music.parent / "away")
    with pytest.raises(UsageError, match="is not there, but 4 known pieces lie in it"):
        next(found)
    assert known(catalogue) == {"pieces": 4}


def test_the_program_watches_until_it_is_told_to_stop(tmp_path, music, tiny_model_path):
    numbers = {"interrupted": signal.SIGINT, "terminated": signal.SIGTERM}
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # even if we ignore it
    processes = {
        name: subprocess.Popen(
            [PROGRAM, "index", music, "--watch", "--catalogue", tmp_path / name,
             "--model", tiny_model_path],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for name in numbers
    }  # fmt: skip
    signal.signal(signal.SIGINT, before)
    for process in processes.values():
        assert process.stdout.readline().startswith("4 files: 4 added")
        until(lambda process=process: "watching" in process.stderr.readline())
    add_song(tmp_path / "new.wav", seed=20).rename(music / "new.wav")  # whole when it is seen
    for name, process in processes.items():
        with process:
            try:
                assert process.stdout.readline().startswith("5 files: 1 added, 4 unchanged")
                process.send_signal(numbers[name])
                out, err = process.communicate(timeout=30)
            finally:
                process.kill()
        assert (process.returncode, out) == (0, "")
        assert err.splitlines()[-1] == "stemwise: stopped"
        catalogue = Catalogue.open(tmp_path / name)
        assert known(catalogue) == {"pieces": 5}
        assert catalogue.verify() == []
