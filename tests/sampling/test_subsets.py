import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made_segments import SPARSE, UNEVEN, made
from oracles import segments_read_aloud
from stemwise.errors import CorpusError
from stemwise.sampling import draw_subset, presence_plan, subset_plan

ALL = list(segments_read_aloud(SPARSE))
USEFUL = [number for number, (_, _, sounds) in enumerate(ALL) if any(sounds)]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**40), index=st.integers(0, 10**5), batch=st.integers(1, 40))
def test_a_batch_is_what_it_says(seed, index, batch):
    drawn = subset_plan(SPARSE, seed, index, batch=batch)
    assert drawn.plan.pieces.shape == drawn.plan.starts.shape == (batch, 1, 5)
    assert drawn.plan.gains_db.shape == (batch, 1, 5)
    assert not drawn.plan.gains_db.any()
    assert drawn.plan.length_samples == SPARSE.length_samples
    for row, present, pieces, starts in zip(
        drawn.rows, drawn.present, drawn.plan.pieces[:, 0], drawn.plan.starts[:, 0], strict=True
    ):
        piece, start, sounds = ALL[row]
        assert present.any()
        assert not (present & ~np.array(sounds)).any()
        assert pieces.tolist() == [piece if here else -1 for here in present]
        assert starts.tolist() == [start] * 5


def run(segments, batch, count, seed=4, **settings):
    """Return the first `count` items of a run: rows and present parts."""
    batches = [
        subset_plan(segments, seed, i, batch=batch, **settings) for i in range(-(-count // batch))
    ]
    rows = np.concatenate([b.rows for b in batches])[:count]
    return rows.tolist(), np.concatenate([b.present for b in batches])[:count].tolist()


@pytest.mark.parametrize("batch", [7, 64])
def test_every_segment_comes_exactly_once_in_a_turn_whatever_the_batch(batch):
    count = len(USEFUL)
    assert 0 < count < len(ALL)  # some segments are silent
    rows, present = run(SPARSE, batch, 2 * count)
    assert sorted(rows[:count]) == sorted(rows[count:]) == USEFUL
    assert rows[:count] != rows[count:]
    assert (rows, present) == run(SPARSE, 50, 2 * count)


def test_only_the_first_songs_and_so_many_segments_of_each():
    first = list(dict.fromkeys(UNEVEN.songs.tolist()))[:6]
    assert first != sorted(first)
    song_of = {int(p): int(s) for p, s in zip(UNEVEN.pieces, UNEVEN.songs, strict=True)}
    everything = list(segments_read_aloud(UNEVEN))
    of_song = Counter(song_of[piece] for piece, _, sounds in everything if any(sounds))
    expected = {song: min(40, of_song[song]) for song in first}
    assert 40 in expected.values()
    assert min(expected.values()) < 40
    count = sum(expected.values())
    rows, _ = run(UNEVEN, 16, 2 * count, songs=6, per_song=40)
    assert Counter(song_of[everything[row][0]] for row in rows[:count]) == expected
    assert sorted(rows[:count]) == sorted(rows[count:])  # the choice holds for the whole run
    assert len(set(rows)) == count
    others, _ = run(UNEVEN, 16, count, seed=5, songs=6, per_song=40)
    assert set(others) != set(rows)
    (long,) = [song for song in first if of_song[song] == max(of_song[s] for s in first)]
    pieces = {everything[row][0] for row in rows if song_of[everything[row][0]] == long}
    assert len(pieces) == np.sum(UNEVEN.songs == long) > 1  # of all of its renderings


def test_a_draw_depends_on_seed_and_index_alone():
    def drawn(seed, index):
        fresh = dataclasses.replace(UNEVEN)
        return subset_plan(fresh, seed, index, batch=20)

    first, again = drawn(1, 2), drawn(1, 2)
    np.testing.assert_array_equal(first.rows, again.rows)
    np.testing.assert_array_equal(first.present, again.present)
    for other in (drawn(2, 2), drawn(1, 3)):
        assert not np.array_equal(first.rows, other.rows)
        assert not np.array_equal(first.present, other.present)


def test_all_31_subsets_are_drawn_equally_often():
    full = made(density=1.1)
    _, present = run(full, 64, 62 * 64)
    seen = Counter(map(tuple, present))
    assert len(seen) == 31
    assert all(abs(n - 128) < 5 * 128**0.5 for n in seen.values())


def test_a_segment_gets_another_subset_in_the_next_turn_and_with_another_seed():
    full = made(songs=5, density=1.1)  # 200 segments
    rows, present = run(full, 50, 400)
    first, second = (dict(zip(rows[k:][:200], present[k:][:200], strict=True)) for k in (0, 200))
    assert np.mean([first[row] == second[row] for row in first]) < 0.15  # 1 of 31
    _, others = run(full, 50, 400, seed=5)
    assert np.mean([a == b for a, b in zip(present, others, strict=True)]) < 0.15


def test_a_subset_of_which_nothing_sounds_is_drawn_again():
    rng = np.random.default_rng(0)
    two = np.array([False, True, False, True, False])
    seen = Counter(tuple(draw_subset(two, rng).tolist()) for _ in range(3000))
    assert len(seen) == 3  # 8 of the 24 useful subsets each
    assert all(abs(n - 1000) < 5 * 1000**0.5 for n in seen.values())
    assert not any(any(np.array(present) & ~two) for present in seen)
    with pytest.raises(ValueError, match="no part sounds"):
        draw_subset(np.zeros(5, bool), rng)


@pytest.mark.parametrize("whole", [0.0, 0.5, 1.0])
def test_presence_is_told_of_whole_pieces_and_of_subsets(whole):
    segments = made(songs=30, density=0.6)
    drawn = [presence_plan(segments, 3, i, batch=40, whole=whole) for i in range(20)]
    rows = np.concatenate([one.rows for one in drawn])
    pieces = np.concatenate([one.plan.pieces[:, 0] for one in drawn])
    present = np.concatenate([one.present for one in drawn])
    sounding = np.array([sounds for *_, sounds in segments_read_aloud(segments)])[rows]
    kept = pieces >= 0
    assert (present == kept & sounding).all()
    assert present.any(axis=1).all()
    assert abs(kept.all(axis=1).mean() - max(whole, 1 / 31)) < 0.1
    if whole < 1:  # what counts as silent is there or not, too
        assert 0.3 < kept[~sounding].mean() < 1
        assert (kept & ~sounding).any()
    again = presence_plan(segments, 3, 1, batch=20, whole=whole)  # whatever the batch
    assert again.rows.tolist() == rows[20:40].tolist()
    assert (again.present == present[20:40]).all()
    assert (again.plan.pieces[:, 0] == pieces[20:40]).all()


def test_every_segment_tells_presence_once_in_a_turn():
    rows = np.concatenate([presence_plan(SPARSE, 0, i, batch=10, whole=0.5).rows
                           for i in range(len(USEFUL) // 10 + 1)])  # fmt: skip
    assert sorted(rows[: len(USEFUL)].tolist()) == USEFUL


def test_errors():
    with pytest.raises(CorpusError, match="nothing sounds in any segment of the first 3 songs"):
        subset_plan(made(density=0.0), 0, 0, batch=4, songs=3)
    with pytest.raises(CorpusError, match="nothing sounds in any segment of the first 40 songs"):
        presence_plan(made(density=0.0), 0, 0, batch=4, whole=0.5)
    for settings_ in ({"batch": 0}, {"batch": 1, "songs": 0}, {"batch": 1, "per_song": 0}):
        with pytest.raises(ValueError, match="positive"):
            subset_plan(UNEVEN, 0, 0, **settings_)
