import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made_segments import SEGMENTS, song_of
from stemwise.errors import CorpusError
from stemwise.sampling import contrastive_plan

SETTINGS = {"mixtures": 8, "kept_parts": (1, 1, 1, 1, 2), "gain_deviation_db": 3.0}


def drawn(seed=0, epoch=0, index=0, **changes):
    return contrastive_plan(SEGMENTS, seed, epoch, index, **(SETTINGS | changes))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), index=st.integers(0, 10**6))
def test_a_batch_is_what_it_says(seed, index):
    plan = drawn(seed, 3, index, kept_parts=(0, 0, 0, 0, 1))
    assert plan.pieces.shape == plan.starts.shape == plan.gains_db.shape == (8, 1, 5)
    for mixture in plan.pieces[:, 0]:  # every part of every mixture comes from another song
        assert len({song_of(piece) for piece in mixture}) == 5
    songs_of_parts = [{song_of(p) for p in plan.pieces[:, 0, i]} for i in range(5)]
    for i in range(5):
        pieces, counts = np.unique(plan.pieces[:, 0, i], return_counts=True)
        assert len(pieces) == 4  # each piece twice, and of four different songs
        assert set(counts) == {2}
        assert len(songs_of_parts[i]) == 4
        for j in range(i):  # no song serves two parts of a batch
            assert not songs_of_parts[i] & songs_of_parts[j]
        for piece in pieces:
            starts = plan.starts[plan.pieces[:, 0, i] == piece, 0, i]
            assert abs(starts[0] - starts[1]) >= SEGMENTS.length_samples
            for start in starts:
                row = start // SEGMENTS.hop_samples
                assert SEGMENTS.sounding[piece - 100][row, i]
    assert np.abs(plan.gains_db).max() <= 6.0


def test_a_plan_depends_on_seed_epoch_and_index_alone():
    first, again = drawn(1, 2, 3), drawn(1, 2, 3)
    for a, b in zip(vars(first).values(), vars(again).values(), strict=True):
        np.testing.assert_array_equal(a, b)
    for other in (drawn(2, 2, 3), drawn(1, 3, 3), drawn(1, 2, 4)):
        assert not np.array_equal(first.pieces, other.pieces)


def test_parts_are_kept_as_often_as_asked():
    kept = np.concatenate(
        [(drawn(0, 0, i, kept_parts=(1, 0, 0, 0, 1)).pieces >= 0).sum(axis=2) for i in range(100)]
    )
    assert set(np.unique(kept)) == {1, 5}
    assert np.mean(kept == 1) == pytest.approx(0.5, abs=0.08)
    chosen = np.concatenate([drawn(0, 0, i, kept_parts=(1, 0, 0, 0, 0)).pieces for i in range(100)])
    assert np.all(np.abs((chosen >= 0).mean(axis=(0, 1)) - 0.2) < 0.06)  # no part is favoured


def test_too_few_songs_is_one_clear_line():
    with pytest.raises(CorpusError, match="more songs with"):
        drawn(mixtures=64)


@pytest.mark.parametrize("changes", [{"mixtures": 7}, {"mixtures": 0}, {"kept_parts": (1, 1)}])
def test_bad_arguments(changes):
    with pytest.raises(ValueError, match="need an even number"):
        drawn(**changes)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), index=st.integers(0, 10**6))
def test_a_twin_differs_in_one_part_and_is_compared_in_that_part_alone(seed, index):
    plan = drawn(seed, 0, index, twins=3)
    pieces, starts, labels = plan.pieces[:, 0], plan.starts[:, 0], plan.labels[:, 0]
    assert len(pieces) == 11
    np.testing.assert_array_equal(labels[:8], pieces[:8])
    for twin, start, label in zip(pieces[8:], starts[8:], labels[8:], strict=True):
        (part,) = np.flatnonzero(label >= 0)
        rest = np.arange(5) != part
        assert label[part] == twin[part]
        assert (twin[part], start[part]) in set(
            zip(pieces[:8, part], starts[:8, part], strict=True)
        )
        originals = [
            b
            for b in range(8)
            if np.array_equal(pieces[b, rest], twin[rest])
            and np.array_equal(starts[b, rest], start[rest])
            and pieces[b, part] >= 0
        ]
        assert originals  # the same background at the same moment


def test_without_twins_labels_are_the_pieces():
    plan = drawn()
    np.testing.assert_array_equal(plan.labels, plan.pieces)
