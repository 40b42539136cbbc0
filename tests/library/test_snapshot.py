import numpy as np
import pytest

from made_collection import add_song
from stemwise.errors import FingerprintError, UsageError
from stemwise.library.embed import embed_file
from stemwise.library.query import Example
from stemwise.library.search import similar
from stemwise.library.snapshot import Snapshot
from stemwise.models.checkpoint import load_model


@pytest.fixture
def indexed(catalogue, music, tiny_model):
    catalogue.index(music, tiny_model)
    return catalogue


def found(result):
    return [(match.piece.id, match.distance, match.similarity) for match in result.matches]


def test_a_snapshot_answers_like_the_catalogue_and_stays(indexed, music, tiny_model):
    held = Snapshot(indexed)
    held.prepare()
    piece = held.vectors().pieces[0]
    before = similar(held, Example(piece), {"bass": 1})
    assert found(before) == found(similar(indexed, piece.title, {"bass": 1}))
    add_song(music / "new.wav", 5, 9)
    indexed.index(music, tiny_model)
    assert found(similar(held, Example(piece), {"bass": 1})) == found(before)
    assert len(found(similar(indexed, piece.title, {"bass": 1}))) == len(found(before)) + 1


def test_what_was_embedded_is_not_read_again(indexed, tmp_path, tiny_model):
    path = add_song(tmp_path / "other.wav", 7, 5)
    made = embed_file(path, tiny_model)
    expected = similar(indexed, path, {"drums": 1}, model=tiny_model)
    path.unlink()
    result = similar(indexed, Example(made), {"drums": 1})
    assert found(result) == found(expected)
    assert result.query == "other.wav"
    stretch = similar(Snapshot(indexed), Example(made, {"drums": 1}, 2, 3))
    assert stretch.query == "other.wav 0:02–0:03"


def test_a_piece_that_was_forgotten_is_told(indexed, music, tiny_model):
    gone = indexed.pieces()[0]
    gone.path.unlink()
    indexed.index(music, tiny_model, prune=True)
    with pytest.raises(UsageError, match="does not hold it any more"):
        similar(indexed, Example(gone))


def test_a_snapshot_knows_ids_levels_and_its_model(indexed, other_model_path, tiny_model):
    held = Snapshot(indexed)
    piece = held.vectors().pieces[1]
    assert held.find(piece.id) == piece
    with pytest.raises(UsageError, match="no piece in the catalogue has the id"):
        held.find(piece.title)
    stored = indexed.read("segments", ["content", "start_seconds", "level_db"]).to_pylist()
    stored.sort(key=lambda row: (row["content"], row["start_seconds"]))
    assert np.allclose(held.levels(), [row["level_db"] for row in stored])
    held.check_fingerprint(tiny_model)
    with pytest.raises(FingerprintError):
        held.check_fingerprint(load_model(other_model_path))
    plain = held.space(np.arange(5), scaling=False)
    assert not plain.hub_terms.any()
