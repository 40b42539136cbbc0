import os

import numpy as np
import pytest
import scipy.stats

from made_vectors import made, piece, unit
from stemwise.library import hubs as module
from stemwise.library.distances import Space
from stemwise.library.hubs import (
    closeness,
    draw_sample,
    hub_terms,
    hubness,
    skewness,
    terms_of,
)
from stemwise.library.vectors import vectors_in_memory

EVERY = np.arange(5)


def with_hubs(seed=0, pieces=120, hubs=12):
    """Return pieces of 3 segments, of which the first dozen lie nearer to the middle of all."""
    rng = np.random.default_rng(seed)
    middle = unit(rng, 1)
    places = unit(rng, pieces, 3, 5) + 0.5 * middle
    places[:hubs] = places[:hubs] * 0.95 + 0.225 * middle
    places /= np.linalg.norm(places, axis=-1, keepdims=True)
    return vectors_in_memory(
        [piece(k) for k in range(pieces)], [10.0 * np.arange(3)] * pieces,
        list(places.astype(np.float32)), [np.ones((3, 5), np.float32)] * pieces,
    )  # fmt: skip


def test_closeness_equals_the_definition_in_loops():
    vectors = made(3, pieces=25, share=0.5)
    sample = draw_sample(vectors, 1)
    assert len(sample.contents) == vectors.sounding[:, 1].sum()
    found = closeness(vectors, 1, sample, np.arange(25))
    for k, known in enumerate(vectors.pieces):
        rows = vectors.rows(k)
        own = vectors.block(1)[rows][vectors.sounding[rows, 1]]
        nearest = {}
        for name, s in zip(sample.contents, sample.embeddings, strict=True):
            if name != known.content and len(own):
                apart = min(float(((s - t) ** 2).sum()) for t in own)
                nearest[name] = min(apart, nearest.get(name, 9))
        if nearest:
            assert found[k] == pytest.approx(np.mean(sorted(nearest.values())[:10]), abs=1e-5)
        else:
            assert np.isnan(found[k])
    assert np.isnan(found).any()


@pytest.mark.parametrize("rows", [1, 7])
def test_working_in_pieces_changes_nothing(monkeypatch, rows):
    vectors = made(3, pieces=25)
    sample = draw_sample(vectors, 0)
    wanted = closeness(vectors, 0, sample, np.arange(25))
    monkeypatch.setattr(module, "_ROWS_AT_A_TIME", rows)
    some = np.array([20, 3, 4])
    np.testing.assert_allclose(closeness(vectors, 0, sample, some), wanted[some], atol=1e-6)


def test_terms_are_centred_halves():
    terms = terms_of(np.array([0.2, np.nan, 0.6]))
    assert terms.tolist() == pytest.approx([-0.1, 0, 0.1])
    assert terms_of(np.full(3, np.nan)).tolist() == [0, 0, 0]


def test_a_large_sample_is_spread_evenly(monkeypatch):
    monkeypatch.setattr(module, "SAMPLE_SEGMENTS", 10)
    vectors = made(0, pieces=50, share=1.0)
    sample = draw_sample(vectors, 2)
    places = [vectors.number_of(str(name)) for name in sample.contents]
    assert len(places) == 10
    assert places == sorted(places)
    assert (places[0], places[-1]) == (0, 49)
    assert max(np.diff(places)) < 10


def test_terms_put_hubs_back():
    vectors = with_hubs()
    plain = hubness(Space.plain(vectors), "bass")
    scaled = hubness(Space(vectors, hub_terms(vectors, EVERY, None)), "bass")
    assert plain.hub in [f"song {k}" for k in range(12)]
    assert scaled.skewness < 0.8 * plain.skewness
    assert scaled.largest < 0.6 * plain.largest
    assert scaled.never < 0.5 * plain.never


def test_small_catalogues_and_silent_parts_have_no_terms():
    assert not hub_terms(made(0, pieces=29), EVERY, None).any()
    terms = hub_terms(made(0, pieces=30, share=1.0), np.array([0, 2]), None)
    assert terms[:, [0, 2]].all()
    assert not terms[:, [1, 3, 4]].any()
    assert not hub_terms(made(0, pieces=40, share=0.0), EVERY, None).any()
    assert hubness(Space.plain(made(0, share=0.0)), "drums") is None


def test_what_is_kept_is_not_computed_again_and_stays(tmp_path, monkeypatch):
    folder = tmp_path / "search"
    vectors = made(1, pieces=60, share=1.0)
    first = hub_terms(vectors, EVERY, folder)
    asked = []
    computed = closeness

    def watched(vectors, part, sample, pieces):
        asked.append(len(pieces))
        return computed(vectors, part, sample, pieces)

    monkeypatch.setattr(module, "closeness", watched)
    np.testing.assert_allclose(hub_terms(vectors, EVERY, folder), first, atol=1e-6)
    assert asked == [0] * 5
    asked.clear()
    more = made(1, pieces=70, share=1.0)  # the first 60 are known by their content
    later = hub_terms(more, np.array([0]), folder)
    assert asked == [70 - 60]
    moved = later[:60, 0] - first[:, 0]
    np.testing.assert_allclose(moved, moved[0], atol=1e-6)  # but for a constant
    asked.clear()
    many = made(1, pieces=300, share=1.0)
    hub_terms(many, np.array([0]), folder)
    assert asked == [300]  # grown fourfold: drawn anew


def made_again_after(damage, folder):
    vectors = made(1, pieces=40)
    wanted = hub_terms(vectors, np.array([3]), folder)
    damage(folder / "hubs-guitar.npz")
    np.testing.assert_allclose(hub_terms(vectors, np.array([3]), folder), wanted, atol=1e-6)


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(b"no archive"),
        lambda file: file.write_bytes(file.read_bytes()[:200]),
        lambda file: np.savez(file, contents=np.zeros(2)),
        lambda file: file.unlink(),
    ],
)
def test_a_damaged_file_is_made_again(tmp_path, damage):
    made_again_after(damage, tmp_path / "search")


def test_a_folder_that_cannot_be_written_costs_time_only(tmp_path):
    vectors = made(1, pieces=40)
    (tmp_path / "file").touch()
    terms = hub_terms(vectors, np.array([3]), tmp_path / "file")  # not a folder
    np.testing.assert_array_equal(terms, hub_terms(vectors, np.array([3]), None))
    assert os.listdir(tmp_path) == ["file"]


def test_skewness_is_that_of_scipy():
    rng = np.random.default_rng(0)
    for counts in (rng.integers(0, 30, 50), rng.geometric(0.2, 100), np.array([1, 2, 9])):
        assert skewness(counts) == pytest.approx(scipy.stats.skew(counts))
    assert skewness(np.array([3, 3, 3])) == 0


def test_hubness_counts_lists():
    vectors = made(2, pieces=15, share=1.0)
    found = hubness(Space.plain(vectors), "drums")
    assert found.pieces == 15
    assert 10 / 14 <= found.largest <= 1  # each of 15 lists holds 10 of 14
    assert 0 <= found.never < 1
