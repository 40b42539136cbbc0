import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from made_corpus import write_corpus
from made_music import tone, write_sndfile
from stemwise.cli import app
from stemwise.errors import AudioError, UsageError
from stemwise.library.calibration import read_calibration

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_model_path):
    """Five songs of 9 to 25 seconds and a bad one, indexed; piano never sounds."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "music").mkdir()
    for seed in range(5):
        sound = tone(9 + 4 * seed, 8000, seed)
        write_sndfile(folder / "music" / f"song {seed}.wav", sound, 8000)
    (folder / "music" / "bad [song].mp3").write_text("not music")
    assert run(folder, "index", folder / "music", "--model", tiny_model_path).exit_code == 3
    return folder


def run(folder, *arguments):
    environment = {"STEMWISE_CATALOGUE": str(folder / "catalogue")}
    return RUNNER.invoke(app, [str(a) for a in arguments], env=environment)


def lines(result):
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_similar_as_table_and_as_json(place):
    query = place / "music" / "song 2.wav"
    found = lines(run(place, "similar", query, "--part", "drums,bass=0.5", "-n", 3, "--json"))
    assert [match["rank"] for match in found] == [1, 2, 3]
    assert [m["distance"] for m in found] == sorted(m["distance"] for m in found)
    assert set(found[0]["parts"]) == {"drums", "bass"}
    assert len(found[0]["passages"]) == 9
    assert {m["kind"] for m in found} == {"exact"}
    assert "song 2" not in [match["title"] for match in found]
    again = lines(run(place, "similar", "song 2", "--part", "drums,bass=0.5", "-n", 3, "--json"))
    assert again == found
    table = run(place, "similar", query, "--part", "drums=1", "--from", "0:02", "--to", "4")
    first, *rows = table.stdout.splitlines()
    assert first.split()[:3] == ["#", "alike", "drums"]
    assert len(rows) == 4
    assert "0:02 → " in table.stdout
    assert str(place / "music") in table.stdout


def test_absent_parts_are_said(place):
    result = run(place, "similar", "song 1", "--part", "piano,bass", "--from", "1", "-n", "1",
                 "--and", "song 2@0-2:piano,drums")  # fmt: skip
    assert "no piano sounds in song 1 0:01–the end: left out" in result.stderr
    assert "no piano sounds in song 2 0:00–0:02: left out" in result.stderr
    assert result.exit_code == 0
    result = run(place, "similar", "song 1", "--part", "piano", "--from", "2", "--to", "0:04")
    assert isinstance(result.exception, UsageError)
    assert str(result.exception) == (
        "no piano sounds in song 1 0:02–0:04; what sounds there: drums, bass, guitar, residuals"
    )


def test_several_examples_and_the_reasons(place):
    arguments = [
        "similar", "song 0", "--part", "drums", "--and", "song 1@0-4:bass", "--not",
        "song 2:guitar=0.5", "--explain",
    ]  # fmt: skip
    found = lines(run(place, *arguments, "--json"))
    assert {match["title"] for match in found} == {"song 3", "song 4"}
    for match in found:
        near, second, away = match["examples"]
        assert (near["name"], near["away"], list(near["parts"])) == ("song 0", False, ["drums"])
        assert (second["name"], list(second["parts"])) == ("song 1 0:00–0:04", ["bass"])
        assert (away["name"], away["away"], list(away["parts"])) == ("song 2", True, ["guitar"])
        wanted = (near["distance"] + second["distance"]) / 2
        wanted += 0.25 * max(0, 2 - away["distance"])  # 0.5 over 1 + 1
        assert match["distance"] == pytest.approx(wanted, abs=1e-5)
        assert 0 <= near["parts"]["drums"]["presence"] <= 1
    told = run(place, *arguments).stdout
    assert "  near to song 1 0:00–0:04: distance" in told
    assert "  away from song 2: distance" in told
    assert "    bass: distance" in told
    assert "presence 1.00" in told
    assert "nearest of 2 passages: 0:0" in told


def test_examples_without_parts_take_those_of_the_search(place):
    (first, *_) = lines(run(place, "similar", "song 0", "--part", "bass", "--and", "song 1",
                            "--not", "song 2", "--explain", "--json"))  # fmt: skip
    assert [list(example["parts"]) for example in first["examples"]] == [["bass"]] * 3


def test_filters(place):
    found = lines(run(place, "similar", "song 0", "--duration", "0:15-0:22", "--json"))
    assert {match["title"] for match in found} == {"song 2", "song 3"}
    result = run(place, "similar", "song 0", "--genre", "jazz", "--json")
    assert (result.stdout, result.exit_code) == ("", 0)
    assert "no piece of the catalogue has these parts and passes the filters" in result.stderr
    below = lines(run(place, "similar", "song 0", "--folder", place / "music", "--json"))
    assert len(below) == 4
    assert not run(place, "similar", "song 0", "--folder", place / "other").stdout
    for option, value in (("--artist", "x"), ("--bpm", "90-"), ("--year", "1960-1970")):
        assert not run(place, "similar", "song 0", option, value, "--json").stdout


def test_a_file_outside_the_catalogue_can_be_the_query(place, tmp_path):
    other = write_sndfile(tmp_path / "other.wav", tone(4, 8000, 3), 8000)
    assert len(lines(run(place, "similar", other, "--json"))) == 5
    copy = tmp_path / "copy.wav"
    copy.write_bytes((place / "music" / "song 3.wav").read_bytes())
    assert "song 3" not in [m["title"] for m in lines(run(place, "similar", copy, "--json"))]


@pytest.fixture(scope="module")
def twice(place, tmp_path_factory, tiny_model_path):
    """The same with song 1 again, softer, and a copy of song 2."""
    folder = tmp_path_factory.mktemp("twice")
    shutil.copytree(place / "music", folder / "music")
    write_sndfile(folder / "music" / "softer.wav", 0.5 * tone(13, 8000, 1), 8000)
    shutil.copy(folder / "music" / "song 2.wav", folder / "music" / "the same.wav")
    run(folder, "index", folder / "music", "--model", tiny_model_path)
    return folder


def test_duplicates(twice, place):
    found = lines(run(twice, "duplicates", "--json"))
    names = [[path.rsplit("/")[-1] for path in group["paths"]] for group in found]
    assert names == [["softer.wav", "song 1.wav"], ["song 2.wav", "the same.wav"]]
    assert [group["identical"] for group in found] == [False, True]
    table = run(twice, "duplicates").stdout
    assert "same bytes" in table
    assert "distance 0.0" in table
    result = run(place, "duplicates")
    assert (result.stdout, result.exit_code) == ("", 0)
    assert "no recording is there twice" in result.stderr


def test_duplicates_are_collapsed_and_told(twice):
    result = run(twice, "similar", "song 1", "--json")
    found = lines(result)
    assert sorted(match["title"] for match in found) == ["song 0", "song 2", "song 3", "song 4"]
    assert "the same recording in another file, left out: " in result.stderr
    assert "softer.wav" in result.stderr
    found = lines(run(twice, "similar", "song 0", "--json"))
    (one,) = [match for match in found if match["title"] in ("song 1", "softer")]
    assert len(one["same_recording"]) == 1
    (two,) = [match for match in found if match["title"] == "song 2"]
    assert len(two["paths"]) == 2
    assert run(twice, "similar", "song 0").stdout.count("(+1 more of this recording)") == 2
    shown = lines(run(twice, "similar", "song 1", "--no-collapse", "--json"))
    assert "softer" in [match["title"] for match in shown]


def test_playlist_and_path(place, tmp_path):
    out = tmp_path / "list.m3u8"
    result = run(place, "playlist", "song 0", "--part", "drums", "-n", 3, "-o", out)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out}: 3 pieces\n"
    wanted = lines(run(place, "similar", "song 0", "--part", "drums", "-n", 3, "--json"))
    files = [line for line in out.read_text().splitlines() if not line.startswith("#")]
    assert [str((out.parent / f).resolve()) for f in files] == [match["path"] for match in wanted]
    steps = lines(run(place, "path", "song 0", "song 4", "--part", "drums", "-o", out, "--json"))
    assert (steps[0]["title"], steps[-1]["title"]) == ("song 0", "song 4")
    assert steps[0]["distance"] is None
    assert all(set(step["parts"]) == {"drums"} for step in steps[1:])
    assert out.read_text().count("#EXTINF") == len(steps)
    table = run(place, "path", "song 0", "song 4").stdout.splitlines()
    assert table[0].split()[:2] == ["#", "distance"]


def test_hubs(place):
    found = lines(run(place, "hubs", "--json"))
    assert [row["part"] for row in found] == ["drums", "bass", "guitar", "residuals"]
    assert set(found[0]["plain"]) == {"part", "pieces", "skewness", "largest", "never", "hub"}
    assert found[0]["plain"] == found[0]["scaled"]  # too small a catalogue to put hubs back
    assert "skewness" in run(place, "hubs", "--part", "bass").stdout


def test_export(place, tmp_path):
    for name in ("x.npz", "x.csv", "x.parquet"):
        result = run(place, "export", "-o", tmp_path / name)
        assert result.stdout == f"{tmp_path / name}: 45 segments\n"
        assert "5/5 files" in result.stderr
        assert (tmp_path / name).stat().st_size > 10_000


def test_calibrate_wants_enough_pieces_and_writes_beside_the_model(
    tmp_path, tiny_model_path, monkeypatch
):
    corpus = tmp_path / "corpus"
    write_corpus(corpus, {"train": 3, "valid": 2})
    result = run(tmp_path, "calibrate", tiny_model_path, "--corpus", corpus, "--split", "train")
    assert "a calibration needs 30 pieces or more, and there are" in str(result.exception)
    monkeypatch.setattr("stemwise.library.held_out.FEWEST_PIECES", 2)
    model = shutil.copy(tiny_model_path, tmp_path / "m.safetensors")
    result = run(tmp_path, "calibrate", model, "--corpus", corpus, "--split", "train")
    assert result.exit_code == 0, result.output
    found = read_calibration(tmp_path / "m.calibration.json")
    assert found.about["corpus"] == "corpus"
    assert found.about["split"] == "train"
    assert found.about["pairs"]["drums"] > 0
    other = tmp_path / "other.json"
    run(tmp_path, "calibrate", model, "--corpus", corpus, "--split", "train", "-o", other)
    assert other.read_text() == (tmp_path / "m.calibration.json").read_text()


def test_embed_writes_an_archive(place, tmp_path, tiny_model_path):
    out = tmp_path / "vectors.npz"
    result = run(place, "embed", place / "music", "-o", out, "--model", tiny_model_path)
    assert result.exit_code == 3
    assert "bad [song].mp3 cannot be decoded" in result.stderr
    with np.load(out) as stored:
        assert stored["embeddings"].shape == (45, 5, 128)
    result = run(place, "embed", place / "music" / "bad [song].mp3", "-o", out,
                 "--model", tiny_model_path)  # fmt: skip
    assert isinstance(result.exception, AudioError)


def test_map(place, tmp_path):
    assert run(place, "map", "-o", tmp_path / "map.png").exit_code == 0
    assert (tmp_path / "map.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["similar", "nothing"], "no piece in the catalogue has the id"),
        (["similar", "song 1", "--part", "kazoo"], "unknown part 'kazoo'"),
        (["similar", "song 1", "--part", "bass=0"], "no part has a weight above 0"),
        (["similar", "song 1", "--from", "1:70"], "'1:70' is not a time"),
        (["similar", "song 1", "--from", "5", "--to", "3"], "must end after it starts"),
        (["similar", "song 1", "--from", "5:00"], "lasts 0:13; nothing lies in 5:00–"),
        (["similar", "song 1", "--and", "nobody"], "no piece in the catalogue has the id"),
        (["similar", "song 1", "--not", "song 2:bass=x"], "weight 'x' of bass is not a number"),
        (["similar", "song 1", "--bpm", "fast"], "'fast' is no range of beats per minute"),
        (["similar", "song 1", "--year", "1990-1980"], "a range of years must rise"),
        (["path", "song 1", "song 1"], "are the same recording"),
        (["playlist", "song 1", "-o", "list.txt"], "does not end in .m3u8"),
        (["export", "-o", "x.json"], "an export ends in .npz, .csv, .parquet"),
        (["map", "-o", "map.gif"], "does not end in .png"),
    ],
)
def test_mistakes_are_one_clear_line(place, arguments, message):
    result = run(place, *arguments)
    assert type(result.exception) is UsageError
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)
