import os

import pyarrow as pa
import pytest

from stemwise.errors import BusyError, CatalogueError
from stemwise.library.store import Store, one_writer, remove_other_tables, was_interrupted
from stemwise.library.tables import SCHEMAS, Piece, as_row

PIECE = {
    "path": "/a", "content": "c", "size_bytes": 1, "mtime_ns": 2, "duration_seconds": 3.0,
    "segments": 4, "title": "t", "artist": "", "album": "", "year": None, "genre": "", "bpm": None,
    "missing": False,
}  # fmt: skip


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path, "0123456789abcdef")
    store.create()
    return store


def paths(store):
    return [str(piece.path) for piece in store.pieces()]


def test_a_row_comes_back_as_it_was(store):
    store.put("pieces", [PIECE])
    (piece,) = store.pieces()
    assert as_row(piece) == PIECE
    assert isinstance(piece, Piece)
    failure = {"path": "/bad", "reason": "no music", "size_bytes": 0, "mtime_ns": -1}
    store.put("errors", [failure])
    assert [as_row(f) for f in store.failures()] == [failure]


def test_putting_replaces_by_path_and_forgets_in_one_commit(store):
    store.put("pieces", [PIECE | {"path": name} for name in ("/a", "/b", "/it's", "/d")])
    before = store.table("pieces").version
    new = [PIECE | {"path": "/b", "title": "new"}, PIECE | {"path": "/e"}]
    store.put("pieces", new, forget=["/it's", "/d", "/e", "/never"])
    assert store.table("pieces").version == before + 1
    assert paths(store) == ["/a", "/b", "/e"]
    assert store.pieces()[1].title == "new"
    store.put("pieces", [], forget=["/a"])
    assert paths(store) == ["/b", "/e"]
    version = store.table("pieces").version
    store.put("pieces", [])
    store.drop("pieces", "path", [])
    assert store.table("pieces").version == version  # nothing to do makes no commit


def test_many_values_are_dropped(store):
    names = [f"/song {k}" for k in range(1203)]
    store.put("pieces", [PIECE | {"path": name} for name in names])
    store.drop("pieces", "path", names[:-1])
    assert paths(store) == names[-1:]


def test_a_snapshot_stays_as_it_was(store):
    store.put("pieces", [PIECE])
    held = store.snapshot()
    store.put("pieces", [PIECE | {"path": "/b"}])
    assert paths(held) == ["/a"]
    assert paths(store) == ["/a", "/b"]
    assert held.read("segments", ["content"]).num_rows == 0


def test_orphans_are_the_segments_that_no_piece_names(store):
    rows = pa.table({"content": ["c", "c", "x"], "start_seconds": [0.0, 2.0, 0.0]})
    table = store.table("segments")
    empty = {name: pa.nulls(3, table.schema.field(name).type) for name in table.schema.names[2:]}
    store.append("segments", pa.table({**dict(zip(rows.column_names, rows.columns, strict=True)),
                                       **empty}, schema=table.schema))  # fmt: skip
    store.put("pieces", [PIECE])
    store.remove_orphans()
    assert store.read("segments", ["content"])["content"].to_pylist() == ["c", "c"]


def test_tables_of_two_models_stand_side_by_side(store, tmp_path):
    other = Store(tmp_path, "ffffffffffffffff")
    with pytest.raises(CatalogueError, match="damaged: table pieces-ffffffffffffffff"):
        other.pieces()
    other.create()
    other.create()  # again is no harm
    other.put("pieces", [PIECE])
    assert paths(store) == []
    for kind in SCHEMAS:
        assert other.table(kind).schema.metadata == {b"fingerprint": b"ffffffffffffffff"}
    (tmp_path / "tables" / "half.lance" / "data").mkdir(parents=True)
    for name in ("0123456789abcdef", "ffffffffffffffff"):
        (tmp_path / "search" / name).mkdir(parents=True)
        (tmp_path / "search" / name / "hubs-drums.npz").touch()
    remove_other_tables(tmp_path, ["ffffffffffffffff"])
    assert [path.name for path in (tmp_path / "search").iterdir()] == ["ffffffffffffffff"]
    assert len(list((tmp_path / "tables").iterdir())) == 3
    assert paths(other) == ["/a"]


def test_what_a_killed_creation_left_is_no_hindrance(tmp_path):
    (tmp_path / "tables" / "pieces-0123456789abcdef.lance" / "_versions").mkdir(parents=True)
    store = Store(tmp_path, "0123456789abcdef")
    store.create()
    assert store.pieces() == []


def test_damage_is_told_in_one_line(store, tmp_path):
    store.put("pieces", [PIECE])
    for path in (tmp_path / "tables" / "pieces-0123456789abcdef.lance" / "data").iterdir():
        path.unlink()
    with pytest.raises(CatalogueError) as caught:
        store.pieces()
    assert "\n" not in str(caught.value)
    assert ".rs:" not in str(caught.value)


def test_there_is_one_writer_and_its_good_end_is_noted(tmp_path):
    assert not was_interrupted(tmp_path)
    with one_writer(tmp_path):
        assert was_interrupted(tmp_path)
        with pytest.raises(BusyError, match="wait until it is done"), one_writer(tmp_path):
            pass
    assert not was_interrupted(tmp_path)
    with pytest.raises(RuntimeError, match="full"), one_writer(tmp_path):
        raise RuntimeError("full")
    assert was_interrupted(tmp_path)
    with one_writer(tmp_path, patience_seconds=1):
        pass
    assert not was_interrupted(tmp_path)


def test_a_writer_needs_a_folder_that_it_can_write(tmp_path):
    nowhere = pytest.raises(CatalogueError, match="cannot be written: No such file")
    with nowhere, one_writer(tmp_path / "nowhere"):
        pass
    os.mkdir(tmp_path / "lock")
    with pytest.raises(CatalogueError, match="written: Is a directory"), one_writer(tmp_path):
        pass
