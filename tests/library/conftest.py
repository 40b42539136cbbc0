import sys

import pytest

from made_collection import add_song
from made_music import write_tiny_model
from stemwise.library.catalogue import Catalogue


@pytest.fixture
def music(tmp_path):
    """A folder of four songs of 5 to 8 seconds."""
    folder = tmp_path / "music"
    for seed in range(4):
        add_song(folder / f"song {seed}.wav", 5 + seed, seed)
    return folder


@pytest.fixture
def catalogue(tmp_path):
    return Catalogue.open(tmp_path / "catalogue", create=True)


@pytest.fixture
def decoded(monkeypatch):
    """Names of the files that were decoded."""
    names = []
    embed = sys.modules["stemwise.library.embed"]._embed

    def watched(path, content, model, stop):
        names.append(path.name)
        return embed(path, content, model, stop)

    monkeypatch.setattr("stemwise.library.embed._embed", watched)
    return names


@pytest.fixture(scope="session")
def other_model_path(tmp_path_factory):
    """The tiny model with other weights."""
    return write_tiny_model(tmp_path_factory.mktemp("other") / "other.safetensors", seed=1)
