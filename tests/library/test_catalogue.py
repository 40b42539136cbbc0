import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from made_collection import counts
from made_music import tone, write_sndfile, write_tiny_model
from stemwise.errors import CatalogueError, FingerprintError, UsageError
from stemwise.library.calibration import UNCALIBRATED, write_calibration
from stemwise.library.catalogue import Catalogue
from stemwise.library.embed import content_hash, embed_file
from stemwise.library.search import similar
from stemwise.library.store import one_writer
from stemwise.library.tables import SCHEMAS
from stemwise.library.vectors import RECORDING_RADIUS
from stemwise.models.checkpoint import load_model
from stemwise.parts import PARTS


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
            halved = wanted.embeddings[:, part].astype(np.float16)
            np.testing.assert_array_equal(vectors.block(part)[rows], halved.astype(np.float32))
        assert piece.content == content_hash(piece.path)
        assert piece.id == piece.content[:12]
        assert piece.segments == len(wanted.start_seconds)
        assert piece.duration_seconds == wanted.duration_seconds
    stored = catalogue.read("segments", SCHEMAS["segments"].names)
    assert np.isfinite(stored["level_db"].to_numpy()).all()


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
    with (
        one_writer(catalogue.directory),
        pytest.raises(CatalogueError, match="indexed by another process"),
    ):
        Catalogue.open(catalogue.directory, create=True).index([music], tiny_model)
    assert counts(catalogue.index([music], tiny_model)) == {"added": 4}


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


def test_a_title_of_several_files_of_one_recording_finds_the_first(catalogue, music, tiny_model):
    wave, rate = soundfile.read(music / "song 1.wav")
    soundfile.write(music / "song 1.flac", wave, rate)
    catalogue.index([music], tiny_model)
    titles = [piece.title for piece in catalogue.pieces()]
    assert titles.count("song 1") == 2
    assert len({piece.content for piece in catalogue.pieces()}) == 5
    assert catalogue.find("song 1").path.name == "song 1.flac"


def test_what_is_one_recording_is_told_by_the_models_calibration(
    catalogue, music, tmp_path, tiny_model
):
    path = shutil.copy(tiny_model.source, tmp_path / "m.safetensors")
    catalogue.index([music], load_model(path))
    assert catalogue.vectors().recording_radius == RECORDING_RADIUS
    wide = replace(UNCALIBRATED, fingerprint=tiny_model.fingerprint, recording_radius=0.5)
    write_calibration(wide, tmp_path / "m.calibration.json")
    again = Catalogue.open(catalogue.directory).vectors()
    assert again.recording_radius == 0.5
    assert again.subset(np.array([1, 2])).recording_radius == 0.5


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


def test_the_model_is_found_again_wherever_its_file_lies(catalogue, music, tmp_path, tiny_model):
    catalogue.index(music, tiny_model)
    assert catalogue.model_source == tiny_model.source
    moved = shutil.copy(tiny_model.source, tmp_path / "moved.safetensors")
    catalogue.index(music, load_model(moved))
    assert catalogue.model_source == str(moved)
    assert catalogue.index([str(music)]).unchanged == 4  # with its own model
    assert load_model("compact").source == "compact"


def test_indexing_keeps_the_search_indexes_of_what_it_wrote(
    catalogue, music, tiny_model, monkeypatch
):
    seen = []
    monkeypatch.setattr(
        "stemwise.library.engines.keep_indexes", lambda table: seen.append(table.count_rows())
    )
    catalogue.index([music], tiny_model)
    assert seen == [sum(piece.segments for piece in catalogue.pieces())] != [0]
