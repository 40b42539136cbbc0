"""The main job as its user runs it: the installed command on real music."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

MUSIC = Path(__file__).parents[1] / "demo" / "music"
STEMWISE = Path(sys.executable).parent / "stemwise"


def run(*words, code=0):
    done = subprocess.run([STEMWISE, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    output = tmp_path_factory.mktemp("demo")
    return output, run("demo", MUSIC, "--output", output)


def test_the_demo_runs_on_the_demo_music(demo):
    output, done = demo
    assert "nearest to" in done.stdout
    for part in ("drums", "bass", "piano", "guitar", "mixed"):
        assert f"by {part} (" in done.stdout or f"no {part} sounds" in done.stderr
    assert (output / "map.png").stat().st_size > 10_000


def test_the_demo_music_is_listed_with_licences():
    files = sorted(MUSIC.glob("*.opus"))
    assert len(files) >= 24
    assert sum(path.stat().st_size for path in files) < 15e6
    listed = (MUSIC / "LICENCES.md").read_text()
    assert all(f"| {path.name} | " in listed for path in files)


def remixes(part):
    for path in sorted(MUSIC.glob(f"remix *, {part} of *.opus")):
        words = path.stem.split(f", {part} of ")[1]
        source, background = words.split(", rest of ")
        yield path.stem, source, background


@pytest.mark.parametrize(("remix", "source", "background"), list(remixes("drums")))
def test_by_its_drums_a_remix_is_found_beside_its_drummer(demo, remix, source, background):
    catalogue = demo[0] / "catalogue"
    done = run("similar", remix, "--part", "drums", "--json", "-n", 30, "--catalogue", catalogue)
    rank = {m["title"]: m["rank"] for m in map(json.loads, done.stdout.splitlines())}
    assert rank[source] <= 3
    assert rank[source] < rank[background]


def test_embedding_the_demo_music_from_the_command_line(tmp_path):
    first = sorted(MUSIC.glob("*.opus"))[0]
    run("embed", first, "-o", tmp_path / "one.npz")
    run("embed", MUSIC, "-o", tmp_path / "all.npz", "--jobs", 2)
    with np.load(tmp_path / "one.npz") as one, np.load(tmp_path / "all.npz") as every:
        same = every["path"] == one["path"][0]
        assert one["fingerprint"] == every["fingerprint"]
        np.testing.assert_array_equal(one["embeddings"], every["embeddings"][same])
        assert one["embeddings"].shape[1:] == (5, 128)
