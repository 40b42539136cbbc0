import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from made_corpus import RATE_HZ, write_corpus
from stemwise.corpora import bank as bank_module
from stemwise.corpora.bank import bank_bytes, bank_of, open_bank, preparation_seconds, prepare
from stemwise.corpora.piece import Piece
from stemwise.errors import AudioError, CorpusError
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
        for i, (path,) in enumerate(piece.stems.values()):
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


def test_two_trainings_may_look_at_once_where_parts_sound(bank, monkeypatch):
    write = np.savez_compressed

    def while_another_does_too(file, **tables):
        monkeypatch.setattr(np, "savez_compressed", write)
        bank.segments("train", 0.75, 0.25)
        write(file, **tables)

    monkeypatch.setattr(np, "savez_compressed", while_another_does_too)
    first = bank.segments("train", 0.75, 0.25)
    again = bank.segments("train", 0.75, 0.25)
    assert all(map(np.array_equal, first.sounding, again.sounding))
    assert not list(bank.directory.glob("*.partial"))


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


def test_a_part_is_the_plain_sum_of_its_files(tmp_path):
    time = np.arange(RATE_HZ) / RATE_HZ
    waves = [0.3 * np.sin(2 * np.pi * f * time) for f in (100, 210, 330)]
    for number, wave in enumerate(waves):
        soundfile.write(tmp_path / f"{number}.flac", wave, RATE_HZ)
    files = tuple(tmp_path / f"{number}.flac" for number in range(3))
    piece = Piece("a", "a", "train", None, 1.0, "made", "CC0-1.0",
                  {"drums": files, "bass": files[:1], "piano": (files[2],) * 5})  # fmt: skip
    bank = prepare([piece], tmp_path / "bank", RATE_HZ)
    np.testing.assert_allclose(bank.stem(0, 0), sum(waves), atol=3 / 32767)
    np.testing.assert_allclose(bank.stem(0, 1), waves[0], atol=2 / 32767)
    loud = 5 * soundfile.read(files[2])[0]
    np.testing.assert_allclose(bank.stem(0, 2), np.clip(loud, -1, 1), atol=2 / 32767)
    assert bank.clipped_samples.tolist() == [np.count_nonzero(np.abs(loud) > 1)]
    assert bank.clipped_samples[0] > 1000
    assert np.isnan(bank.segments("train", 0.5, 0.5).tempos_bpm).all()


def test_the_protocols_tempo_clusters_go_before_ours(corpus, tmp_path):
    given = [
        replace(p, tempo_cluster=c) for p, c in zip(corpus[1], (7, None, 7, None), strict=True)
    ]
    bank = prepare(given, tmp_path / "bank", RATE_HZ)
    assert bank.segments("train", 1.0, 1.0).clusters.tolist() == [7, -1, 7]
    assert bank.segments("valid", 1.0, 1.0).clusters.tolist() == [0]  # none given: by tempo
    assert open_bank(tmp_path / "bank").pieces == bank.pieces


def test_a_bank_prepared_before_clusters_and_counts_is_taken_as_it_is(corpus, tmp_path):
    folder = tmp_path / "bank"
    before = prepare(corpus[1], folder, RATE_HZ)
    stored = json.loads((folder / "bank.json").read_text())
    for piece in stored["pieces"]:
        del piece["tempo_cluster"]
    (folder / "bank.json").write_text(json.dumps(stored))
    (folder / "clipped.i64").unlink()
    calls = []
    again = prepare(corpus[1], folder, RATE_HZ, lambda d, t: calls.append((d, t)))
    assert calls == []
    assert again.pieces == before.pieces
    assert (before.clipped_samples == 0).all()
    assert again.clipped_samples is None


def test_a_piece_that_cannot_be_decoded_does_not_stop_the_others(tmp_path):
    pieces = write_corpus(tmp_path, {"train": 4}, seconds=2.0)
    path = pieces[1].stems["bass"][0]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])  # its header is well
    with pytest.raises(AudioError, match=r"bass.flac.*all other pieces are ready"):
        prepare(pieces, tmp_path / "bank", RATE_HZ)
    with pytest.raises(CorpusError, match="3 of 4 pieces are ready"):
        open_bank(tmp_path / "bank")
    path.write_bytes(whole)
    calls = []
    bank = prepare(pieces, tmp_path / "bank", RATE_HZ, lambda d, t: calls.append((d, t)))
    assert calls == [(4, 4)]
    assert np.abs(bank.stem(1, 1)).max() > 0.05


def test_the_size_is_told_and_a_full_disk_is_refused(corpus, bank, tmp_path, monkeypatch):
    wanted = bank_bytes(corpus[1], RATE_HZ)
    assert wanted == (bank.directory / "audio.i16").stat().st_size == 19 * 4 * RATE_HZ * 2
    assert preparation_seconds(corpus[1], RATE_HZ) > preparation_seconds([], RATE_HZ) == 0
    usage = bank_module.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(bank_module.shutil, "disk_usage", lambda _: usage._replace(free=wanted - 1))
    with pytest.raises(CorpusError, match=r"the disk has 0\.00 GB free; free some") as caught:
        prepare(corpus[1], tmp_path / "bank", RATE_HZ)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "bank").iterdir())
    assert prepare(corpus[1], bank.directory, RATE_HZ).pieces == bank.pieces  # is there: needs none
    monkeypatch.setattr(bank_module.shutil, "disk_usage", lambda _: usage._replace(free=wanted))
    prepare(corpus[1], tmp_path / "bank", RATE_HZ)


def test_no_pieces_is_one_clear_line(tmp_path):
    with pytest.raises(CorpusError, match="needs pieces"):
        prepare([], tmp_path / "bank", RATE_HZ)
