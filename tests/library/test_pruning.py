import pytest

from made_collection import add_song, counts, known
from stemwise.errors import UsageError
from stemwise.library.pruning import forgettable, under


@pytest.fixture
def shelf(tmp_path):
    """Folders: one with music, one empty as an unmounted drive, one with a cover only."""
    for name in ("music", "drive/inner", "covers"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("music/a.mp3", "covers/front.jpg"):
        (tmp_path / name).touch()
    return tmp_path


def decide(shelf, gone, tops=("",), unseen=(), **options):
    names = [str(shelf / name) for name in gone]
    files = [shelf / "music/a.mp3"]
    forgotten, spared = forgettable(
        names, [str(shelf / top) for top in tops], files, [shelf / name for name in unseen],
        **options,
    )  # fmt: skip
    return (
        {name.removeprefix(f"{shelf}/") for name in forgotten},
        [str(folder.relative_to(shelf)) for folder in spared],
    )


@pytest.mark.parametrize(
    ("gone", "spared"),
    [
        ("music/b.mp3", None),
        ("music/was/here/b.mp3", None),  # the nearest folder that is there is not empty
        ("covers/b.mp3", None),
        ("drive/inner/b.mp3", "drive/inner"),
        ("drive/inner/deep/er/b.mp3", "drive/inner"),
    ],
)
def test_a_piece_is_spared_if_the_folder_that_is_left_is_empty(shelf, gone, spared):
    assert decide(shelf, [gone]) == ((set(), [spared]) if spared else ({gone}, []))
    assert decide(shelf, [gone], even_if_empty=True) == ({gone}, [])


def test_nothing_is_forgotten_of_a_given_folder_without_any_music(shelf):
    gone = ["covers/b.mp3", "music/b.mp3"]
    assert decide(shelf, gone, ["covers", "music"]) == ({"music/b.mp3"}, ["covers"])
    assert decide(shelf, gone, ["covers", "music"], even_if_empty=True) == (set(gone), [])
    assert decide(shelf, ["lost/b.mp3"], ["lost"], even_if_empty=True) == ({"lost/b.mp3"}, [])


def test_nothing_is_ever_forgotten_of_what_could_not_be_read(shelf):
    for options in ({}, {"even_if_empty": True}):
        found = decide(shelf, ["music/locked/b.mp3"], unseen=["music/locked"], **options)
        assert found == (set(), ["music/locked"])


def test_under():
    assert under("/a/b", ["/a"])
    assert under("/a", ["/x", "/a"])
    assert under("/a/b", ["/"])
    assert not under("/ab", ["/a"])
    assert not under("/a", [])


def test_pruning_forgets_pieces_with_their_vectors(catalogue, music, tiny_model):
    catalogue.index([music], tiny_model)
    other = add_song(music.parent / "other" / "x.wav", seed=9)
    catalogue.index([other.parent], tiny_model)
    (music / "song 1.wav").unlink()
    other.unlink()
    assert counts(catalogue.index([music], tiny_model)) == {"unchanged": 3, "missing": 1}
    before = catalogue.read("segments", ["content"]).num_rows
    summary = catalogue.index([music], tiny_model, prune=True)
    assert counts(summary) == {"unchanged": 3, "forgotten": 1}
    assert catalogue.read("segments", ["content"]).num_rows == before - 3
    assert known(catalogue) == {"pieces": 4}  # the other folder was not asked about
    assert catalogue.verify() == []


def test_pruning_spares_a_drive_that_is_not_mounted(catalogue, music, tiny_model):
    drive = music / "drive"
    songs = [add_song(drive / name / "song.wav", seed=20 + k) for k, name in enumerate("ab")]
    catalogue.index([music], tiny_model)
    mounted = drive.rename(music.parent / "away")
    drive.mkdir()
    summary = catalogue.index([music], tiny_model, prune=True)
    assert counts(summary) == {"unchanged": 4, "missing": 2}
    assert summary.spared == (drive,)
    drive.rmdir()
    mounted.rename(drive)
    assert counts(catalogue.index([music], tiny_model, prune=True)) == {"unchanged": 6}
    for song in songs:
        song.unlink()
        song.parent.rmdir()
    summary = catalogue.index([music], tiny_model, prune_empty=True)
    assert counts(summary) == {"unchanged": 4, "forgotten": 2}
    assert summary.spared == ()


def test_a_folder_that_is_not_there_is_refused_unless_it_is_meant(catalogue, music, tiny_model):
    catalogue.index([music], tiny_model)
    music.rename(music.parent / "away")
    for prune in (False, True):
        with pytest.raises(UsageError, match="4 known pieces lie in it; is its drive mounted"):
            catalogue.index([music], tiny_model, prune=prune)
    with pytest.raises(UsageError, match="neither a file nor a folder"):
        catalogue.index([music.parent / "typo"], tiny_model, prune=True)
    assert known(catalogue) == {"pieces": 4}
    assert counts(catalogue.index([music], tiny_model, prune_empty=True)) == {"forgotten": 4}
    assert known(catalogue) == {}
