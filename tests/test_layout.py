import numpy as np
import pytest
from sklearn.decomposition import PCA

from stemwise.layout import place


def points(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 128))


@pytest.mark.parametrize("count", [3, 9])
def test_few_points_lie_at_their_two_principal_components(count):
    given = points(count)
    expected = PCA(2, svd_solver="full").fit_transform(given)
    found = place(given)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-9)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-9)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_hardly_any_points(count):
    found = place(points(count))
    assert found.shape == (count, 2)
    assert np.isfinite(found).all()
    if count == 2:
        assert np.linalg.norm(found[0] - found[1]) == pytest.approx(
            np.linalg.norm(np.diff(points(2), axis=0))
        )


@pytest.mark.parametrize("count", [9, 10, 36])
def test_the_same_points_get_the_same_centred_places(count):
    found = place(points(count))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_array_equal(place(points(count)), found)


def test_what_is_alike_lies_together():
    label = np.arange(45) % 3
    given = 20 * points(3, 1)[label] + points(45, 2)
    found = place(given)
    apart = np.linalg.norm(found[:, None] - found[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    np.testing.assert_array_equal(label[apart.argmin(axis=1)], label)


@pytest.mark.parametrize("count", [5, 20])
def test_points_that_are_all_equal_lie_at_the_origin(count):
    np.testing.assert_array_equal(place(np.ones((count, 128))), np.zeros((count, 2)))
