import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from oracles import mes_of_part
from stemwise.scores.mes import mes, nearest, votes


def made(seed, count=60, tied=False):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 6, count)
    block = rng.standard_normal((6, 4))[labels] + rng.standard_normal((count, 4))
    block = np.rint(block) if tied else block  # whole numbers make many equal distances
    return block, labels, rng.integers(0, 3, count)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_equals_the_slow_loop(seed, tied):
    block, labels, backgrounds = made(seed, tied=tied)
    pieces = labels * 3 + backgrounds
    score = mes(
        torch.from_numpy(block), torch.from_numpy(labels),
        barred=torch.from_numpy(pieces), backgrounds=torch.from_numpy(backgrounds),
    )  # fmt: skip
    accuracy, leakage = mes_of_part(
        block.tolist(), labels.tolist(), pieces.tolist(), backgrounds.tolist()
    )
    assert (score.accuracy, score.leakage) == pytest.approx((accuracy, leakage))


@pytest.mark.parametrize("seed", range(3))
def test_mes_normal_equals_scikit_learn_leaving_one_out(seed):
    block, labels, _ = made(seed)
    right = 0
    for q in range(len(block)):
        rest = np.arange(len(block)) != q
        judge = KNeighborsClassifier(5, algorithm="brute").fit(block[rest], labels[rest])
        right += judge.predict(block[[q]])[0] == labels[q]
    score = mes(torch.from_numpy(block), torch.from_numpy(labels))
    assert score.accuracy == pytest.approx(right / len(block))
    assert score.leakage is None
    assert score.chance == pytest.approx(1 / 6)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_neighbours_are_scikit_learns_to_the_last(seed, tied):
    """Of equal distances at the list's end scikit-learn takes any; all nearer ones must agree."""
    block, labels, backgrounds = made(seed, tied=tied)
    pieces = labels * 3 + backgrounds
    near = nearest(torch.from_numpy(block), torch.from_numpy(pieces)).numpy()
    straddled = 0
    for q in range(len(block)):
        rest = np.flatnonzero(pieces != pieces[q])
        judge = NearestNeighbors(n_neighbors=len(rest), algorithm="brute").fit(block[rest])
        far, order = (x[0] for x in judge.kneighbors(block[[q]]))
        distance = np.linalg.norm(block[near[q]] - block[q], axis=1)
        np.testing.assert_allclose(distance, far[:5], atol=1e-12)
        if tied and far[4] == far[5]:
            straddled += 1
            surely = set(rest[order[far < far[4]]])
            assert surely <= set(near[q]) <= set(rest[order[far <= far[4]]])
        else:
            assert set(near[q]) == set(rest[order[:5]])
    assert (straddled > 0) == tied


@pytest.mark.parametrize("seed", range(3))
def test_equal_votes_go_where_scikit_learns_go(seed):
    block, labels, backgrounds = made(seed)
    pieces = labels * 3 + backgrounds
    cast = votes(*map(torch.from_numpy, (block, labels)), barred=torch.from_numpy(pieces))
    split = 0
    for q in range(len(block)):
        rest = pieces != pieces[q]
        judge = KNeighborsClassifier(5, algorithm="brute").fit(block[rest], labels[rest])
        assert judge.predict(block[[q]])[0] == cast.voted[q]
        counts = np.bincount(labels[cast.near[q]])
        split += (counts == counts.max()).sum() > 1
    assert split > 0  # otherwise this shows nothing


def test_two_equal_vectors_far_from_the_origin_are_nearest():
    block = torch.tensor([[1e4, 1.0], [1e4 + 1e-3, 1.0], [1e4, 1.0], [0.0, 0.0]])
    assert nearest(block, torch.arange(4), 1)[:, 0].tolist() == [2, 0, 0, 0]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_gpu_finds_the_same_neighbours():
    block = torch.from_numpy(made(5, tied=True)[0]).float()
    barred = torch.arange(60) % 7
    assert torch.equal(nearest(block.cuda(), barred.cuda()).cpu(), nearest(block, barred))


def test_a_model_that_hears_only_the_background_leaks_and_scores_nothing():
    targets = torch.arange(10).repeat_interleave(5 * 4)
    backgrounds = torch.arange(5).repeat_interleave(4).repeat(10)
    block = torch.nn.functional.one_hot(backgrounds, 5).double()
    score = mes(block, targets, barred=targets * 5 + backgrounds, backgrounds=backgrounds)
    assert score.leakage == 1
    assert score.accuracy <= 0.1


def test_a_model_that_hears_the_target_scores_all():
    targets = torch.arange(10).repeat_interleave(5 * 4)
    backgrounds = torch.arange(5).repeat_interleave(4).repeat(10)
    block = torch.nn.functional.one_hot(targets, 10).double()
    score = mes(block, targets, barred=targets * 5 + backgrounds, backgrounds=backgrounds)
    assert (score.accuracy, score.leakage) == (1, 0)


def test_fewer_than_five_left_are_all_that_vote():
    block = torch.tensor([[0.0], [0.1], [5.0]])
    assert nearest(block, torch.arange(3)).tolist() == [[1, 2, -1], [0, 2, -1], [1, 0, -1]]
    alone = mes(block[:1], torch.tensor([7]))
    assert (alone.accuracy, alone.queries) == (0, 1)


def test_chunks_change_nothing():
    block = torch.from_numpy(made(9)[0])
    barred = torch.arange(60) % 7
    assert torch.equal(nearest(block, barred, chunk=7), nearest(block, barred))


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="need"):
        mes(torch.zeros(0, 4), torch.zeros(0))
