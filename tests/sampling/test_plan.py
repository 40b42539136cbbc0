import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stemwise.sampling import tempo_clusters


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
