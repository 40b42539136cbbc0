import json

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from made_corpus import RATE_HZ, write_corpus
from stemwise.cli import app
from stemwise.corpora import songbook
from stemwise.corpora.bank import bank_of
from stemwise.corpora.piece import check_audio, check_pieces, read_about, read_manifest
from stemwise.errors import CorpusError, UsageError


def run(*words):
    return CliRunner().invoke(app, list(map(str, words)))


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    directory = tmp_path_factory.mktemp("songbook") / "songs"
    told = run(
        "data", "songbook", directory, "--train", 2, "--test", 1, "--seconds", 6, "--jobs", 1
    )
    assert told.exit_code == 0, told.output
    assert "3 songs of 6 s" in told.stdout
    return directory


def test_a_songbook_is_a_corpus_of_residuals(songs):
    pieces = read_manifest(songs)
    assert check_pieces(pieces) + check_audio(pieces) == []
    assert [piece.split for piece in pieces] == ["train", "train", "test"]
    assert {part for piece in pieces for part in piece.stems} == {"residuals"}
    assert len({piece.rendering["singer"]["voice"] for piece in pieces}) == 3


def test_people_sing_under_their_own_licence(tmp_path):
    for k in range(8):
        wave = np.sin(np.arange(RATE_HZ // 2) * (0.05 + 0.001 * k))
        (tmp_path / "voices" / "anna").mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "voices" / "anna" / f"{k}.wav", wave, RATE_HZ)
    (tmp_path / "voices" / "anna" / "broken.wav").write_bytes(b"RIFF and no more")
    asked = ("data", "songbook", tmp_path / "out", "--train", 6, "--seconds", 6, "--jobs", 1)
    told = run(*asked, "--voices", tmp_path / "voices")
    assert isinstance(told.exception, UsageError)
    assert "--licence" in str(told.exception)
    told = run(*asked, "--voices", tmp_path / "voices", "--licence", "CC-BY-4.0")
    assert told.exit_code == 3, told.output
    assert "recordings left out: 1" in told.stdout
    assert "broken.wav" in told.stderr
    licences = {
        piece.rendering["singer"]["voice"] == "anna": piece.licence
        for piece in read_manifest(tmp_path / "out")
    }
    assert licences == {True: "CC-BY-4.0", False: "CC0-1.0"}
    assert read_about(tmp_path / "out")["licence"] == "CC-BY-4.0 and CC0-1.0"


def test_it_goes_on_and_keeps_what_is_there(songs, tmp_path, monkeypatch):
    partly = tmp_path / "partly"
    partly.mkdir()
    for name in ("settings.json", "pieces/song_0000", "pieces/song_0002"):
        source, target = songs / name, partly / name
        target.parent.mkdir(exist_ok=True)
        target.symlink_to(source)
    sung = []
    once = songbook._sung
    monkeypatch.setattr(songbook, "ProcessPoolExecutor", InPlace)
    monkeypatch.setattr(songbook, "_sung", lambda *a: sung.append(a[3]) or once(*a))
    told = run("data", "songbook", partly, "--train", 2, "--test", 1, "--seconds", 6)
    assert told.exit_code == 0, told.output
    assert sung == [1]
    where = "pieces/song_0001/residuals.flac"
    assert (partly / where).read_bytes() == (songs / where).read_bytes()


class InPlace:
    """As a pool of processes, in this one."""

    def __init__(self, *_):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    map = staticmethod(map)


def test_a_folder_made_with_other_settings_is_refused(songs):
    told = run("data", "songbook", songs, "--train", 3, "--test", 1, "--seconds", 6)
    assert isinstance(told.exception, CorpusError)
    assert "was made with train 2, asked is 3" in str(told.exception)


def test_no_songs_are_no_corpus(tmp_path):
    told = run("data", "songbook", tmp_path / "none", "--train", 0)
    assert isinstance(told.exception, CorpusError)
    assert "no songs are asked for" in str(told.exception)
    assert not (tmp_path / "none").exists()


def test_a_licence_without_recordings_is_refused(tmp_path):
    told = run("data", "songbook", tmp_path / "out", "--licence", "CC0-1.0")
    assert isinstance(told.exception, UsageError)
    assert "there are none: give --voices" in str(told.exception)
    assert not (tmp_path / "out").exists()


def test_corpora_are_joined_where_they_lie(songs, tmp_path):
    write_corpus(tmp_path / "band", {"train": 2, "valid": 1})
    told = run(
        "data", "join", tmp_path / "both", tmp_path / "band", songs, "--rate", RATE_HZ, "--json"
    )
    assert told.exit_code == 0, told.output
    report = json.loads(told.stdout)
    assert [report["splits"][split]["songs"] for split in ("train", "valid", "test")] == [4, 1, 1]
    whole, own = bank_of(tmp_path / "both", RATE_HZ), bank_of(tmp_path / "band", RATE_HZ)
    for k, piece in enumerate(own.pieces):
        there = next(i for i, p in enumerate(whole.pieces) if p.identifier == piece.identifier)
        assert np.array_equal(whole.stem(there, 1), own.stem(k, 1))


def test_what_two_corpora_both_have_is_a_problem(songs, tmp_path):
    told = run("data", "join", tmp_path / "both", songs, songs)
    assert isinstance(told.exception, CorpusError)
    assert "another corpus has a piece songbook_0_song_0000, too" in told.stderr
    assert not (tmp_path / "both").exists()
    moved = json.loads((songs / "manifest.json").read_text())
    for piece in moved["pieces"]:
        piece |= {"identifier": piece["identifier"] + "_b", "split": "valid"}
        piece["stems"] = {"residuals": str(songs / piece["stems"]["residuals"])}
    (tmp_path / "moved").mkdir()
    (tmp_path / "moved" / "manifest.json").write_text(json.dumps(moved))
    told = run("data", "join", tmp_path / "both", songs, tmp_path / "moved")
    assert isinstance(told.exception, CorpusError)
    assert "is in valid here and in train in another corpus" in told.stderr
