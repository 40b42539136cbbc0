"""What goes with MES: intervals, other versions, hubness, confusions, segments for a map."""

import dataclasses

import numpy as np
import pytest
import torch

from made_corpus import RATE_HZ, write_corpus
from stemwise.corpora.bank import bank_of
from stemwise.evaluation import Subject, normal_scores, pseudo_scores
from stemwise.parts import PARTS
from stemwise.protocols import Pseudo10x5


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    directory = tmp_path_factory.mktemp("corpus")
    write_corpus(directory, {"test": 15}, seconds=30.0)
    return bank_of(directory, RATE_HZ)


def hearing(shift):
    """A subject whose block of a part is the spectrum of the part `shift` places on."""

    def describe(stems):
        power = torch.fft.rfft(stems.roll(-shift, dims=1)).abs()[..., :32000]
        block = power.unflatten(-1, (128, -1)).amax(dim=-1)
        return block / block.norm(dim=-1, keepdim=True), torch.ones(stems.shape[:2])

    return Subject(describe, takes_stems=True)


def versioned(bank):
    """The same bank, in which pieces 0 and 1 are of one song."""
    pieces = [
        dataclasses.replace(p, song=f"song-{max(1, k):03d}") for k, p in enumerate(bank.pieces)
    ]
    return dataclasses.replace(bank, pieces=tuple(pieces))


def test_intervals_hold_the_score_and_come_from_its_songs(bank):
    segments = bank.segments("test", 10, 10)
    normal, _ = normal_scores(bank, segments, hearing(0))
    pseudo, _ = pseudo_scores(bank, segments, hearing(1), Pseudo10x5())
    for part in PARTS:
        low, high = normal[part]["interval"]
        assert low <= normal[part]["accuracy"] <= high
        low, high = pseudo[part]["leakage_interval"]
        assert low <= pseudo[part]["leakage"] <= high
    assert any(score["interval"][0] < score["interval"][1] for score in normal.values())


def test_presence_is_scored_by_its_order_and_by_its_values(tmp_path):
    """Guitar is absent from a third of the pieces; piano sounds everywhere, bass nowhere."""
    absent = {(k, "guitar") for k in range(0, 15, 3)} | {(k, "bass") for k in range(15)}
    write_corpus(tmp_path, {"test": 15}, seconds=30.0, absent=absent)
    bank = bank_of(tmp_path, RATE_HZ)

    def telling(yes, no):
        def describe(stems):
            there = stems.abs().amax(dim=-1) > 0
            return hearing(0).describe(stems)[0], torch.where(there, yes, no)

        report, _ = normal_scores(
            bank, bank.segments("test", 10, 10), Subject(describe, takes_stems=True)
        )
        return [(report[part]["presence_auc"], report[part]["presence_brier"]) for part in PARTS]

    for yes, no, area in ((1.0, 0.0, 1.0), (0.9, 0.6, 1.0), (0.6, 0.6, 0.5), (0.2, 0.7, 0.0)):
        found = telling(yes, no)
        assert found[PARTS.index("guitar")] == (
            area, pytest.approx((2 * (1 - yes) ** 2 + no**2) / 3, abs=1e-6),
        )  # fmt: skip
        assert found[PARTS.index("piano")] == (None, pytest.approx((1 - yes) ** 2, abs=1e-6))
        assert found[PARTS.index("bass")] == (None, pytest.approx(no**2, abs=1e-6))


def test_a_song_of_one_piece_has_no_other_version(bank):
    report, _ = normal_scores(bank, bank.segments("test", 10, 10), hearing(0))
    assert report["bass"]["versions"] is None


def test_other_versions_bar_the_own_piece_and_ask_those_who_have_one(bank):
    two = versioned(bank)
    block = {}

    def describe(stems):  # hears the song alone: its pieces are as near as can be
        rows = range(len(block), len(block) + len(stems))
        block.update(dict.fromkeys(rows))
        song = torch.tensor([max(1, row // 3) for row in rows], dtype=torch.float)
        return song[:, None, None].expand(-1, 5, 128), torch.ones(stems.shape[:2])

    segments = two.segments("test", 10, 10)
    assert segments.table.all()
    report, _ = normal_scores(two, segments, Subject(describe, takes_stems=True))
    score = report["bass"]["versions"]
    assert (score["queries"], score["chance"]) == (6, 1 / 14)
    assert score["accuracy"] == 1  # three segments of the other piece outvote any two
    plain, _ = normal_scores(two, segments, hearing(0))
    assert plain["bass"]["versions"]["accuracy"] == 0  # the pieces do not sound alike


def test_hubness_is_of_what_a_search_would_find(bank):
    def describe(stems):  # the first piece lies in the middle of all the others
        rows = hub(len(stems))
        return rows[:, None].expand(-1, 5, -1), torch.ones(stems.shape[:2])

    order = iter(range(45))

    def hub(count):
        rows = torch.zeros(count, 128)
        for row in rows:
            piece = next(order) // 3
            if piece:
                row[piece] = 1
        return rows

    report, _ = normal_scores(
        bank, bank.segments("test", 10, 10), Subject(describe, takes_stems=True)
    )
    found = report["drums"]["hubness"]
    assert found["largest"] == pytest.approx(42 / 45)  # in the lists of all others
    assert found["never"] > 0.3
    assert found["skewness"] > 1


def test_pseudo_is_told_by_kind_where_that_is_asked_for(bank):
    segments = bank.segments("test", 10, 10)
    plain, _ = pseudo_scores(bank, segments, hearing(0), Pseudo10x5())
    assert "kinds" not in plain["bass"]
    names = [piece.identifier for piece in bank.pieces]
    sounds = {"bass": {"soundfont": "OPL3", "programs": {"0": 32}}}
    report, _ = pseudo_scores(
        bank, segments, hearing(0), Pseudo10x5(), renderings=dict.fromkeys(names[:7], sounds)
    )
    assert report["drums"]["kinds"].keys() == {"tempo"}
    kinds = report["bass"]["kinds"]
    assert kinds["instrument"].keys() == {"acoustic bass"}
    assert kinds["soundfont"].keys() == {"OPL3"}
    assert 0 < kinds["soundfont"]["OPL3"]["songs"] <= 7
    for part in PARTS:
        scores = report[part]["kinds"]["tempo"].values()
        assert sum(score["queries"] for score in scores) == report[part]["queries"]
        for key in ("accuracy", "leakage"):
            mean = sum(score[key] * score["queries"] for score in scores) / report[part]["queries"]
            assert mean == pytest.approx(report[part][key])


def test_confusion_counts_the_votes_of_the_first_gallery(bank):
    segments = bank.segments("test", 10, 10)
    report, confusions = pseudo_scores(bank, segments, hearing(0), Pseudo10x5())
    for part in PARTS:
        confusion = confusions[part]
        assert confusion.votes.shape == (10, 10)
        assert confusion.right.shape == (10, 5)
        assert confusion.votes.sum() == report[part]["queries"]
        right = np.trace(confusion.votes) / confusion.votes.sum()
        assert right == pytest.approx(report[part]["accuracy"])
        assert np.nanmean(confusion.right) == pytest.approx(report[part]["accuracy"])
        assert {*confusion.targets, *confusion.backgrounds} == {p.identifier for p in bank.pieces}


def test_points_are_the_segments_of_a_few_songs(bank):
    _, points = normal_scores(bank, bank.segments("test", 10, 10), hearing(0))
    shown = points["guitar"]
    assert len(shown.names) == 12
    assert shown.block.shape == (36, 128)
    assert np.bincount(shown.songs).tolist() == [3] * 12
    assert shown.names[0] == bank.pieces[0].identifier
