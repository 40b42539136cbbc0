import json

import numpy as np
import pytest
import soundfile

from made_corpus import RATE_HZ, write_corpus
from stemwise.corpora.bank import bank_of, open_bank, prepare
from stemwise.errors import CorpusError
from stemwise.sampling import Plan


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    directory = tmp_path_factory.mktemp("corpus")
    pieces = write_corpus(directory, {"train": 3, "valid": 1}, seconds=4.0, absent={(1, "piano")})
    return directory, pieces


@pytest.fixture(scope="module")
def bank(corpus):
    return bank_of(corpus[0], RATE_HZ)


def test_stems_come_back_as_they_were(corpus, bank):
    for p, piece in enumerate(corpus[1]):
        for i, path in enumerate(piece.stems.values()):
            if len(piece.stems) == 5:
                wave, _ = soundfile.read(path, dtype="float32")
                np.testing.assert_allclose(bank.stem(p, i), wave, atol=2 / 32767)
    assert not bank.stem(1, 2).any()  # the absent piano


def test_gather_is_what_the_plan_says(bank):
    pieces = np.array([[[0, 1, 2, -1, 0]], [[1, 1, 1, 1, 1]]])
    starts = np.array([[[0, 100, 200, 0, 31000]], [[5, 6, 7, 8, 9]]])
    gains = np.array([[[0.0, 6.0, -6.0, 0.0, 0.0]], [[0.0] * 5]])
    stems = bank.gather(Plan(pieces, starts, gains, 2000))
    assert stems.shape == (2, 1, 5, 2000)
    for b, v, i in np.ndindex(pieces.shape):
        piece, start = pieces[b, v, i], starts[b, v, i]
        expected = np.zeros(2000)
        if piece >= 0:
            wave = bank.stem(int(piece), i)[start : start + 2000] * 10 ** (gains[b, v, i] / 20)
            expected[: len(wave)] = wave
        np.testing.assert_allclose(stems[b, v, i], expected, atol=1e-6)


def test_where_parts_sound(bank):
    segments = bank.segments("train", 1.0, 0.5)
    assert segments.pieces.tolist() == [0, 1, 2]
    assert len(set(segments.songs.tolist())) == 3
    assert [table.shape for table in segments.sounding] == [(7, 5)] * 3
    assert segments.sounding[0].all()
    assert not segments.sounding[1][:, 2].any()
    again = bank.segments("train", 1.0, 0.5)  # from the cache
    for first, second in zip(segments.sounding, again.sounding, strict=True):
        np.testing.assert_array_equal(first, second)
    assert [len(rows) for rows in segments.playable] == [3, 3, 2, 3, 3]


def test_unknown_split_is_one_clear_line(bank):
    with pytest.raises(CorpusError, match="no piece of the split 'test'"):
        bank.segments("test", 1.0, 0.5)


def test_a_stopped_preparation_goes_on(corpus, tmp_path):
    whole = prepare(corpus[1], tmp_path / "bank", RATE_HZ)
    reference = np.array(whole.audio)
    done = np.memmap(tmp_path / "bank" / "done.u8", np.uint8, "r+")
    audio = np.memmap(tmp_path / "bank" / "audio.i16", np.int16, "r+")
    done[2] = 0
    first = whole.pieces[2].offsets[0]
    audio[first : first + 100] = 0
    done.flush()
    audio.flush()
    with pytest.raises(CorpusError, match="3 of 4 pieces are ready"):
        open_bank(tmp_path / "bank")
    calls = []
    again = prepare(corpus[1], tmp_path / "bank", RATE_HZ, lambda d, t: calls.append((d, t)))
    assert calls == [(4, 4)]  # only the one that was missing
    np.testing.assert_array_equal(again.audio, reference)


def test_another_corpus_in_the_same_folder_is_refused(corpus, tmp_path):
    prepare(corpus[1], tmp_path / "bank", RATE_HZ)
    with pytest.raises(CorpusError, match="other pieces"):
        prepare(corpus[1][:2], tmp_path / "bank", RATE_HZ)
    with pytest.raises(CorpusError, match="another rate"):
        prepare(corpus[1], tmp_path / "bank", 4000)


def test_no_bank(tmp_path):
    with pytest.raises(CorpusError, match="prepare it first"):
        open_bank(tmp_path)


def test_the_index_is_plain_json(bank):
    stored = json.loads((bank.directory / "bank.json").read_text())
    assert stored["sample_rate_hz"] == RATE_HZ
