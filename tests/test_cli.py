import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from made_music import tone, write_sndfile
from stemwise.cli import app, main
from stemwise.errors import CatalogueError, ModelError, UsageError

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


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (["index", "nowhere"], UsageError, "neither a file nor a folder"),
        (["index", ".", "--model", "nothing"], ModelError, "no model 'nothing'"),
    ],
)
def test_mistakes_are_one_clear_line(place, arguments, kind, message):
    result = run(place, *arguments)
    assert type(result.exception) is kind
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)


def test_models(place):
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
    done = call("similar", music / "song 0.wav", "--part", "drums", "--no-collapse", "--json")
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
