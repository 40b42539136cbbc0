import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from made_collection import add_song
from stemwise.cli import app
from stemwise.errors import CatalogueError, UsageError
from stemwise.library import catalogue as catalogue_module
from stemwise.library.catalogue import Catalogue
from stemwise.library.store import Store
from stemwise.parts import PARTS

RUNNER = CliRunner()
PROGRAM = Path(sys.executable).parent / "stemwise"


@pytest.fixture
def place(tmp_path, tiny_model_path):
    """A folder with three songs and a bad one, not indexed yet."""
    for seed in range(3):
        add_song(tmp_path / "music" / f"song {seed}.wav", 5, seed)
    (tmp_path / "music" / "bad [song].mp3").write_text("not music")
    return tmp_path


@pytest.fixture
def other_model_path(tmp_path_factory):
    from made_music import write_tiny_model

    return write_tiny_model(tmp_path_factory.mktemp("other") / "other.safetensors", seed=1)


def run(folder, *arguments):
    environment = {"STEMWISE_CATALOGUE": str(folder / "catalogue")}
    return RUNNER.invoke(app, [str(a) for a in arguments], env=environment)


def index(place, model, *options):
    return run(place, "index", place / "music", "--model", model, *options)


def test_index_tells_what_it_did_and_how_fast(place, tiny_model_path):
    result = index(place, tiny_model_path)
    assert result.exit_code == 3
    assert result.stdout.startswith("4 files: 3 added, 1 failed (")
    assert "h of music/min" in result.stdout
    assert "4/4 files" in result.stderr
    assert "1 files failed; see: stemwise errors" in result.stderr
    (place / "music" / "song 1.wav").unlink()
    result = index(place, tiny_model_path)
    assert "1 known files are no longer there; their vectors are kept" in result.stderr
    result = index(place, tiny_model_path, "--prune", "--json")
    told = json.loads(result.stdout)
    assert (told["found"], told["unchanged"], told["failed"], told["forgotten"]) == (3, 2, 1, 1)


def test_limit_and_exclude_and_retry(place, tiny_model_path):
    result = index(place, tiny_model_path, "--limit", 2, "--exclude", "*.mp3", "--json")
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert (told["found"], told["added"], told["left"]) == (3, 2, 1)
    assert "1 files are left for the next index" in result.stderr
    index(place, tiny_model_path)
    bad = place / "music" / "bad [song].mp3"
    before = bad.stat()
    bad.write_bytes(b"also not music"[: before.st_size])
    os.utime(bad, ns=(before.st_mtime_ns, before.st_mtime_ns))
    assert index(place, tiny_model_path, "--retry").exit_code == 3
    add_song(place / "x.wav", 5, 3).rename(bad)
    assert index(place, tiny_model_path).exit_code == 0


def test_music_under_another_name_is_found_by_content_if_asked(place, tiny_model_path):
    (place / "music" / "song 2.wav").rename(place / "music" / "song 2.dat")
    assert index(place, tiny_model_path).stdout.startswith("3 files: 2 added, 1 failed")
    assert index(place, tiny_model_path, "--by-content").stdout.startswith("4 files: 1 added")


def test_what_searches_need_is_there_after_an_index(place, tiny_model_path, monkeypatch):
    monkeypatch.setattr("stemwise.library.hubs.FEWEST_PIECES", 2)
    index(place, tiny_model_path)
    fingerprint = Catalogue.open(place / "catalogue").metadata.fingerprint
    kept = {path.name for path in (place / "catalogue" / "search" / fingerprint).iterdir()}
    assert {f"hubs-{part}.npz" for part in PARTS} <= kept


def test_a_drive_that_is_not_mounted_is_told(place, tiny_model_path):
    song = add_song(place / "music" / "drive" / "song.wav", 5, 5)
    index(place, tiny_model_path)
    song.unlink()
    result = index(place, tiny_model_path, "--prune")
    assert f"{song.parent} is empty or cannot be read; is its drive mounted?" in result.stderr
    assert "forgotten" not in result.stdout
    assert "1 forgotten" in index(place, tiny_model_path, "--prune-empty").stdout


def test_what_is_passed_over_is_told(place, tiny_model_path):
    for number in range(7):
        (place / "music" / f"link {number}.mp3").symlink_to("nowhere")
    result = index(place, tiny_model_path)
    assert f"passed over: {place}/music/link 4.mp3: link that leads nowhere" in result.stderr
    assert "link 5" not in result.stderr
    assert "passed over: 2 more; see --json" in result.stderr
    told = json.loads(index(place, tiny_model_path, "--json").stdout)
    assert len(told["passed_over"]) == 7


def test_status_shows_how_the_counts_add_up(place, tiny_model_path):
    index(place, tiny_model_path, "--limit", 2)
    result = run(place, "status")
    assert "4 files = " in result.stdout
    assert " waiting + " in result.stdout
    told = json.loads(run(place, "status", "--json").stdout)
    parts = ("pieces", "copies", "waiting", "errors")
    assert told["files"] == 4 == sum(told[name] for name in parts)


def test_rebuild_goes_on_and_switches(place, tiny_model_path, other_model_path, monkeypatch):
    monkeypatch.setattr(catalogue_module, "RETIRED_SECONDS", 0)
    index(place, tiny_model_path)
    result = run(place, "index", "--rebuild", "--model", other_model_path, "--limit", 2)
    assert "2 left" in result.stdout
    assert "searches use the old vectors; go on with: stemwise index --rebuild" in result.stderr
    assert "of 4 files" in run(place, "status").stdout
    result = run(place, "index", "--rebuild")  # with the model that was named before
    assert result.exit_code == 3
    assert result.stdout.startswith("4 files: ")
    assert "searches use the new vectors now" in result.stderr
    assert str(other_model_path) in run(place, "status").stdout
    assert run(place, "catalogue", "verify").exit_code == 0


def test_verify_and_repair(place, tiny_model_path, tiny_model):
    index(place, tiny_model_path)
    result = run(place, "catalogue", "verify")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "the catalogue is whole" in result.stderr
    store = Store(place / "catalogue", tiny_model.fingerprint)
    contents = sorted(piece.content for piece in store.pieces())
    store.drop("segments", "content", contents[:2])
    result = run(place, "catalogue", "verify")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        f"piece {content}: has 0 segments in place of 3" for content in contents[:2]
    ]
    told = run(place, "catalogue", "verify", "--json").stdout.splitlines()
    assert [json.loads(line)["subject"] for line in told] == contents[:2]
    result = run(place, "catalogue", "verify", "--repair")
    assert result.exit_code == 0
    assert "all is repaired; 2 files wait for: stemwise index" in result.stderr
    assert run(place, "catalogue", "verify").exit_code == 0
    assert "2 updated" in index(place, tiny_model_path).stdout


def test_migrate(place, tiny_model_path):
    index(place, tiny_model_path)
    result = run(place, "catalogue", "migrate")
    assert result.stdout == f"{place / 'catalogue'} has format 2 already\n"
    told = json.loads(run(place, "catalogue", "migrate", "--json").stdout)
    assert (told["before"], told["after"]) == (2, 2)
    file = place / "catalogue" / "catalogue.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format": 1}))
    result = run(place, "status")
    assert isinstance(result.exception, CatalogueError)
    assert "bring it up to date with: stemwise catalogue migrate" in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["index"], "no folder given; write: stemwise index FOLDER"),
        (["index", "music", "--rebuild"], "--rebuild goes over the files that the catalogue knows"),
        (["index", "--rebuild", "--watch"], "it takes no folder and none of --watch"),
        (["index", "music", "--watch", "--limit", "3"], "leave out --limit"),
        (["index", "music", "--watch", "--by-content"], "leave out --by-content"),
        (["index", "music", "--exclude", "!"], "is no glob to exclude files by"),
    ],
)
def test_mistakes_are_one_clear_line(place, monkeypatch, arguments, message):
    monkeypatch.chdir(place)
    result = run(place, *arguments)
    assert type(result.exception) is UsageError
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)
    assert not (place / "catalogue" / "catalogue.json").exists()


def test_a_rebuild_needs_a_model_and_a_catalogue(place, tiny_model_path):
    result = run(place, "index", "--rebuild", "--model", tiny_model_path)
    assert "no catalogue in" in str(result.exception)
    assert not (place / "catalogue").exists()
    index(place, tiny_model_path)
    assert "add --model NAME" in str(run(place, "index", "--rebuild").exception)
    result = run(place, "index", "--rebuild", "--model", tiny_model_path)
    assert "holds vectors of tiny" in str(result.exception)


def test_the_program_gives_way_and_stops_well_when_terminated(place, tiny_model_path):
    for seed in range(3, 60):
        add_song(place / "music" / f"song {seed}.wav", 30, seed)
    process = subprocess.Popen(
        [PROGRAM, "index", place / "music", "--nice", "7", "--jobs", "1",
         "--model", tiny_model_path, "--catalogue", place / "catalogue"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        while "7/61" not in process.stderr.readline():
            assert process.poll() is None
        own = os.getpriority(os.PRIO_PROCESS, 0)
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == min(19, own + 7)
        process.terminate()
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1].startswith("stemwise: interrupted; what was done is kept")
    catalogue = Catalogue.open(place / "catalogue")
    assert len(catalogue.pieces()) >= 6
    assert catalogue.status().files == 61
    assert catalogue.verify() == []
