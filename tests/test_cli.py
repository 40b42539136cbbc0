import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from made_music import tone, write_sndfile
from stemwise.cli import app, main
from stemwise.errors import AudioError, CatalogueError, ModelError, UsageError

RUNNER = CliRunner()
PROGRAM = Path(sys.executable).parent / "stemwise"


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_model_path):
    """A folder with five songs and a bad one, indexed."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "music").mkdir()
    for seed in range(5):
        write_sndfile(folder / "music" / f"song {seed}.wav", tone(9, 8000, seed), 8000)
    (folder / "music" / "bad [song].mp3").write_text("not music")
    result = run(folder, "index", folder / "music", "--model", tiny_model_path)
    assert result.exit_code == 3
    assert result.stdout.startswith("6 files: 5 added, 1 failed")
    assert "6/6 files" in result.stderr
    return folder


def run(folder, *arguments):
    environment = {"STEMWISE_CATALOGUE": str(folder / "catalogue")}
    return RUNNER.invoke(app, [str(a) for a in arguments], env=environment)


def lines(result):
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_index_again_is_quick_and_takes_the_catalogues_own_model(place):
    result = run(place, "index", place / "music", "--json")
    assert result.exit_code == 3
    summary = json.loads(result.stdout)
    assert (summary["found"], summary["unchanged"], summary["failed"]) == (6, 5, 1)


def test_flag_goes_over_environment_over_default(place, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert isinstance(RUNNER.invoke(app, ["status"], env={"STEMWISE_CATALOGUE": None}).exception,
                      CatalogueError)  # fmt: skip
    result = RUNNER.invoke(app, ["status"], env={"STEMWISE_CATALOGUE": None})
    assert str(result.exception).startswith(f"no catalogue in {tmp_path}/stemwise/catalogue")
    assert run(place, "status").exit_code == 0
    result = run(place, "status", "--catalogue", tmp_path / "other")
    assert "other" in str(result.exception)


def test_status_and_errors(place):
    (status,) = lines(run(place, "status", "--json"))
    assert (status["pieces"], status["errors"], status["segments"]) == (5, 1, 25)
    assert "fingerprint" in run(place, "status").stdout
    (error,) = lines(run(place, "errors", "--json"))
    assert error["path"].endswith("bad [song].mp3")
    table = run(place, "errors").stdout
    assert "bad [song].mp3" in table  # square brackets are not markup
    assert "cannot be decoded" in table


def test_similar_as_table_and_as_json(place):
    query = place / "music" / "song 2.wav"
    found = lines(run(place, "similar", query, "--part", "drums,bass=0.5", "-n", 3, "--json"))
    assert [match["rank"] for match in found] == [1, 2, 3]
    assert [m["distance"] for m in found] == sorted(m["distance"] for m in found)
    assert set(found[0]["parts"]) == {"drums", "bass"}
    assert len(found[0]["passages"]) == 5
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
    result = run(place, "similar", "song 1", "--part", "piano,bass", "--from", "1", "-n", "1")
    assert "no piano sounds in song 1 0:01–the end: left out" in result.stderr
    assert result.exit_code == 0
    result = run(place, "similar", "song 1", "--part", "piano", "--from", "2", "--to", "0:04")
    assert isinstance(result.exception, UsageError)
    assert str(result.exception) == (
        "no piano sounds in song 1 0:02–0:04; what sounds there: drums, bass, guitar, residuals"
    )


def test_a_file_outside_the_catalogue_can_be_the_query(place, tmp_path):
    other = write_sndfile(tmp_path / "other.wav", tone(4, 8000, 3), 8000)
    assert len(lines(run(place, "similar", other, "--json"))) == 5
    copy = tmp_path / "copy.wav"
    copy.write_bytes((place / "music" / "song 3.wav").read_bytes())
    assert "song 3" not in [m["title"] for m in lines(run(place, "similar", copy, "--json"))]


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (["similar", "nothing"], UsageError, "no piece in the catalogue has the id"),
        (["similar", "song 1", "--part", "kazoo"], UsageError, "unknown part 'kazoo'"),
        (["similar", "song 1", "--part", "bass=0"], UsageError, "no part has a weight above 0"),
        (["similar", "song 1", "--from", "1:70"], UsageError, "'1:70' is not a time"),
        (["similar", "song 1", "--from", "5", "--to", "3"], UsageError, "must end after it starts"),
        (["similar", "song 1", "--from", "5:00"], UsageError, "lasts 0:09; nothing lies in 5:00–"),
        (["index", "nowhere"], UsageError, "neither a file nor a folder"),
        (["index", ".", "--model", "nothing"], ModelError, "no model 'nothing'"),
        (["map", "-o", "map.gif"], UsageError, "does not end in .png"),
    ],
)
def test_mistakes_are_one_clear_line(place, arguments, kind, message):
    result = run(place, *arguments)
    assert type(result.exception) is kind
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)


def test_embed_writes_an_archive(place, tmp_path, tiny_model_path):
    out = tmp_path / "vectors.npz"
    result = run(place, "embed", place / "music", "-o", out, "--model", tiny_model_path)
    assert result.exit_code == 3
    assert "bad [song].mp3 cannot be decoded" in result.stderr
    with np.load(out) as stored:
        assert stored["embeddings"].shape == (25, 5, 128)
    result = run(place, "embed", place / "music" / "bad [song].mp3", "-o", out,
                 "--model", tiny_model_path)  # fmt: skip
    assert isinstance(result.exception, AudioError)


def test_map_and_models(place, tmp_path):
    assert run(place, "map", "-o", tmp_path / "map.png").exit_code == 0
    assert (tmp_path / "map.png").stat().st_size > 5000
    for model in lines(run(place, "models", "list", "--json")):
        assert len(model["fingerprint"]) == 16
    assert run(place, "models", "list").exit_code == 0


def test_the_real_program(place, tmp_path, tiny_model_path):
    def call(*arguments):
        environment = os.environ | {"STEMWISE_CATALOGUE": str(tmp_path / "catalogue")}
        return subprocess.run(
            [PROGRAM, *arguments], env=environment, capture_output=True, text=True
        )

    music = place / "music"
    done = call("index", music, "--model", tiny_model_path, "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["added"] == 5
    assert "Warning" not in done.stderr
    done = call("similar", music / "song 0.wav", "--part", "drums", "--json")
    assert (done.returncode, len(done.stdout.splitlines()), done.stderr) == (0, 4, "")


def test_known_errors_are_one_line_and_an_exit_code(place, tmp_path, monkeypatch, capsys):
    for catalogue, part, code, message in [
        (place / "catalogue", "piano", 2, "no piano sounds in song 0;"),
        (tmp_path, "drums", 1, f"no catalogue in {tmp_path};"),
    ]:
        arguments = ["similar", "song 0", "--part", part, "--catalogue", str(catalogue)]
        monkeypatch.setattr(sys, "argv", ["stemwise", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        assert caught.value.code == code
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert err.startswith(f"stemwise: {message}")


def test_help_is_fast():
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run([PROGRAM, "--help"], capture_output=True, check=True)
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 1.0  # half a second on a quiet machine
