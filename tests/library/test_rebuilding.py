import os
import shutil

import numpy as np
import pytest

from made_collection import add_song, counts, known
from stemwise.errors import CatalogueError, FingerprintError, UsageError
from stemwise.library import catalogue as catalogue_module
from stemwise.library.catalogue import Catalogue
from stemwise.library.embed import embed_file
from stemwise.models.checkpoint import load_model


@pytest.fixture(autouse=True)
def no_grace(monkeypatch):
    monkeypatch.setattr(catalogue_module, "RETIRED_SECONDS", 0.0)


@pytest.fixture
def other(other_model_path):
    return load_model(other_model_path)


def done(summary):
    """Return the counts that are not 0, having checked that they add up."""
    names = ("embedded", "taken_over", "failed", "missing", "left")
    assert summary.known == sum(getattr(summary, name) for name in names)
    return {name: count for name in names if (count := getattr(summary, name))}


def test_a_rebuilt_catalogue_is_one_that_was_made_with_the_new_model(
    catalogue, music, tmp_path, tiny_model, other
):
    shutil.copy(music / "song 1.wav", music / "copy.wav")
    (music / "bad.wav").write_bytes(b"RIFF")
    catalogue.index([music], tiny_model)
    summary = catalogue.rebuild(other)
    assert done(summary) == {"embedded": 5, "failed": 1}
    assert summary.switched
    fresh = Catalogue.open(tmp_path / "fresh", create=True)
    fresh.index([music], other)
    assert catalogue.pieces() == fresh.pieces()
    assert catalogue.errors() == fresh.errors()
    assert known(catalogue) == {"pieces": 4, "copies": 1, "errors": 1}
    for part in range(5):
        np.testing.assert_array_equal(catalogue.vectors().block(part), fresh.vectors().block(part))
    assert catalogue.verify() == []
    assert catalogue.metadata.model == other.source
    assert catalogue.metadata.rebuild is None
    with pytest.raises(FingerprintError):
        catalogue.index([music], tiny_model)
    assert counts(catalogue.index(music)) == {"unchanged": 5, "failed": 1}


def test_searches_go_on_with_the_old_vectors_until_all_is_done(
    catalogue, music, tiny_model, other, decoded
):
    catalogue.index([music], tiny_model)
    old = catalogue.vectors()
    decoded.clear()
    summary = catalogue.rebuild(other, limit=3)
    assert done(summary) == {"embedded": 3, "left": 1}
    assert not summary.switched
    assert catalogue.vectors() is old
    assert f"{other.source}: 3 of 4 files" in catalogue.status().rebuild
    add_song(music / "new.wav", seed=30)
    assert counts(catalogue.index([music], tiny_model)) == {"unchanged": 4, "added": 1}
    assert len(catalogue.vectors().pieces) == 5
    reader = Catalogue.open(catalogue.directory)
    assert len(reader.vectors().pieces) == 5
    decoded.clear()
    assert done(catalogue.rebuild(other)) == {"taken_over": 3, "embedded": 2}
    assert len(decoded) == 2
    assert reader.metadata.fingerprint == other.fingerprint
    wanted = embed_file(music / "new.wav", other).embeddings.astype(np.float16)
    found = reader.vectors()
    rows = found.rows([piece.title for piece in found.pieces].index("new"))
    np.testing.assert_array_equal(found.block(2)[rows], wanted[:, 2].astype(np.float32))


def test_files_that_have_gone_are_told_and_come_back(catalogue, music, tiny_model, other, decoded):
    catalogue.index([music], tiny_model)
    (music / "song 0.wav").rename(music.parent / "song 0.wav")
    catalogue.index([music], tiny_model)  # known as missing
    (music / "song 1.wav").rename(music.parent / "song 1.wav")  # and this one as there
    assert done(catalogue.rebuild(other)) == {"embedded": 2, "missing": 2}
    assert known(catalogue) == {"pieces": 2, "missing": 2}
    assert {piece.title for piece in catalogue.pieces(missing=True)} >= {"song 0", "song 1"}
    assert catalogue.verify() == []
    for name in ("song 0.wav", "song 1.wav"):
        (music.parent / name).rename(music / name)
    decoded.clear()
    assert counts(catalogue.index(music)) == {"unchanged": 2, "updated": 2}
    assert sorted(decoded) == ["song 0.wav", "song 1.wav"]
    assert known(catalogue) == {"pieces": 4}


def test_what_was_forgotten_or_moved_between_two_runs_is_forgotten_there_too(
    catalogue, music, tiny_model, other
):
    shutil.copy(music / "song 1.wav", music / "song 1 again.wav")
    catalogue.index([music], tiny_model)
    catalogue.rebuild(other, limit=4)
    (music / "song 0.wav").unlink()
    (music / "song 1.wav").rename(music / "zz.wav")
    catalogue.index([music], tiny_model, prune=True)
    catalogue.rebuild(other)
    assert known(catalogue) == {"pieces": 3, "copies": 1}
    assert catalogue.verify() == []


def test_a_rebuild_with_a_third_model_begins_anew(catalogue, music, tiny_model, other, tmp_path):
    catalogue.index([music], tiny_model)
    catalogue.rebuild(other, limit=2)
    from_other = load_model(other.source)
    for parameter in from_other.parameters():
        parameter.data.mul_(0.5)
    third = type(other)(from_other.network, "third", {}, other.source)
    assert done(catalogue.rebuild(third, limit=1)) == {"embedded": 1, "left": 3}
    tables = {path.stem for path in (catalogue.directory / "tables").iterdir()}
    assert f"pieces-{other.fingerprint}" not in tables
    assert len(tables) == 6


def test_mistakes_are_one_clear_line(catalogue, music, tiny_model, other):
    with pytest.raises(CatalogueError, match="is empty; index a folder first"):
        catalogue.rebuild(other)
    catalogue.index([music], tiny_model)
    with pytest.raises(UsageError, match=r"holds vectors of tiny .* already"):
        catalogue.rebuild(tiny_model)
    with pytest.raises(FingerprintError, match="stemwise index --rebuild --model"):
        catalogue.index([music], other)
    music.rename(music.parent / "away")
    with pytest.raises(CatalogueError, match=r"none of the 4 known files is there .*mounted"):
        catalogue.rebuild(other)
    assert catalogue.metadata.fingerprint == tiny_model.fingerprint
    os.rename(music.parent / "away", music)
    assert known(catalogue) == {"pieces": 4}
