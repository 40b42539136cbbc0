import json
import shutil

import numpy as np
import pyarrow as pa
import pytest

from made_collection import counts, damage, known, segment_contents
from made_music import write_sndfile
from stemwise.errors import CatalogueError
from stemwise.library.catalogue import Catalogue
from stemwise.library.store import Store
from stemwise.library.tables import SCHEMAS, as_row
from stemwise.library.verification import Finding


@pytest.fixture
def whole(catalogue, music, tiny_model):
    """A catalogue of four pieces, a copy and an error, and its store."""
    shutil.copy(music / "song 2.wav", music / "copy.wav")
    damage(music / "bad.wav")
    catalogue.index([music], tiny_model)
    assert catalogue.verify() == []
    return catalogue, Store(catalogue.directory, tiny_model.fingerprint)


def found(catalogue):
    return [(finding.kind, finding.text) for finding in catalogue.verify()]


def change_segments(store, content, change):
    """Replace the rows of one content by what `change` makes of them (dicts in, dicts out)."""
    table = store.table("segments")
    names = SCHEMAS["segments"].names
    rows = table.search().where(f"content = '{content}'").select(names).limit(None).to_arrow()
    store.drop("segments", "content", [content])
    changed = change(rows.to_pylist())
    store.append("segments", pa.Table.from_pylist(changed, schema=table.schema))


def scaled(row, factor):
    return row | {"bass": [np.float16(factor) * np.float16(x) for x in row["bass"]]}


def is_repaired(catalogue, music, model, pieces_waiting):
    """Repair, check, index again, check again."""
    findings = catalogue.verify(repair=True)
    assert findings
    assert catalogue.verify() == []
    assert known(catalogue).get("waiting", 0) == pieces_waiting
    summary = catalogue.index([music], model)
    assert summary.updated + summary.added == pieces_waiting
    assert known(catalogue) == {"pieces": 4, "copies": 1, "errors": 1}
    assert catalogue.verify() == []


def test_orphans_are_found_and_dropped(whole, music, tiny_model):
    catalogue, store = whole
    piece = catalogue.pieces()[1]
    store.drop("pieces", "path", [str(piece.path)])
    number = piece.segments
    assert found(catalogue) == [("orphan", f"{number} segments belong to no piece")]
    catalogue.verify(repair=True)
    assert catalogue.verify() == []
    assert piece.content not in segment_contents(catalogue)
    assert counts(catalogue.index([music], tiny_model))["added"] == 1


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        (lambda rows: [], "piece", "has 0 segments in place of 3"),
        (lambda rows: rows[1:], "piece", "has 2 segments in place of 3"),
        (lambda rows: [*rows, rows[0]], "piece", "has 4 segments in place of 3"),
        (lambda rows: [*rows[:2], rows[0]], "piece", "has several segments that start at one time"),
        (
            lambda rows: [row | {"start_seconds": row["start_seconds"] + 1} for row in rows],
            "piece", "starts at 1 s",
        ),
        (lambda rows: [scaled(rows[0], 1.1), *rows[1:]], "vectors", "not of length 1"),
        (
            lambda rows: [rows[0] | {"bass": [np.float16("inf")] * 128}, *rows[1:]],
            "vectors", "not finite",
        ),
        (lambda rows: [scaled(row, 0) for row in rows], "vectors", "not of length 1"),
        (lambda rows: [rows[0] | {"presence_bass": 1.5}, *rows[1:]], "vectors", "not finite"),
        (lambda rows: [rows[0] | {"level_db": float("inf")}, *rows[1:]], "vectors", "not finite"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_pieces_segments_is_found_and_mended(
    whole, music, tiny_model, change, kind, text
):
    catalogue, store = whole
    piece = next(piece for piece in catalogue.pieces() if piece.title == "song 1")
    change_segments(store, piece.content, change)
    (finding,) = catalogue.verify()
    assert (finding.kind, finding.subject) == (kind, piece.content)
    assert text in finding.text
    is_repaired(catalogue, music, tiny_model, pieces_waiting=1)


def test_silent_segments_may_be_zeros(catalogue, music, tiny_model):
    write_sndfile(music / "silence.wav", np.zeros(8000 * 5, np.float32), 8000)
    catalogue.index([music], tiny_model)
    assert catalogue.verify() == []


def test_copies_that_disagree_are_found_and_mended(whole, music, tiny_model):
    catalogue, store = whole
    piece = next(piece for piece in catalogue.pieces() if piece.title == "copy")
    store.put("pieces", [as_row(piece) | {"segments": 9}])
    assert found(catalogue) == [("piece", f"its copies name {piece.segments} and 9 segments")]
    is_repaired(catalogue, music, tiny_model, pieces_waiting=2)


def test_a_path_with_two_rows_is_found_and_mended(whole, music, tiny_model):
    catalogue, store = whole
    piece = catalogue.pieces()[1]
    rows = pa.Table.from_pylist([as_row(piece)], schema=store.table("pieces").schema)
    store.append("pieces", rows)
    assert catalogue.verify() == [Finding("path", str(piece.path), "has 2 rows")]
    catalogue.verify(repair=True)
    assert catalogue.verify() == []
    catalogue.index([music], tiny_model)
    assert known(catalogue) == {"pieces": 4, "copies": 1, "errors": 1}
    store.put("pieces", [as_row(piece) | {"content": ""}])
    assert ("path", f"has {piece.segments} segments of no content") in found(catalogue)


def test_a_damaged_table_of_segments_is_made_anew(whole, music, tiny_model):
    catalogue, _ = whole
    folder = catalogue.directory / "tables" / f"segments-{tiny_model.fingerprint}.lance"
    for path in (folder / "data").iterdir():
        path.unlink()
    (finding,) = catalogue.verify()
    assert (finding.kind, finding.subject) == ("table", "segments")
    assert "\n" not in finding.text
    is_repaired(catalogue, music, tiny_model, pieces_waiting=5)
    shutil.rmtree(folder)
    assert [kind for kind, _ in found(catalogue)] == ["table"]
    is_repaired(catalogue, music, tiny_model, pieces_waiting=5)


def test_a_damaged_table_of_pieces_cannot_be_mended(whole, tiny_model):
    catalogue, _ = whole
    shutil.rmtree(catalogue.directory / "tables" / f"pieces-{tiny_model.fingerprint}.lance")
    assert [finding.subject for finding in catalogue.verify()] == ["pieces"]
    with pytest.raises(CatalogueError, match="cannot be repaired: table pieces is damaged"):
        catalogue.verify(repair=True)


def test_a_table_of_another_model_is_found(whole, tiny_model):
    catalogue, _ = whole
    file = catalogue.directory / "catalogue.json"
    tables = catalogue.directory / "tables"
    for path in list(tables.iterdir()):
        path.rename(path.with_name(path.name.replace(tiny_model.fingerprint, "f" * 16)))
    told = json.loads(file.read_text())
    file.write_text(json.dumps(told | {"fingerprint": "f" * 16}))
    model, *rest = found(Catalogue.open(catalogue.directory))
    assert model[0] == "model"
    assert f"has fingerprint {tiny_model.fingerprint} now" in model[1]
    assert rest == [("table", f"is of another model, fingerprint {tiny_model.fingerprint}")] * 3


def test_a_model_that_cannot_be_loaded_is_found(whole):
    catalogue, _ = whole
    file = catalogue.directory / "catalogue.json"
    told = json.loads(file.read_text())
    file.write_text(json.dumps(told | {"model": "/nowhere.safetensors"}))
    ((kind, text),) = found(catalogue)
    assert kind == "model"
    assert text.startswith("cannot be loaded: no model '/nowhere.safetensors'")
