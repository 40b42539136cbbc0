import dataclasses

import numpy as np
import pytest

from stemwise.corpora.bank import BankPiece
from stemwise.evaluation.kinds import kind_scores, kinds_of
from stemwise.parts import PARTS

PIECE = BankPiece("a", "song", "test", 120.0, "made", 100, (0, 1, 2, 3, 4))


def played(part, *programs):
    return {
        part: {"soundfont": "TimGM6mb", "programs": {str(k): p for k, p in enumerate(programs)}}
    }


@pytest.mark.parametrize(
    ("part", "programs", "name"),
    [
        ("drums", (0,), "acoustic kit"),
        ("drums", (25,), "electronic kit"),
        ("drums", (40,), "jazz or orchestral kit"),
        ("bass", (32,), "acoustic bass"),
        ("bass", (33, 37), "electric bass"),
        ("bass", (38,), "synth bass"),
        ("piano", (0,), "acoustic piano"),
        ("piano", (4,), "electric piano"),
        ("piano", (7,), "harpsichord or clavinet"),
        ("guitar", (24,), "acoustic guitar"),
        ("guitar", (26,), "clean electric guitar"),
        ("guitar", (29, 30), "driven guitar"),
        ("guitar", (25, 30), "several"),
        ("residuals", (48,), "ensemble"),
        ("residuals", (127,), "effects"),
        ("residuals", (0,), "piano"),
    ],
)
def test_the_instrument_is_that_of_general_midi(part, programs, name):
    found = kinds_of(PIECE, played(part, *programs), part)
    assert found == {"instrument": name, "soundfont": "TimGM6mb", "tempo": "120 to 149 bpm"}


@pytest.mark.parametrize(
    ("bpm", "name"),
    [(60, "below 90 bpm"), (89.9, "below 90 bpm"), (90, "90 to 119 bpm"), (119.5, "90 to 119 bpm"),
     (120, "120 to 149 bpm"), (150, "150 bpm and above"), (200, "150 bpm and above")],
)  # fmt: skip
def test_tempi_lie_in_one_band_each(bpm, name):
    assert kinds_of(dataclasses.replace(PIECE, tempo_bpm=bpm), {}, "bass") == {"tempo": name}


def test_of_a_recording_nothing_is_known():
    unknown = dataclasses.replace(PIECE, tempo_bpm=None)
    assert [kinds_of(unknown, {}, part) for part in PARTS] == [{}] * 5
    assert kinds_of(unknown, {"bass": {"soundfont": "x", "programs": {}}}, "bass") == {}


def test_scores_of_kinds_are_means_over_their_queries():
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 6, 200)
    right, leaked = rng.random(200) < 0.4, rng.random(200) < 0.3
    kinds = {
        song: {"tempo": "below 90 bpm" if song < 2 else "150 bpm and above"} for song in range(6)
    }
    kinds[0] |= {"instrument": "organ"}
    found = kind_scores(right, leaked, targets, kinds)
    assert found.keys() == {"instrument", "tempo"}
    assert found["instrument"].keys() == {"organ"}
    assert list(found["tempo"]) == ["below 90 bpm", "150 bpm and above"]
    for name, songs in (("below 90 bpm", (0, 1)), ("150 bpm and above", (2, 3, 4, 5))):
        here = [q for q in range(200) if targets[q] in songs]
        score = found["tempo"][name]
        assert score["accuracy"] == pytest.approx(sum(right[q] for q in here) / len(here))
        assert score["leakage"] == pytest.approx(sum(leaked[q] for q in here) / len(here))
        assert (score["queries"], score["songs"]) == (len(here), len(songs))
        assert score["interval"][0] <= score["accuracy"] <= score["interval"][1]
    assert kind_scores(right, None, targets, kinds)["tempo"]["below 90 bpm"]["leakage"] is None
