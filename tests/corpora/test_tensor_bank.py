import numpy as np
import pytest
import torch

from made_corpus import RATE_HZ, write_corpus
from stemwise.corpora import tensor_bank
from stemwise.corpora.bank import bank_of
from stemwise.corpora.tensor_bank import TensorBank
from stemwise.errors import CorpusError
from stemwise.sampling import Plan


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    directory = tmp_path_factory.mktemp("corpus")
    write_corpus(directory, {"train": 3, "valid": 2}, seconds=2.0, absent={(1, "piano")})
    return bank_of(directory, RATE_HZ)


def drawn_plan(positions, length, seed=0, batch=6, views=3):
    random = np.random.default_rng(seed)
    shape = (batch, views, 5)
    return Plan(random.choice(positions, shape), random.integers(0, 2 * RATE_HZ, shape),
                random.uniform(-6, 6, shape), length)  # fmt: skip


@pytest.mark.parametrize("length", [1, 800, 5000, 2 * RATE_HZ, 2 * RATE_HZ + 7])
def test_it_gathers_what_the_bank_gathers(bank, length, monkeypatch):
    monkeypatch.setattr(tensor_bank, "CHUNK_SAMPLES", 700)
    plan = drawn_plan([-1, 0, 1, 2, 3, 4], length)
    stems = TensorBank(bank, "cpu").gather(plan)
    assert stems.dtype == torch.float32
    expected = bank.gather(plan)
    assert stems.shape == expected.shape == (6, 3, 5, length)
    assert (expected != 0).any()
    np.testing.assert_array_equal(stems.numpy(), expected)


def test_it_can_hold_one_split_alone(bank):
    valid = TensorBank(bank, "cpu", splits=["valid"])
    plan = drawn_plan([-1, 3, 4], 4000)
    np.testing.assert_array_equal(valid.gather(plan).numpy(), bank.gather(plan))
    assert len(valid.audio) == 2 * 5 * 2 * RATE_HZ
    with pytest.raises(CorpusError, match=r"made-000 of the train split is not among the 2 pieces"):
        valid.gather(drawn_plan([0, 3], 4000))
    with pytest.raises(CorpusError, match="no piece of the splits"):
        TensorBank(bank, "cpu", splits=["test"])


def test_too_little_memory_is_one_clear_line(bank, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 2000))
    with pytest.raises(CorpusError, match=r"hold fewer splits") as caught:
        TensorBank(bank, "cuda")
    assert "\n" not in str(caught.value)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_it_gathers_on_a_gpu_what_the_bank_gathers(bank):
    plan = drawn_plan([-1, 0, 1, 2, 3, 4], 5000)
    stems = TensorBank(bank, "cuda").gather(plan)
    assert stems.is_cuda
    np.testing.assert_allclose(stems.cpu().numpy(), bank.gather(plan), atol=1e-7)
