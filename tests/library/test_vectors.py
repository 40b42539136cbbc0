import itertools

import lancedb
import numpy as np
import pyarrow as pa
import pytest

from made_vectors import made, piece, unit
from stemwise.errors import CatalogueError
from stemwise.library import vectors as module
from stemwise.library.tables import schema
from stemwise.library.vectors import load_vectors, scan, vectors_in_memory
from stemwise.parts import PARTS


@pytest.fixture(params=["all in memory", "row by row"])
def stored(tmp_path, request, monkeypatch):
    """Vectors of a table whose rows lie in no order, and the arrays that went in, by content."""
    monkeypatch.setattr(module, "_FEW_ROWS", 4096 if request.param == "all in memory" else 3)
    rng = np.random.default_rng(0)
    pieces = [piece(k) for k in range(9)]
    arrays = {
        p.content: (unit(rng, k % 4 + 1, 5), rng.random((k % 4 + 1, 5)).astype(np.float32))
        for k, p in enumerate(pieces)
    }
    rows = [(name, s) for name, (x, _) in arrays.items() for s in range(len(x))]
    rows = [rows[i] for i in rng.permutation(len(rows))]
    columns = {
        "content": [name for name, _ in rows],
        "start_seconds": [10.0 * s for _, s in rows],
        "level_db": [0.0] * len(rows),
    }
    for i, part in enumerate(PARTS):
        columns[part] = [arrays[name][0][s, i].astype(np.float16) for name, s in rows]
        columns[f"presence_{part}"] = [arrays[name][1][s, i] for name, s in rows]
    wanted = schema("segments", "a" * 16)
    table = lancedb.connect(tmp_path).create_table("segments", schema=wanted)
    whole = pa.table(columns, schema=wanted)
    for first in range(0, len(rows), 5):  # in several fragments
        table.add(whole.slice(first, 5))
    return load_vectors([p for p in pieces if p is not pieces[4]], table), arrays


def test_pieces_come_by_content_and_segments_by_time(stored):
    vectors, arrays = stored
    assert vectors.fingerprint == "a" * 16
    names = [p.content for p in vectors.pieces]
    assert names == sorted(set(arrays) - {piece(4).content})
    for k, name in enumerate(names):
        embeddings, presence = arrays[name]
        rows = vectors.rows(k)
        assert vectors.start_seconds[rows].tolist() == [10.0 * s for s in range(len(embeddings))]
        np.testing.assert_array_equal(vectors.presence[rows], presence)
        np.testing.assert_array_equal(vectors.sounding[rows], presence >= 0.5)
        assert (vectors.owners[rows] == k).all()
        assert vectors.number_of(name) == k
        for part in range(5):
            np.testing.assert_array_equal(
                vectors.block(part)[rows], embeddings[:, part].astype(np.float16)
            )
    assert vectors.number_of("nothing") is None


def test_some_rows_are_those_of_the_whole(stored):
    vectors, _ = stored
    rows = np.array([5, 1, 1, 9])
    some = vectors.take(2, rows)
    assert (2 in vectors._blocks) == (module._FEW_ROWS > 3)
    again = vectors.subset(np.array([3, 0]), [2, 4])
    few = vectors.gather(3, slice(4, 6))
    np.testing.assert_array_equal(some, vectors.block(2)[rows])
    np.testing.assert_array_equal(few, vectors.block(3)[4:6])
    for part in range(5):
        joined = [vectors.block(part)[vectors.rows(k)] for k in (3, 0)]
        np.testing.assert_array_equal(again.block(part), np.concatenate(joined))
    assert [p.content for p in again.pieces] == [vectors.pieces[k].content for k in (3, 0)]
    np.testing.assert_array_equal(again.sounding[again.rows(1)], vectors.sounding[vectors.rows(0)])


def test_rows_of_the_table_are_found_again(stored):
    vectors, arrays = stored
    table = scan(vectors.table, ["content", "start_seconds"])
    places = vectors.positions(table["_rowid"].to_numpy())
    for name, start, place in zip(
        table["content"].to_pylist(), table["start_seconds"].to_pylist(), places, strict=True
    ):
        if name == piece(4).content:  # not among the pieces
            assert place == -1
        else:
            assert vectors.pieces[vectors.owners[place]].content == name
            assert vectors.start_seconds[place] == start
    assert (places == -1).sum() == len(arrays[piece(4).content][0])
    assert vectors.positions(np.array([10**15], np.uint64)).tolist() == [-1]


def test_means_and_counts_are_over_sounding_segments(stored):
    vectors, _ = stored
    for part in range(5):
        means, counts = vectors.means(part), vectors.counts(part)
        for k in range(len(vectors.pieces)):
            rows = vectors.rows(k)
            sounding = vectors.sounding[rows, part]
            assert counts[k] == sounding.sum()
            wanted = vectors.block(part)[rows][sounding].mean(axis=0) if sounding.any() else 0
            np.testing.assert_allclose(means[k], wanted, atol=1e-6)


def test_runs_go_over_all_pieces_and_bound_their_rows():
    vectors = made(0, pieces=40)
    pieces = np.random.default_rng(0).permutation(40)[:25]
    runs = list(vectors.runs(pieces, 10))
    np.testing.assert_array_equal(np.concatenate(runs), pieces)
    sizes = [int(vectors.rows_of(run)[1][-1]) for run in runs]
    assert all(size <= 10 for size, run in zip(sizes, runs, strict=True) if len(run) > 1)
    for one, other in itertools.pairwise(runs):  # as many as fit
        assert vectors.rows_of(np.append(one, other[0]))[1][-1] > 10


def test_rows_of_pieces_side_by_side_are_a_slice():
    vectors = made(0, pieces=10)
    rows, bounds = vectors.rows_of(np.array([2, 3, 4]))
    assert rows == slice(vectors.offsets[2], vectors.offsets[5])
    assert bounds.tolist() == (vectors.offsets[2:6] - vectors.offsets[2]).tolist()
    rows, bounds = vectors.rows_of(np.array([4, 2]))
    wanted = [*range(*vectors.offsets[4:6]), *range(*vectors.offsets[2:4])]
    assert rows.tolist() == wanted
    assert bounds.tolist() == [0, vectors.offsets[5] - vectors.offsets[4], len(wanted)]


def test_nothing_is_nothing(tmp_path):
    table = lancedb.connect(tmp_path).create_table("segments", schema=schema("segments", "f"))
    vectors = load_vectors([], table)
    assert vectors.pieces == ()
    assert vectors.block(0).shape == (0, 128)
    assert vectors.means(0).shape == (0, 128)
    assert vectors.counts(0).tolist() == []
    assert list(vectors.runs(np.zeros(0, np.int64), 10)) == []
    assert vectors.positions(np.array([1], np.uint64)).tolist() == [-1]


def test_a_table_that_lost_a_file_says_so(tmp_path):
    table = lancedb.connect(tmp_path).create_table("t", pa.table({"content": ["a"]}))
    for file in (tmp_path / "t.lance" / "data").iterdir():
        file.unlink()
    with pytest.raises(CatalogueError, match="a table of the catalogue cannot be read"):
        scan(table, ["content"])


def test_pieces_in_memory_must_come_in_order():
    with pytest.raises(ValueError, match="must rise and differ"):
        vectors_in_memory([piece(1), piece(0)], [], [], [])
