"""Agreement with made answers of made listeners, on made tracks of Slakh2100's test split."""

import pytest
import torch

from made_abx import write_abx
from made_corpus import RATE_HZ, write_corpus
from made_slakh import write_slakh
from stemwise.corpora.abx import CRITERIA, load_abx
from stemwise.corpora.bank import bank_of
from stemwise.corpora.piece import write_manifest
from stemwise.corpora.slakh import load_slakh
from stemwise.errors import CorpusError
from stemwise.evaluation import Subject, abx_scores
from stemwise.parts import PARTS
from stemwise.scores.abx import majority

LOW_HZ = 2000


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    root = tmp_path_factory.mktemp("abx")
    write_abx(root, (1881, 1882, 1886, 1889), clip_samples=5 * LOW_HZ, rate_hz=LOW_HZ)
    return load_abx(root)


@pytest.fixture(scope="module")
def bank(answers, tmp_path_factory):
    songs = {clip.song for t in answers.triplets for clip in (t.reference, t.a, t.b)}
    root, directory = tmp_path_factory.mktemp("slakh2100"), tmp_path_factory.mktemp("slakh")
    numbers = sorted(int(song.removeprefix("Track")) for song in songs)
    write_slakh(root, {"train": [1, 2], "test": numbers}, 30.0, LOW_HZ)
    found = load_slakh(root)
    write_manifest(directory, found.pieces, found.about)
    return bank_of(directory, LOW_HZ)


def waveform(stems):
    """Every part's block is a stretch of its own stem."""
    return 1000 * stems[:, :, 3000:3128], torch.ones(stems.shape[:2])


def read_aloud(bank, triplet, part):
    """Is A nearer, by the stretch of the stem that `waveform` takes?"""
    place = {piece.identifier: p for p, piece in enumerate(bank.pieces)}
    i = PARTS.index(part)
    x, a, b = (
        torch.from_numpy(
            bank.stem(place[c.song], i, round(c.start_seconds * LOW_HZ) + 3000, 128)
        ).double()
        for c in (triplet.reference, triplet.a, triplet.b)
    )
    return bool((x - a).norm() < (x - b).norm())


def test_agreement_reads_as_its_definition(bank, answers):
    report = abx_scores(bank, answers.triplets, Subject(waveform, takes_stems=True))
    assert report["skipped"] == 0
    asked = 0
    for test in ("XAB", "XYC"):
        for part in PARTS:
            for criterion in CRITERIA:
                right = []
                for triplet in answers.triplets:
                    if (triplet.test, triplet.part) == (test, part):
                        side = majority(triplet.answers[criterion])
                        if side:
                            right.append((side == "A") == read_aloud(bank, triplet, part))
                score = report[test][part][criterion]
                assert score["triplets"] == len(right)
                asked += len(right)
                if right:
                    assert score["agreement"] == pytest.approx(sum(right) / len(right))
                else:
                    assert score["agreement"] is None
    assert asked > 20


def test_the_mixture_is_asked_of_all_blocks_at_once(bank, answers):
    def deaf(stems):  # hears the drums, in the block of the residuals
        blocks = torch.zeros(len(stems), 5, 128)
        blocks[:, 4] = 1000 * stems[:, 0, 3000:3128]
        return blocks, torch.ones(len(stems), 5)

    report = abx_scores(bank, answers.triplets, Subject(deaf, takes_stems=True))
    mixed = [r["mix"]["total"] for r in (report["XAB"], report["XYC"]) if "mix" in r]
    assert any(score["triplets"] for score in mixed)
    told = [r["drums"]["total"] for r in (report["XAB"], report["XYC"])]
    assert all(score["agreement"] in (0.5, None) for score in told)  # all ties


def test_a_model_of_one_part_is_asked_about_that(bank, answers):
    subject = Subject(waveform, takes_stems=True, parts=("bass",))
    report = abx_scores(bank, answers.triplets, subject)
    assert set(report["XAB"]) | set(report["XYC"]) == {"bass"}
    assert report["skipped"] == sum(t.part != "bass" for t in answers.triplets)


def test_a_corpus_without_the_songs_is_refused(answers, tmp_path):
    write_corpus(tmp_path, {"test": 1})
    subject = Subject(waveform, takes_stems=True)
    with pytest.raises(CorpusError, match="none of the songs of the listening test"):
        abx_scores(bank_of(tmp_path, RATE_HZ), answers.triplets, subject)
