"""Whatever happens to the process, the disk or the folders: nothing that was done is lost.

Real processes are killed at random moments; the oracle is the log of what they embedded.
"""

import contextlib
import errno
import os
import random
import shutil
import subprocess
import threading
import time
from collections import Counter

import pytest

from made_collection import add_song, counts, known
from made_processes import (
    finish,
    index_and_tell,
    index_slowly,
    pipe,
    read_and_tell,
    rebuild_slowly,
    start,
    told,
)
from stemwise.errors import BusyError, CatalogueError
from stemwise.library import catalogue as catalogue_module
from stemwise.library.catalogue import Catalogue
from stemwise.library.embed import content_hash
from stemwise.library.store import Store, was_interrupted
from stemwise.models.checkpoint import load_model

SONGS = 40
SEED = int(os.environ.get("STEMWISE_SEED", "7"))


@pytest.fixture
def songs(tmp_path):
    """A folder of many songs of a second or two; two pairs of them are copies."""
    folder = tmp_path / "songs"
    for seed in range(SONGS - 2):
        add_song(folder / f"song {seed:02}.wav", 1.1 + seed / 20, seed)
    for seed in range(2):
        shutil.copy(folder / f"song {seed:02}.wav", folder / f"song {SONGS - 1 - seed}.wav")
    return folder


def open_if_there(place):
    with contextlib.suppress(CatalogueError):
        return Catalogue.open(place)


def embedded(log):
    return log.read_text().splitlines() if log.exists() else []


def kill_somewhere(process, log, chance):
    """Kill `process` while it starts, or after it has embedded a few files more."""
    wanted = len(embedded(log)) + chance.choice([0, 3, 4, 5, 6])
    time.sleep(chance.uniform(0.0, 0.3) if wanted == len(embedded(log)) else 0.0)
    while len(embedded(log)) < wanted:
        assert process.is_alive()
        time.sleep(0.002)
    time.sleep(chance.uniform(0.0, 0.05))
    process.kill()
    process.join()


def contents_and_names(folder):
    """Return file name -> content hash of what is on the disk."""
    return {path.name: content_hash(path) for path in folder.iterdir()}


def test_killed_again_and_again_an_index_finishes_without_doing_anything_twice(
    tmp_path, songs, tiny_model_path
):
    place, log = tmp_path / "catalogue", tmp_path / "log"
    chance = random.Random(SEED)
    content_of = contents_and_names(songs)
    done = set()
    for attempt in range(30):
        if attempt >= 6 and done:  # on a busy machine some die before their first commit
            break
        before = len(embedded(log))
        process = start(index_slowly, place, songs, tiny_model_path, log, 0.05)
        kill_somewhere(process, log, chance)
        again = [content_of[name] for name in embedded(log)[before:]]
        assert not done & set(again), "what was committed was embedded again"
        if catalogue := open_if_there(place):
            assert catalogue.verify() == []
            vectors = catalogue.vectors()
            committed = {piece.content for piece in catalogue.pieces()}
            assert committed >= done
            assert {piece.content for piece in vectors.pieces} == committed
            done = committed
    assert 0 < len(done) < SONGS - 2, "the kills came too early or too late to show anything"
    before = len(embedded(log))
    assert finish(start(index_slowly, place, songs, tiny_model_path, log, 0.0)) == 0
    last = Counter(content_of[name] for name in embedded(log)[before:])
    assert not done & last.keys()
    assert len(done | last.keys()) == SONGS - 2
    catalogue = Catalogue.open(place)
    assert known(catalogue) == {"pieces": SONGS - 2, "copies": 2}
    assert catalogue.verify() == []
    assert not was_interrupted(place)


def test_after_a_kill_what_is_known_adds_up_to_what_was_found(tmp_path, songs, tiny_model_path):
    place, log = tmp_path / "catalogue", tmp_path / "log"
    process = start(index_slowly, place, songs, tiny_model_path, log, 0.3)
    while len(embedded(log)) < 8:
        time.sleep(0.01)
    process.kill()
    process.join()
    counted = known(Catalogue.open(place))
    assert counted["waiting"] > 0
    assert sum(counted.values()) == SONGS
    assert was_interrupted(place)


def test_killed_again_and_again_a_rebuild_leaves_the_old_vectors_until_the_new_are_complete(
    tmp_path, songs, tiny_model, other_model_path
):
    place, log = tmp_path / "catalogue", tmp_path / "log"
    old = Catalogue.open(place, create=True)
    old.index([songs], tiny_model)
    (songs / "song 05.wav").unlink()
    new = load_model(other_model_path).fingerprint
    content_of = contents_and_names(songs)
    chance = random.Random(SEED)
    done = set()
    for attempt in range(30):
        if attempt >= 5 and done:  # on a busy machine some die before their first commit
            break
        before = len(embedded(log))
        process = start(rebuild_slowly, place, other_model_path, log, 0.05)
        kill_somewhere(process, log, chance)
        assert not done & {content_of[name] for name in embedded(log)[before:]}
        assert old.metadata.fingerprint == tiny_model.fingerprint
        assert len(old.vectors().pieces) == SONGS - 2
        assert old.verify() == []
        if old.metadata.rebuild:
            pieces = Store(place, new).pieces()
            done |= {piece.content for piece in pieces if piece.segments}
    assert 0 < len(done) < SONGS - 3
    assert f"of {SONGS} files" in old.status().rebuild
    assert finish(start(rebuild_slowly, place, other_model_path, log, 0.0)) == 0
    assert old.metadata.fingerprint == new
    assert known(old) == {"pieces": SONGS - 3, "copies": 2, "missing": 1}
    assert old.verify() == []
    names = {path.name for path in (place / "tables").iterdir()}
    assert names == {f"{kind}-{new}.lance" for kind in ("pieces", "segments", "errors")}


def test_a_rebuild_killed_after_the_switch_leaves_only_rubbish_that_the_next_index_removes(
    catalogue, music, tiny_model, other_model_path, monkeypatch
):
    catalogue.index([music], tiny_model)
    monkeypatch.setattr(catalogue_module.time, "sleep", _stop)
    other = load_model(other_model_path)
    with pytest.raises(KeyboardInterrupt):
        catalogue.rebuild(other)
    assert catalogue.metadata.fingerprint == other.fingerprint
    assert len(list((catalogue.directory / "tables").iterdir())) == 6
    assert catalogue.verify() == []
    assert counts(catalogue.index([music], other)) == {"unchanged": 4}
    assert len(list((catalogue.directory / "tables").iterdir())) == 3


def _stop(seconds):
    raise KeyboardInterrupt


def test_the_second_of_two_indexers_is_refused_in_one_line(
    tmp_path, songs, tiny_model_path, tiny_model
):
    place, log = tmp_path / "catalogue", tmp_path / "log"
    first = start(index_slowly, place, songs, tiny_model_path, log, 60.0)  # never done by itself
    while not embedded(log):
        time.sleep(0.01)
    here, there = pipe()
    second = start(index_and_tell, place, songs, tiny_model_path, there)
    with pytest.raises(BusyError, match="is being indexed by another process; wait") as caught:
        told(here)
    assert "\n" not in str(caught.value)
    with pytest.raises(BusyError):
        Catalogue.open(place).verify(repair=True)
    first.kill()
    finish(first)
    finish(second)
    Catalogue.open(place).index([songs], tiny_model)
    assert known(Catalogue.open(place)) == {"pieces": SONGS - 2, "copies": 2}


def test_a_reader_never_meets_an_error_and_never_sees_less(
    tmp_path, songs, tiny_model, tiny_model_path, other_model_path
):
    place, log = tmp_path / "catalogue", tmp_path / "log"
    first = add_song(tmp_path / "first" / "song.wav", 2.0, 99)
    Catalogue.open(place, create=True).index([first], tiny_model)
    here, there = pipe()
    reader = start(read_and_tell, place, there)
    assert finish(start(index_slowly, place, songs, tiny_model_path, log, 0.01, 1)) == 0
    for seed in range(3):  # content that goes away while it is read
        add_song(songs / "song 07.wav", 2.0, 50 + seed)
        assert finish(start(index_slowly, place, songs, tiny_model_path, log, 0.0, 1)) == 0
    assert finish(start(rebuild_slowly, place, other_model_path, log, 0.0)) == 0
    time.sleep(0.3)
    here.send("stop")
    seen = told(here)
    assert finish(reader) == 0
    pieces = [number for _, number in seen]
    assert pieces == sorted(pieces)
    assert len(set(pieces)) > 2  # it read while there was some, not just before and after
    assert pieces[-1] == SONGS - 1
    assert len({fingerprint for fingerprint, _ in seen}) == 2


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 3 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], capture_output=True, text=True
    ) if os.geteuid() == 0 else None  # fmt: skip
    if mounted is None or mounted.returncode:
        pytest.skip(
            f"no file system can be mounted here: {mounted.stderr if mounted else 'no root'}"
        )
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_loses_nothing(small_disk, songs, tiny_model, decoded, monkeypatch):
    monkeypatch.setattr("stemwise.library.indexing.FILES_PER_COMMIT", 2)
    place = small_disk / "catalogue"
    catalogue = Catalogue.open(place, create=True)
    catalogue.index([songs], tiny_model, limit=6)
    there = len(catalogue.pieces())
    filler = small_disk / "filler"
    free = shutil.disk_usage(small_disk).free
    filler.write_bytes(b"x" * (free - 60_000))
    threads = set(threading.enumerate())
    with pytest.raises(CatalogueError, match="No space left on device") as caught:
        catalogue.index([songs], tiny_model)
    assert not [t for t in set(threading.enumerate()) - threads if t.name.startswith("embed")]
    assert "\n" not in str(caught.value)
    assert "run the same command again" in str(caught.value)
    catalogue = Catalogue.open(place)
    assert len(catalogue.pieces()) >= there
    assert catalogue.verify() == []
    done = {piece.path.name for piece in catalogue.pieces()}
    filler.unlink()
    decoded.clear()
    catalogue.index([songs], tiny_model)
    assert not done & set(decoded)
    assert known(catalogue) == {"pieces": SONGS - 2, "copies": 2}
    assert catalogue.verify() == []


class FullDisk:
    """A handle on a table that can be read and not written."""

    def __init__(self, table):
        self._table = table

    def __getattr__(self, name):
        if name in ("add", "merge_insert", "delete"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return getattr(self._table, name)


@pytest.mark.parametrize("failing", ["segments", "pieces", "errors"])
def test_a_write_that_fails_loses_nothing(
    catalogue, songs, tiny_model, decoded, monkeypatch, failing
):
    """The same for each table, also where nothing can be mounted."""
    monkeypatch.setattr("stemwise.library.indexing.FILES_PER_COMMIT", 4)
    catalogue.index([songs], tiny_model, limit=6)
    (songs / "bad.wav").write_bytes(b"RIFF no music")
    table = Store.table
    with monkeypatch.context() as patch:
        patch.setattr(
            Store, "table", lambda s, kind: FullDisk(table(s, kind)) if kind == failing
            else table(s, kind),
        )  # fmt: skip
        with pytest.raises(CatalogueError, match=r"cannot be written: .*No space left"):
            catalogue.index([songs], tiny_model)
    assert catalogue.verify() == []
    done = {piece.path.name for piece in catalogue.pieces()}
    assert len(done) >= 6
    decoded.clear()
    assert catalogue.index([songs], tiny_model).failed == 1
    assert not done & set(decoded)
    assert known(catalogue) == {"pieces": SONGS - 2, "copies": 2, "errors": 1}
    assert catalogue.verify() == []


@pytest.mark.parametrize("prune", [False, True])
def test_a_folder_that_disappears_in_the_middle_loses_nothing(
    catalogue, songs, tiny_model, decoded, monkeypatch, prune
):
    catalogue.index([songs], tiny_model, limit=10)
    done = {piece.path.name for piece in catalogue.pieces()}
    for path in songs.iterdir():
        os.utime(path, ns=(1, 1))  # so that all of them are opened again
    opened = []

    def hash_until_it_is_pulled_out(path):
        opened.append(path)
        if len(opened) == 5:
            songs.rename(songs.with_name("away"))
        return content_hash(path)

    with monkeypatch.context() as patch:
        patch.setattr("stemwise.library.embed.content_hash", hash_until_it_is_pulled_out)
        summary = catalogue.index([songs], tiny_model, jobs=1, prune=prune)
    assert summary.vanished == SONGS - 4
    assert (summary.failed, summary.forgotten) == (0, 0)
    assert catalogue.verify() == []
    assert catalogue.errors() == []
    songs.with_name("away").rename(songs)
    decoded.clear()
    catalogue.index([songs], tiny_model)
    assert not done & set(decoded)
    assert known(catalogue) == {"pieces": SONGS - 2, "copies": 2}
