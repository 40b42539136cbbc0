import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from stemwise.corpora.piece import (
    Piece,
    check_audio,
    check_pieces,
    checked,
    read_about,
    read_manifest,
    summary,
    write_manifest,
)
from stemwise.errors import CorpusError

RATE_HZ = 8000


def piece(folder, name, split="train", song=None, parts=("drums", "bass"), seconds=1.0):
    stems = {}
    for part in parts:
        path = folder / name / f"{part}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.zeros(round(seconds * RATE_HZ)), RATE_HZ)
        stems[part] = (path,)
    return Piece(name, song or name, split, 120.0, seconds, "made", "CC0-1.0", stems,
                 {"drums": {"soundfont": "x"}})  # fmt: skip


def test_a_manifest_gives_back_what_was_written_sorted(tmp_path):
    pieces = [piece(tmp_path, "b"), piece(tmp_path, "å ö", "test"), piece(tmp_path, "a", "valid")]
    write_manifest(tmp_path, pieces, {"corpus": "made", "seed": 3})
    assert read_manifest(tmp_path) == sorted(pieces, key=lambda p: p.identifier)
    assert read_about(tmp_path) == {"corpus": "made", "seed": 3}
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["manifest.json"]


def test_the_bytes_of_a_manifest_do_not_depend_on_the_order(tmp_path):
    pieces = [piece(tmp_path, "b", parts=("bass", "drums")), piece(tmp_path, "a")]
    write_manifest(tmp_path, pieces, {})
    first = (tmp_path / "manifest.json").read_bytes()
    turned = [replace(p, stems=dict(reversed(p.stems.items()))) for p in reversed(pieces)]
    write_manifest(tmp_path, turned, {})
    assert (tmp_path / "manifest.json").read_bytes() == first
    assert str(tmp_path) not in first.decode()


def test_a_corpus_may_be_moved(tmp_path):
    write_manifest(tmp_path / "old", [piece(tmp_path / "old", "a")], {})
    (tmp_path / "old").rename(tmp_path / "new")
    assert check_pieces(read_manifest(tmp_path / "new")) == []


def test_stems_outside_are_written_as_absolute_paths(tmp_path):
    outside = piece(tmp_path / "elsewhere", "a")
    write_manifest(tmp_path / "corpus", [outside], {})
    assert read_manifest(tmp_path / "corpus") == [outside]
    (tmp_path / "corpus").rename(tmp_path / "moved")
    assert read_manifest(tmp_path / "moved") == [outside]


def test_one_file_is_written_as_a_string_and_several_as_a_list(tmp_path):
    one = piece(tmp_path, "a")
    both = replace(one, stems={"bass": one.stems["bass"] + one.stems["drums"]}, tempo_bpm=None,
                   identifier="b", tempo_cluster=0)  # fmt: skip
    write_manifest(tmp_path, [one, both], {})
    assert read_manifest(tmp_path) == [one, both]
    first, second = json.loads((tmp_path / "manifest.json").read_text())["pieces"]
    assert list(first) == ["identifier", "song", "split", "tempo_bpm", "duration_seconds",
                           "source", "licence", "stems", "rendering"]  # fmt: skip
    assert first["stems"] == {"drums": "a/drums.flac", "bass": "a/bass.flac"}
    assert second["stems"] == {"bass": ["a/bass.flac", "a/drums.flac"]}
    assert second["tempo_cluster"] == 0
    assert "tempo_bpm" not in second


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "wanted 1"),
        ('{"format": 9}', "format 9"),
        ('{"format": 1, "about": {}, "pieces": [{"identifier": "a"}]}', "piece 0"),
    ],
)
def test_a_damaged_manifest_is_one_clear_line(tmp_path, text, message):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(CorpusError, match=message) as caught:
        read_manifest(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_manifest_says_how_to_make_one(tmp_path):
    with pytest.raises(CorpusError, match="stemwise data band"):
        read_manifest(tmp_path)


def test_each_problem_is_named(tmp_path):
    good = piece(tmp_path, "good")
    assert check_pieces([good]) == []
    assert check_pieces([replace(good, tempo_bpm=None)]) == []
    missing = replace(good, identifier="m", stems={"drums": (tmp_path / "none.flac",)})
    wrong = {
        "used twice": [good, good],
        "is in train and in test": [good, replace(good, identifier="x", split="test")],
        "split 'eval'": [replace(good, split="eval")],
        "tempo_bpm is 0": [replace(good, tempo_bpm=0.0)],
        "tempo_bpm is nan": [replace(good, tempo_bpm=float("nan"))],
        "duration_seconds is -1": [replace(good, duration_seconds=-1.0)],
        "no stems": [replace(good, stems={})],
        "unknown part 'vocals'": [replace(good, stems={"vocals": good.stems["drums"]})],
        "drums stem is missing": [missing],
        "bass stem is missing": [
            replace(good, stems={"bass": (good.stems["bass"][0], tmp_path / "none.flac")})
        ],
        "bass stem has no file": [replace(good, stems={"bass": ()})],
    }
    for expected, pieces in wrong.items():
        problems = check_pieces(pieces)
        assert len(problems) == 1, problems
        assert expected in problems[0]
        with pytest.raises(CorpusError):
            checked(pieces)
    assert checked([good]) == [good]


def test_headers_are_checked(tmp_path):
    good = piece(tmp_path, "good")
    assert check_audio([good]) == []
    assert "wanted 16000" in check_audio([replace(good, duration_seconds=2.0)])[0]
    (bass,) = good.stems["bass"]
    soundfile.write(bass, np.zeros((RATE_HZ, 2)), RATE_HZ)  # channels are mixed down
    assert check_audio([good]) == []
    soundfile.write(bass, np.zeros(16000), 16000)
    assert check_audio([good]) == ["good: stems differ in rate: [8000, 16000] Hz"]
    summed = replace(good, stems={"drums": (*good.stems["drums"], bass)})
    assert "differ in rate" in check_audio([summed])[0]
    bass.write_bytes(b"no audio")
    assert "bass stem cannot be read" in check_audio([good])[0]
    bass.unlink()
    assert check_audio([good]) == []


def test_the_summary_counts_by_split(tmp_path):
    pieces = [piece(tmp_path, "a", song="s"), piece(tmp_path, "b", song="s", parts=("bass",))]
    totals = summary(pieces)
    assert totals["train"]["pieces"] == 2
    assert totals["train"]["songs"] == 1
    assert totals["train"]["stems"] == {
        "drums": 1, "bass": 2, "piano": 0, "guitar": 0, "residuals": 0,
    }  # fmt: skip
    assert totals["test"]["pieces"] == 0
    json.dumps(totals)
