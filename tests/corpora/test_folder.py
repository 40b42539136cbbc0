import json

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from stemwise.cli import app
from stemwise.corpora.bank import open_bank
from stemwise.corpora.folder import DEFAULT_MAP, load_folder, parse_map
from stemwise.corpora.piece import check_audio, check_pieces, read_about, read_manifest
from stemwise.errors import CorpusError, UsageError

RATE_HZ = 8000


def write_song(folder, names, seconds=1.0, extension="wav", channels=2):
    folder.mkdir(parents=True, exist_ok=True)
    waves = {}
    for k, name in enumerate(names):
        time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
        wave = 0.1 * np.sin(2 * np.pi * 100 * (k + 1) * time)
        soundfile.write(folder / f"{name}.{extension}", np.stack([wave] * channels, 1), RATE_HZ)
        waves[name] = wave
    return waves


@pytest.fixture
def musdb(tmp_path):
    """Songs in the layout of MUSDB18-HQ."""
    root = tmp_path / "musdb18hq"
    for folder, count in (("train", 40), ("test", 3)):
        for k in range(count):
            write_song(root / folder / f"Artist – {folder} {k}",
                       ["drums", "bass", "vocals", "other", "mixture"], 0.2)  # fmt: skip
    return root


def test_musdb_needs_no_map_and_valid_comes_out_of_train(musdb):
    found = load_folder(musdb, licence="academic")
    assert found.problems == []
    assert len(found.pieces) == 43
    assert check_pieces(found.pieces) == check_audio(found.pieces) == []
    first = found.pieces[0]
    assert {part: [p.name for p in paths] for part, paths in first.stems.items()} == {
        "drums": ["drums.wav"], "bass": ["bass.wav"], "residuals": ["other.wav", "vocals.wav"],
    }  # fmt: skip
    assert (first.tempo_bpm, first.licence) == (None, "academic")
    splits = {piece.identifier: piece.split for piece in found.pieces}
    for name, split in splits.items():
        assert (split == "test") == (" test " in name)
    assert 1 <= list(splits.values()).count("valid") <= 10
    assert load_folder(musdb, valid_share=0, licence="academic").pieces != found.pieces
    fewer = load_folder(musdb, valid_share=0.02).pieces
    assert {p.identifier for p in fewer if p.split == "valid"} < {
        name for name, split in splits.items() if split == "valid"
    }


def test_without_split_folders_songs_keep_their_split_when_others_come(tmp_path):
    for k in range(60):
        write_song(tmp_path / "music" / f"song {k}", ["drums", "keys"], 0.05, "flac")
    names = parse_map(["keys=piano"])
    before = {p.song: p.split for p in load_folder(tmp_path / "music", names, valid_share=0.2,
                                                   test_share=0.3).pieces}  # fmt: skip
    counts = {split: list(before.values()).count(split) for split in ("train", "valid", "test")}
    assert counts["train"] > counts["test"] > 8
    assert counts["valid"] > 4
    write_song(tmp_path / "music" / "another", ["drums"], 0.05)
    after = {p.song: p.split for p in load_folder(tmp_path / "music", names, valid_share=0.2,
                                                  test_share=0.3).pieces}  # fmt: skip
    assert before.items() < after.items()


def test_split_folders_are_taken_as_they_are(tmp_path):
    for folder in ("train", "validation", "test"):
        for k in range(12):
            write_song(tmp_path / "m" / folder / f"{folder} {k}", ["bass"], 0.05)
    write_song(tmp_path / "m" / "stray", ["bass"], 0.05)
    (tmp_path / "m" / "notes").mkdir()
    found = load_folder(tmp_path / "m", valid_share=0.4, test_share=0.4)
    assert [piece.split for piece in found.pieces].count("train") == 12
    for piece in found.pieces:
        assert piece.song.startswith(piece.split)
    assert found.problems == ["stray: lies beside the split folders; move it into one"]


def test_unknown_names_are_named_with_the_option(tmp_path):
    write_song(tmp_path / "m" / "a", ["drums", "Keys", "brass 1"], 0.05)
    with pytest.raises(CorpusError, match="files named brass 1, keys; say it with --map"):
        load_folder(tmp_path / "m")
    found = load_folder(tmp_path / "m", parse_map(["keys=piano, brass 1="]))
    assert set(found.pieces[0].stems) == {"drums", "piano"}


def test_the_map():
    assert parse_map([]) == DEFAULT_MAP
    names = parse_map(["Keys=piano,brass=residuals", "vocals="])
    assert (names["keys"], names["brass"], names["vocals"]) == ("piano", "residuals", "")
    for text in ("keys", "keys=organ", "=piano"):
        with pytest.raises(UsageError):
            parse_map([text])


def test_a_bad_song_is_named_and_left_out(tmp_path):
    root = tmp_path / "m"
    write_song(root / "good", ["drums", "bass"])
    write_song(root / "silent", ["mixture"])
    write_song(root / "short", ["drums"])
    write_song(root / "short", ["bass"], 0.5)
    write_song(root / "rates", ["drums"])
    soundfile.write(root / "rates" / "bass.wav", np.zeros(4000), 4000)
    write_song(root / "broken", ["drums"])
    (root / "broken" / "bass.wav").write_bytes(b"no sound")
    write_song(root / "none", ["drums"], 0.0)
    (root / "good" / "._drums.wav").write_bytes(b"left by another system")
    found = load_folder(root)
    assert [piece.identifier for piece in found.pieces] == ["good"]
    expected = ["broken: bass.wav cannot be read", "none: its stems are empty",
                "rates: stems differ in rate", "short: the ", "silent: has no stems"]  # fmt: skip
    assert len(found.problems) == len(expected)
    for line, start in zip(found.problems, expected, strict=True):
        assert line.startswith(start)


def test_a_song_in_two_splits_is_left_out(tmp_path):
    for folder in ("train", "test"):
        write_song(tmp_path / "m" / folder / "same", ["drums"], 0.05)
    write_song(tmp_path / "m" / "train" / "other", ["drums"], 0.05)
    found = load_folder(tmp_path / "m", valid_share=0)
    assert [piece.identifier for piece in found.pieces] == ["other"]
    assert found.problems == ["same: is in test and in train; keep one"] * 2


def test_mistakes_are_one_clear_line(tmp_path):
    with pytest.raises(CorpusError, match="not a folder"):
        load_folder(tmp_path / "nowhere")
    with pytest.raises(CorpusError, match="holds no song"):
        load_folder(tmp_path)
    for shares in ((0.5, 0.5), (-0.1, 0.5)):
        with pytest.raises(UsageError, match="together below 1"):
            load_folder(tmp_path, valid_share=shares[0], test_share=shares[1])


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_makes_a_corpus(tmp_path):
    waves = write_song(tmp_path / "m" / "train" / "a", ["drums", "keys", "strings", "other"])
    write_song(tmp_path / "m" / "train" / "b", ["drums", "click"])
    command = ("data", "folder", tmp_path / "m", tmp_path / "out", "--rate", RATE_HZ, "--map",
               "keys=piano,strings=residuals", "--map", "click=", "--valid-share", 0,
               "--test-share", 0, "--licence", "CC0-1.0")  # fmt: skip
    result = run(*command)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("train: 2 pieces of 2 songs")
    assert read_about(tmp_path / "out")["licence"] == "CC0-1.0"
    assert [set(p.stems) for p in read_manifest(tmp_path / "out")] == [
        {"drums", "piano", "residuals"}, {"drums"},
    ]  # fmt: skip
    bank = open_bank(tmp_path / "out" / "bank-8000")
    np.testing.assert_allclose(bank.stem(0, 4), waves["other"] + waves["strings"], atol=3 / 32767)
    (tmp_path / "m" / "train" / "c").mkdir()
    result = run(*command[:3], tmp_path / "again", *command[4:], "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["problems"] == ["c: has no stems"]
    assert "c: has no stems" in result.stderr
    assert run("data", "check", tmp_path / "again").exit_code == 0
