"""What is found elsewhere and in lists; no file is embedded here."""

import functools
import http.server
import threading
from collections import Counter

import fsspec
import pytest

from made_collection import add_song
from made_storage import put
from stemwise.errors import UsageError
from stemwise.library.collection import Reason
from stemwise.library.places import place_of
from stemwise.scale.listing import find_music


@pytest.fixture
def memory():
    """The URI of a folder that only fsspec knows, with files in it."""
    names = ("a.mp3", "b.TXT", ".hidden.mp3", "live/c.flac", "live/d.ogg", "no/e.wav",
             "no/deep/f.wav", "no/.notmusic", ".trash/g.mp3")  # fmt: skip
    storage = fsspec.filesystem("memory")
    for name in names:
        storage.pipe(f"/listing/music/{name}", name.encode())
    yield "memory://listing/music"
    storage.rm("/listing", recursive=True)


@pytest.fixture
def website(tmp_path):
    """The URI of `tmp_path` over HTTP, which other processes reach too."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words):
            pass

    handler = functools.partial(Quiet, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_what_only_fsspec_knows_is_searched_by_the_same_rules(memory, tmp_path):
    song = add_song(tmp_path / "here.wav")
    found = find_music([memory, tmp_path], ["d.*"])
    names = [f"{memory}/a.mp3", f"{memory}/live/c.flac"]
    assert found.files == (song, *map(place_of, names))
    assert found.states[place_of(names[1])][0] == len("live/c.flac")
    assert found.counts == Counter(
        {Reason.NOT_MUSIC: 1, Reason.HIDDEN: 2, Reason.EXCLUDED: 1, Reason.MARKED: 1}
    )
    assert [str(entry) for entry in found.passed_over] == [f"{memory}/no: {Reason.MARKED}"]
    assert find_music([f"{memory}/b.TXT"]).files == (place_of(f"{memory}/b.TXT"),)  # as it is named
    with pytest.raises(UsageError, match="leave out --by-content"):
        find_music([memory], by_content=True)


def test_what_cannot_be_listed_is_told(memory):
    for bad, reason in (
        (f"{memory}/none", "cannot be listed"),
        ("nope://a/b", "cannot be reached"),
    ):
        with pytest.raises(UsageError, match=reason) as caught:
            find_music([bad])
        assert "\n" not in str(caught.value)


def test_lists_name_files_of_all_kinds_of_storage(cluster, bucket, website, tmp_path):
    song = add_song(tmp_path / "song.wav", 1.5)
    other = add_song(tmp_path / "other, and ü.wav", 1.5, 1)
    odd = tmp_path / "odd.name"
    odd.write_bytes(b"taken whatever it is called")
    remote = f"{bucket}/{tmp_path.name}/remote.wav"
    put(remote, song)
    lines = [song, f"  file://{other}  ", "", remote, f"{website}/song.wav", odd, song,
             tmp_path / "absent.wav", f"{remote}.absent", "relative.wav", "nope://a/b"]  # fmt: skip
    first, second = tmp_path / "first.txt", f"{bucket}/{tmp_path.name}/second.txt"
    first.write_text("\n".join(map(str, lines[:6])) + "\n")
    (tmp_path / "upload").write_text("\r\n".join(map(str, lines[6:])))
    put(second, tmp_path / "upload")
    found = find_music([], lists=[first, second])
    here = [odd, other, song]
    there = [place_of(f"{website}/song.wav"), place_of(remote)]
    assert sorted(found.files) == sorted([*here, *there])
    size = song.stat().st_size
    assert {found.states[path][0] for path in (song, other, *there)} == {size}
    assert found.states[song] == (size, song.stat().st_mtime_ns)
    assert {(str(entry.path), entry.reason) for entry in found.passed_over} == {
        (str(tmp_path / "absent.wav"), Reason.VANISHED),
        (f"{remote}.absent", Reason.VANISHED),
        ("relative.wav", Reason.UNREADABLE),
        ("nope://a/b", Reason.UNREADABLE),
    }
    with pytest.raises(UsageError, match=r"none.txt cannot be read"):
        find_music([], lists=[tmp_path / "none.txt"])
