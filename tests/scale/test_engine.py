import shutil

import numpy as np
import pytest

from made_collection import add_song, counts, damage
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


def test_a_cluster_makes_the_catalogue_of_one_machine(tmp_path, tiny_model):
    music = tmp_path / "music"
    for seed in range(6):
        add_song(music / f"song {seed}.wav", 5 + seed, seed)
    shutil.copy(music / "song 1.wav", music / "a copy.wav")
    damage(music / "bad.mp3")
    (music / "empty.wav").touch()
    alone = Catalogue.open(tmp_path / "alone", create=True)
    alone.index([music], tiny_model)
    shared = Catalogue.open(tmp_path / "shared", create=True)
    seen = []
    engine = RayEngine(actors=2, files_per_unit=2)
    done = shared.index([music], tiny_model, engine=engine, progress=lambda *now: seen.append(now))
    assert counts(done) == {"added": 7, "failed": 2}
    assert seen[0][:2] == (0, 9)
    assert seen[-1][:2] == (9, 9)
    assert_same(alone, shared)
    assert counts(shared.index([music], tiny_model, engine=engine)) == {"unchanged": 7, "failed": 2}
    (music / "song 0.wav").rename(music / "moved.wav")
    alone.index([music], tiny_model)
    assert counts(shared.index([music], tiny_model)) == {"unchanged": 6, "failed": 2, "moved": 1}
    assert_same(alone, shared)
