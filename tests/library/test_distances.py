import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made_vectors import made_query, made_space, slow_distance, unit
from stemwise.library import distances as module
from stemwise.library.distances import (
    Space,
    heard_in,
    nearest_passages,
    part_distances,
    piece_distances,
)

weight_rows = st.lists(st.sampled_from([0, 0, 0.3, 1, 2.5]), min_size=5, max_size=5).filter(any)


@settings(max_examples=60)
@given(st.integers(0, 10_000), weight_rows, st.sampled_from([0.0, 0.3, 0.8, 1.0]))
def test_distances_equal_the_definition_in_loops(seed, weights, share):
    space = made_space(seed, share=share)
    query = made_query(seed, weights)
    found = piece_distances(space, query)
    rows, totals, each = nearest_passages(space, query)
    for k in range(len(space.vectors.pieces)):
        wanted, passages = slow_distance(space, query, k)
        assert found[k] == pytest.approx(wanted, abs=1e-5)
        assert rows[k].tolist() == passages
        assert totals[k].mean() == pytest.approx(wanted, abs=1e-5)
        asked = query.shares > 0
        assert (np.isnan(each[k]) == ~asked).all()
        joined = (np.where(asked, each[k], 0) * query.shares).sum(axis=1)
        np.testing.assert_allclose(joined, totals[k], atol=1e-5)


@pytest.mark.parametrize("rows", [1, 5, 1000])
def test_working_in_pieces_changes_nothing(monkeypatch, rows):
    space = made_space(3, pieces=30)
    query = made_query(3, [1, 0, 0.5, 0, 2.0])
    wanted, passages = piece_distances(space, query), nearest_passages(space, query)
    monkeypatch.setattr(module, "_ROWS_AT_A_TIME", rows)
    monkeypatch.setattr(module, "_NUMBERS_AT_A_TIME", rows)
    monkeypatch.setattr(module, "_QUERIES_AT_A_TIME", rows)
    np.testing.assert_allclose(piece_distances(space, query), wanted, atol=1e-6)
    for one, other in zip(nearest_passages(space, query), passages, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    some = np.array([20, 3, 4, 5, 29])
    np.testing.assert_allclose(piece_distances(space, query, some), wanted[some], atol=1e-6)
    few = space.subset(some, [0, 2, 4])
    np.testing.assert_allclose(piece_distances(few, query), wanted[some], atol=1e-6)


def test_a_part_is_compared_only_where_it_sounds():
    space = made_space(1, share=0.5)
    query = made_query(1, [0, 1, 0, 0, 0], share=1.0)
    apart = part_distances(space, query, 1, slice(None))
    silent = ~space.vectors.sounding[:, 1]
    assert silent.any()
    assert not silent.all()
    assert (apart[:, silent] == 4).all()
    assert (apart[:, ~silent] < 4).all()


@given(st.integers(0, 10_000), st.integers(0, 4))
def test_a_weight_on_one_part_ignores_the_others(seed, part):
    space = made_space(seed)
    query = made_query(seed, np.eye(5)[part], share=1.0)
    before = piece_distances(space, query)
    rng = np.random.default_rng(seed + 1)
    for other in set(range(5)) - {part}:
        space.vectors._blocks[other] = unit(rng, len(space.vectors.start_seconds))
        query.embeddings[:, other] = unit(rng, len(query.start_seconds))
        query.sounding[:, other] = rng.random(len(query.start_seconds)) < 0.5
        space.vectors.sounding[:, other] = rng.random(len(space.vectors.sounding)) < 0.5
    np.testing.assert_array_equal(piece_distances(space, query), before)


def test_the_hub_term_moves_a_piece_by_itself():
    space = made_space(4, hubs=0.0, share=1.0)
    query = made_query(4, [1, 0, 1, 0, 0], share=1.0)
    terms = np.zeros_like(space.hub_terms)
    terms[2, 0] = -0.1
    before, after = (piece_distances(Space(space.vectors, t), query) for t in (0 * terms, terms))
    assert after[2] - before[2] == pytest.approx(0.05, abs=1e-6)
    np.testing.assert_array_equal(np.delete(after, 2), np.delete(before, 2))


def test_what_is_heard_in():
    space = made_space(0, pieces=20, most=2, share=0.3)
    vectors = space.vectors
    heard = heard_in(vectors, np.array([0, 2.0, 0, 1, 0]))
    slow = [vectors.sounding[vectors.rows(k)][:, [1, 3]].any() for k in range(20)]
    assert heard.tolist() == slow
    assert not heard.all()
