import dataclasses
from collections import Counter
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made_segments import SEGMENTS, SPARSE, UNEVEN, made
from oracles import check_normal_triplet, check_pseudo_triplet
from stemwise.errors import CorpusError
from stemwise.sampling import (
    Stream,
    listed_triplets,
    normal_triplets,
    pseudo_triplets,
    shuffled,
)

CORPORA = {"even": SEGMENTS, "uneven": UNEVEN, "sparse": SPARSE}
NAMES = st.sampled_from(sorted(CORPORA))
SEEDS = st.integers(0, 2**40)
NUMBERS = st.integers(0, 10**6)
KINDS = [
    pseudo_triplets,
    normal_triplets,
    partial(pseudo_triplets, part=2),
    partial(normal_triplets, part=2, alone=True),
    partial(listed_triplets, size=4000),
]


def items(triplets):
    return zip(triplets.plan.pieces, triplets.plan.starts, triplets.targets, strict=True)


@settings(max_examples=40, deadline=None)
@given(corpus=NAMES, seed=SEEDS, epoch=NUMBERS, index=NUMBERS)
def test_direct_draws_pseudo_pieces_as_defined(corpus, seed, epoch, index):
    segments = CORPORA[corpus]
    drawn = pseudo_triplets(segments, seed, epoch, index, batch=8)
    assert drawn.targets.shape == (8, 2)
    for pieces, starts, targets in items(drawn):
        assert targets[0] != targets[1]
        assert check_pseudo_triplet(segments, pieces, starts, targets)  # a sounds: all is known


@settings(max_examples=40, deadline=None)
@given(corpus=NAMES, seed=SEEDS, epoch=NUMBERS, index=NUMBERS, part=st.integers(0, 4))
def test_cascade_draws_pseudo_pieces_of_its_part(corpus, seed, epoch, index, part):
    segments = CORPORA[corpus]
    drawn = pseudo_triplets(segments, seed, epoch, index, batch=8, part=part)
    assert drawn.targets.tolist() == [[part]] * 8
    for pieces, starts, targets in items(drawn):
        check_pseudo_triplet(segments, pieces, starts, targets)


def test_cascade_asks_of_no_other_part_that_it_sounds():
    seen = [
        pseudo_triplets(UNEVEN, 0, 0, index, batch=64, part=1).plan.pieces >= 0
        for index in range(20)
    ]
    shares = np.concatenate(seen).mean(axis=(0, 1))
    assert shares[1] == 1
    assert shares[[0, 2, 3, 4]] == pytest.approx(0.8, abs=0.03)


@settings(max_examples=40, deadline=None)
@given(corpus=NAMES, seed=SEEDS, epoch=NUMBERS, index=NUMBERS)
def test_normal_triplets_as_defined(corpus, seed, epoch, index):
    segments = CORPORA[corpus]
    drawn = normal_triplets(segments, seed, epoch, index, batch=8)
    assert drawn.targets.shape == (8, 1)
    for pieces, starts, (b,) in items(drawn):
        check_normal_triplet(segments, pieces, starts, b)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, index=NUMBERS, part=st.integers(0, 4))
def test_clean_hears_the_target_alone(seed, index, part):
    whole = normal_triplets(UNEVEN, seed, 0, index, batch=8, part=part)
    alone = normal_triplets(UNEVEN, seed, 0, index, batch=8, part=part, alone=True)
    assert whole.targets.tolist() == alone.targets.tolist() == [[part]] * 8
    np.testing.assert_array_equal(alone.plan.starts, whole.plan.starts)
    expected = np.full_like(whole.plan.pieces, -1)
    expected[..., part] = whole.plan.pieces[..., part]
    np.testing.assert_array_equal(alone.plan.pieces, expected)
    assert (expected[..., part] >= 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_and_what_a_plan_of_triplets_leaves_out(kind):
    drawn = kind(SEGMENTS, 0, 0, 0, batch=6)
    plan = drawn.plan
    assert plan.pieces.shape == plan.starts.shape == plan.gains_db.shape == (6, 3, 5)
    assert plan.length_samples == SEGMENTS.length_samples
    assert not plan.gains_db.any()
    assert plan.labels is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_draw_depends_on_seed_epoch_and_index_alone(kind):
    def drawn(*key):
        # another object of the same content: nothing is kept from the other draws
        fresh = dataclasses.replace(SEGMENTS)
        return kind(fresh, *key, batch=6)

    first, again = drawn(1, 2, 3), drawn(1, 2, 3)
    np.testing.assert_array_equal(first.targets, again.targets)
    np.testing.assert_array_equal(first.plan.pieces, again.plan.pieces)
    np.testing.assert_array_equal(first.plan.starts, again.plan.starts)
    for other in (drawn(2, 2, 3), drawn(1, 3, 3), drawn(1, 2, 4)):
        assert not np.array_equal(first.plan.pieces, other.plan.pieces)


def test_targets_and_songs_are_drawn_evenly():
    pairs, anchors = Counter(), Counter()
    for index in range(60):
        drawn = pseudo_triplets(UNEVEN, 3, 0, index, batch=64)
        for pieces, starts, targets in items(drawn):
            pairs[tuple(targets.tolist())] += 1
            a, *_ = check_pseudo_triplet(UNEVEN, pieces, starts, targets)
            anchors[int(UNEVEN.songs[a.row])] += 1
    assert len(pairs) == 20  # every b with every other a
    assert all(abs(n - 192) < 5 * 192**0.5 for n in pairs.values())
    assert set(anchors) == set(range(40)) - {5}  # whatever the number of their renderings
    assert all(abs(n - 3840 / 39) < 5 * (3840 / 39) ** 0.5 for n in anchors.values())


def test_every_role_reaches_every_segment_that_it_may():
    four = dataclasses.replace(made(4, 2, 6), clusters=np.zeros(8, int))
    part = 3
    allowed = {
        (row, s) for row in range(8) for s in np.flatnonzero(four.sounding[row][:, part]).tolist()
    }
    seen = [set(), set(), set(), set()]
    for index in range(30):
        drawn = pseudo_triplets(four, 0, 0, index, batch=64, part=part)
        for pieces, starts, targets in items(drawn):
            roles = check_pseudo_triplet(four, pieces, starts, targets)
            for role, source in zip(seen, roles or (), strict=False):
                role.add((source.row, source.place))
    lone = {  # no row two before or after: 1 of 3
        (row, s)
        for row, s in allowed
        if (rows := sorted(t for r, t in allowed if r == row))
        and rows.index(s) + 2 >= len(rows)
        and rows.index(s) < 2
    }
    a, n, a2, n2 = seen
    assert a2 == allowed - lone
    assert n2 == allowed
    hidden = {(row, s) for row, s in allowed if not np.delete(four.sounding[row][s], part).any()}
    assert a == allowed - lone - hidden  # of silent others the source cannot be seen
    assert n == allowed - hidden


def the_list(seed, size=40, epoch=0):
    """Read the list in its own order: triplet t as (pieces, starts, target)."""
    drawn = listed_triplets(UNEVEN, seed, epoch, 0, batch=size, size=size)
    order = shuffled(Stream.LIST_ORDER, seed, epoch, size)
    return dict(sorted(zip(order.tolist(), items(drawn), strict=True)))


def test_the_list_is_half_basic_and_half_additional():
    listed = the_list(seed=7)
    assert list(listed) == list(range(40))
    steps = set()
    for j in range(20):
        pieces, starts, (b,) = listed[2 * j]
        swapped, swapped_starts, (a,) = listed[2 * j + 1]
        np.testing.assert_array_equal(swapped, pieces[[0, 2, 1]])
        np.testing.assert_array_equal(swapped_starts, starts[[0, 2, 1]])
        assert a != b
        assert check_pseudo_triplet(UNEVEN, pieces, starts, [b, a], near=False)
        try:
            check_pseudo_triplet(UNEVEN, pieces, starts, [b, a], near=True)
            steps.add("near")
        except AssertionError:
            steps.add("any")
    assert "any" in steps  # the positive is any other segment, not the next but one


def test_the_list_depends_on_the_seed_alone():
    def contents(listed):
        return [
            (pieces.tolist(), starts.tolist(), target.tolist())
            for pieces, starts, target in listed.values()
        ]

    once = contents(the_list(7))
    assert contents(the_list(7, epoch=5)) == once
    assert contents(the_list(7, size=60))[:40] == once
    assert contents(the_list(8)) != once


def test_each_epoch_visits_each_triplet_once_in_another_order():
    def visited(epoch, batch, batches):
        found = []
        for index in range(batches):
            drawn = listed_triplets(UNEVEN, 7, epoch, index, batch=batch, size=40)
            assert drawn.targets.shape == (batch, 1)
            found += [repr((p.tolist(), s.tolist(), t.tolist())) for p, s, t in items(drawn)]
        return found

    first, second = visited(0, 8, 5), visited(1, 8, 5)
    assert len(set(first)) == 40
    assert sorted(first) == sorted(second)
    assert first != second
    assert visited(0, 16, 3) == first + first[:8]  # beyond the end, the same order again


@pytest.mark.parametrize(
    "kind", [partial(pseudo_triplets, part=1), partial(listed_triplets, size=10)]
)
def test_four_songs_of_a_cluster_are_enough_and_three_are_not(kind):
    four, three = (dataclasses.replace(made(n, 1), clusters=np.zeros(n, int)) for n in (4, 3))
    assert len(kind(four, 0, 0, 0, batch=4).targets) == 4
    with pytest.raises(CorpusError, match="it takes 4 songs of one tempo cluster"):
        kind(three, 0, 0, 0, batch=4)


def test_two_songs_of_a_cluster_are_enough_for_real_pieces_and_one_is_not():
    two, one = (dataclasses.replace(made(n, 1), clusters=np.zeros(n, int)) for n in (2, 1))
    assert len(normal_triplets(two, 0, 0, 0, batch=4).targets) == 4
    with pytest.raises(CorpusError, match="2 songs of one tempo cluster"):
        normal_triplets(one, 0, 0, 0, batch=4)


@pytest.mark.parametrize("kind", KINDS)
def test_without_clusters_there_is_no_triplet(kind):
    none = dataclasses.replace(SEGMENTS, clusters=np.full(80, -1))
    with pytest.raises(CorpusError, match="found no triplet"):
        kind(none, 0, 0, 0, batch=1)


@pytest.mark.parametrize("kind", [pseudo_triplets, normal_triplets])
def test_the_error_names_the_part_that_never_sounds(kind):
    tables = [table & (np.arange(5) != 2) for table in SEGMENTS.sounding]
    mute = dataclasses.replace(SEGMENTS, sounding=tables)
    with pytest.raises(CorpusError, match="piano"):
        kind(mute, 0, 0, 0, batch=1, part=2)
    short = dataclasses.replace(SEGMENTS, sounding=[table[:2] for table in SEGMENTS.sounding])
    with pytest.raises(CorpusError, match="bass"):  # two segments have none two apart
        kind(short, 0, 0, 0, batch=1, part=1)


def test_bad_arguments():
    for kind in (pseudo_triplets, normal_triplets):
        for part in (-1, 5):
            with pytest.raises(ValueError, match=r"0\.\.4"):
                kind(SEGMENTS, 0, 0, 0, batch=4, part=part)
        with pytest.raises(ValueError, match="at least 1"):
            kind(SEGMENTS, 0, 0, 0, batch=0)
    for size in (0, 7):
        with pytest.raises(ValueError, match="even"):
            listed_triplets(SEGMENTS, 0, 0, 0, batch=4, size=size)
