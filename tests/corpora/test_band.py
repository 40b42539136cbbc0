import json
import shutil
from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_midi import band_midi, write_collection
from typer.testing import CliRunner

from stemwise.cli import app
from stemwise.corpora import band
from stemwise.corpora.band import BandSettings, make_band, plan_takes
from stemwise.corpora.midi_collection import MidiFile
from stemwise.corpora.piece import check_audio, check_pieces, read_about, read_manifest
from stemwise.errors import CorpusError, UsageError

FONTS = ("TimGM6mb",)
TINY = BandSettings(train=1, valid=0, test=1, seconds=6, soundfonts=FONTS)


def tree(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def made_collection(tmp_path, monkeypatch):
    """Three songs, one damaged, in place of the shipped collection."""
    files = {"a.mid": band_midi(seed=1), "b.mid": b"damaged", "c.mid": band_midi(seed=2)}
    folder = write_collection(tmp_path / "midi", files)
    monkeypatch.setattr(band, "SHIPPED", folder)
    return folder


collections = st.dictionaries(
    st.integers(0, 400), st.tuples(st.sampled_from("xyz"), st.integers(0, 60)), min_size=1
).map(
    lambda drawn: [
        MidiFile(f"{source}/{i}.mid", source, "CC0-1.0", f"{source}{song}", b"")
        for i, (source, song) in sorted(drawn.items())
    ]
)
wishes = st.builds(
    BandSettings,
    train=st.integers(0, 40),
    valid=st.integers(0, 9),
    test=st.integers(1, 9),
    renderings=st.integers(1, 3),
    composed_share=st.none() | st.floats(0, 1),
    seed=st.integers(0, 5),
)


@settings(deadline=None)
@given(collections, wishes)
def test_a_song_is_in_one_split_and_the_numbers_are_as_asked(files, wish):
    takes = plan_takes(wish, files)
    assert len({take.identifier for take in takes}) == len(takes)
    splits, songs = defaultdict(set), defaultdict(Counter)
    for take in takes:
        splits[take.song].add(take.split)
        songs[take.split][take.song] += 1
    assert all(len(found) == 1 for found in splits.values())
    for split, renderings in (("train", wish.renderings), ("valid", 1), ("test", 1)):
        assert len(songs[split]) == getattr(wish, split)
        assert set(songs[split].values()) <= {renderings}
    if wish.composed_share is not None:
        composed = {take.song for take in takes if not take.midi}
        assert len(composed) >= wish.composed_share * len(splits) - 1
    assert plan_takes(wish, files) == takes


def test_the_shipped_songs_are_split_with_the_same_mix_of_sources():
    wish = BandSettings(train=460, valid=60, test=136, renderings=2)
    takes = plan_takes(wish, band._files(wish))
    share = {}
    for split in ("train", "valid", "test"):
        songs = {take.song: take.source for take in takes if take.split == split}
        counts = Counter("composed" if s == "composed" else s[:3] for s in songs.values())
        share[split] = {source: n / len(songs) for source, n in counts.items()}
    for source in ("mma", "fre", "composed"):
        shares = [share[split][source] for split in share]
        assert max(shares) - min(shares) < 0.04, source
    assert [take.number for take in takes] == sorted(take.number for take in takes)


def test_revisions_take_turns_in_training():
    files = [MidiFile(f"{i}.mid", "x", "CC0-1.0", "song", b"") for i in range(2)]
    wish = BandSettings(train=1, valid=0, test=0, renderings=3)
    assert Counter(t.midi for t in plan_takes(wish, files)).most_common(1)[0][1] == 2


def test_the_same_settings_give_the_same_bytes_whatever_the_jobs(tmp_path):
    one = make_band(tmp_path / "one", TINY, jobs=1)
    two = make_band(tmp_path / "two", TINY, jobs=2)
    assert (one.done, one.failed, two.done) == (2, 0, 2)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    pieces = read_manifest(tmp_path / "one")
    assert check_pieces(pieces) + check_audio(pieces) == []
    assert {piece.split for piece in pieces} == {"train", "test"}
    about = read_about(tmp_path / "one")
    assert about["soundfonts"] == {"TimGM6mb": "GPL-2"}
    assert about["seed"] == 0


def test_a_stopped_run_goes_on(tmp_path, made_collection):
    wish = BandSettings(train=2, valid=0, test=0, seconds=6, soundfonts=FONTS)
    out = tmp_path / "out"
    make_band(out, wish)
    before = tree(out)
    pieces = [piece.identifier for piece in read_manifest(out)]
    (out / "pieces" / pieces[0] / "bass.flac").unlink()
    shutil.copytree(out / "pieces" / pieces[0], out / "pieces" / f".{pieces[0]}.partial")
    (out / "manifest.json").unlink()
    report = make_band(out, wish)
    assert (report.skipped + report.failed, report.done) == (len(pieces) - 1 + report.failed,
                                                             len(pieces))  # fmt: skip
    assert tree(out) == before


def test_a_bad_file_is_recorded_and_stops_nothing(tmp_path, made_collection):
    out = tmp_path / "out"
    wish = BandSettings(train=3, valid=0, test=0, seconds=6, soundfonts=FONTS)
    reports = []
    report = make_band(out, wish, report=reports.append)
    assert (report.total, report.done, report.failed) == (3, 2, 1)
    assert [r.done + r.failed for r in reports] == [0, 1, 2, 3]
    (error,) = map(json.loads, (out / "errors.jsonl").read_text().splitlines())
    assert error["identifier"] == "b_0"
    assert "damaged" in error["reason"]
    assert len(read_manifest(out)) == 2
    assert "2 of 3 pieces" in str(report)


def test_the_command_exits_3_if_a_piece_failed_and_check_approves_the_rest(
    tmp_path, made_collection
):
    out = str(tmp_path / "out")
    arguments = ["data", "band", out, "--train", "3", "--valid", "0", "--test", "0", "--seconds",
                 "6", "--jobs", "1", "--soundfonts", "TimGM6mb", "--json"]  # fmt: skip
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 3
    answer = json.loads(done.stdout)
    assert (answer["done"], answer["failed"]) == (2, 1)
    done = CliRunner().invoke(app, ["data", "check", out, "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["splits"]["train"]["songs"] == 2
    next((tmp_path / "out").rglob("bass.flac")).unlink()
    done = CliRunner().invoke(app, ["data", "check", out])
    assert done.exit_code == 1
    assert "bass stem is missing" in done.stdout


def test_a_further_collection_is_added(tmp_path):
    folder = write_collection(tmp_path / "midi", {"mine.mid": band_midi()}, source="mine")
    files = band._files(BandSettings(midi=folder))
    assert len(files) == 490
    assert files[-1].source == "mine"


def test_other_settings_in_the_same_folder_are_refused(tmp_path, made_collection):
    wish = BandSettings(train=1, valid=0, test=0, seconds=6, soundfonts=FONTS)
    make_band(tmp_path / "out", wish)
    for other in ("seed", "seconds", "train"):
        changed = BandSettings(**(vars(wish) | {other: 7}))
        with pytest.raises(CorpusError, match=f"was made with {other} .*asked is 7") as caught:
            make_band(tmp_path / "out", changed)
        assert "\n" not in str(caught.value)
    (made_collection / "c.mid").write_bytes(band_midi(seed=9))
    with pytest.raises(CorpusError, match="made with midi"):
        make_band(tmp_path / "out", wish)
    (tmp_path / "out" / "settings.json").write_text("{")
    with pytest.raises(CorpusError, match="damaged"):
        make_band(tmp_path / "out", wish)


@pytest.mark.parametrize(
    "wrong",
    [{"train": -1}, {"train": 0, "valid": 0, "test": 0}, {"renderings": 0}, {"seconds": 2.0},
     {"composed_share": 1.5}],
)  # fmt: skip
def test_impossible_settings_are_usage_errors(wrong):
    with pytest.raises(UsageError):
        BandSettings(**wrong)


def test_zero_jobs_are_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="--jobs"):
        make_band(tmp_path, TINY, jobs=0)
