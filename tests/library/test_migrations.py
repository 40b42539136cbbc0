import json
import time

import lancedb
import numpy as np
import pyarrow as pa
import pytest

from made_collection import counts, known
from made_processes import finish, migrate_slowly, start
from stemwise.errors import BusyError, CatalogueError
from stemwise.library.catalogue import Catalogue
from stemwise.library.migrations import Migration, migrate
from stemwise.library.search import similar
from stemwise.library.store import one_writer
from stemwise.parts import PARTS

# Format 1 as it was, written out: what is tested must not follow the present schema.
FIRST_PIECES = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("content", pa.string(), nullable=False),
        ("size_bytes", pa.int64()), ("mtime_ns", pa.int64()), ("duration_seconds", pa.float64()),
        ("segments", pa.int32()), ("title", pa.string()), ("artist", pa.string()),
        ("album", pa.string()), ("year", pa.int32()), ("genre", pa.string()),
        ("bpm", pa.float64()), ("missing", pa.bool_()),
    ]
)  # fmt: skip
FIRST_SEGMENTS = pa.schema(
    [
        pa.field("content", pa.string(), nullable=False),
        ("start_seconds", pa.float64()), ("level_db", pa.float32()),
        *((part, pa.list_(pa.float32(), 128)) for part in PARTS),
        *((f"presence_{part}", pa.float32()) for part in PARTS),
    ]
)  # fmt: skip
FIRST_ERRORS = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        ("reason", pa.string()), ("size_bytes", pa.int64()), ("mtime_ns", pa.int64()),
    ]
)  # fmt: skip


@pytest.fixture
def first(tmp_path, catalogue, music, tiny_model):
    """A catalogue of format 1 of four songs, one of them missing, with an error and an orphan."""
    (music / "bad.wav").write_bytes(b"RIFF")
    catalogue.index([music], tiny_model)
    (music / "song 3.wav").rename(tmp_path / "song 3.wav")
    catalogue.index([music], tiny_model)
    vectors = catalogue.read("segments", FIRST_SEGMENTS.names).drop_columns("_rowid")
    old = tmp_path / "old"
    database = lancedb.connect(old / "tables")
    for name, made in [("pieces", FIRST_PIECES), ("errors", FIRST_ERRORS)]:
        rows = catalogue.read(name, made.names).drop_columns("_rowid").cast(made)
        database.create_table(name, rows)
    for part in PARTS:
        column = vectors[part].combine_chunks().flatten().cast(pa.float32())
        single = pa.FixedSizeListArray.from_arrays(column, 128)
        vectors = vectors.set_column(vectors.column_names.index(part), part, single)
    vectors = vectors.cast(FIRST_SEGMENTS)
    contents = pa.array(["f" * 32], pa.string())
    orphan = vectors.slice(0, 1).set_column(0, FIRST_SEGMENTS.field(0), contents)
    database.create_table("segments", pa.concat_tables([vectors, orphan]))
    written = {
        "format": 1, "model": tiny_model.source, "fingerprint": tiny_model.fingerprint,
        "segment_seconds": 2.0, "created": "2026-11-22T18:00:00+00:00",
    }  # fmt: skip
    (old / "catalogue.json").write_text(json.dumps(written))
    return old


def test_an_old_catalogue_is_refused_with_what_to_do(first):
    with pytest.raises(CatalogueError, match=r"has format 1.*stemwise catalogue migrate"):
        Catalogue.open(first)


def test_a_migration_keeps_everything(first, catalogue, music, tiny_model, decoded):
    before = catalogue.vectors()
    assert migrate(first) == Migration(first, 1, 2)
    migrated = Catalogue.open(first)
    assert migrated.verify() == []
    assert migrated.pieces(missing=True) == catalogue.pieces(missing=True)
    assert migrated.errors() == catalogue.errors()
    assert known(migrated) == {"pieces": 3, "errors": 1, "missing": 1}
    assert migrated.metadata.created == "2026-11-22T18:00:00+00:00"
    after = migrated.vectors()
    assert after.pieces == before.pieces
    np.testing.assert_array_equal(after.start_seconds, before.start_seconds)
    np.testing.assert_array_equal(after.sounding, before.sounding)
    for part in range(len(PARTS)):
        np.testing.assert_array_equal(after.block(part), before.block(part))
    assert similar(migrated, "song 0") == similar(catalogue, "song 0")
    names = {path.stem for path in (first / "tables").iterdir()}
    assert names == {
        f"{kind}-{tiny_model.fingerprint}" for kind in ("pieces", "segments", "errors")
    }
    decoded.clear()
    assert counts(migrated.index([music], tiny_model))["unchanged"] == 3
    assert decoded == []


def test_a_migration_that_has_nothing_to_do_says_so(first):
    migrate(first)
    assert migrate(first) == Migration(first, 2, 2)


@pytest.mark.parametrize("after_seconds", [0.1, 0.25, 0.4])
def test_a_migration_killed_half_way_leaves_the_old_catalogue_usable(first, after_seconds):
    old = lancedb.connect(first / "tables")
    rows = {name: old.open_table(name).to_arrow() for name in ("pieces", "segments", "errors")}
    written = (first / "catalogue.json").read_text()
    process = start(migrate_slowly, first, 0.2)
    time.sleep(after_seconds)
    process.kill()
    finish(process)
    assert (first / "catalogue.json").read_text() == written
    for name, table in rows.items():
        assert old.open_table(name).to_arrow() == table
    migrate(first)
    assert Catalogue.open(first).verify() == []
    assert known(Catalogue.open(first)) == {"pieces": 3, "errors": 1, "missing": 1}


def test_mistakes_are_one_clear_line(tmp_path, first):
    with pytest.raises(CatalogueError, match="no catalogue in"):
        migrate(tmp_path / "nowhere")
    with one_writer(first), pytest.raises(BusyError):
        migrate(first)
    file = first / "catalogue.json"
    good = json.loads(file.read_text())
    file.write_text(json.dumps(good | {"format": 3}))
    with pytest.raises(CatalogueError, match="format 3, and this version of Stemwise knows"):
        migrate(first)
    file.write_text(json.dumps(good))
    for path in (first / "tables" / "segments.lance" / "data").iterdir():
        path.unlink()
    with pytest.raises(CatalogueError, match=r"cannot be brought to format 2: .*it is as it was"):
        migrate(first)
    assert json.loads(file.read_text()) == good
