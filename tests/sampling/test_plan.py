import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_segments import UNEVEN
from oracles import segments_read_aloud
from stemwise.sampling import Stream, generator, shuffled, tempo_clusters


@given(st.lists(st.floats(40, 220), min_size=1, max_size=80))
def test_clusters_are_neighbours_in_tempo_and_hold_at_least_four_songs(tempos):
    tempos_bpm = np.array(tempos)
    clusters = tempo_clusters(tempos_bpm, np.arange(len(tempos)))
    order = np.argsort(tempos_bpm // 5, kind="stable")
    assert np.all(np.diff(clusters[order]) >= 0)  # clusters do not interleave
    assert set(clusters) == set(range(clusters.max() + 1))
    if len(tempos) >= 4:
        assert np.bincount(clusters).min() >= 4
    for bin_of in np.unique(tempos_bpm // 5):  # songs of one bin stay together
        assert len(set(clusters[tempos_bpm // 5 == bin_of])) == 1


def test_pieces_of_one_song_share_a_cluster_and_unknown_tempos_make_one():
    songs = np.array([0, 0, 1, 1, 2, 3, 4, 5, 6])
    tempos = np.array([80.0, 91, 100, 101, 83, 84, np.nan, np.nan, 170])
    clusters = tempo_clusters(tempos, songs)
    assert clusters[0] == clusters[1]
    assert clusters[2] == clusters[3]
    assert clusters[6] == clusters[7] == clusters.max()
    assert set(clusters[[0, 2, 4, 5, 8]]).isdisjoint({clusters[6]})


def test_segments_are_numbered_over_all_pieces():
    expected = list(segments_read_aloud(UNEVEN))
    pieces = UNEVEN.pieces[UNEVEN.rows]
    found = zip(pieces, UNEVEN.starts, map(tuple, UNEVEN.table.tolist()), strict=True)
    assert list(found) == expected
    for row, first in enumerate(UNEVEN.firsts):
        assert (pieces[first], UNEVEN.starts[first]) == (UNEVEN.pieces[row], 0)


def test_songs_know_their_pieces_and_fellows():
    assert list(UNEVEN.rows_of_song) == list(dict.fromkeys(UNEVEN.songs.tolist()))
    for song, rows in UNEVEN.rows_of_song.items():
        assert rows.tolist() == [r for r in range(len(UNEVEN.songs)) if UNEVEN.songs[r] == song]
    assert set(UNEVEN.lenders.tolist()) == set(UNEVEN.fellows) == set(range(40)) - {5}
    cluster_of = dict(zip(UNEVEN.songs.tolist(), UNEVEN.clusters.tolist(), strict=True))
    for song, fellows in UNEVEN.fellows.items():
        same = {other for other in cluster_of if cluster_of[other] == cluster_of[song]}
        assert sorted(fellows.tolist()) == sorted(same)


@pytest.mark.parametrize("key", [(0, 0, 0), (1, 2, 3), (2**40, 0, 5)])
def test_streams_share_no_random_numbers(key):
    firsts = [generator(stream, *key).integers(2**62) for stream in Stream]
    seed, first, second = key
    for epoch, index in {(e, i) for e in (first, *Stream) for i in (first, second)}:  # of contrast
        firsts.append(np.random.default_rng([seed, epoch, index]).integers(2**62))
    assert len(set(firsts)) == len(firsts)


def test_a_permutation_is_kept_and_cannot_be_spoilt():
    order = shuffled(Stream.LIST_ORDER, 1, 2, 50)
    assert sorted(order.tolist()) == list(range(50))
    assert order.tolist() != shuffled(Stream.LIST_ORDER, 1, 3, 50).tolist()
    with pytest.raises(ValueError, match="read-only"):
        order[0] = 1
