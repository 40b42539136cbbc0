import json

import pytest

from made_abx import LISTENERS, OPINIONS, read_table, write_abx, write_table
from stemwise.corpora.abx import CRITERIA, MIX, Clip, load_abx
from stemwise.errors import CorpusError
from stemwise.parts import PARTS
from stemwise.scores.abx import majority

CLIP_SECONDS = 219_136 / 44100
MAJORITIES = {"XYC": ("A", None, None, "A"), "XAB": ("B", None, None, "B")}
FIRST_SAMPLES_FILE = "sample_configs/dict_triplet_202404.json"


@pytest.fixture
def root(tmp_path):
    write_abx(tmp_path)
    return tmp_path


def edited(root, **cells):
    """Read the answers after the cells of the first row were exchanged."""
    columns = ["number", "ex_name", "subject_id", "reference", "sample_a", "sample_b"]
    columns += [f"answer_{criterion}" for criterion in CRITERIA]
    first, *rest = read_table(root)
    for name, value in cells.items():
        first[columns.index(name)] = value
    write_table(root, [first, *rest])
    return load_abx(root)


def edited_samples(root, change):
    path = root / FIRST_SAMPLES_FILE
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def test_every_triplet_is_there_once_per_campaign(root):
    answers = load_abx(root)
    assert (answers.dummies, answers.unresolved) == (2 * LISTENERS * 2, 0)
    seen = [(t.campaign, t.test, t.part, t.reference.song) for t in answers.triplets]
    songs = ("Track01876", "Track01877")
    assert len(set(seen)) == len(seen)
    assert set(seen) == {
        (campaign, test, part, song)
        for campaign, parts in (("ex202404", PARTS), ("ex202407", (*PARTS, MIX)))
        for test in ("XAB", "XYC")
        for part in parts
        for song in songs
    }


def test_clips_are_where_the_file_says(root):
    first = load_abx(root).triplets[0]
    assert (first.campaign, first.part, first.test) == ("ex202404", "drums", "XYC")
    assert first.reference == Clip("Track01876", 0.0, CLIP_SECONDS)
    assert first.a == Clip("Track01876", CLIP_SECONDS, 2 * CLIP_SECONDS)
    assert first.b == Clip("Track01877", 0.0, CLIP_SECONDS)


def test_answers_are_turned_with_their_clips(root):
    tables = {row[4].split("/")[3][0] for row in read_table(root) if row[4].startswith("set")}
    assert tables == {"A", "Y", "C"}  # C comes first at times
    for triplet in load_abx(root).triplets:
        assert (triplet.a.song == triplet.reference.song) == (triplet.test == "XYC")
        for criterion in CRITERIA:
            wanted = OPINIONS[triplet.test][criterion]
            assert triplet.answers[criterion] == tuple(a.replace("N/A", "NA") for a in wanted)
        heard = tuple(majority(triplet.answers[criterion]) for criterion in CRITERIA)
        assert heard == MAJORITIES[triplet.test]


def test_older_revisions_keep_a_file_in_another_folder(tmp_path, root):
    older = tmp_path / "older"
    write_abx(older, folders=("sample_dicts", "sample_configs"))
    assert load_abx(older) == load_abx(root)


def test_a_row_of_another_set_is_found_by_its_file_where_there_is_only_one(root):
    path = read_table(root)[0][3]
    moved = edited(root, reference=path.replace("set0/0", "set9/1"))
    assert moved.unresolved == 0
    assert len(moved.triplets[0].answers["total"]) == LISTENERS

    def add_a_namesake(config):
        entry = dict(config["0"]["0"]["test1"]["drums"]["X"], index_e=1)
        config["1"] = {"0": {"test1": {"drums": {"X": entry}}}}

    edited_samples(root, add_a_namesake)
    ambiguous = load_abx(root)
    assert ambiguous.unresolved == 1
    assert len(ambiguous.triplets) == len(moved.triplets)
    # that listener's answer is missing; the others name the set, and so are told apart
    assert sorted(len(t.answers["total"]) for t in ambiguous.triplets)[:2] == [4, 5]


@pytest.mark.parametrize(
    "cells",
    [
        {"ex_name": "ex203001"},
        {"reference": "set0/0/drums/X_9999-1.wav"},
        {"reference": "set0/0/bass/X_1876-0.wav"},  # another part than the others
        {"sample_b": "set0/0/drums/B_1879-0.wav"},  # X, Y, B
        {"reference": "X_1876-0.wav"},
        {"sample_a": ""},
    ],
)
def test_rows_that_cannot_be_placed_are_counted(root, cells):
    whole = load_abx(root)
    answers = edited(root, **cells)
    assert (answers.dummies, answers.unresolved) == (whole.dummies, 1)
    assert sum(len(t.answers["total"]) for t in answers.triplets) == LISTENERS * 44 - 1


def test_an_unknown_part_is_not_placed(root):
    def rename(config):
        for test in config["0"]["0"].values():
            test["vocals"] = test.pop("drums")

    edited_samples(root, rename)
    rows = [[cell.replace("/drums/", "/vocals/") for cell in row] for row in read_table(root)]
    write_table(root, rows)
    answers = load_abx(root)
    assert answers.unresolved > 0
    assert {t.part for t in answers.triplets} == {*PARTS, MIX} - {"drums"}


def test_no_answers(root):
    write_table(root, [])
    answers = load_abx(root)
    assert (answers.triplets, answers.dummies, answers.unresolved) == ((), 0, 0)


def refused(root, *words):
    with pytest.raises(CorpusError) as caught:
        load_abx(root)
    message = str(caught.value)
    assert "\n" not in message
    for word in (*words, "clone https://github.com/zume06/Inst-Sim-ABX-Dataset"):
        assert word in message


@pytest.mark.parametrize("name", ["csvs/inst_sim_abx_answers.csv", FIRST_SAMPLES_FILE])
def test_a_missing_file_is_named(root, name):
    (root / name).unlink()
    refused(root, name.rpartition("/")[2], str(root))


def test_missing_columns_are_named(root):
    write_table(root, [], columns=("", "ex_name", "reference", "sample_a", "answer_total"))
    refused(root, "no column sample_b, answer_timbre, answer_rhythm, answer_melody")


def test_an_empty_table_has_no_columns(root):
    (root / "csvs/inst_sim_abx_answers.csv").write_text("")
    refused(root, "no column ex_name")


def test_a_table_that_is_not_text_is_refused(root):
    (root / "csvs/inst_sim_abx_answers.csv").write_bytes(b"\xff\xfe\x00")
    refused(root, "cannot be read")


@pytest.mark.parametrize("answer", ["C+", "A", ""])
def test_an_unknown_answer_is_told_with_its_line(root, answer):
    with pytest.raises(
        CorpusError, match=f"line 2 of .*answer_melody is '{answer}'".replace("+", r"\+")
    ):
        edited(root, answer_melody=answer)


def test_a_cut_row_is_told(root):
    first, *rest = read_table(root)
    write_table(root, [first[:7], *rest])
    refused(root, "line 2", "answer_rhythm is ''")


def test_malformed_json_is_refused(root):
    (root / FIRST_SAMPLES_FILE).write_text('{"0": {')
    refused(root, "dict_triplet_202404.json cannot be read", "JSON")


@pytest.mark.parametrize(
    ("key", "value"), [("sr", 0), ("index_s", "late"), ("index_e", 0), ("ID", None)]
)
def test_a_clip_that_cannot_be_is_refused_with_its_place(root, key, value):
    edited_samples(root, lambda c: c["0"]["1"]["test2"]["bass"]["A"].update({key: value}))
    refused(root, "0/1/test2/bass/A")


def test_a_file_of_another_shape_is_refused(root):
    (root / FIRST_SAMPLES_FILE).write_text('{"0": {"0": [1, 2]}}')
    refused(root, "0/0")
