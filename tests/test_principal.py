import numpy as np
from sklearn.decomposition import PCA

from stemwise.principal import principal


def test_principal_components_are_those_of_scikit_learn():
    points = np.random.default_rng(0).standard_normal((50, 8)) * np.arange(1, 9)
    expected = PCA(2).fit_transform(points)
    found = principal(points)
    signs = np.sign((found * expected).sum(axis=0))
    assert np.allclose(found, expected * signs)
    assert (found.max(axis=0) >= -found.min(axis=0)).all()
    assert principal(points[:1]).tolist() == [[0, 0]]
