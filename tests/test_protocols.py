import dataclasses
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from made_segments import SEGMENTS, UNEVEN, made, song_of
from oracles import segments_read_aloud
from stemwise.errors import CorpusError
from stemwise.parts import PARTS
from stemwise.protocols import (
    Pseudo10x5,
    PseudoListed,
    cross_plan,
    listed_plan,
    normal_plan,
    sdr_plan,
    tempo_groups,
)


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


def test_normal_plan_goes_through_pieces_of_any_length_in_order():
    plan = normal_plan(UNEVEN)
    expected = [(piece, start) for piece, start, _ in segments_read_aloud(UNEVEN)]
    for i in range(5):
        found = zip(plan.pieces[:, 0, i], plan.starts[:, 0, i], strict=True)
        assert list(found) == expected
    assert plan.length_samples == UNEVEN.length_samples


def test_unknown_tempos_come_last():
    tempos = np.where(SEGMENTS.songs % 4 == 1, np.nan, SEGMENTS.tempos_bpm)
    groups = tempo_groups(dataclasses.replace(SEGMENTS, tempos_bpm=tempos), 10, seed=0)
    assert len(groups) == 4
    known = [tempos[g] for g in groups[:3]]
    assert all(a.max() <= b.min() for a, b in pairwise(known))
    assert np.isnan(tempos[groups[3]]).all()


def read_list(segments, part, pairs):
    """The definition of pseudo-pieces by a list, read aloud."""
    for target, background in pairs:
        for s, sounds in enumerate(segments.sounding[target]):
            if sounds[part] and s < len(segments.sounding[background]):
                row = [int(segments.pieces[background])] * 5
                row[part] = int(segments.pieces[target])
                start = [s * segments.hop_samples] * 5
                songs = int(segments.songs[target]), int(segments.songs[background])
                yield row, start, *songs


def as_read(pseudo):
    return list(
        zip(
            pseudo.plan.pieces[:, 0].tolist(), pseudo.plan.starts[:, 0].tolist(),
            pseudo.targets.tolist(), pseudo.backgrounds.tolist(), strict=True,
        )
    )  # fmt: skip


@pytest.mark.parametrize("part", range(5))
def test_listed_plan_reads_as_its_definition(part):
    lengths = [len(table) for table in UNEVEN.sounding]
    longest, shortest = int(np.argmax(lengths)), int(np.argmin(lengths))
    backgrounds = {longest: [longest, shortest, 3], shortest: [4, longest, shortest]}
    pairs = [(target, b) for target, others in backgrounds.items() for b in others]
    pseudo = listed_plan(UNEVEN, part, backgrounds)
    assert as_read(pseudo) == list(read_list(UNEVEN, part, pairs))
    assert not pseudo.plan.gains_db.any()
    assert pseudo.plan.length_samples == UNEVEN.length_samples
    real = [row for row, _, t, b in as_read(pseudo) if t == b]
    assert real
    assert all(len(set(row)) == 1 for row in real)  # the song itself, wholly


def test_an_empty_list_is_an_empty_plan():
    pseudo = listed_plan(UNEVEN, 0, {})
    assert pseudo.plan.pieces.shape == pseudo.plan.starts.shape == (0, 1, 5)
    assert len(pseudo.targets) == len(pseudo.backgrounds) == 0


def test_pseudo_listed_is_one_gallery_by_positions_in_the_bank():
    at = [int(piece) for piece in UNEVEN.pieces]
    listed = PseudoListed("made", {at[7]: [at[7], at[2]], at[4]: [at[4], at[9]]})
    (gallery,) = listed.galleries(UNEVEN, 1)
    pairs = [(7, 7), (7, 2), (4, 4), (4, 9)]
    assert as_read(gallery) == list(read_list(UNEVEN, 1, pairs))
    assert listed.rule == "power"


def test_pseudo_10x5_is_a_gallery_for_each_group_of_songs():
    whole = list(Pseudo10x5().galleries(UNEVEN, 3))
    groups = tempo_groups(UNEVEN, 15, seed=0)
    assert len(whole) == len(groups) == 2
    for gallery, group in zip(whole, groups, strict=True):
        assert as_read(gallery) == as_read(cross_plan(UNEVEN, 3, group, 10))
    (one,) = Pseudo10x5(groups=1, segments_per_piece=2).galleries(UNEVEN, 3)
    assert set(Counter(one.pieces.tolist()).values()) <= {1, 2}
    assert Pseudo10x5().rule == "range"


def test_pseudo_10x5_needs_15_songs():
    few = made(songs=14)
    with pytest.raises(CorpusError, match="at least 15 songs in the split, but it holds 14"):
        list(Pseudo10x5().galleries(few, 0))


def full_cross(segments, part, group):
    return listed_plan(segments, part, {int(target): group.tolist() for target in group})


def test_a_full_cross_meets_every_song_with_every_song():
    group = tempo_groups(UNEVEN, 10, seed=0)[1]
    pseudo = full_cross(UNEVEN, 2, group)
    pairs = [(target, background) for target in group for background in group]
    assert as_read(pseudo) == list(read_list(UNEVEN, 2, pairs))
    assert len(set(zip(pseudo.targets, pseudo.backgrounds, strict=True))) == 100
    assert len(set(pseudo.pieces.tolist())) == 100
    assert pseudo.shares_backgrounds


def test_backgrounds_that_no_two_targets_meet_are_not_shared():
    rows = [int(rows[0]) for rows in UNEVEN.rows_of_song.values()]
    apart = listed_plan(UNEVEN, 2, {rows[0]: rows[:3], rows[3]: rows[3:6]})
    assert len(set(apart.pieces.tolist())) == 6
    assert not apart.shares_backgrounds
    assert listed_plan(UNEVEN, 2, {rows[0]: rows[:3], rows[3]: rows[2:6]}).shares_backgrounds


@pytest.mark.parametrize("count", [1, 4, 1000, None])
def test_the_first_segments_of_each_pseudo_piece(count):
    whole = full_cross(UNEVEN, 2, tempo_groups(UNEVEN, 10, seed=0)[0])
    shuffled = dataclasses.replace(
        whole, targets=np.random.default_rng(0).permutation(whole.targets)
    )
    for pseudo in (whole, shuffled):  # in whatever order the pieces come
        seen, expected = Counter(), []
        for line in as_read(pseudo):
            seen[line[2:]] += 1
            if count is None or seen[line[2:]] <= count:
                expected.append(line)
        assert as_read(pseudo.first(count)) == expected
        assert pseudo.first(count).plan.length_samples == UNEVEN.length_samples


def test_sdr_plan_takes_the_first_segments_in_which_all_sounds():
    whole = [(p, s) for p, s, sounds in segments_read_aloud(UNEVEN) if all(sounds)]
    plan, present = sdr_plan(UNEVEN, seed=1, count=200)
    assert len(whole) > 200
    assert plan.pieces.shape == plan.starts.shape == plan.gains_db.shape == (200, 1, 5)
    assert present.any(axis=1).all()
    for (piece, start), pieces, starts, here in zip(
        whole[:200], plan.pieces[:, 0], plan.starts[:, 0], present, strict=True
    ):
        assert pieces.tolist() == [piece if heard else -1 for heard in here]
        assert starts.tolist() == [start] * 5
    assert not plan.gains_db.any()
    assert plan.length_samples == UNEVEN.length_samples
    fewer, _ = sdr_plan(UNEVEN, seed=1, count=50)
    np.testing.assert_array_equal(fewer.pieces, plan.pieces[:50])
    assert not np.array_equal(sdr_plan(UNEVEN, seed=2, count=200)[1], present)
    assert len(sdr_plan(UNEVEN, seed=1, count=10**6)[1]) == len(whole)


def test_sdr_plan_draws_all_31_subsets_equally_often():
    _, present = sdr_plan(made(80, 2, density=1.1), seed=0, count=3100)
    seen = Counter(map(tuple, present.tolist()))
    assert len(seen) == 31
    assert all(abs(n - 100) < 50 for n in seen.values())
