import os
import shutil
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made_files import sound
from stemwise.audio import EXTENSIONS
from stemwise.errors import UsageError
from stemwise.library import collection
from stemwise.library.collection import PassedOver, Reason, music_files, walk


def make(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names(listing, folder):
    return [os.path.relpath(path, folder) for path in listing.files]


def told(listing, folder):
    return {os.path.relpath(entry.path, folder): entry.reason for entry in listing.passed_over}


def test_files_are_sorted_and_once_and_the_counts_add_up(tmp_path):
    make(tmp_path, "b.MP3", "a/z.flac", "a/note.txt", ".hidden.mp3", ".git/x.mp3", "talk/t.mp3",
         "talk/deep/u.mp3", "a/cover.jpg", "talk/.notmusic", "a b/c.ogg")  # fmt: skip
    listing = music_files([tmp_path, tmp_path / "a", str(tmp_path / "a" / "note.txt")])
    assert names(listing, tmp_path) == ["a b/c.ogg", "a/note.txt", "a/z.flac", "b.MP3"]
    assert listing.counts == {
        Reason.HIDDEN: 2, Reason.MARKED: 1, Reason.NOT_MUSIC: 1, Reason.SAME_FOLDER: 1
    }  # fmt: skip
    assert told(listing, tmp_path) == {"talk": Reason.MARKED, "a": Reason.SAME_FOLDER}
    assert listing.found == 9
    assert listing.unseen == ()
    assert str(listing.passed_over[0]) == f"{tmp_path / 'talk'}: folder with a file .notmusic"


NAMES = st.sampled_from(
    ["a", "b c", "é", ".h", "x.mp3", "y.FLAC", "z.txt", ".s.mp3", "mp3", "live", "t.tmp.mp3"]
)
TREES = st.lists(st.lists(NAMES, min_size=1, max_size=4), max_size=12)


def listed_aloud(folder, top, exclude):
    """List `folder` as the module's docstring says it, by recursion over names."""
    files, counts = [], Counter()
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            counts[Reason.HIDDEN] += 1
        elif exclude and (
            path.name.endswith(".tmp.mp3") or (path.name == "live" and path.is_dir())
        ):
            counts[Reason.EXCLUDED] += 1
        elif path.is_dir():
            inner_files, inner_counts = listed_aloud(path, top, exclude)
            files += inner_files
            counts += inner_counts
        elif path.suffix.lower() in EXTENSIONS:
            files.append(path)
        else:
            counts[Reason.NOT_MUSIC] += 1
    return files, counts


@settings(max_examples=60, deadline=None)
@given(TREES, st.booleans())
def test_any_tree_is_listed_as_it_is_told(tmp_path_factory, tree, exclude):
    top = tmp_path_factory.mktemp("tree")
    for parts in tree:
        path = top.joinpath(*parts)
        if not any(p.is_file() for p in path.parents) and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    globs = ["live/", "*.tmp.mp3"] if exclude else []
    files, counts = listed_aloud(top, top, exclude)
    listing = music_files([top], globs)
    assert sorted(map(str, files)) == list(map(str, listing.files))
    assert listing.counts == counts
    assert [e for e in walk([top], globs) if isinstance(e, Path)] == [
        e for e in walk([top], globs) if isinstance(e, Path)
    ]
    shutil.rmtree(top)


def test_globs_are_those_of_gitignore_in_the_named_folder(tmp_path):
    make(tmp_path, "live/a.mp3", "x/live/b.mp3", "demos/c.mp3", "x/demos/d.mp3", "e.tmp.mp3",
         "keep.tmp.mp3", "x/f.mp3", "live.mp3", "y/1/2/g.mp3", "caf\udce9/h.mp3")  # fmt: skip
    globs = ["live/", "/demos", "*.tmp.mp3", "!keep.tmp.mp3", "y/**/g.mp3", "# words", "", "caf?/"]
    listing = music_files([tmp_path], globs)
    assert names(listing, tmp_path) == ["keep.tmp.mp3", "live.mp3", "x/demos/d.mp3", "x/f.mp3"]
    assert listing.counts == {Reason.EXCLUDED: 6}
    assert listing.passed_over == ()
    # a folder that is named itself is where its globs start; a file that is named is taken
    listing = music_files([tmp_path / "x", tmp_path / "e.tmp.mp3"], ["/demos", "*.tmp.mp3"])
    assert names(listing, tmp_path) == ["e.tmp.mp3", "x/f.mp3", "x/live/b.mp3"]
    for glob in ("!", "a\\", "["):
        with pytest.raises(UsageError, match="is no glob to exclude files by"):
            music_files([tmp_path], [glob])


def test_two_names_of_one_file_count_once(tmp_path):
    make(tmp_path, "m/one.mp3", "z/two.mp3")
    (tmp_path / "m" / "aaa.mp3").symlink_to(tmp_path / "z" / "two.mp3")
    (tmp_path / "m" / "bbb.mp3").symlink_to("one.mp3")
    os.link(tmp_path / "m" / "one.mp3", tmp_path / "m" / "hard.mp3")
    listing = music_files([tmp_path])
    assert names(listing, tmp_path) == ["m/hard.mp3", "z/two.mp3"]
    assert told(listing, tmp_path) == dict.fromkeys(
        ("m/one.mp3", "m/aaa.mp3", "m/bbb.mp3"), Reason.SAME_FILE
    )
    # without the real name, the link is as good
    assert names(music_files([tmp_path / "m"]), tmp_path) == ["m/aaa.mp3", "m/hard.mp3"]
    link = tmp_path / "m" / "aaa.mp3"
    assert music_files([link, link, tmp_path]).files[0] == link


def test_links_to_folders_are_followed_once_and_never_upwards(tmp_path):
    make(tmp_path, "music/a/x.mp3", "disk/b/y.mp3", "disk/b/.h.mp3", "else/z.mp3")
    music = tmp_path / "music"
    for name, target in {
        "disk": tmp_path / "disk", "again": tmp_path / "disk", "self": ".", "up": "..",
        "root": "/", "inner": "a", "a/back": "..", "cover.mp3": "/dev/null",
    }.items():  # fmt: skip
        (music / name).symlink_to(target)
    (tmp_path / "disk" / "home").symlink_to(music)
    listing = music_files([music])
    assert names(listing, music) == ["a/x.mp3", "again/b/y.mp3"]
    reached = dict.fromkeys(
        ("disk", "self", "up", "root", "inner", "a/back", "again/home"), Reason.SAME_FOLDER
    )
    assert told(listing, music) == reached | {"cover.mp3": Reason.SPECIAL}
    assert listing.counts[Reason.HIDDEN] == 1
    # a named folder that holds another named one is not mistaken for a loop
    wide = music_files([music / "a", tmp_path])
    assert names(wide, tmp_path) == ["disk/b/y.mp3", "else/z.mp3", "music/a/x.mp3"]


def test_what_is_no_file_is_never_opened(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.mp3")
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.flac")
    (tmp_path / "loop.mp3").symlink_to("pool.mp3")
    (tmp_path / "pool.mp3").symlink_to("loop.mp3")
    (tmp_path / "gone.mp3").symlink_to("nowhere.mp3")
    (tmp_path / "linked pipe.mp3").symlink_to("pipe.mp3")
    (tmp_path / "album.mp3").mkdir()
    listing = music_files([tmp_path], ["nothing"], by_content=True)
    assert listing.files == ()
    assert listing.counts == {Reason.SPECIAL: 4, Reason.BROKEN_LINK: 3}
    for name in ("pipe.mp3", "linked pipe.mp3", "/dev/null"):
        with pytest.raises(UsageError, match="neither a file nor a folder"):
            music_files([name])


def test_odd_names_are_found(tmp_path):
    stems = ["x" * 250, "日本語 – naïve 🎸", "caf\udce9", "a\nb", " ", "$(x)`y`", "-n", "*"]
    make(tmp_path, *(f"{stem}.mp3" for stem in stems))
    assert sorted(path.stem for path in music_files([tmp_path]).files) == sorted(stems)
    with pytest.raises(UsageError, match="File name too long"):
        music_files([tmp_path / ("x" * 300 + ".mp3")])
    with pytest.raises(UsageError, match="null"):
        music_files([f"{tmp_path}/a\0b"])
    with pytest.raises(UsageError, match=r"gone is neither a file nor a folder: No such file"):
        music_files([tmp_path / "gone"])


def test_paths_longer_than_the_system_takes_stop_nothing(tmp_path):
    make(tmp_path, "z.mp3")
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(20):  # 20 names of 250 bytes are more than 4,096
        os.mkdir("d" * 250, dir_fd=here)
        inner = os.open("d" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(os.open("song.mp3", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    listing = music_files([tmp_path])
    assert names(listing, tmp_path) == ["z.mp3"]
    assert listing.counts == {Reason.UNREADABLE: 1}
    assert listing.passed_over[0].detail == "File name too long"
    assert listing.unseen == (listing.passed_over[0].path,)
    subprocess.run(["rm", "-rf", tmp_path / ("d" * 250)], check=True)


def test_folders_that_vanish_or_refuse_stop_nothing(tmp_path, monkeypatch):
    make(tmp_path, "a/x.mp3", "locked/y.mp3", "vanished/z.mp3", "late/q.mp3", "w.mp3")
    scandir, stat = os.scandir, os.stat

    def odd_scandir(folder):
        if folder.endswith("locked"):
            raise PermissionError(13, "Permission denied")
        if folder.endswith("vanished"):
            raise FileNotFoundError(2, "No such file or directory")
        return scandir(folder)

    def odd_stat(path, **options):
        if str(path).endswith("q.mp3"):
            raise FileNotFoundError(2, "No such file or directory")
        return stat(path, **options)

    monkeypatch.setattr(collection.os, "scandir", odd_scandir)
    monkeypatch.setattr(collection.os, "stat", odd_stat)
    listing = music_files([tmp_path])
    assert names(listing, tmp_path) == ["a/x.mp3", "w.mp3"]
    assert told(listing, tmp_path) == {
        "locked": Reason.UNREADABLE, "vanished": Reason.VANISHED, "late/q.mp3": Reason.VANISHED
    }  # fmt: skip
    assert {path.name for path in listing.unseen} == {"locked", "vanished", "q.mp3"}
    assert str(listing.passed_over[0]).endswith("q.mp3: gone while folders were searched "
                                                "(No such file or directory)")  # fmt: skip


def test_a_folder_deleted_while_it_is_listed(tmp_path):
    make(tmp_path, *(f"{k}/{k}.mp3" for k in range(5)))
    found = []
    for entry in walk([tmp_path]):
        found.append(entry)
        shutil.rmtree(tmp_path / "3", ignore_errors=True)
    assert [e.path.name for e in found if isinstance(e, PassedOver)] == ["3"]
    assert [e.name for e in found if isinstance(e, Path)] == [f"{k}.mp3" for k in (0, 1, 2, 4)]


def test_music_is_known_by_its_content_if_asked(tmp_path):
    for name in ("s.mp3", "s.flac", "s.wav", "s.aiff", "s.ogg"):
        sound(name)(tmp_path).rename(tmp_path / f"{name[2:]} without extension")
    sound("s.mp3")(tmp_path).rename(tmp_path / "song.bak")
    (tmp_path / "words").write_text("These are the words of a song.\n" * 99)
    (tmp_path / "tune.mid").write_bytes(
        bytes.fromhex("4d546864000000060000000100604d54726b0000000400ff2f00")
    )
    (tmp_path / "empty").touch()
    assert music_files([tmp_path]).files == ()
    listing = music_files([tmp_path], by_content=True)
    assert {path.name for path in listing.files} == {
        "song.bak", *(f"{kind} without extension" for kind in ("mp3", "flac", "wav", "aiff", "ogg"))
    }  # fmt: skip
    assert listing.counts == {Reason.NOT_MUSIC: 3}


def test_a_file_that_cannot_be_looked_into(tmp_path, monkeypatch):
    make(tmp_path, "song")

    def locked(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("stemwise.decoding.os.open", locked)
    listing = music_files([tmp_path], by_content=True)
    assert listing.counts == {Reason.UNREADABLE: 1}
    assert listing.passed_over[0].detail == "[Errno 13] Permission denied"


def test_memory_is_at_most_that_of_the_paths(tmp_path):
    for folder in range(100):
        kinds = ["jpg", "mp3"] * 50
        make(tmp_path, *(f"{folder}/{'x' * 40} {k}.{kind}" for k, kind in enumerate(kinds)))
    code = (
        "import sys, tracemalloc; from stemwise.library.collection import music_files, walk\n"
        "def peak(call):\n"
        "    tracemalloc.start(); size = call(); peak = tracemalloc.get_traced_memory()[1]\n"
        "    tracemalloc.stop(); return size, peak\n"
        "count = lambda entries: sum(1 for _ in entries)\n"
        "print(*peak(lambda: count(walk(sys.argv[1:]))),\n"
        "      *peak(lambda: len(list(walk(sys.argv[1:])))),\n"
        "      *peak(lambda: music_files(sys.argv[1:]).found))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True
    )
    found, lazy_bytes, wanted, kept_bytes, listed, listing_bytes = map(int, done.stdout.split())
    assert found == wanted == listed == 10_000
    assert max(lazy_bytes, listing_bytes) < 0.75 * kept_bytes
