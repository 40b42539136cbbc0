import os
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemwise.errors import UsageError
from stemwise.library.places import (
    Place,
    exists,
    fetch,
    filesystem_of,
    place_of,
    read_text,
    write_text,
)


@given(st.lists(st.text("aZ0 ._-%#?ü~'&+", min_size=1), min_size=2, max_size=4))
def test_a_uri_comes_back_as_it_was(parts):
    uri = "s3://" + "/".join(parts)
    try:
        place = place_of(uri)
    except UsageError:
        assert {".", ".."} & set(parts)
        return
    assert str(place) == uri == os.fspath(place)
    assert (place.name, str(place.parent / place.name)) == (parts[-1], uri)
    assert place_of(place) is place
    assert place_of(Path(uri)) == place  # which has lost a slash
    assert pickle.loads(pickle.dumps(place)) == place
    assert sorted([place, Path("/a")]) == [Path("/a"), place]


def test_what_is_no_uri_is_a_path_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert place_of("a/../b:c") == tmp_path / "b:c"
    assert place_of("file:///music/a") == Path("/music/a")
    assert type(place_of("/music")) is type(tmp_path)
    for bad in ("s3://", "s3://a//b", "s3://a/./b", "s3://a/../b"):
        with pytest.raises(UsageError, match="names no place"):
            place_of(bad)


def test_files_are_written_and_read_elsewhere_and_here(tmp_path):
    place = place_of("memory://bucket/folder/note.txt")
    assert not exists(place)
    with pytest.raises(FileNotFoundError):
        read_text(place)
    write_text(place, "ü")
    write_text(place, "new")
    assert read_text(place) == "new"
    assert exists(place)
    assert exists(place.parent)
    (tmp_path / "a.gz").write_text("as it is")
    assert read_text(tmp_path / "a.gz") == "as it is"
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert exists(tmp_path / "link")
    assert not exists(tmp_path / "link", follow=True)


def test_a_file_is_fetched_wholly_or_not_at_all(tmp_path):
    place = place_of("memory://bucket/fetched/song.wav")
    with pytest.raises(FileNotFoundError):
        fetch(place, tmp_path / "song.wav")
    assert not list(tmp_path.iterdir())
    write_text(place, "x" * (2**20 + 1))
    fetch(place, tmp_path / "song.wav")
    assert (tmp_path / "song.wav").read_text() == "x" * (2**20 + 1)
    assert [path.name for path in tmp_path.iterdir()] == ["song.wav"]


def test_nothing_is_made_here_for_a_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = place_of("s3://bucket/folder")
    assert isinstance(place, Place)
    with pytest.raises(OSError, match="Read-only"):
        (place / "search").mkdir(parents=True, exist_ok=True)
    with pytest.raises(FileNotFoundError):
        (place / "file").open("wb")
    assert not list(tmp_path.iterdir())


def test_an_unknown_scheme_is_told():
    with pytest.raises(UsageError, match="nope://a cannot be reached"):
        filesystem_of(place_of("nope://a/b"))
