import shutil
from pathlib import Path

import pytest

from made_music import tone, write_sndfile
from stemwise.errors import UsageError
from stemwise.library.tour import tour
from stemwise.parts import PARTS

MUSIC = Path(__file__).parents[2] / "demo" / "music"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    chosen = tmp_path_factory.mktemp("music")
    for path in sorted(MUSIC.glob("*.opus"))[:4]:
        shutil.copy(path, chosen)
    return chosen


def test_every_part_is_asked_for_or_said_to_be_silent(folder, tmp_path):
    seen = tour(folder, tmp_path, n=2)
    assert seen.summary.added == 4
    assert set(seen.results) | set(seen.silent) == {*PARTS, "mixed"}
    assert not set(seen.results) & set(seen.silent)
    for name, result in seen.results.items():
        assert 1 <= len(result.matches) <= 2
        assert name == "mixed" or set(result.weights) == {name}
    assert seen.picture.read_bytes().startswith(b"\x89PNG")
    again = tour(folder, tmp_path, n=2)
    assert again.summary.unchanged == 4


def test_a_title_chooses_the_query(folder, tmp_path):
    title = sorted(folder.glob("*.opus"))[1].stem
    seen = tour(folder, tmp_path, query=title)
    assert {result.query for result in seen.results.values()} == {title}


def test_one_piece_is_too_few(tmp_path):
    music = tmp_path / "music"
    music.mkdir()
    write_sndfile(music / "one.wav", tone(12.0))
    with pytest.raises(UsageError, match="1 pieces of music; a tour needs two"):
        tour(music, tmp_path / "out")
