"""Most of what a selection promises is held in test_search.py, through searches."""

import numpy as np
import pytest

from made_vectors import made
from stemwise.library.selection import Limits, Selector, files_of


@pytest.fixture
def compared(monkeypatch):
    """How many pairs were compared as recordings."""
    pairs = []

    def same(a, b, _):
        pairs.append((a.duration_seconds, b.duration_seconds))
        return False

    monkeypatch.setattr("stemwise.library.duplicates.same_recording", same)
    return pairs


def test_only_pieces_that_last_alike_are_compared(compared):
    vectors = made(0, pieces=30)  # 100 s, 200 s, ...
    order, distances = np.arange(30), np.linspace(0, 1, 30)
    found = Selector(vectors, [], Limits(5)).select(order, distances)
    assert [(one.piece, one.distance) for one in found.matches] == [
        (k, distances[k]) for k in range(5)
    ]
    assert compared == []


def test_nothing_is_compared_if_nothing_is_collapsed(compared):
    vectors = made(0, pieces=30)
    for one in vectors.pieces:
        object.__setattr__(one, "duration_seconds", 100.0)
    order = np.arange(30)
    assert len(Selector(vectors, [], Limits(9)).select(order, order * 0.1).matches) == 9
    assert compared
    compared.clear()
    chosen = Selector(vectors, [], Limits(9, collapse=False)).select(order, order * 0.1)
    assert len(chosen.matches) == 9
    assert compared == []


def test_fewer_pieces_than_wanted_are_all():
    vectors = made(0, pieces=3)
    found = Selector(vectors, [], Limits(20)).select(np.array([2, 0]), np.array([0.1, 0.2]))
    assert [one.piece for one in found.matches] == [2, 0]
    assert Selector(vectors, [], Limits()).select(np.zeros(0, int), np.zeros(0)).matches == []


def test_all_files_come_by_path():
    vectors = made(0, pieces=3)
    assert [p.path.name for p in files_of(vectors, [2, 0])] == ["0.wav", "2.wav"]
