from pathlib import Path

import pytest

from made_vectors import piece
from stemwise.errors import UsageError
from stemwise.library.playlist import write_playlist


def test_paths_are_relative_to_the_playlist(tmp_path):
    pieces = [
        piece(0, path=tmp_path / "music" / "Zoë 日本.flac", artist="Zoë", title="日本",
              duration_seconds=61.6),
        piece(1, path=tmp_path / "#1 hit.mp3", title="one\n two", duration_seconds=59.5),
    ]  # fmt: skip
    path = tmp_path / "lists" / "new" / "mine.m3u8"
    assert write_playlist(path, pieces) == 2
    assert path.read_text(encoding="utf-8").splitlines() == [
        "#EXTM3U", "#EXTINF:62,Zoë - 日本", "../../music/Zoë 日本.flac", "#EXTINF:60,one two",
        "../../#1 hit.mp3",
    ]  # fmt: skip
    assert [p.name for p in path.parent.iterdir()] == ["mine.m3u8"]


def test_every_entry_leads_to_its_file(tmp_path):
    names = ["#a.mp3", " b.mp3", "c%20d.mp3", "deep/er/e.mp3"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    path = tmp_path / "mine.M3U8"
    write_playlist(path, (piece(k, path=tmp_path / name) for k, name in enumerate(names)))
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    assert [(path.parent / line).resolve() for line in lines] == [tmp_path / n for n in names]
    assert lines[0] == "./#a.mp3"  # else it would be a comment


@pytest.mark.parametrize(
    ("name", "pieces", "message"),
    [
        ("list.txt", [piece(0)], r"list.txt does not end in .m3u8"),
        ("list.m3u8", [], "there is no piece"),
        ("list.m3u8", [piece(0, path=Path("/m/a\nb.mp3"))], "has a line break in its path"),
        ("file/list.m3u8", [piece(0)], "cannot be written"),
    ],
)
def test_what_cannot_be_a_playlist(tmp_path, name, pieces, message):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=message):
        write_playlist(tmp_path / name, pieces)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
