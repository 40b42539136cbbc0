import shutil
import zipfile

import pytest
from made_midi import band_midi, write_collection

from stemwise.corpora.midi_collection import SHIPPED, MidiFile, read_collection, song_groups
from stemwise.errors import CorpusError


def file(path, content):
    return MidiFile(path, "made", "CC0-1.0", "", content)


def test_the_shipped_collection_is_whole_and_free():
    files = read_collection()
    assert len(files) == 489
    assert len({f.song for f in files}) > 450
    assert all(f.song for f in files)
    assert not any(f.licence.startswith("GPL") for f in files)
    with zipfile.ZipFile(SHIPPED) as archive:
        notice = archive.read("LICENCES.md").decode()
    named = {line.split("|")[1].strip() for line in notice.splitlines() if "|" in line}
    assert {f.source for f in files} <= named


def test_shipped_revisions_are_one_song():
    songs = {f.path: f.song for f in read_collection()}
    assert songs["freedoom_history/2802f391e6_d_e1m3.mid"] == songs["freedoom/musics__d_e1m3.mid"]
    assert songs["mma_random/mma_00140.mid"] == songs["mma_random/mma_00252.mid"]
    assert songs["freedoom/musics__d_dm01.mid"] != songs["freedoom/musics__d_dm02.mid"]


def test_shipped_files_can_be_read():
    for f in read_collection()[::40]:
        assert {"drums", "bass"} <= {voice.part for voice in f.score().voices}, f.path


def test_revisions_are_grouped_whatever_their_tempo_and_key():
    made = {
        "c.mid": band_midi(seed=1, notes=100),
        "a.mid": band_midi(seed=1, notes=100, bpm=140),
        "e.mid": band_midi(seed=1, notes=90, transposition=-2),
        "b.mid": band_midi(seed=4, notes=100),
        "d.mid": b"damaged",
    }
    groups = song_groups([file(path, content) for path, content in made.items()])
    assert groups == {
        "a.mid": "a.mid", "b.mid": "b.mid", "c.mid": "a.mid", "d.mid": "d.mid", "e.mid": "a.mid",
    }  # fmt: skip


def test_real_revisions_are_grouped_and_copies_are_joined():
    known = {f.path: f for f in read_collection()}
    names = ["freedoom/musics__d_e1m3.mid", "freedoom_history/2802f391e6_d_e1m3.mid",
             "freedoom/musics__d_dm01.mid", "freedoom/musics__d_dm02.mid"]  # fmt: skip
    files = [known[name] for name in names]
    groups = song_groups(files)
    assert groups[names[1]] == names[0]
    assert len(set(groups.values())) == 3
    joined = song_groups(files, copies={names[2]: "x", names[3]: "x", names[0]: ""})
    assert joined[names[3]] == names[2]
    assert len(set(joined.values())) == 2


def test_a_folder_and_its_zip_are_the_same(tmp_path):
    files = {"a.mid": band_midi(seed=1), "b.mid": band_midi(seed=2)}
    folder = write_collection(tmp_path / "made", files)
    archive = shutil.make_archive(str(tmp_path / "made"), "zip", folder)
    assert read_collection(folder) == read_collection(tmp_path / archive)
    assert [f.path for f in read_collection(folder)] == ["a.mid", "b.mid"]


def test_what_is_no_collection_is_one_clear_line(tmp_path):
    (tmp_path / "x.zip").write_bytes(b"no zip")
    folder = write_collection(tmp_path / "empty", {})
    for path in (tmp_path, tmp_path / "none", tmp_path / "x.zip", folder):
        with pytest.raises(CorpusError) as caught:
            read_collection(path)
        assert "\n" not in str(caught.value)
