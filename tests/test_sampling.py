import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemwise.errors import CorpusError
from stemwise.parts import PARTS
from stemwise.sampling import Segments, contrastive_plan, cross_plan, normal_plan, tempo_groups


def made(songs=40, renderings=2, length=20, seed=0):
    rng = np.random.default_rng(seed)
    count = songs * renderings
    return Segments(
        pieces=100 + np.arange(count),
        songs=np.repeat(np.arange(songs), renderings),
        tempos_bpm=np.repeat(rng.uniform(60, 180, songs), renderings),
        sounding=[rng.random((length, 5)) < 0.8 for _ in range(count)],
        hop_samples=10,
        length_samples=20,
    )


SEGMENTS = made()
SETTINGS = {"mixtures": 8, "kept_parts": (1, 1, 1, 1, 2), "gain_deviation_db": 3.0}


def drawn(seed=0, epoch=0, index=0, **changes):
    return contrastive_plan(SEGMENTS, seed, epoch, index, **(SETTINGS | changes))


def song_of(piece):
    return int(SEGMENTS.songs[piece - 100])


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


def test_tempo_groups_hold_neighbours_and_each_song_once():
    groups = tempo_groups(SEGMENTS, 15, seed=0)
    assert [len(g) for g in groups] == [15, 15]
    songs = [set(SEGMENTS.songs[g].tolist()) for g in groups]
    assert all(len(s) == 15 for s in songs)
    assert not songs[0] & songs[1]
    tempos = [SEGMENTS.tempos_bpm[g] for g in groups]
    assert tempos[0].max() <= tempos[1].min()


def test_cross_plan_reads_as_its_definition():
    part, group = 2, tempo_groups(SEGMENTS, 15, seed=0)[0]
    pseudo = cross_plan(SEGMENTS, part, group, targets=10)
    expected = []
    for target in group[:10]:
        for background in group[10:]:
            for s in range(20):
                if SEGMENTS.sounding[target][s, part]:
                    row = [100 + background] * 5
                    row[part] = 100 + target
                    expected.append((row, s * 10, song_of(100 + target), song_of(100 + background)))
    assert pseudo.plan.pieces[:, 0].tolist() == [e[0] for e in expected]
    assert pseudo.plan.starts[:, 0].tolist() == [[e[1]] * 5 for e in expected]
    assert pseudo.targets.tolist() == [e[2] for e in expected]
    assert pseudo.backgrounds.tolist() == [e[3] for e in expected]
    assert not pseudo.plan.gains_db.any()


def test_normal_plan_holds_every_segment_once():
    plan = normal_plan(SEGMENTS)
    assert plan.pieces.shape == (80 * 20, 1, len(PARTS))
    places = {
        (int(p[0]), int(s[0])) for p, s in zip(plan.pieces[:, 0], plan.starts[:, 0], strict=True)
    }
    assert places == {(100 + p, s * 10) for p in range(80) for s in range(20)}
