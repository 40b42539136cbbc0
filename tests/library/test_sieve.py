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


@given(seed=st.integers(0, 10**6), weights=WEIGHTS, segments=st.integers(1, 9))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_bounds_are_below_distances_and_near_them(seed, weights, segments):
    space = made_space(seed, pieces=40)
    query = made_query(seed, weights, segments)
    bounds = Sieve(space, range(5)).bounds(query)
    apart = piece_distances(space, query)
    assert (bounds <= apart + 1e-6).all()
    assert (apart - bounds < 0.25).all()


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
    assert (Sieve(fresh, range(5)).bounds(query) <= apart + 1e-6).all()


def names(result):
    return [(match.piece.id, match.same_recording) for match in result.matches]


@pytest.mark.parametrize("n", [1, 7, 20])
@pytest.mark.parametrize("collapse", [True, False])
@pytest.mark.parametrize("per_artist", [None, 2])
def test_a_sifted_search_finds_what_comparing_all_finds(monkeypatch, n, collapse, per_artist):
    monkeypatch.setattr(searching, "_FEWEST_SIFTED", 10)
    space = made_space(5, pieces=900, most=4)
    artists = tuple(piece(k, artist=f"artist {k % 40}") for k in range(900))
    vectors = replace(space.vectors, pieces=artists)
    space = Space(vectors, space.hub_terms)
    sieve = Sieve(space, range(5))
    limits = Limits(n, per_artist, collapse)
    sifted = 0
    for seed in range(6):
        queries = (made_query(seed, [1, 0, 0.5, 0, 0]), made_query(seed + 50, [0, 2, 0, 0, 1]))
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
