import shutil
from types import SimpleNamespace

import pytest
import torch

from made_corpus import RATE_HZ, write_corpus
from made_recipes import COMPACT, small_recipe
from stemwise.corpora.bank import bank_of
from stemwise.errors import CorpusError, ModelError, UsageError
from stemwise.models.direct import DirectReconst
from stemwise.training import train, training_bank
from stemwise.training.setting import Setting


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    directory = tmp_path_factory.mktemp("corpus")
    write_corpus(directory, {"train": 5, "valid": 4}, seconds=4.0)
    return bank_of(directory, RATE_HZ)


def test_too_little_memory_is_refused(bank, monkeypatch):
    assert training_bank(bank, "memory", "cpu").audio.nbytes == bank.audio.nbytes
    monkeypatch.setattr("stemwise.training.setting.available_bytes", lambda: 1000)
    with pytest.raises(CorpusError, match=r"GB of memory, but 0\.0 GB are free"):
        training_bank(bank, "memory", "cpu")


def test_too_little_disk_is_refused(bank, monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(CorpusError, match=r"checkpoints of .* need .* MB, but the disk has 0 MB"):
        train(small_recipe(COMPACT / "clean.toml"), bank, tmp_path / "run", progress=False)


def test_too_few_songs_are_refused(tmp_path):
    write_corpus(tmp_path, {"train": 2, "valid": 4}, seconds=4.0)
    with pytest.raises(CorpusError, match="use a corpus with more songs per tempo cluster"):
        train(
            small_recipe(COMPACT / "cascade.toml"), bank_of(tmp_path, RATE_HZ), tmp_path / "run",
            progress=False,
        )  # fmt: skip


def test_places_and_devices_that_are_not_there(bank, monkeypatch):
    with pytest.raises(UsageError, match="choose from disk, memory, device"):
        training_bank(bank, "cloud", "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match="no CUDA device"):
        _ = Setting(bank, bank, "cuda").cuda


def test_a_device_bank_serves_training_alone(bank):
    on_device = training_bank(bank, "device", "cpu")
    setting = Setting(bank, on_device, "cpu")
    segments = bank.segments("train", 1.0, 0.5)
    assert setting.source(segments, "train", 7).bank is on_device
    valid = setting.source(segments, "valid", 7)
    assert valid.bank is bank
    assert (setting.source(segments, "train", 7).seed, valid.seed) == (7, 8)


def test_decoders_keep_their_own_batch_statistics(bank, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("WORLD_SIZE", "2")
    network = DirectReconst(small_recipe(COMPACT / "direct_reconst.toml").model)
    network = Setting(bank, bank, "cuda").synchronised(network)
    kinds = {
        place: {type(m) for m in part.modules() if "BatchNorm" in type(m).__name__}
        for place, part in (("encoder", network.encoder), ("decoders", network.decoders))
    }
    assert kinds == {"encoder": {torch.nn.SyncBatchNorm}, "decoders": {torch.nn.BatchNorm2d}}
