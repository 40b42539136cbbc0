import hashlib
import json
import shutil

import numpy as np
import pytest
import soundfile
import yaml
from typer.testing import CliRunner

from made_slakh import clustered_tracks, tempo_bpm, write_midi, write_slakh
from stemwise.cli import app
from stemwise.corpora import slakh as slakh_module
from stemwise.corpora.bank import open_bank, prepare
from stemwise.corpora.piece import check_audio, check_pieces, read_about, read_manifest
from stemwise.corpora.slakh import (
    check_archive,
    check_slakh,
    cross_songs,
    identifier,
    load_slakh,
    protocol,
    pseudo_pieces,
)
from stemwise.errors import CorpusError
from stemwise.parts import PARTS

RATE_HZ = 8000
TRACKS = {"train": [1, 2], "validation": [1501], "test": [1876, 1937]}
ALL = 1200 + 270 + 136


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    root = tmp_path_factory.mktemp("slakh2100_flac_redux")
    write_slakh(root, TRACKS, seconds=2.0)
    return root


@pytest.fixture
def copy(published, tmp_path):
    return shutil.copytree(published, tmp_path / "slakh")


@pytest.fixture
def small_protocol(monkeypatch):
    """The protocol, as if it asked for the sample's tracks only."""
    whole = protocol()
    split = {"train": (1, 2), "valid": (1501,), "test": (1876, 1937)}
    small = slakh_module.SlakhProtocol(
        whole.about, split, whole.tempo_clusters, whole.backgrounds, whole.query_segments
    )
    monkeypatch.setattr(slakh_module, "protocol", lambda: small)


def own_problems(problems):
    return [line for line in problems if "is missing in" not in line]


def test_the_protocol_is_the_published_one():
    facts = protocol()
    assert {s: len(set(tracks)) for s, tracks in facts.split.items()} == {
        "train": 1200, "valid": 270, "test": 136,
    }  # fmt: skip
    assert {s: len(clusters) for s, clusters in facts.tempo_clusters.items()} == {
        "train": 31, "valid": 25, "test": 20,
    }  # fmt: skip
    for split, clusters in facts.tempo_clusters.items():
        songs = [number for cluster in clusters for number in cluster]
        assert len(songs) == len(set(songs))
        unlisted = {"train": 19, "valid": 2, "test": 0}
        assert len(set(facts.split[split]) - set(songs)) == unlisted[split]
    assert max(facts.split["train"]) <= 1500 < min(facts.split["valid"])
    assert max(facts.split["valid"]) <= 1875 < min(facts.split["test"])
    assert facts.query_segments == {
        "drums": 916, "bass": 903, "piano": 822, "guitar": 884, "residuals": 929,
    }  # fmt: skip


def test_the_40_are_as_published():
    pieces = pseudo_pieces(40)
    assert pieces["Track01876"] == ("Track01876", "Track01937", "Track01959", "Track01963")
    assert pieces["Track01957"] == ("Track01957", "Track01975", "Track01995", "Track02056")
    assert list(map(len, pieces.values())) == [4] * 10
    with pytest.raises(ValueError, match="got count=30"):
        pseudo_pieces(30)


def test_the_50_are_ten_targets_with_five_backgrounds_of_one_cluster():
    before, pieces = pseudo_pieces(40), pseudo_pieces()
    clusters = [set(map(identifier, c)) for c in protocol().tempo_clusters["test"]]
    assert list(map(len, pieces.values())) == [5] * 10
    songs = [song for backgrounds in pieces.values() for song in backgrounds]
    assert len(set(songs)) == 50
    for target, backgrounds in pieces.items():
        assert backgrounds[0] == target
        assert any(set(backgrounds) <= cluster for cluster in clusters)
    kept = pieces.keys() & before.keys()
    assert before.keys() - kept == {"Track01893", "Track01957"}
    assert pieces.keys() - kept == {"Track01877", "Track01878"}
    used = {song for backgrounds in before.values() for song in backgrounds}
    for target in kept:
        assert pieces[target][:4] == before[target]
        (cluster,) = (cluster for cluster in clusters if target in cluster)
        assert pieces[target][4] == min(cluster - used)
    assert pieces["Track01876"][4] == "Track01976"
    for target in ("Track01877", "Track01878"):
        (cluster,) = (cluster for cluster in clusters if target in cluster)
        assert not cluster & used
        assert pieces[target] == tuple(sorted(cluster)[:5])


def test_the_songs_of_the_full_cross_are_of_one_cluster():
    songs = set(cross_songs())
    assert len(songs) == 10
    assert sum(songs <= set(map(identifier, c)) for c in protocol().tempo_clusters["test"]) == 1


def test_tracks_come_as_pieces_of_the_protocol(published, small_protocol):
    calls = []
    found = load_slakh(published, progress=lambda d, t: calls.append((d, t)))
    assert calls == [(k, 5) for k in range(1, 6)]
    assert found.problems == []
    assert found.about["licence"] == "CC-BY-4.0"
    pieces = {piece.identifier: piece for piece in found.pieces}
    assert {n: p.split for n, p in pieces.items()} == {
        "Track00001": "train", "Track00002": "train", "Track01501": "valid",
        "Track01876": "test", "Track01937": "test",
    }  # fmt: skip
    assert check_pieces(found.pieces) == check_audio(found.pieces) == []
    stems = {part: [p.name for p in paths] for part, paths in pieces["Track00001"].stems.items()}
    assert stems == {
        "drums": ["S00.flac"], "bass": ["S01.flac"], "piano": ["S02.flac"],
        "guitar": ["S03.flac", "S04.flac"], "residuals": ["S05.flac", "S06.flac"],
    }  # fmt: skip
    assert "piano" not in pieces["Track00002"].stems
    for number in (1, 1876):
        assert pieces[identifier(number)].tempo_bpm == pytest.approx(tempo_bpm(number), abs=0.01)
    clusters = protocol().tempo_clusters
    for name, split in (("Track00001", "train"), ("Track01501", "valid"), ("Track01876", "test")):
        piece = pieces[name]
        assert int(name[5:]) in clusters[split][piece.tempo_cluster]
    assert pieces["Track01876"].tempo_cluster == pieces["Track01937"].tempo_cluster


def test_the_parts_sum_to_the_mixture(published, small_protocol, tmp_path):
    pieces = load_slakh(published).pieces
    bank = prepare(pieces, tmp_path / "bank", RATE_HZ)
    assert not bank.clipped_samples.any()
    for place, piece in enumerate(bank.pieces):
        (mix,) = published.glob(f"*/{piece.identifier}/mix.flac")
        expected = soundfile.read(mix, dtype="float32")[0]
        assert np.abs(expected).max() > 0.1
        total = sum(bank.stem(place, part) for part in range(len(PARTS)))
        np.testing.assert_allclose(total, expected, atol=6 / 32767)
    segments = bank.segments("test", 1.0, 1.0)
    assert segments.clusters.tolist() == [pieces[3].tempo_cluster] * 2


def test_made_samples_of_one_cluster():
    tracks = clustered_tracks()
    assert list(map(len, tracks.values())) == [8, 6, 15]
    assert any(set(tracks["test"]) <= set(c) for c in protocol().tempo_clusters["test"])


def test_wav_stems_of_the_first_release_are_read(copy, small_protocol):
    for path in copy.glob("*/*/stems/*.flac"):
        wave, rate_hz = soundfile.read(path, dtype="int16")
        soundfile.write(path.with_suffix(".wav"), wave, rate_hz, "PCM_16")
        path.unlink()
    found = load_slakh(copy, checksums=True)
    assert found.problems == []
    assert found.pieces[0].stems["guitar"][1].name == "S04.wav"


def spoil_program(track):
    facts = yaml.safe_load((track / "metadata.yaml").read_text())
    facts["stems"]["S03"]["program_num"] = 200
    del facts["stems"]["S04"]["program_num"]
    (track / "metadata.yaml").write_text(yaml.safe_dump(facts))


def render_nothing(track):
    facts = yaml.safe_load((track / "metadata.yaml").read_text())
    for stem in facts["stems"].values():
        stem["audio_rendered"] = False
    (track / "metadata.yaml").write_text(yaml.safe_dump(facts))


def shorten(track):
    soundfile.write(track / "stems" / "S04.flac", np.zeros(RATE_HZ), RATE_HZ)


def resample(track):
    soundfile.write(track / "stems" / "S04.flac", np.zeros(2 * 4000), 4000)


def move(track):
    track.rename(track.parents[1] / "train" / track.name)


def write_metadata(text):
    return lambda track: (track / "metadata.yaml").write_text(text)


PROBLEMS = [
    (shutil.rmtree, ["is missing in test"]),
    (move, ["is in train, wanted in test by its number"]),
    (lambda track: (track / "metadata.yaml").unlink(), ["metadata.yaml is missing"]),
    (write_metadata("stems: [unclosed\n  x: {"), ["metadata.yaml cannot be read (ParserError"]),
    (write_metadata("a: 1"), ["(KeyError: 'stems')"]),
    (write_metadata("stems: {S00: 3}"), ["stem S00 of metadata.yaml cannot be placed"]),
    (spoil_program, ["S03 of metadata.yaml cannot be placed (ValueError: a General MIDI program is "
                     "0..127, got 200)", "S04 of metadata.yaml cannot be placed (KeyError"]),
    (render_nothing, ["no stem was rendered"]),
    (lambda track: (track / "stems/S04.flac").unlink(), ["stem S04 was rendered and has no file"]),
    (lambda track: (track / "stems/S00.flac").write_bytes(b"no"), ["drums stem cannot be read"]),
    (shorten, ["lasts 8000 samples, wanted 16000 (S04.flac)"]),
    (resample, ["stems differ in rate: [4000, 8000] Hz"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("spoil", "expected"), PROBLEMS, ids=[str(told)[:40] for _, told in PROBLEMS]
)
def test_a_bad_track_is_named_left_out_and_stops_no_other(copy, small_protocol, spoil, expected):
    spoil(copy / "test" / "Track01876")
    found = load_slakh(copy)
    assert len(found.problems) == len(expected)
    for line, part in zip(found.problems, expected, strict=True):
        assert line.startswith("Track01876: ")
        assert part in line
        assert "\n" not in line
    assert [p.identifier for p in found.pieces] == [
        "Track00001", "Track00002", "Track01501", "Track01937",
    ]  # fmt: skip


def test_a_track_among_the_omitted_is_named(copy, small_protocol):
    (copy / "omitted").mkdir()
    (copy / "train" / "Track00002").rename(copy / "omitted" / "Track00002")
    (copy / "test" / "Track01901").mkdir()  # no track of the protocol: passed over
    assert check_slakh(copy) == [
        "Track00002: is in omitted, wanted in train by its number; move it"
    ]


def test_checksums_find_what_headers_do_not(copy, small_protocol):
    assert check_slakh(copy, checksums=True) == []
    stem = copy / "train" / "Track00001" / "stems" / "S01.flac"
    data = bytearray(stem.read_bytes())
    data[18 + 8 : 18 + 24] = hashlib.md5(b"another sound").digest()  # in STREAMINFO
    stem.write_bytes(data)
    cut = copy / "train" / "Track00002" / "stems" / "S00.flac"
    cut.write_bytes(cut.read_bytes()[:-4000])
    assert check_slakh(copy) == []
    first, second = check_slakh(copy, checksums=True)
    assert first.startswith("Track00001: S01.flac has sound of MD5 ")
    assert hashlib.md5(b"another sound").hexdigest() in first
    assert second.startswith("Track00002: S00.flac ")


@pytest.mark.parametrize("content", [None, b"no MIDI", b"MThd\0\0\0\6\0\1\0\1\1\xe0MTrk"])
def test_a_tempo_that_cannot_be_read_is_unknown(copy, small_protocol, content):
    path = copy / "test" / "Track01876" / "all_src.mid"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    found = load_slakh(copy)
    assert found.problems == []
    assert found.pieces[3].tempo_bpm is None


def test_the_tempo_is_the_one_that_lasts_longest(tmp_path):
    write_midi(tmp_path / "a.mid", 90.0, 5.0)
    assert slakh_module._tempo_bpm(tmp_path / "a.mid") == pytest.approx(90.0, abs=0.01)
    write_midi(tmp_path / "b.mid", 90.0, 0.1)
    assert slakh_module._tempo_bpm(tmp_path / "b.mid") == pytest.approx(222.0, abs=0.01)


def test_the_archive_is_compared(tmp_path, monkeypatch):
    archive = tmp_path / "slakh2100_flac_redux.tar.gz"
    with pytest.raises(CorpusError, match="cannot be read"):
        check_archive(archive)
    archive.write_bytes(b"cut")
    with pytest.raises(CorpusError, match="f4b71b6c45ac9b506f59788456b3f0c4; download it again"):
        check_archive(archive)
    monkeypatch.setattr(slakh_module, "ARCHIVE_MD5", hashlib.md5(b"cut").hexdigest())
    check_archive(archive)


def test_no_slakh_is_one_clear_line(tmp_path):
    with pytest.raises(CorpusError, match="no folder train, validation or test"):
        load_slakh(tmp_path)


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_makes_a_corpus_and_goes_on(published, small_protocol, tmp_path):
    out = tmp_path / "corpus"
    command = ("data", "slakh", published, out, "--rate", RATE_HZ, "--checksums", "--jobs", 2)
    result = run(*command)
    assert result.exit_code == 0, result.output
    assert "the bank of 5 pieces at 8000 Hz takes 0.00 GB" in result.stderr
    assert "5/5 pieces prepared" in result.stderr
    assert result.stdout.startswith("train: 2 pieces of 2 songs")
    assert read_about(out)["corpus"] == "Slakh2100"
    assert check_pieces(read_manifest(out)) == []
    made = (out / "manifest.json").read_bytes(), (out / "bank-8000" / "audio.i16").read_bytes()
    done = np.memmap(out / "bank-8000" / "done.u8", np.uint8, "r+")
    done[3] = 0
    done.flush()
    result = run(*command, "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["bank_bytes"] == len(made[1]) == 24 * 2 * RATE_HZ * 2
    assert report["problems"] == []
    assert (out / "manifest.json").read_bytes() == made[0]
    assert (out / "bank-8000" / "audio.i16").read_bytes() == made[1]
    assert run("data", "check", out).exit_code == 0


def test_problems_stop_the_command_unless_partial(published, tmp_path):
    out = tmp_path / "corpus"
    result = run("data", "slakh", published, out, "--rate", RATE_HZ)
    assert isinstance(result.exception, CorpusError)
    assert str(result.exception).startswith(f"{ALL - 5} problems; ")
    assert "--partial" in str(result.exception)
    listed = [line for line in result.stderr.splitlines() if "is missing in" in line]
    assert len(listed) == 20
    assert f"… and {ALL - 25} more problems" in result.stderr
    assert not out.exists()
    result = run("data", "slakh", published, out, "--rate", RATE_HZ, "--partial", "--json")
    assert result.exit_code == 3
    report = json.loads(result.stdout)
    assert len(report["problems"]) == ALL - 5
    assert report["splits"]["test"]["pieces"] == 2
    assert len(open_bank(out / "bank-8000").pieces) == 5


def test_no_good_track_makes_nothing(tmp_path):
    (tmp_path / "slakh" / "train").mkdir(parents=True)
    result = run("data", "slakh", tmp_path / "slakh", tmp_path / "out", "--partial")
    assert isinstance(result.exception, CorpusError)
    assert "no piece without a problem" in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_the_command_compares_the_archive_first(published, tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(b"cut")
    result = run("data", "slakh", published, tmp_path / "o", "--archive", tmp_path / "a.tar.gz")
    assert isinstance(result.exception, CorpusError)
    assert "download it again" in str(result.exception)
