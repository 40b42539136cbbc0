"""A cluster that loses actors, machines and the process that commits; music and catalogue on S3."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from made_collection import add_song, counts, damage
from made_storage import put
from stemwise.library.catalogue import Catalogue
from stemwise.library.search import similar
from stemwise.scale.engine import RayEngine

SONGS = 10


@pytest.fixture
def music(tmp_path, bucket):
    """A folder of songs, and the URI of the same on S3."""
    folder = tmp_path / "music"
    for seed in range(SONGS):
        add_song(folder / f"song {seed:02}.wav", 20 + seed, seed)
    (folder / "again.wav").write_bytes((folder / "song 03.wav").read_bytes())
    damage(folder / "bad.mp3")
    (folder / "notes.txt").write_text("no music")
    uri = f"{bucket}/{tmp_path.name}/music"
    for path in folder.iterdir():
        put(f"{uri}/{path.name}", path)
    return folder, uri


def actors():
    """Return the processes below this one that embed."""
    found, parents = [], {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int(
                    (entry / "stat").read_text().rsplit(")")[1].split()[1]
                )
                if b"Embedder" in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except (OSError, IndexError):  # it has ended
                continue

    def is_own(pid):
        while pid in parents and pid != os.getpid():
            pid = parents[pid]
        return pid == os.getpid()

    return [pid for pid in found if is_own(pid)]


def vectors_by_content(catalogue):
    """Return the vectors of every content, and check that each is there once."""
    vectors = catalogue.vectors()
    contents = [piece.content for piece in vectors.pieces]
    assert len(set(contents)) == len(contents)
    return {
        content: np.stack([vectors.block(part)[vectors.rows(k)] for part in range(5)])
        for k, content in enumerate(contents)
    }


@pytest.mark.filterwarnings("ignore:lance")  # a node is started by a fork
def test_every_file_is_there_once_whatever_dies(cluster, bucket, music, tmp_path, tiny_model):
    folder, uri = music
    extra = cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
    engine = RayEngine(actors=3, files_per_unit=1)
    place = f"{bucket}/{tmp_path.name}/catalogue"
    killed = []

    def strike(done, total, hours):
        assert total == SONGS + 2
        if done == 2 and not killed:
            killed.append(actors()[0])
            os.kill(killed[0], signal.SIGKILL)
        if done == 4 and len(killed) == 1:
            killed.append(extra)
            cluster.remove_node(extra)
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Catalogue.open(place, create=True).index(uri, tiny_model, engine=engine, progress=strike)
    assert len(killed) == 2
    catalogue = Catalogue.open(place)
    before = len(catalogue.pieces()) + len(catalogue.errors())
    assert before == 7
    assert catalogue.status().waiting == SONGS + 2 - before
    seen = []
    engine = RayEngine(actors=1)
    done = catalogue.index(
        uri, tiny_model, engine=engine, progress=lambda *now: seen.append(now[0])
    )
    assert seen[0] == before  # what was done is not done again
    assert done.found == SONGS + 2
    assert done.added + done.unchanged == SONGS + 1
    assert done.failed == 1
    assert catalogue.verify() == []
    assert {str(piece.path) for piece in catalogue.pieces()} == {
        f"{uri}/{path.name}" for path in folder.glob("*.wav")
    }
    (failure,) = catalogue.errors()
    assert failure.reason.startswith(f"{uri}/bad.mp3 cannot be decoded")
    assert {piece.title for piece in catalogue.pieces()} == {p.stem for p in folder.glob("*.wav")}
    alone = Catalogue.open(tmp_path / "alone", create=True)
    alone.index(folder, tiny_model)
    here, there = vectors_by_content(alone), vectors_by_content(catalogue)
    assert here.keys() == there.keys()
    assert all(np.array_equal(here[content], there[content]) for content in here)
    wanted = similar(alone, folder / "song 05.wav", n=3, model=tiny_model)
    found = similar(catalogue, f"{uri}/song 05.wav", n=3, model=tiny_model)
    assert [m.piece.id for m in found.matches] == [m.piece.id for m in wanted.matches]
    assert [m.distance for m in found.matches] == [m.distance for m in wanted.matches]
    (folder / "song 00.wav").unlink()
    assert (
        counts(catalogue.index(uri, tiny_model, engine=engine, limit=1))["unchanged"] == SONGS + 1
    )
