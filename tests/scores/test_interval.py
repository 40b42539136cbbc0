import numpy as np
import pytest

from stemwise.scores.interval import interval


def made(seed, songs=40, spread=1.0):
    """Values (S,) with a level for each song, and their songs (S,); songs differ in length."""
    rng = np.random.default_rng(seed)
    clusters = np.repeat(np.arange(songs), rng.integers(3, 12, songs))
    values = spread * rng.standard_normal(songs)[clusters] + rng.standard_normal(len(clusters))
    return values, clusters


def read_aloud(values, clusters, resamples, seed):
    """Means of the values of songs that are drawn one by one."""
    rng = np.random.default_rng(seed)
    songs = np.unique(clusters)
    means = []
    for _ in range(resamples):
        drawn = []
        for _ in songs:
            drawn.extend(values[clusters == rng.choice(songs)])
        means.append(np.mean(drawn))
    return np.array(means)


@pytest.mark.parametrize("shares", [False, True])
def test_equals_the_slow_loop(shares):
    values, clusters = made(1)
    values = values > 0.5 if shares else values
    means = read_aloud(values, clusters, resamples=2000, seed=3)
    wanted = np.quantile(means, [0.025, 0.975])
    # A quantile of 2000 normal means has a deviation of sqrt(0.025 * 0.975 / 2000) / 0.058 = 0.06
    # of theirs, the difference of two 0.085: three and a half times that.
    assert interval(values, clusters) == pytest.approx(wanted, abs=0.3 * means.std())


def test_a_ratio_of_sums_lets_long_songs_count_for_more():
    values = np.array([1.0] * 9 + [0.0])
    low, high = interval(values, np.array([0] * 9 + [1]), resamples=200)
    assert (low, high) == (0, 1)
    quarter = interval(values, np.array([0] * 9 + [1]), confidence=0.2, resamples=4000)
    assert quarter == pytest.approx((0.9, 0.9))  # of four pairs, two are mixed: 0, 0.9, 0.9, 1


def test_depends_on_the_seed_only():
    values, clusters = made(2)
    assert interval(values, clusters) == interval(values, clusters)
    assert interval(values, clusters) != interval(values, clusters, seed=1)
    order = np.random.default_rng(5).permutation(len(values))
    shuffled = interval(values[order], clusters[order])
    assert shuffled == pytest.approx(interval(values, clusters), abs=1e-12)


def test_songs_widen_it():
    values, clusters = made(4, spread=2.0)
    low, high = interval(values, clusters)
    low_alone, high_alone = interval(values, np.arange(len(values)))
    assert high - low > 1.5 * (high_alone - low_alone)


def test_confidence_widens_it():
    values, clusters = made(5)
    ends = [interval(values, clusters, confidence=c) for c in (0.5, 0.9, 0.99)]
    assert ends[0][0] > ends[1][0] > ends[2][0]
    assert ends[0][1] < ends[1][1] < ends[2][1]


def test_covers_the_truth_about_as_often_as_it_says():
    held = 0
    for seed in range(200):
        values, clusters = made(seed + 1000, songs=30)
        low, high = interval(values, clusters, resamples=400)
        held += low <= 0 <= high
    # 0.95 less some two hundredths for 30 songs; 200 tries have a deviation of 0.02
    assert 0.87 <= held / 200 <= 0.99


def test_nan_is_left_out():
    values, clusters = made(6)
    holes = np.arange(len(values)) % 3 == 0
    holes |= clusters == 7  # a song without values
    pierced = np.where(holes, np.nan, values)
    assert interval(pierced, clusters) == interval(values[~holes], clusters[~holes])


@pytest.mark.parametrize("right", [True, False])
def test_all_alike(right):
    ends = interval(np.full(20, right), np.arange(20) // 4)
    assert ends == (float(right), float(right))
    assert all(type(end) is float for end in ends)


def test_needs_two_songs_with_values():
    values = np.array([1.0, 0.0, np.nan])
    assert interval(values, np.array([3, 3, 4])) is None
    assert interval(values, np.array([3, 4, 4])) is not None
    assert interval(np.zeros(0), np.zeros(0, dtype=int)) is None
    assert interval(np.full(3, np.nan), np.arange(3)) is None


def test_a_perfect_sdr_has_no_interval():
    assert interval(np.array([1.0, np.inf, 2.0]), np.arange(3)) is None


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match=r"got \(3,\) and \(2,\)"):
        interval(np.zeros(3), np.zeros(2, dtype=int))
    with pytest.raises(ValueError, match="need"):
        interval(np.zeros((3, 1)), np.zeros((3, 1), dtype=int))
    with pytest.raises(ValueError, match="confidence=95"):
        interval(np.zeros(3), np.arange(3), confidence=95)
    with pytest.raises(ValueError, match="resamples=1"):
        interval(np.zeros(3), np.arange(3), resamples=1)
