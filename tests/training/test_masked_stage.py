import pytest
import torch

from made_corpus import RATE_HZ, write_corpus
from made_recipes import COMPACT, learn_by_heart, small_recipe
from stemwise.corpora.bank import bank_of
from stemwise.training.batches import ContrastiveBatches, Source
from stemwise.training.fitting import network_of
from stemwise.training.masked import MaskedStage
from stemwise.training.units import Unit


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    directory = tmp_path_factory.mktemp("corpus")
    write_corpus(directory, {"train": 12}, absent={(0, "guitar")})
    bank = bank_of(directory, RATE_HZ)
    return Source(bank, bank.segments("train", 1.0, 0.5), seed=0)


def stage_of(*words):
    torch.manual_seed(0)
    recipe = small_recipe(COMPACT / "direct_mask.toml", *words)
    return MaskedStage(network_of(recipe, Unit("masked")), recipe.masked, 0), recipe.masked


def test_a_batch_is_learnt_by_heart(source):
    stage, settings = stage_of(
        "masked.kept_parts=[0, 0, 0, 0, 1]", "masked.separation_only_steps=0",
        "masked.eq_deviation_db=0.0",
    )  # fmt: skip
    batch = ContrastiveBatches(source, settings, epoch=0)[0]
    torch.testing.assert_close(batch["mixture"], batch["stems"].sum(dim=1))
    first, last = learn_by_heart(stage, batch, steps=60)
    assert set(first) == {"contrastive", "presence", "separation"}
    # A stem and its ideal reading are four of a label: three positives share a softmax, log 3.
    assert last["contrastive"] < 1.3 < first["contrastive"]
    assert last["separation"] < 0.8 * first["separation"]


def test_at_first_nothing_but_masks_is_learnt(source):
    stage, settings = stage_of("masked.separation_only_steps=1")
    batch = ContrastiveBatches(source, settings, epoch=0)[0]
    terms = stage.losses(batch)
    assert set(terms) == {"separation"}
    terms["separation"].backward()
    assert all(p.grad is None for p in stage.network.readers.parameters())
    assert all(p.grad is not None for p in stage.network.decoder.parameters())


def test_a_mixture_and_its_stems_get_one_equaliser(source):
    stage, settings = stage_of("masked.eq_deviation_db=6.0")
    batch = ContrastiveBatches(source, settings, epoch=0)[0]
    flat, settings = stage_of("masked.eq_deviation_db=0.0")
    with torch.no_grad():
        mixture, stems = stage._magnitudes(batch)
        plain, plain_stems = flat._magnitudes(batch)
    gains_db = 20 * torch.log10(mixture / plain.clamp(min=1e-12))
    heard = plain > 1e-6
    assert gains_db[heard].std() > 2
    for i in range(len(mixture)):  # constant over time, and the same for all stems
        rows = heard[i].all(dim=1)
        assert gains_db[i, rows].std(dim=1).max() < 1e-3
        torch.testing.assert_close(
            stems[i, :, rows], plain_stems[i, :, rows] * 10 ** (gains_db[i, rows, :1] / 20)
        )
