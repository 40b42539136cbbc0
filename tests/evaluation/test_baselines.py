import librosa
import numpy as np
import pytest
import torch

from made_corpus import write_corpus
from stemwise.corpora.bank import bank_of
from stemwise.errors import CorpusError, UsageError
from stemwise.evaluation import BASELINES, baseline, evaluate
from stemwise.evaluation.baselines import BASELINE_RATE_HZ, mfcc
from stemwise.parts import PARTS
from stemwise.protocols import Pseudo10x5
from stemwise.spectrogram import LogMel


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    directory = tmp_path_factory.mktemp("corpus")
    write_corpus(directory, {"train": 3, "test": 15})
    return bank_of(directory, BASELINE_RATE_HZ)


def test_mfcc_are_librosas():
    wave = np.random.default_rng(0).standard_normal(BASELINE_RATE_HZ).astype(np.float32) / 10
    wanted = librosa.feature.mfcc(y=wave, sr=BASELINE_RATE_HZ, n_mfcc=21, pad_mode="reflect",
                                  norm="ortho")[1:]  # fmt: skip
    found = mfcc(LogMel(BASELINE_RATE_HZ, 2048, 512, 128), torch.from_numpy(wave)[None])[0]
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-3)


def test_the_mfcc_baseline_is_of_the_mixture_and_of_unit_size(bank):
    subject = baseline("mfcc", bank, "cpu")
    stems = torch.from_numpy(np.stack([
        [bank.stem(p, i, 0, 10 * BASELINE_RATE_HZ) for i in range(5)]
        for p, piece in enumerate(bank.pieces) if piece.split == "train"
    ]))  # fmt: skip
    embedding, _ = subject.describe(stems.sum(dim=1))
    assert embedding.shape == (3, 5, 128)
    assert torch.equal(embedding[:, 0], embedding[:, 4])
    assert torch.allclose(embedding[:, 0, :80].std(dim=0), torch.ones(80), atol=1e-3)
    assert not embedding[:, :, 80:].any()
    swapped = stems.flip(1)
    assert torch.allclose(subject.describe(swapped.sum(dim=1))[0], embedding, atol=1e-2)


def test_stem_mel_is_the_mean_level_of_each_stem(bank):
    subject = baseline("stem-mel", bank, "cpu")
    assert subject.takes_stems
    stems = torch.zeros(1, 5, BASELINE_RATE_HZ)
    stems[0, 1] = torch.randn(BASELINE_RATE_HZ, generator=torch.Generator().manual_seed(1))
    block = subject.describe(stems)[0][0]
    assert (block[0] == -100).all()  # silence
    mel = librosa.feature.melspectrogram(
        y=stems[0, 1].numpy(), sr=BASELINE_RATE_HZ, n_fft=2048, hop_length=512, power=1.0,
        pad_mode="reflect",
    )  # fmt: skip
    np.testing.assert_allclose(block[1], 20 * np.log10(mel).mean(axis=1), atol=1e-3)


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_score_as_they_should(bank, name):
    scores, _ = evaluate(bank, baseline(name, bank, "cpu"), "test", Pseudo10x5())
    for part in PARTS:
        assert scores["normal"][part]["presence_auc"] is None
        assert scores["normal"][part]["presence_brier"] is None
        pseudo = scores["pseudo"][part]
        if name == "stem-mel":  # the very stem returns
            assert (pseudo["accuracy"], pseudo["leakage"]) == (1.0, 0.0)
        if name == "chance":
            assert pseudo["accuracy"] < 0.4
            assert pseudo["leakage"] < 0.4


def test_without_training_songs_there_is_no_scale(tmp_path):
    write_corpus(tmp_path, {"test": 1})
    with pytest.raises(CorpusError, match="train"):
        baseline("mfcc", bank_of(tmp_path, BASELINE_RATE_HZ), "cpu")
    with pytest.raises(UsageError, match="no device"):
        baseline("chance", bank_of(tmp_path, BASELINE_RATE_HZ), "tpu")
