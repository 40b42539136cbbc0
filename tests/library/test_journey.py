import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_vectors import made, piece
from stemwise.errors import UsageError
from stemwise.library import journey as module
from stemwise.library.journey import distances_between, journey, shortest
from stemwise.library.vectors import vectors_in_memory


@dataclasses.dataclass
class Shelf:
    """Stands for a catalogue: vectors, and pieces by title."""

    made: object

    def vectors(self):
        return self.made

    def find(self, text):
        return next(p for p in self.made.pieces if p.title == text)


def arc(count=15, seed=0, extra=30):
    """Return pieces along an arc from a to b in the drums, in no order, among far ones."""
    rng = np.random.default_rng(seed)
    a, b, *others = np.linalg.qr(rng.standard_normal((128, 2 + extra)))[0].T
    angles = np.linspace(0, np.pi / 2, count)
    places = np.stack([np.cos(x) * a + np.sin(x) * b for x in angles] + list(others))
    order = rng.permutation(len(places))
    pieces, embeddings = [], []
    for number, place in enumerate(order):
        pieces.append(piece(number, title=f"arc {place}"))
        embeddings.append(places[place][None, None].repeat(2, 0).repeat(5, 1).astype(np.float32))
    presence = [np.ones((2, 5), np.float32)] * len(order)
    return Shelf(
        vectors_in_memory(pieces, [10.0 * np.arange(2)] * len(order), embeddings, presence)
    )


def slow(vectors, weights, a, b):
    """The definition in the module's text."""
    total = count = 0.0
    for part in range(5):
        means = []
        for k in (a, b):
            rows = vectors.rows(k)
            own = vectors.block(part)[rows][vectors.sounding[rows, part]]
            means.append(own.mean(axis=0) / np.linalg.norm(own.mean(axis=0)) if len(own) else None)
        if means[0] is None and means[1] is None:
            continue
        both = means[0] is not None and means[1] is not None
        total += weights[part] * (((means[0] - means[1]) ** 2).sum() if both else 4)
        count += weights[part]
    return total / count if count else 4.0


def test_distances_equal_the_definition_in_loops():
    vectors = made(0, pieces=12, most=2, share=0.35)
    weights = np.array([1, 0, 0.5, 2, 0])
    found = distances_between(vectors, weights, np.arange(12), np.arange(12))
    for a, b in itertools.product(range(12), repeat=2):
        assert found[a, b] == pytest.approx(slow(vectors, weights, a, b), abs=1e-5)


@given(st.integers(0, 10_000), st.integers(2, 9))
def test_with_all_neighbours_no_path_is_shorter(seed, count):
    rng = np.random.default_rng(seed)
    places = rng.standard_normal((count, 2))
    apart = ((places[:, None] - places) ** 2).sum(axis=2)

    def cost(path):
        return sum(apart[a, b] for a, b in itertools.pairwise(path))

    found = shortest(apart, neighbours=count)
    assert (found[0], found[-1]) == (0, 1)
    assert len(set(found)) == len(found)
    inner = range(2, count)
    paths = (
        [0, *middle, 1]
        for size in range(count - 1)
        for middle in itertools.permutations(inner, size)
    )
    best = min(map(cost, paths)) if count < 8 else np.inf
    assert cost(found) <= best + 1e-9


def test_far_pieces_are_joined_by_more_neighbours():
    places = np.concatenate([np.zeros(1), [100.0], np.linspace(0, 1, 20), np.linspace(99, 100, 20)])
    apart = (places[:, None] - places) ** 2
    found = shortest(apart, neighbours=3)
    assert (found[0], found[-1]) == (0, 1)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_journey_walks_along_the_arc(seed):
    shelf = arc(seed=seed)
    steps = journey(shelf, "arc 0", "arc 14", {"drums": 1})
    numbers = [int(step.piece.title.split()[1]) for step in steps]
    assert numbers == sorted(set(numbers))
    assert (numbers[0], numbers[-1]) == (0, 14)
    assert len(numbers) == 15  # squared distances: the smallest steps there are
    assert steps[0].distance is None
    assert steps[0].parts == {}
    for step in steps[1:]:
        assert step.distance == pytest.approx(2 - 2 * np.cos(np.pi / 28), abs=1e-5)
        assert step.parts == {"drums": pytest.approx(step.distance, abs=1e-6)}


def test_a_large_catalogue_gives_only_what_lies_between(monkeypatch):
    monkeypatch.setattr(module, "MOST_PIECES", 15)
    steps = journey(arc(), "arc 0", "arc 14", {"drums": 1})
    assert len(steps) == 15


def test_no_recording_comes_twice():
    shelf = arc(5)
    vectors = shelf.made
    title = {p.title: k for k, p in enumerate(vectors.pieces)}
    pieces = [dataclasses.replace(p, duration_seconds=50.0) for p in vectors.pieces]
    rows = [vectors.rows(k) for k in range(len(pieces))]
    blocks = [np.stack([vectors.block(i)[r] for i in range(5)], axis=1) for r in rows]
    blocks[title["arc 29"]] = blocks[title["arc 2"]]  # another file of it
    presence = [np.ones((2, 5), np.float32)] * len(pieces)
    again = vectors_in_memory(pieces, [10.0 * np.arange(2)] * len(pieces), blocks, presence)
    titles = [step.piece.title for step in journey(Shelf(again), "arc 0", "arc 4")]
    assert len(titles) == 5
    assert len({"arc 2", "arc 29"} & set(titles)) == 1
    with pytest.raises(UsageError, match="are the same recording; a journey needs two"):
        journey(Shelf(again), "arc 2", "arc 29")
    with pytest.raises(UsageError, match="are the same recording"):
        journey(Shelf(again), "arc 1", "arc 1")


def test_what_is_wanted_must_sound_at_both_ends():
    shelf = arc(5)
    shelf.made.sounding[shelf.made.rows(3), 2] = False
    name = shelf.made.pieces[3].title
    other = next(p.title for p in shelf.made.pieces if p.title != name)
    with pytest.raises(UsageError, match=f"no piano sounds in {name}; choose other parts"):
        journey(shelf, other, name, {"piano": 1})
    assert journey(shelf, other, name, {"piano": 1, "bass": 1})[-1].piece.title == name
