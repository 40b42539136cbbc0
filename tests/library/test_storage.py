"""A catalogue on object storage, written and read by this machine alone."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from made_collection import add_song, counts, damage, known
from made_storage import remove
from stemwise.cli import app
from stemwise.errors import CatalogueError, UsageError
from stemwise.library.catalogue import Catalogue
from stemwise.library.search import similar


def test_it_is_the_same_as_in_a_folder(bucket, tmp_path, tiny_model, monkeypatch):
    monkeypatch.chdir(tmp_path)
    music = tmp_path / "music"
    for seed in range(3):
        add_song(music / f"song {seed}.wav", 5 + seed, seed)
    damage(music / "bad.mp3")
    uri = f"{bucket}/{tmp_path.name}/catalogue"
    with pytest.raises(CatalogueError, match=f"no catalogue in {uri}"):
        Catalogue.open(uri)
    there = Catalogue.open(uri, create=True)
    assert counts(there.index(music, tiny_model)) == {"added": 3, "failed": 1}
    here = Catalogue.open(tmp_path / "here", create=True)
    here.index(music, tiny_model)
    again = Catalogue.open(uri)
    assert again.pieces() == here.pieces()
    assert again.errors() == here.errors()
    assert all(np.array_equal(again.vectors().block(p), here.vectors().block(p)) for p in range(5))
    assert known(again) == {"pieces": 3, "errors": 1}
    assert again.status().size_bytes > 1000
    assert again.verify() == []
    found = similar(again, "song 1", n=2, model=tiny_model)
    assert found == similar(here, "song 1", n=2, model=tiny_model)
    told = CliRunner().invoke(app, ["similar", "song 1", "--catalogue", uri, "--json"])
    assert [json.loads(line)["path"] for line in told.stdout.splitlines()] == [
        str(match.piece.path) for match in found.matches
    ]
    done = CliRunner().invoke(app, ["catalogue", "migrate", "--catalogue", uri])
    assert done.exit_code == 0, done.output
    (music / "song 0.wav").unlink()
    assert counts(again.index(music, tiny_model, prune=True)) == {
        "unchanged": 2, "failed": 1, "forgotten": 1,
    }  # fmt: skip
    assert not (tmp_path / "s3:").exists()
    remove(f"{uri}/catalogue.json")
    with pytest.raises(CatalogueError, match="no catalogue"):
        Catalogue.open(uri)


def test_music_elsewhere_needs_a_cluster(bucket, catalogue, tiny_model):
    with pytest.raises(UsageError, match="add: --engine ray"):
        catalogue.index([bucket], tiny_model)
