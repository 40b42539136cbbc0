import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemwise.library import search as module
from stemwise.library.search import Query, search
from stemwise.library.tables import Piece
from stemwise.library.vectors import Vectors
from stemwise.parts import PARTS


def piece(k, content=None):
    content = content or f"{k:012x}" + "0" * 20
    return Piece(Path(f"/m/{k}.wav"), content, 1, 1, 10.0, 1, f"song {k}", "", "", None, "", None,
                 missing=False)  # fmt: skip


def unit(rng, *shape):
    x = rng.standard_normal((*shape, 128)).astype(np.float32)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def made(seed, pieces=7, most=6, share=0.6):
    """Return vectors of random pieces, and a query of four segments."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, most + 1, pieces)
    total = int(counts.sum())
    blocks = unit(rng, 5, total)
    found = tuple(piece(k) for k in range(pieces))
    vectors = Vectors(
        pieces=found,
        copies={p.content: (p,) for p in found},
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        start_seconds=np.concatenate([10.0 * np.arange(c) for c in counts]),
        sounding=rng.random((total, 5)) < share,
        _rows=np.arange(total, dtype=np.uint64),
        _table=None,
        _blocks=dict(enumerate(blocks)),
    )
    sounding = rng.random((4, 5)) < share
    sounding[0] = True
    query = Query("q", "none", 40.0, 10.0 * np.arange(4), unit(rng, 4, 5), sounding)
    return vectors, query


def slow(vectors, query, weights, k):
    """The definition in the module's text, in plain loops; (distance, passages) or None."""
    rows = range(vectors.offsets[k], vectors.offsets[k + 1])
    if not any(vectors.sounding[t, p] and weights[p] > 0 for t in rows for p in range(5)):
        return None
    nearest = []
    for s in range(len(query.start_seconds)):
        asked = [p for p in range(5) if weights[p] > 0 and query.sounding[s, p]]
        if not asked:
            continue
        best = None
        for t in rows:
            total = 0.0
            for p in asked:
                apart = 4.0
                if vectors.sounding[t, p]:
                    apart = float(((query.embeddings[s, p] - vectors.block(p)[t]) ** 2).sum())
                total += weights[p] * apart
            total /= sum(weights[p] for p in asked)
            if best is None or total < best[0] - 1e-6:
                best = (total, s, vectors.start_seconds[t])
        nearest.append(best)
    return sum(b[0] for b in nearest) / len(nearest), nearest


weight_rows = st.lists(st.sampled_from([0, 0, 0.3, 1, 2.5]), min_size=5, max_size=5).filter(any)


@settings(max_examples=60)
@given(st.integers(0, 10_000), weight_rows, st.sampled_from([0.0, 0.3, 0.8, 1.0]))
def test_search_equals_the_definition_in_loops(seed, weights, share):
    vectors, query = made(seed, share=share)
    weights = np.array(weights)
    found = search(vectors, query, weights, 100)
    wanted = {}
    for k, p in enumerate(vectors.pieces):
        result = slow(vectors, query, weights, k)
        if result is not None:
            wanted[p.id] = result
    assert {m.piece.id for m in found} == set(wanted)
    for match in found:
        distance, nearest = wanted[match.piece.id]
        assert match.distance == pytest.approx(distance, abs=1e-5)
        assert match.similarity == pytest.approx(1 - distance / 4, abs=1e-5)
        assert len(match.passages) == len(nearest)
        for passage, (apart, s, start) in zip(match.passages, nearest, strict=True):
            assert passage.query_seconds == query.start_seconds[s]
            assert passage.match_seconds == start
            assert passage.distance == pytest.approx(apart, abs=1e-5)
            shares = {p: weights[PARTS.index(p)] for p in passage.parts}
            mean = sum(shares[p] * d for p, d in passage.parts.items()) / sum(shares.values())
            assert mean == pytest.approx(apart, abs=1e-5)
    keys = [(round(m.distance, 6), m.piece.id) for m in found]
    assert [k[0] for k in keys] == pytest.approx(sorted(k[0] for k in keys), abs=2e-6)


@pytest.mark.parametrize("rows", [1, 5, 1000])
def test_working_in_pieces_changes_nothing(monkeypatch, rows):
    vectors, query = made(3, pieces=30)
    weights = np.array([1, 0, 0.5, 0, 2.0])
    wanted = module.piece_distances(vectors, query, weights)
    monkeypatch.setattr(module, "_ROWS_AT_A_TIME", rows)
    monkeypatch.setattr(module, "_QUERIES_AT_A_TIME", rows)
    np.testing.assert_allclose(module.piece_distances(vectors, query, weights), wanted, atol=1e-6)


def order(vectors, query, weights):
    return [(m.piece.id, pytest.approx(m.distance, abs=1e-5)) for m in search(
        vectors, query, np.array(weights, float), 100)]  # fmt: skip


@given(st.integers(0, 10_000), st.integers(0, 4))
def test_a_weight_on_one_part_ignores_the_others(seed, part):
    vectors, query = made(seed)
    weights = np.eye(5)[part]
    before = order(vectors, query, weights)
    rng = np.random.default_rng(seed + 1)
    for other in set(range(5)) - {part}:
        vectors._blocks[other] = unit(rng, len(vectors.start_seconds))
        query.embeddings[:, other] = unit(rng, 4)
        query.sounding[:, other] = rng.random(4) < 0.5
        vectors.sounding[:, other] = rng.random(len(vectors.sounding)) < 0.5
    assert order(vectors, query, weights) == before


@given(st.integers(0, 10_000), weight_rows, st.sampled_from([0.001, 2, 3, 1000]))
def test_scaling_all_weights_changes_nothing(seed, weights, scale):
    vectors, query = made(seed)
    scaled = [w * scale for w in weights]
    assert order(vectors, query, weights) == order(vectors, query, scaled)


@given(st.integers(0, 10_000))
def test_a_piece_with_the_querys_vectors_comes_first_at_distance_0(seed):
    vectors, query = made(seed)
    rows = vectors.rows(2)
    k = min(4, rows.stop - rows.start)
    query.sounding[:k] = vectors.sounding[rows][:k] = True
    for part in range(5):
        query.embeddings[:k, part] = vectors.block(part)[rows][:k]
    asked = module._only(query, slice(0, k))
    first = search(vectors, asked, np.ones(5), 1)[0]
    assert first.piece == vectors.pieces[2]
    assert first.distance == pytest.approx(0, abs=1e-6)
    assert [p.match_seconds for p in first.passages] == list(asked.start_seconds)


def test_a_silent_part_never_matches():
    vectors, query = made(0, pieces=2, most=1)
    query = module._only(query, slice(0, 1))
    vectors.sounding[:] = [[True, True] + [False] * 3, [True, False] + [False] * 3]
    for part in range(2):
        vectors.block(part)[:] = query.embeddings[0, part]
    first, second = search(vectors, query, np.array([1.0, 1, 0, 0, 0]), 9)
    assert (first.piece, second.piece) == vectors.pieces
    assert first.distance == pytest.approx(0, abs=1e-6)
    assert second.distance == pytest.approx(2, abs=1e-6)  # (0 + 4) / 2
    assert second.parts == {"drums": pytest.approx(1), "bass": pytest.approx(0)}
    only = search(vectors, query, np.array([0, 1.0, 0, 0, 0]), 9)
    assert [m.piece for m in only] == [vectors.pieces[0]]


def test_ties_go_by_id_and_the_query_itself_is_left_out():
    vectors, query = made(1, pieces=6, most=1, share=1.0)
    for part in range(5):
        vectors.block(part)[:] = query.embeddings[0, part]
    asked = module._only(query, slice(0, 1))
    ids = [m.piece.id for m in search(vectors, asked, np.ones(5), 9)]
    assert ids == sorted(ids)
    assert len(ids) == 6
    own = dataclasses.replace(asked, content=vectors.pieces[3].content)
    assert vectors.pieces[3].id not in [m.piece.id for m in search(vectors, own, np.ones(5), 9)]
