"""Search by index against search by brute force, over 20,000 segments in clusters."""

import dataclasses

import lancedb
import numpy as np
import pyarrow as pa
import pytest

from made_vectors import piece
from stemwise.library import candidates as module
from stemwise.library import search as search_module
from stemwise.library.candidates import (
    build_indexes,
    has_indexes,
    keep_indexes,
    nearest,
    rounds,
)  # fmt: skip
from stemwise.library.distances import Space, piece_distances
from stemwise.library.filters import Filter
from stemwise.library.query import Query
from stemwise.library.search import Question, search
from stemwise.library.selection import Limits
from stemwise.library.tables import schema
from stemwise.library.vectors import load_vectors
from stemwise.parts import PARTS

PIECES, PER_PIECE, CLUSTERS = 1000, 20, 60
MIXTURES = [[1, 0, 0, 0, 0], [0.5, 0.5, 0, 0, 0], [0.5, 0.3, 0.2, 0, 0], [1, 1, 1, 1, 1]]


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def clustered(rng):
    """Return (S, 128): pieces around the centres of clusters, segments around their piece."""
    centres = rng.standard_normal((CLUSTERS, 24))[rng.integers(0, CLUSTERS, PIECES)]
    own = centres + 0.5 * rng.standard_normal(centres.shape)
    spread = rng.standard_normal((24, 128)) / np.sqrt(24)
    segments = own.repeat(PER_PIECE, axis=0) @ spread
    return unit(segments + 0.4 * rng.standard_normal(segments.shape)).astype(np.float16)


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    rng = np.random.default_rng(0)
    # durations far apart, so that none is taken for another file of a recording
    pieces = [piece(k, genre="rock" if k % 25 == 0 else "") for k in range(PIECES)]
    columns = {
        "content": np.repeat([p.content for p in pieces], PER_PIECE),
        "start_seconds": np.tile(10.0 * np.arange(PER_PIECE), PIECES),
        "level_db": np.zeros(PIECES * PER_PIECE, np.float32),
    }
    for part in PARTS:
        flat = pa.array(clustered(rng).reshape(-1))
        columns[part] = pa.FixedSizeListArray.from_arrays(flat, 128)
        sounding = rng.random(PIECES * PER_PIECE) < 0.85
        columns[f"presence_{part}"] = np.where(sounding, 0.9, 0.1).astype(np.float32)
    wanted = schema("segments", "f" * 16)
    table = lancedb.connect(tmp_path_factory.mktemp("db")).create_table("segments", schema=wanted)
    rows = pa.table(columns, schema=wanted)
    for first in range(0, len(rows), 6000):
        table.add(rows.slice(first, 6000))
    assert not has_indexes(table)
    build_indexes(table)
    assert has_indexes(table)
    terms = 0.03 * rng.standard_normal((PIECES, 5))
    return Space(load_vectors(pieces, table), terms.astype(np.float32))


@pytest.fixture(autouse=True)
def nothing_in_memory(space):
    space.vectors._blocks.clear()


def ask(space, seed, weights, songs="other", segments=1, **changes):
    """Return a query of stored segments, moved a little; each part from another song, or not."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, PIECES, 5)
    if songs == "one":
        first[:] = first[0]
    embeddings = np.zeros((segments, 5, 128), np.float32)
    for i in range(5):
        rows = space.vectors.offsets[first[i]] + np.arange(segments)
        stored = space.vectors.take(i, rows)
        embeddings[:, i] = unit(stored + 0.03 * rng.standard_normal(stored.shape))
    query = Query("q", "none", 9.0, 10.0 * np.arange(segments), embeddings,
                  np.ones((segments, 5), bool), np.array(weights, float))  # fmt: skip
    return dataclasses.replace(query, **changes)


def both(question, limits=Limits(10), filters=None):  # noqa: B008 - frozen
    by_index = search(question, limits, filters, exact=False)
    by_force = search(question, limits, filters, exact=True)
    question.space.vectors._blocks.clear()
    return by_index, by_force


def recall(by_index, by_force):
    wanted = {m.piece for m in by_force.matches}
    return len(wanted & {m.piece for m in by_index.matches}) / len(wanted)


@pytest.mark.parametrize("songs", ["one", "other"])
@pytest.mark.parametrize("weights", MIXTURES, ids=str)
def test_recall_at_10_against_brute_force(space, weights, songs):
    found = []
    for seed in range(12):
        by_index, by_force = both(Question(space, (ask(space, seed, weights, songs),)))
        assert (by_index.kind, by_force.kind) == ("probable", "exact")
        found.append(recall(by_index, by_force))
        distances = [m.distance for m in by_index.matches]
        assert distances == sorted(distances)
        exact = {m.piece: m.distance for m in by_force.matches}
        for match in by_index.matches:  # reranking is exact
            if match.piece in exact:
                assert match.distance == pytest.approx(exact[match.piece], abs=1e-5)
    assert np.mean(found) >= 0.98


def test_several_examples_and_segments(space):
    found = []
    for seed in range(6):
        queries = (
            ask(space, seed, [1, 0, 0, 0, 0], segments=3),
            ask(space, seed + 50, [0, 0.5, 0, 0.5, 0], segments=2),
            ask(space, seed + 90, [1, 0, 0, 0, 0], away=True),
        )
        found.append(recall(*both(Question(space, queries))))
    assert np.mean(found) >= 0.98


def test_bounds_are_bounds(space):
    """With what the index misses set aside, no piece is nearer than its bound."""
    near = [
        (0.25, ask(space, 1, [1, 0, 1, 0, 0], segments=2)),
        (0.75, ask(space, 2, [0, 1, 0, 0, 0])),
    ]
    exact = sum(count * piece_distances(space, query) for count, query in near)
    slack = 0.05  # the lists' distances are nearly right
    last = -np.inf
    for found in rounds(space, near):
        assert (np.diff(found.bounds) >= 0).all()
        below = exact[found.pieces] < found.bounds - slack
        assert below.mean() < 0.01
        others = np.setdiff1d(np.arange(PIECES), found.pieces)
        if len(others):
            assert (exact[others] < found.unseen - slack).mean() < 0.01
        assert found.unseen >= last
        last = found.unseen


def test_lists_hold_the_nearest(space):
    query = ask(space, 3, [0, 1, 0, 0, 0], segments=3)
    found = nearest(space, query.embeddings[:, 1], 1, 200)
    products = query.embeddings[:, 1] @ space.vectors.block(1).T
    for s, (rows, apart, last) in enumerate(found):
        assert len(rows) == 200
        wanted = np.argsort(-products[s])[:200]
        assert len(set(rows.tolist()) & set(wanted.tolist())) > 180
        off = np.abs(apart - (2 - 2 * products[s][rows]))
        assert off.mean() < 0.02
        assert off.max() < 0.1
        assert last == apart.max()
    (alone,) = nearest(space, query.embeddings[:1, 1], 1, 200)
    assert len(set(alone[0].tolist()) & set(found[0][0].tolist())) > 190


def test_a_search_stops_when_nothing_can_be_nearer(space, monkeypatch):
    lengths = []
    real = module.nearest

    def watched(space, vectors, part, length):
        lengths.append(length)
        return real(space, vectors, part, length)

    monkeypatch.setattr(module, "nearest", watched)
    search(Question(space, (ask(space, 4, [1, 0, 0, 0, 0], "one"),)), Limits(1), exact=False)
    assert lengths == [module.FIRST_LIST]
    lengths.clear()
    search(Question(space, (ask(space, 4, [1, 1, 1, 1, 1]),)), Limits(10), exact=False)
    assert lengths[-1] > 2 * module.FIRST_LIST
    assert sorted(set(lengths)) == [min(300 * 2**k, 20_000) for k in range(len(set(lengths)))]


def test_filters_bind_exactly(space, monkeypatch):
    question = Question(space, (ask(space, 5, [0.5, 0.5, 0, 0, 0]),))
    rock = Filter(genres=("rock",))
    by_index, by_force = both(question, Limits(10), rock)
    assert all(m.piece.genre == "rock" for m in by_index.matches)
    assert recall(by_index, by_force) == 1
    # few pieces in a large catalogue are compared one by one, without reading it all
    monkeypatch.setattr(search_module, "MOST_IN_MEMORY", 1000)
    monkeypatch.setattr(search_module, "_FEW_SEGMENTS", 900)
    few = search(question, Limits(10), rock)
    assert few.kind == "exact"
    assert [m.piece for m in few.matches] == [m.piece for m in by_force.matches]
    assert question.space.vectors._blocks == {}
    assert search(question, Limits(10)).kind == "probable"
    many = Question(space, (ask(space, 5, [1, 1, 1, 0, 0]),))
    assert search(many, Limits(10)).kind == "exact"  # three parts that fit into memory
    monkeypatch.setattr(search_module, "_MOST_VECTORS", 50_000)
    assert search(many, Limits(10)).kind == "probable"


def test_what_the_lists_lack_is_looked_for_among_all(space, monkeypatch):
    monkeypatch.setattr(module, "LONGEST_LIST", 300)
    question = Question(space, (ask(space, 6, [1, 0, 0, 0, 0]),))
    by_index, by_force = both(question, Limits(40), Filter(genres=("rock",)))
    assert by_index.kind == "exact"
    assert [m.piece for m in by_index.matches] == [m.piece for m in by_force.matches]


def test_indexes_are_built_when_a_table_is_large_and_again_when_it_has_doubled(space, tmp_path):
    wanted = schema("segments", "f" * 16)
    table = lancedb.connect(tmp_path).create_table("segments", schema=wanted)
    rows = space.vectors.table.search().select(wanted.names).limit(None).to_arrow()
    rows = rows.select(wanted.names).cast(wanted)
    table.add(rows.slice(0, 4000))
    assert not keep_indexes(table)  # 300,000 rows are not large
    assert not has_indexes(table)
    assert keep_indexes(table, most=3999)
    table.add(rows.slice(4000, 4000))
    assert not keep_indexes(table, most=3999)
    table.add(rows.slice(8000, 1))
    assert keep_indexes(table, most=3999)
    assert not keep_indexes(table, most=3999)


def test_rows_added_later_are_found(space, tmp_path):
    wanted = schema("segments", "f" * 16)
    table = lancedb.connect(tmp_path).create_table("segments", schema=wanted)
    rows = space.vectors.table.search().select(wanted.names).limit(None).to_arrow()
    table.add(rows.select(wanted.names).slice(0, 6000).cast(wanted))
    build_indexes(table)
    table.add(rows.select(wanted.names).slice(6000, 2000).cast(wanted))
    vectors = load_vectors(space.vectors.pieces, table)
    late = vectors.pieces[-1]
    own = vectors.take(0, slice(-1, None))[:, None].repeat(5, axis=1)
    query = Query("q", "none", 9.0, np.zeros(1), own, np.ones((1, 5), bool), np.eye(5)[0])
    object.__setattr__(vectors, "sounding", vectors.sounding | True)
    first = search(Question(Space.plain(vectors), (query,)), Limits(1), exact=False).matches[0]
    assert first.piece == late
