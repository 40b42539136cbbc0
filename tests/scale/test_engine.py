import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from made_collection import add_song, counts, damage
from stemwise.cli import app
from stemwise.library.catalogue import Catalogue
from stemwise.scale.engine import RayEngine

pytestmark = pytest.mark.usefixtures("cluster")


def assert_same(one, other):
    """Both catalogues know the same files, errors and vectors."""
    assert one.pieces(missing=True) == other.pieces(missing=True)
    assert one.errors() == other.errors()
    here, there = one.vectors(), other.vectors()
    assert here.copies == there.copies
    assert np.array_equal(here.offsets, there.offsets)
    assert np.array_equal(here.start_seconds, there.start_seconds)
    assert np.array_equal(here.presence, there.presence)
    assert all(np.array_equal(here.block(part), there.block(part)) for part in range(5))
    assert other.verify() == []


def test_a_cluster_makes_the_catalogue_of_one_machine(tmp_path, tiny_model, tiny_model_path):
    music = tmp_path / "music"
    for seed in range(6):
        add_song(music / f"song {seed}.wav", 5 + seed, seed)
    shutil.copy(music / "song 1.wav", music / "a copy.wav")
    damage(music / "bad.mp3")
    (music / "empty.wav").touch()
    alone = Catalogue.open(tmp_path / "alone", create=True)
    alone.index([music], tiny_model)
    shared = Catalogue.open(tmp_path / "shared", create=True)
    words = ["index", music, "--engine", "ray", "--actors", 2, "--model", tiny_model_path]
    words += ["--catalogue", tmp_path / "shared", "--json"]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 3, done.output  # some files failed
    told = json.loads(done.stdout)
    assert (told["added"], told["failed"]) == (7, 2)
    engine = RayEngine()
    assert_same(alone, shared)
    assert counts(shared.index([music], tiny_model, engine=engine)) == {"unchanged": 7, "failed": 2}
    (music / "song 0.wav").rename(music / "moved.wav")
    alone.index([music], tiny_model)
    assert counts(shared.index([music], tiny_model)) == {"unchanged": 6, "failed": 2, "moved": 1}
    assert_same(alone, shared)
