import dataclasses
import json

import numpy as np
import pytest
import soundfile

from stemwise.corpora.making import Found, make_corpus
from stemwise.corpora.piece import Piece, read_about, read_manifest
from stemwise.errors import CorpusError

RATE_HZ = 8000
ABOUT = {"corpus": "made"}


@pytest.fixture
def loud(tmp_path):
    """A piece whose two drum files sum beyond full scale in 500 samples."""
    wave = np.full(RATE_HZ, 0.2)
    wave[:500] = 0.75
    paths = (tmp_path / "kick.wav", tmp_path / "snare.wav")
    for path in paths:
        soundfile.write(path, wave, RATE_HZ)
    stems = {"drums": paths, "bass": paths[:1]}
    return Piece("loud", "loud", "train", None, 1.0, "made", "CC0-1.0", stems)


def test_a_corpus_is_a_manifest_and_a_bank_and_says_what_was_clipped(loud, tmp_path):
    told, calls = [], []
    report = make_corpus(
        tmp_path / "out",
        Found([loud], [], ABOUT),
        RATE_HZ,
        partial=False,
        jobs=1,
        announce=told.append,
        progress=lambda d, t: calls.append((d, t)),
    )
    assert read_manifest(tmp_path / "out") == [loud]
    assert read_about(tmp_path / "out") == ABOUT
    assert calls == [(1, 1)]
    assert len(told) == 1
    assert told[0].startswith("the bank of 1 pieces at 8000 Hz takes 0.00 GB and, from the start,")
    assert report.clipped_samples == {"loud": 500}
    assert report.bank_bytes == 2 * RATE_HZ * 2
    assert "beyond full scale and clipped: 500 samples of 1 pieces" in str(report)
    json.dumps(dataclasses.asdict(report))


def test_problems_stop_it_unless_partial(loud, tmp_path):
    told = []
    found = Found([loud], [f"song {k}: bad" for k in range(23)], ABOUT)
    with pytest.raises(CorpusError, match=r"23 problems; .* the 1 good pieces: --partial"):
        make_corpus(tmp_path / "out", found, RATE_HZ, partial=False, announce=told.append)
    assert told == [*found.problems[:20], "… and 3 more problems"]
    assert not (tmp_path / "out").exists()
    report = make_corpus(tmp_path / "out", found, RATE_HZ, partial=True)
    assert report.problems == list(found.problems)
    assert str(report).endswith("23 problems; their pieces were left out")


def test_nothing_good_makes_nothing(tmp_path):
    with pytest.raises(CorpusError, match="nothing was made"):
        make_corpus(tmp_path / "out", Found([], ["a: bad"], ABOUT), RATE_HZ, partial=True)
    assert not (tmp_path / "out").exists()
