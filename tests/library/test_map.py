import numpy as np
import pytest

from made_music import tone, write_sndfile
from stemwise.errors import UsageError
from stemwise.library.catalogue import Catalogue
from stemwise.library.map import map_coordinates, mean_vectors
from stemwise.library.picture import draw_map


@pytest.fixture(scope="module", params=[3, 12])
def catalogue(request, tmp_path_factory, tiny_model):
    folder = tmp_path_factory.mktemp("music")
    for seed in range(request.param):
        write_sndfile(folder / f"$song_{seed}$ 日本.wav", tone(5, 8000, seed), 8000)
    catalogue = Catalogue.open(folder / "catalogue", create=True)
    catalogue.index([folder], tiny_model)
    return catalogue


def test_the_same_catalogue_gives_the_same_map(catalogue):
    ids, places = map_coordinates(catalogue, "bass")
    assert ids == sorted(p.id for p in catalogue.pieces())
    assert places.shape == (len(ids), 2)
    assert np.isfinite(places).all()
    np.testing.assert_allclose(places.mean(axis=0), 0, atol=1e-6)
    again = map_coordinates(Catalogue.open(catalogue.directory), "bass")
    assert again[0] == ids
    np.testing.assert_array_equal(again[1], places)


def test_pieces_without_the_part_are_left_out(catalogue):
    ids, places = map_coordinates(catalogue, "piano")
    assert (ids, places.shape) == ([], (0, 2))
    with pytest.raises(UsageError, match="unknown part"):
        map_coordinates(catalogue, "kazoo")


def test_means_are_over_sounding_segments(catalogue):
    vectors = catalogue.vectors()
    pieces, means = mean_vectors(catalogue, "drums")
    for k, mean in enumerate(means):
        rows = vectors.rows(vectors.pieces.index(pieces[k]))
        expected = vectors.block(0)[rows].mean(axis=0, dtype=np.float64)
        np.testing.assert_allclose(mean, expected, atol=1e-6)


def test_the_picture_is_drawn_whole(catalogue, tmp_path):
    path = tmp_path / "new" / "map.png"
    assert draw_map(catalogue, path) == len(catalogue.pieces())
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert [p.name for p in path.parent.iterdir()] == ["map.png"]
    with pytest.raises(UsageError, match=r"does not end in \.png"):
        draw_map(catalogue, tmp_path / "map.gif")
