import numpy as np
import pytest

from made_collection import add_song, damage
from stemwise.errors import AudioError, UsageError
from stemwise.library.archive import embed_to_archive, save_vectors
from stemwise.library.embed import FileEmbedding, embed_files
from stemwise.library.engines import ThisMachine


@pytest.fixture
def music(tmp_path):
    """Four songs, one of them twice, and a bad file."""
    folder = tmp_path / "music"
    for seed in range(4):
        add_song(folder / f"song {seed}.wav", 3 + seed, seed)
    (folder / "a copy.wav").write_bytes((folder / "song 2.wav").read_bytes())
    damage(folder / "bad.mp3")
    return folder


class Interrupted(ThisMachine):
    """This machine, stopped after two results; `opened` counts what was asked for."""

    files_per_commit = 1

    def __init__(self, after=None):
        self.after, self.opened = after, 0

    def embed(self, files, store, model, jobs, known):
        self.opened = len(files)
        results = super().embed(files, store, model, jobs, known)
        try:
            for number, result in enumerate(results):
                if number == self.after:
                    raise KeyboardInterrupt
                yield result
        finally:
            results.close()


def arrays(path):
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}


def assert_same_archive(one, other):
    """Both hold the same arrays, to the bit."""
    here, there = arrays(one), arrays(other)
    assert here.keys() == there.keys()
    for name in here:
        assert here[name].dtype == there[name].dtype, name
        np.testing.assert_array_equal(here[name], there[name], name)


def test_vectors_are_saved_in_order(music, tmp_path, tiny_model):
    files = [music / "song 3.wav", music / "song 0.wav"]
    done = list(embed_files(files, tiny_model))
    archive = tmp_path / "new" / "vectors.npz"
    save_vectors(archive, done, fingerprint=tiny_model.fingerprint)
    stored = arrays(archive)
    assert stored["embeddings"].dtype == stored["presence"].dtype == np.float32
    assert stored["level_db"].dtype == np.float32
    np.testing.assert_array_equal(
        stored["embeddings"], np.concatenate([d.embeddings for d in done])
    )
    assert list(stored["path"]) == [str(d.path) for d in done for _ in d.start_seconds]
    assert stored["presence"].shape == (5, 5)
    assert len(stored["start_seconds"]) == len(stored["level_db"]) == 5
    assert str(stored["fingerprint"]) == tiny_model.fingerprint
    assert [p.name for p in archive.parent.iterdir()] == ["vectors.npz"]
    save_vectors(archive, [], fingerprint="none")
    assert arrays(archive)["embeddings"].shape == (0, 5, 128)


def test_an_archive_of_a_folder_says_what_failed(music, tmp_path, tiny_model):
    told = []
    archive = tmp_path / "v.npz"
    failures = embed_to_archive([music], tiny_model, archive, 2, lambda *now: told.append(now))
    assert [f.path for f in failures] == [music / "bad.mp3"]
    assert told[-1] == (6, 6)
    (tmp_path / "nothing").mkdir()
    for engine in (None, ThisMachine()):
        with pytest.raises(AudioError, match=r"none of 1 files can be embedded: .*bad.mp3 cannot"):
            embed_to_archive([music / "bad.mp3"], tiny_model, tmp_path / "w.npz", engine=engine)
        with pytest.raises(UsageError, match="no music file"):
            embed_to_archive([tmp_path / "nothing"], tiny_model, tmp_path / "w.npz", engine=engine)
    with pytest.raises(UsageError, match="written on this machine's disks"):
        embed_to_archive([music], tiny_model, "s3://bucket/vectors.npz")
    assert {path.name for path in tmp_path.iterdir()} == {"music", "nothing", "v.npz"}


def test_an_engine_goes_on_where_it_was_and_writes_the_same(music, tmp_path, tiny_model):
    expected, archive = tmp_path / "expected.npz", tmp_path / "new" / "v.npz"
    wanted = embed_to_archive([music], tiny_model, expected)
    with pytest.raises(KeyboardInterrupt):
        embed_to_archive([music], tiny_model, archive, 1, engine=Interrupted(2))
    assert not archive.exists()
    (music / "song 9.wav").write_bytes(b"")  # so what is opened again is told from what is new
    engine = Interrupted()
    failures = embed_to_archive([music], tiny_model, archive, 1, engine=engine)
    assert engine.opened == 6 - 2 + 1
    assert [f.path.name for f in failures] == ["bad.mp3", "song 9.wav"]
    assert failures[0] == wanted[0]
    assert_same_archive(expected, archive)
    assert [path.name for path in archive.parent.iterdir()] == ["v.npz"]


def test_many_files_are_taken_some_at_a_time(tmp_path, tiny_model, monkeypatch):
    monkeypatch.setattr("stemwise.library.archive._ROWS_AT_A_TIME", 3)
    monkeypatch.setattr("stemwise.library.vectors._FEW_ROWS", 2)
    for seed in range(6):
        add_song(tmp_path / "music" / f"{seed}.wav", 3 + seed, 10 - seed)
    expected, archive = tmp_path / "expected.npz", tmp_path / "v.npz"
    embed_to_archive([tmp_path / "music"], tiny_model, expected)
    embed_to_archive([tmp_path / "music"], tiny_model, archive, engine=ThisMachine())
    assert_same_archive(expected, archive)


def test_what_vanishes_on_the_way_is_told(music, tmp_path, tiny_model):
    class Losing(ThisMachine):
        def embed(self, files, *others):
            files[-1].unlink()
            yield from super().embed(files, *others)

    failures = embed_to_archive([music], tiny_model, tmp_path / "v.npz", engine=Losing())
    assert [f.path.name for f in failures] == ["bad.mp3", "song 3.wav"]
    assert failures[1].reason.endswith("song 3.wav is not there any more")


def test_a_folder_that_cannot_be_read_is_told(music, tmp_path, tiny_model, monkeypatch):
    from stemwise.library.collection import Listing, PassedOver, Reason

    entries = (PassedOver(music / "locked", Reason.UNREADABLE, "Permission denied"),
               PassedOver(music / "x.mp3", Reason.BROKEN_LINK))  # fmt: skip
    listing = Listing((music / "song 0.wav",), {}, entries)
    monkeypatch.setattr(ThisMachine, "find", lambda *words, **options: listing)
    for engine in (None, ThisMachine()):
        (failure,) = embed_to_archive([music], tiny_model, tmp_path / "v.npz", engine=engine)
        assert failure.reason == f"{music}/locked: cannot be read (Permission denied)"
    assert isinstance(next(iter(embed_files([music / "song 0.wav"], tiny_model))), FileEmbedding)
