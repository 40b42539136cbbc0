"""The sieve against comparing all: the same matches, and bounds that are bounds."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made_vectors import made_query, made_space, piece
from stemwise.library import search as searching
from stemwise.library.distances import Space, piece_distances
from stemwise.library.search import Question, search
from stemwise.library.selection import Limits
from stemwise.library.sieve import Sieve

WEIGHTS = st.lists(st.sampled_from([0.0, 0.3, 1.0]), min_size=5, max_size=5).filter(any)


def flattened(space, query, rank, rest=0.005):
    """Return both with vectors that lie near a space of `rank` dimensions, one for each part."""
    rng = np.random.default_rng(rank)
    found = query.embeddings.copy()
    blocks = {}
    for part in range(5):
        axes = np.linalg.qr(rng.standard_normal((128, rank)))[0].astype(np.float32)
        for x in (space.vectors.block(part).copy(), found[:, part]):
            x[:] = x @ axes @ axes.T + rest * x
            x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)
            blocks.setdefault(part, x)
    vectors = replace(space.vectors, _blocks=blocks, _means={})
    return Space(vectors, space.hub_terms), replace(query, embeddings=found)


def all_bounds(space, query):
    """Return both kinds of bounds of all pieces."""
    sieve = Sieve(space, range(5))
    everything = np.arange(len(space.vectors.pieces))
    some, others = everything[::2], everything[1::2]  # not side by side
    closer = np.empty(len(everything))
    closer[some] = sieve.closer_bounds(query, some)
    closer[others] = sieve.closer_bounds(query, others)
    np.testing.assert_allclose(sieve.closer_bounds(query, everything), closer, atol=1e-6)
    return sieve.bounds(query), closer


@given(seed=st.integers(0, 10**6), weights=WEIGHTS, segments=st.integers(1, 9))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_bounds_are_below_distances(seed, weights, segments):
    space = made_space(seed, pieces=40)
    query = made_query(seed, weights, segments)
    apart = piece_distances(space, query)
    for bounds in all_bounds(space, query):
        assert (bounds <= apart + 1e-6).all()


@given(seed=st.integers(0, 10**6), weights=WEIGHTS)
@settings(max_examples=20, deadline=None, derandomize=True)
def test_bounds_are_near_where_nothing_varies(seed, weights):
    """One segment asks, and all sounds: what is left is the rounding to 8 bits, and hub terms."""
    space = made_space(seed, hubs=0.02, pieces=40, share=1.0)
    query = made_query(seed, weights, segments=1)
    apart = piece_distances(space, query)
    for bounds in all_bounds(space, query):
        assert (apart - bounds < 0.15).all()


@given(seed=st.integers(0, 10**6), weights=WEIGHTS, rank=st.sampled_from([1, 20, 40, 100]))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_bounds_hold_where_vectors_fill_few_dimensions(seed, weights, rank):
    space, query = flattened(made_space(seed, pieces=40), made_query(seed, weights), rank)
    apart = piece_distances(space, query)
    for bounds in all_bounds(space, query):
        assert (bounds <= apart + 1e-6).all()


@pytest.mark.parametrize(("rank", "axes"), [(8, 32), (20, 32), (40, 64), (100, 128)])
def test_no_more_axes_are_kept_than_are_needed(rank, axes):
    query = made_query(4, [1, 0, 0.5, 0, 0], segments=1)
    space, query = flattened(made_space(4, hubs=0.02, pieces=300, share=1.0), query, rank)
    sieve = Sieve(space, range(5))
    assert {part.codes.shape[1] for part in sieve._parts.values()} == {axes}
    assert (sieve._all is not None) == (5 * axes <= 256)
    apart = piece_distances(space, query)
    assert (apart - sieve.closer_bounds(query, np.arange(300)) < 0.2).all()


def test_parts_side_by_side_and_one_by_one_give_the_same_bounds():
    query = made_query(4, [1, 0, 0.5, 0, 2], segments=5)
    space, query = flattened(made_space(4, pieces=60), query, 20)
    sieve = Sieve(space, range(5))
    wanted = sieve.closer_bounds(query, np.arange(60))
    assert sieve._all is not None
    sieve._all = None
    np.testing.assert_array_equal(sieve.closer_bounds(query, np.arange(60)), wanted)


def test_closer_bounds_do_not_suffer_from_a_query_that_varies():
    space = made_space(1, hubs=0.02, pieces=40, share=1.0)
    query = made_query(1, [1, 0, 0.5, 0, 0], segments=9, share=1.0)
    apart = piece_distances(space, query)
    bounds, closer = all_bounds(space, query)
    assert (apart - closer < 0.15).all()
    assert (closer - bounds).mean() > 0.2


def test_without_products_of_integers_the_bounds_are_the_same(monkeypatch):
    space = made_space(2, pieces=30)
    query = made_query(2, [1, 1, 0, 0, 0.5])
    wanted = all_bounds(space, query)
    monkeypatch.delattr("torch._int_mm")
    for one, other in zip(all_bounds(space, query), wanted, strict=True):
        np.testing.assert_array_equal(one, other)


def test_bounds_hold_for_the_extremes():
    """Equal and opposite vectors, hub terms of both signs, silence, and numbers of any size."""
    space = made_space(3, pieces=30, share=0.5)
    space.vectors._blocks[0] = np.sign(space.vectors.block(0)) / np.sqrt(128, dtype=np.float32)
    space.hub_terms[:, 0] = np.linspace(-0.9, 0.9, 30)
    query = made_query(3, [1, 0.001, 0, 0, 500])
    opposite = query.embeddings.copy()
    opposite[:, 0] = -space.vectors.block(0)[0]
    query = replace(query, embeddings=opposite)
    fresh = Space(space.vectors, space.hub_terms)
    apart = piece_distances(fresh, query)
    for bounds in all_bounds(fresh, query):
        assert (bounds <= apart + 1e-6).all()


def names(result):
    return [(match.piece.id, match.same_recording) for match in result.matches]


@pytest.mark.parametrize(("n", "rank"), [(1, 128), (7, 16), (20, 16)])
@pytest.mark.parametrize("collapse", [True, False])
@pytest.mark.parametrize("per_artist", [None, 2])
def test_a_sifted_search_finds_what_comparing_all_finds(monkeypatch, n, collapse, per_artist, rank):
    monkeypatch.setattr(searching, "_FEWEST_SIFTED", 10)
    space = made_space(5, pieces=900, most=4, share=0.85)
    artists = tuple(piece(k, artist=f"artist {k % 40}") for k in range(900))
    space, _ = flattened(space, made_query(0, [1, 1, 1, 1, 1]), rank)
    space = Space(replace(space.vectors, pieces=artists), space.hub_terms)
    sieve = Sieve(space, range(5))
    limits = Limits(n, per_artist, collapse)
    sifted = 0
    for seed in range(6):
        asked = made_query(seed, [1, 0, 0.5, 0, 0]), made_query(seed + 50, [0, 2, 0, 0, 1])
        queries = tuple(flattened(space, query, rank)[1] for query in asked)
        plain = search(Question(space, queries), limits)
        fast = search(Question(space, queries, sieve=sieve), limits)
        assert names(fast) == names(plain)
        assert [m.distance for m in fast.matches] == pytest.approx(
            [m.distance for m in plain.matches], abs=1e-6
        )
        assert (fast.over_limit, fast.kind) == (plain.over_limit, plain.kind)
        sifted += _was_sifted(space, queries, sieve, limits)
    assert sifted, "the sieve ruled nothing out"


def _was_sifted(space, queries, sieve, limits):
    question = Question(space, queries, sieve=sieve)
    selector = searching.Selector(space.vectors, queries, limits)
    everything = np.arange(len(space.vectors.pieces))
    return searching._sifted(question, sieve, selector, everything) is not None


def test_the_sieve_is_not_asked_where_it_proves_nothing(monkeypatch):
    monkeypatch.setattr(searching, "_FEWEST_SIFTED", 10)
    space = made_space(5, pieces=200, most=3)
    query = made_query(1, [1, 1, 0, 0, 0])
    sieve = Sieve(space, range(1))
    assert not sieve.covers(query)
    away = (made_query(2, [1, 0, 0, 0, 0]), made_query(3, [1, 0, 0, 0, 0], away=True))
    for queries in ((query,), away):
        plain = search(Question(space, queries), Limits(5))
        assert names(search(Question(space, queries, sieve=sieve), Limits(5))) == names(plain)
