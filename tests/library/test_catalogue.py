import json
import os
import shutil
import signal
import subprocess
import sys
from datetime import timedelta

import numpy as np
import pytest

from made_music import tone, write_sndfile, write_tiny_model
from stemwise.errors import CatalogueError, FingerprintError, UsageError
from stemwise.library import indexing
from stemwise.library.catalogue import Catalogue
from stemwise.library.embed import content_hash, embed_file
from stemwise.library.search import similar
from stemwise.library.tables import SCHEMAS
from stemwise.models.checkpoint import load_model
from stemwise.parts import PARTS

COUNTS = ("found", "added", "updated", "unchanged", "moved", "failed", "missing")


@pytest.fixture
def music(tmp_path):
    folder = tmp_path / "music"
    folder.mkdir()
    for seed in range(4):
        write_sndfile(folder / f"song {seed}.wav", tone(5 + seed, 8000, seed), 8000)
    return folder


@pytest.fixture
def catalogue(tmp_path):
    return Catalogue.open(tmp_path / "catalogue", create=True)


@pytest.fixture
def decoded(monkeypatch):
    """Names of the files that were decoded."""
    names = []
    embed = sys.modules["stemwise.library.embed"]._embed

    def watched(path, content, model):
        names.append(path.name)
        return embed(path, content, model)

    monkeypatch.setattr("stemwise.library.embed._embed", watched)
    return names


def counts(summary):
    got = {name: getattr(summary, name) for name in COUNTS}
    parts = ("added", "updated", "unchanged", "moved", "failed")
    assert got["found"] == sum(got[name] for name in parts)
    return {name: count for name, count in got.items() if count and name != "found"}


def damage(path):
    path.write_bytes(b"no music at all" * 99)


def segment_contents(catalogue):
    return set(catalogue.read("segments", ["content"])["content"].to_pylist())


def test_what_the_store_takes_in_it_gives_back(catalogue, music, tiny_model):
    assert counts(catalogue.index([music], tiny_model)) == {"added": 4}
    vectors = catalogue.vectors()
    assert [p.title for p in catalogue.pieces()] == [f"song {k}" for k in range(4)]
    for k, piece in enumerate(vectors.pieces):
        wanted = embed_file(piece.path, tiny_model)
        rows = vectors.rows(k)
        np.testing.assert_array_equal(vectors.start_seconds[rows], wanted.start_seconds)
        np.testing.assert_array_equal(vectors.sounding[rows], wanted.presence >= 0.5)
        for part in range(len(PARTS)):
            np.testing.assert_array_equal(vectors.block(part)[rows], wanted.embeddings[:, part])
        assert piece.content == content_hash(piece.path)
        assert piece.id == piece.content[:12]
        assert piece.segments == len(wanted.start_seconds)
        assert piece.duration_seconds == wanted.duration_seconds
    stored = catalogue.read("segments", SCHEMAS["segments"].names)
    assert np.isfinite(stored["level_db"].to_numpy()).all()


def test_unchanged_files_are_not_opened(catalogue, music, tiny_model, decoded, monkeypatch):
    catalogue.index([music], tiny_model)
    assert len(decoded) == 4
    decoded.clear()
    monkeypatch.setattr("stemwise.library.embed.content_hash", None)
    assert counts(catalogue.index([music], tiny_model)) == {"unchanged": 4}
    assert not decoded


def test_a_touched_file_is_hashed_but_not_decoded(catalogue, music, tiny_model, decoded):
    catalogue.index([music], tiny_model)
    decoded.clear()
    os.utime(music / "song 1.wav", ns=(1, 1))
    assert counts(catalogue.index([music], tiny_model)) == {"unchanged": 4}
    assert catalogue.pieces()[1].mtime_ns == 1
    assert not decoded


def test_a_moved_file_keeps_its_vectors(catalogue, music, tiny_model, decoded):
    catalogue.index([music], tiny_model)
    before = {p.content for p in catalogue.pieces()}
    decoded.clear()
    (music / "deep").mkdir()
    (music / "song 2.wav").rename(music / "deep" / "new name.wav")
    assert counts(catalogue.index([music], tiny_model)) == {"unchanged": 3, "moved": 1}
    assert not decoded
    assert {p.content for p in catalogue.pieces()} == before
    assert catalogue.pieces()[0].path.name == "new name.wav"
    other = music.parent / "elsewhere"
    music.rename(other)
    assert counts(catalogue.index([other], tiny_model)) == {"moved": 4}
    assert not decoded


def test_a_copy_is_a_second_path_to_the_same_piece(catalogue, music, tiny_model, decoded):
    catalogue.index([music], tiny_model)
    decoded.clear()
    shutil.copy(music / "song 0.wav", music / "z copy.wav")
    assert counts(catalogue.index([music], tiny_model)) == {"added": 1, "unchanged": 4}
    assert not decoded
    status = catalogue.status()
    assert (status.pieces, status.copies) == (4, 1)
    hits = similar(catalogue, music / "song 1.wav").matches
    both = next(m for m in hits if m.piece.title == "song 0")
    assert [p.name for p in both.paths] == ["song 0.wav", "z copy.wav"]
    assert len(hits) == 3
    assert len(similar(catalogue, "z copy").matches) == 3  # neither itself nor its twin
    (music / "song 0.wav").unlink()
    assert counts(catalogue.index([music], tiny_model)) == {"unchanged": 4, "missing": 1}
    assert len(similar(catalogue, music / "song 1.wav").matches) == 3


def test_copies_in_one_run_are_stored_once(catalogue, music, tiny_model):
    for k in range(3):
        shutil.copy(music / "song 0.wav", music / f"copy {k}.wav")
    assert counts(catalogue.index([music], tiny_model, jobs=3)) == {"added": 7}
    status = catalogue.status()
    assert (status.pieces, status.copies) == (4, 3)
    stored = catalogue.read("segments", ["content"]).num_rows
    assert stored == status.segments == sum(p.segments for p in catalogue.vectors().pieces)


def test_a_changed_file_gets_new_vectors_and_the_old_ones_go(catalogue, music, tiny_model, decoded):
    catalogue.index([music], tiny_model)
    old = content_hash(music / "song 3.wav")
    decoded.clear()
    write_sndfile(music / "song 3.wav", tone(9, 8000, 77), 8000)
    assert counts(catalogue.index([music], tiny_model)) == {"unchanged": 3, "updated": 1}
    assert decoded == ["song 3.wav"]
    assert old not in segment_contents(catalogue)
    assert segment_contents(catalogue) == {p.content for p in catalogue.pieces()}


def test_gone_files_are_hidden_but_come_back_at_no_cost(catalogue, music, tiny_model, decoded):
    catalogue.index([music], tiny_model)
    decoded.clear()
    away = music.parent / "away"
    music.rename(away)
    music.mkdir()
    assert counts(catalogue.index([music], tiny_model)) == {"missing": 4}
    assert catalogue.pieces() == []
    assert catalogue.status().missing == 4
    assert catalogue.vectors().pieces == ()
    music.rmdir()
    away.rename(music)
    assert counts(catalogue.index([music], tiny_model)) == {"unchanged": 4}
    assert len(catalogue.pieces()) == 4
    assert not decoded


def test_other_folders_are_left_alone(catalogue, music, tiny_model):
    catalogue.index([music], tiny_model)
    more = music.parent / "music and more"  # its name begins with the other's
    more.mkdir()
    write_sndfile(more / "x.wav", tone(3, 8000, 9), 8000)
    assert counts(catalogue.index([more], tiny_model)) == {"added": 1}
    assert counts(catalogue.index([music / "song 0.wav"], tiny_model)) == {"unchanged": 1}
    assert catalogue.status().pieces == 5


def test_corrupt_files_are_recorded_and_stop_nothing(catalogue, music, tiny_model, decoded):
    bad = music / "bad song.mp3"
    damage(bad)
    (music / "short.wav").write_bytes(b"")
    assert counts(catalogue.index([music], tiny_model)) == {"added": 4, "failed": 2}
    first, second = catalogue.errors()
    assert first.path == bad
    assert "cannot be decoded" in first.reason
    assert "empty" in second.reason
    tried = len(decoded)
    assert counts(catalogue.index([music], tiny_model)) == {"unchanged": 4, "failed": 2}
    assert len(decoded) == tried  # known to be bad
    catalogue.index([music], tiny_model, retry=True)
    assert len(decoded) == tried + 2
    write_sndfile(bad, tone(3, 8000, 5), 8000)
    (music / "short.wav").unlink()
    assert counts(catalogue.index([music], tiny_model)) == {"unchanged": 4, "added": 1}
    assert catalogue.errors() == []
    damage(bad)
    assert counts(catalogue.index([music], tiny_model)) == {"unchanged": 4, "failed": 1}
    assert len(catalogue.pieces()) == 4
    assert len(segment_contents(catalogue)) == 4


@pytest.mark.parametrize(
    "stem", ["a'b''c", 'q"uote', "per%cent_", "日本語", "back\\slash", "new\nline", "x" * 240]
)
def test_odd_names_survive(catalogue, tmp_path, tiny_model, stem):
    name = stem + ".wav"
    folder = tmp_path / "odd"
    folder.mkdir()
    path = write_sndfile(folder / name, tone(3, 8000), 8000)
    catalogue.index([folder], tiny_model)
    assert [p.path for p in catalogue.pieces()] == [path]
    path.rename(folder / "plain.wav")
    assert counts(catalogue.index([folder], tiny_model)) == {"moved": 1}
    (folder / "plain.wav").rename(path)
    assert counts(catalogue.index([folder], tiny_model)) == {"moved": 1}
    damage(path)
    assert counts(catalogue.index([folder], tiny_model)) == {"failed": 1}
    path.unlink()
    catalogue.index([folder], tiny_model)
    assert catalogue.errors() == []


def test_a_name_that_is_no_unicode_is_an_error_of_its_own(catalogue, music, tiny_model):
    odd = os.fsencode(music) + b"/caf\xe9.wav"
    shutil.copy(music / "song 0.wav", os.fsdecode(odd))
    for _ in range(2):
        assert counts(catalogue.index([music], tiny_model))["failed"] == 1
    assert r"caf\xe9.wav has a name that is not valid Unicode" in catalogue.errors()[0].reason


def test_vectors_of_two_models_never_meet(catalogue, music, tmp_path, tiny_model):
    catalogue.index([music], tiny_model)
    other = load_model(write_tiny_model(tmp_path / "other.safetensors", seed=1))
    with pytest.raises(FingerprintError) as caught:
        catalogue.index([music], other)
    assert tiny_model.fingerprint in str(caught.value)
    assert other.fingerprint in str(caught.value)
    stranger = write_sndfile(tmp_path / "stranger.wav", tone(4, 8000, 40), 8000)
    with pytest.raises(FingerprintError):
        similar(catalogue, stranger, model=other)
    assert len(similar(catalogue, stranger, model=tiny_model).matches) == 4


def test_only_one_process_writes(catalogue, music, tiny_model):
    with catalogue._writing(), pytest.raises(CatalogueError, match="indexed by another process"):
        Catalogue.open(catalogue.directory, create=True).index([music], tiny_model)
    assert counts(catalogue.index([music], tiny_model)) == {"added": 4}


def test_progress_is_told_to_the_end(catalogue, music, tiny_model):
    told = []
    catalogue.index([music], tiny_model, progress=lambda *step: told.append(step))
    assert told == [(k, 4) for k in range(5)]
    told.clear()
    catalogue.index([music], tiny_model, progress=lambda *step: told.append(step))
    assert told == [(4, 4)]


def test_versions_do_not_pile_up(catalogue, music, tiny_model, monkeypatch):
    monkeypatch.setattr(indexing, "FILES_PER_COMMIT", 1)
    for k in range(8):
        write_sndfile(music / "song 0.wav", tone(3, 8000, 20 + k), 8000)
        catalogue.index([music], tiny_model)
    for name in SCHEMAS:
        assert len(catalogue._table(name).list_versions()) < 40
    monkeypatch.setattr("stemwise.library.catalogue._VERSION_LIFE", timedelta(milliseconds=1))
    catalogue.index([music], tiny_model)
    for name in SCHEMAS:
        assert len(catalogue._table(name).list_versions()) <= 17
    assert len(catalogue.vectors().pieces) == 4


def test_an_interrupted_run_keeps_what_was_done(catalogue, music, tiny_model):
    def interrupt(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        catalogue.index([music], tiny_model, jobs=1, progress=interrupt)
    assert len(catalogue.pieces()) == 2
    assert counts(catalogue.index([music], tiny_model)) == {"unchanged": 2, "added": 2}


KILLED = """
import sys, time
from stemwise.library import indexing
from stemwise.library.catalogue import Catalogue
from stemwise.models.checkpoint import load_model
indexing.FILES_PER_COMMIT = 2
put, moment = Catalogue.put, sys.argv[4]
def slow(self, table, rows):
    put(self, table, rows)
    if rows.num_rows and table == moment:
        print(table, flush=True)
        time.sleep(60)
Catalogue.put = slow
Catalogue.open(sys.argv[1], create=True).index([sys.argv[2]], load_model(sys.argv[3]))
"""


@pytest.mark.parametrize("moment", ["segments", "pieces"])
def test_a_killed_run_leaves_a_whole_catalogue(tmp_path, music, tiny_model_path, moment):
    place = tmp_path / "catalogue"
    command = [sys.executable, "-c", KILLED, place, music, tiny_model_path, moment]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().strip() == moment
    catalogue = Catalogue.open(place)
    model = load_model(tiny_model_path)
    with pytest.raises(CatalogueError, match="another process"):
        catalogue.index([music], model)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    there = len(catalogue.pieces())
    assert there == {"segments": 0, "pieces": 2}[moment]
    assert len(segment_contents(catalogue)) == 2  # in the first case, orphans
    assert len(catalogue.vectors().pieces) == there
    summary = counts(catalogue.index([music], model))
    assert summary == {"added": 4 - there} | ({"unchanged": there} if there else {})
    rows = catalogue.read("segments", ["content", "start_seconds"]).to_pylist()
    assert len({(row["content"], row["start_seconds"]) for row in rows}) == len(rows)
    assert len(rows) == catalogue.status().segments


def test_a_reader_sees_what_a_writer_added(catalogue, music, tiny_model):
    catalogue.index([music], tiny_model)
    reader = Catalogue.open(catalogue.directory)
    first = reader.vectors()
    assert reader.vectors() is first
    write_sndfile(music / "new.wav", tone(3, 8000, 50), 8000)
    catalogue.index([music], tiny_model)
    assert first.block(0).shape[0] == len(first.start_seconds)  # still what it was
    assert len(reader.vectors().pieces) == 5
    assert len(reader.pieces()) == 5


def test_an_empty_folder_makes_an_empty_catalogue(catalogue, tmp_path, tiny_model):
    with pytest.raises(UsageError):
        catalogue.index([tmp_path / "typo"], tiny_model)
    assert catalogue.model_source is None  # a mistake claims nothing
    (tmp_path / "nothing").mkdir()
    assert catalogue.index([tmp_path / "nothing"], tiny_model).found == 0
    assert (catalogue.pieces(), catalogue.errors(), catalogue.status().segments) == ([], [], 0)
    query = write_sndfile(tmp_path / "q.wav", tone(3, 8000), 8000)
    assert similar(catalogue, query, model=tiny_model).matches == ()


def test_find(catalogue, music, tiny_model, monkeypatch):
    shutil.copy(music / "song 1.wav", music / "another.wav")
    catalogue.index([music], tiny_model)
    wanted = next(p for p in catalogue.pieces() if p.title == "song 2")
    for text in (wanted.id, wanted.id.upper(), str(wanted.path), "song 2", "SONG 2", "g 2"):
        assert catalogue.find(text) == wanted
    monkeypatch.chdir(music)
    assert catalogue.find("song 2.wav") == wanted
    assert catalogue.find("another").content == catalogue.find("song 1").content
    with pytest.raises(UsageError, match="'song' fits 4 pieces; choose one by its id"):
        catalogue.find("song")
    with pytest.raises(UsageError, match="no piece in the catalogue"):
        catalogue.find("nothing")


def test_tags_are_read(catalogue, tmp_path, tiny_model):
    import mutagen
    from mutagen.id3 import TBPM, TDRC, TIT2, TPE1

    folder = tmp_path / "tagged"
    folder.mkdir()
    for name in ("a.flac", "b.mp3", "c.ogg"):
        file = mutagen.File(write_sndfile(folder / name, tone(2), 44100), easy=True)
        if file.tags is None:
            file.add_tags()
        told = {"title": "Blüe", "artist": "A", "album": "B", "date": "1999-05-01", "genre": "Jazz"}
        for key, value in (told | {"bpm": "120.5"}).items():
            file[key] = value
        file.save()
    file = mutagen.File(write_sndfile(folder / "d.wav", tone(2), 44100))
    file.add_tags()
    for frame in (TIT2(text="Blüe"), TPE1(text="A"), TDRC(text="1999"), TBPM(text="none")):
        file.tags.add(frame)
    file.save()
    write_sndfile(folder / "e - f.wav", tone(2))
    catalogue.index([folder], tiny_model)
    *easy, wav, bare = catalogue.pieces()
    for piece in easy:
        assert (piece.title, piece.artist, piece.album) == ("Blüe", "A", "B")
        assert (piece.year, piece.genre, piece.bpm) == (1999, "Jazz", 120.5)
    assert (wav.title, wav.artist, wav.year, wav.bpm) == ("Blüe", "A", 1999, None)
    assert (bare.title, bare.artist, bare.year) == ("e - f", "", None)


def test_mistakes_are_one_clear_line(tmp_path, catalogue, music, tiny_model):
    with pytest.raises(CatalogueError, match=r"no catalogue in .*stemwise index FOLDER"):
        Catalogue.open(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    for use in (catalogue.pieces, catalogue.status, catalogue.vectors, catalogue.errors):
        with pytest.raises(CatalogueError, match="is empty; index a folder first"):
            use()
    catalogue.index([music], tiny_model)
    file = catalogue.directory / "catalogue.json"
    good = json.loads(file.read_text())
    file.write_text(json.dumps(good | {"format": 99}))
    with pytest.raises(CatalogueError, match="has format 99"):
        Catalogue.open(catalogue.directory)
    for bad in ("{", "{}", "[]"):
        file.write_text(bad)
        with pytest.raises(CatalogueError, match="damaged"):
            Catalogue.open(catalogue.directory)
    file.write_text(json.dumps(good))
    shutil.rmtree(catalogue.directory / "tables")
    with pytest.raises(CatalogueError, match="damaged: table pieces"):
        Catalogue.open(catalogue.directory).pieces()
    (tmp_path / "file").touch()
    with pytest.raises(CatalogueError, match="cannot be"):
        Catalogue.open(tmp_path / "file" / "catalogue", create=True)
