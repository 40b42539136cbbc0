import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from made_collection import add_song, counts, damage
from made_storage import put
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


@pytest.fixture
def music(tmp_path):
    """Six songs, one of them twice, and two bad files."""
    folder = tmp_path / "music"
    for seed in range(6):
        add_song(folder / f"song {seed}.wav", 5 + seed, seed)
    shutil.copy(folder / "song 1.wav", folder / "a copy.wav")
    damage(folder / "bad.mp3")
    (folder / "empty.wav").touch()
    return folder


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_a_cluster_makes_the_catalogue_of_one_machine(tmp_path, music, tiny_model, tiny_model_path):
    alone = Catalogue.open(tmp_path / "alone", create=True)
    alone.index([music], tiny_model)
    shared = Catalogue.open(tmp_path / "shared", create=True)
    done = run("index", music, "--engine", "ray", "--actors", 1, "--model", tiny_model_path,
               "--catalogue", tmp_path / "shared", "--json")  # fmt: skip
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


def test_embed_writes_the_archive_of_one_machine(
    tmp_path, music, bucket, tiny_model_path, monkeypatch
):
    here = run("embed", music, "-o", tmp_path / "here.npz", "--model", tiny_model_path)
    assert here.exit_code == 3
    uri = f"{bucket}/{tmp_path.name}/song 5.wav"
    put(uri, music / "song 5.wav")
    names = [*(path for path in sorted(music.iterdir()) if path.name != "song 5.wav"), uri]
    (tmp_path / "list").write_text("\n".join(map(str, [*names, tmp_path / "absent.wav"])))
    words = ["embed", "--list", tmp_path / "list", "-o", tmp_path / "there.npz", "--engine", "ray",
             "--actors", 1, "--model", tiny_model_path]  # fmt: skip

    def interrupted(*words):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("stemwise.library.archive._arrays", interrupted)
        stopped = run(*words)
    assert stopped.exit_code == 130, stopped.output
    assert "what was done is kept" in stopped.stderr
    with monkeypatch.context() as patch:  # all is embedded: no actor is needed any more
        patch.setattr("stemwise.scale.engine._Pool", None)
        there = run(*words)
    assert there.exit_code == 3, there.output
    failed = [line for line in here.stderr.splitlines() if "bad.mp3" in line or "empty" in line]
    assert len(failed) == 2
    assert set(failed) < set(there.stderr.splitlines())
    assert "absent.wav: gone while folders were searched" in there.stderr
    with np.load(tmp_path / "here.npz") as one, np.load(tmp_path / "there.npz") as other:
        places = [uri if name.endswith("song 5.wav") else name for name in one["path"]]
        order = np.argsort([str(name).startswith("s3") for name in places], kind="stable")
        assert [places[k] for k in order] == list(other["path"])
        for name in set(one.files) - {"path", "fingerprint"}:
            np.testing.assert_array_equal(one[name][order], other[name], name)
            assert one[name].dtype == other[name].dtype
        assert one["fingerprint"] == other["fingerprint"]
    assert not list(tmp_path.glob("*.partial"))
