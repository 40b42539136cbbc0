"""What `import stemwise` offers, and what it costs."""

import subprocess
import sys

import pytest

import stemwise
from made_collection import add_song
from stemwise.library.catalogue import Catalogue
from stemwise.library.embed import embed_file
from stemwise.models.checkpoint import load_model


def test_public_names_are_sorted_and_real():
    assert stemwise.__all__ == sorted(stemwise.__all__)
    assert dir(stemwise) == stemwise.__all__
    for name in stemwise.__all__:
        assert getattr(stemwise, name) is not None
    assert stemwise.Catalogue is Catalogue
    assert stemwise.embed_file is embed_file
    assert stemwise.load_model is load_model
    with pytest.raises(AttributeError, match="module 'stemwise' has no attribute 'nothing'"):
        stemwise.nothing  # noqa: B018


def test_importing_loads_nothing():
    code = "import sys, stemwise; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    tops = {name.split(".")[0] for name in done.stdout.split()}
    assert not tops & {"torch", "numpy", "lancedb", "pyarrow", "pydantic", "typer", "rich"}
    assert [name for name in done.stdout.split() if name.startswith("stemwise")] == ["stemwise"]


def test_the_example_runs(tmp_path, tiny_model_path, monkeypatch):
    song = add_song(tmp_path / "Music" / "song.wav", 5)
    monkeypatch.chdir(tmp_path)
    model = stemwise.load_model(tiny_model_path)
    catalogue = stemwise.Catalogue.open("my catalogue", create=True)
    assert catalogue.index("Music", model).added == 1
    assert catalogue.index(str(song)).unchanged == 1  # with its own model
    assert stemwise.embed_file(song, model).embeddings.shape == (3, 5, 128)
