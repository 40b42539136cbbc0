from itertools import pairwise

import pytest
import torch

from made_corpus import RATE_HZ, write_corpus
from made_recipes import COMPACT, learn_by_heart, small_recipe
from stemwise.corpora.bank import bank_of
from stemwise.training import contrast
from stemwise.training.assembly import network_of
from stemwise.training.batches import ContrastiveBatches, Source
from stemwise.training.contrast import ContrastiveStage
from stemwise.training.units import Unit


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    directory = tmp_path_factory.mktemp("corpus")
    write_corpus(directory, {"train": 12}, absent={(0, "guitar")})
    bank = bank_of(directory, RATE_HZ)
    return Source(bank, bank.segments("train", 1.0, 0.5), seed=0)


def stage_of(*words):
    torch.manual_seed(0)
    recipe = small_recipe(COMPACT / "contrast.toml", "model.channels=[8, 16, 16, 20]", *words)
    network = network_of(recipe, Unit("contrastive"))
    return ContrastiveStage(network, recipe.contrastive, 0), recipe.contrastive


def test_a_batch_is_learnt_by_heart(source):
    stage, settings = stage_of("contrastive.kept_parts=[0, 0, 0, 0, 1]")
    batch = ContrastiveBatches(source, settings, epoch=0)[0]
    assert len(batch["stems"]) == settings.separated_mixtures
    torch.testing.assert_close(batch["mixture"][:2], batch["stems"].sum(dim=1))
    first, last = learn_by_heart(stage, batch, steps=60)
    assert set(first) == {"contrastive", "presence", "separation"}
    assert last["contrastive"] < 0.05 < first["contrastive"]
    assert last["separation"] < first["separation"]


def test_without_a_weight_nothing_is_separated(source):
    stage, settings = stage_of("contrastive.separation=0.0")
    assert stage.masks is None
    batch = ContrastiveBatches(source, settings, epoch=0)[0]
    assert "stems" not in batch
    assert set(stage.losses(batch)) == {"contrastive", "presence"}


def test_the_rate_warms_up_and_falls_to_nothing():
    stage, settings = stage_of("contrastive.steps=100", "contrastive.warmup_steps=10")
    made = stage.configure_optimizers()
    optimiser, schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(settings.steps):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    peak = settings.learning_rate
    assert rates[0] == pytest.approx(peak / 10)
    assert max(rates) == pytest.approx(peak)
    assert rates.index(max(rates)) in (9, 10)
    assert rates[-1] < 0.001 * peak
    assert all(b <= a for a, b in pairwise(rates[10:]))


@pytest.mark.parametrize("quick", [True, False])
def test_muon_moves_matrices_and_convolutions_as_far_in_all_directions_and_adamw_the_rest(
    source, monkeypatch, quick
):
    monkeypatch.setattr(contrast, "is_quick_in_bfloat16", lambda device: quick)
    told = "contrastive.weight_decay=0.0", "contrastive.warmup_steps=1"
    moved, gradients = {}, {}
    for rate in (0.0, 0.02):
        stage, settings = stage_of(f"contrastive.muon_learning_rate={rate}", *told)
        batch = ContrastiveBatches(source, settings, epoch=0)[0]
        before = {name: weight.detach().clone() for name, weight in stage.named_parameters()}
        made = stage.configure_optimizers()
        sum(stage.losses(batch).values()).backward()
        assert isinstance(made["optimizer"], contrast.SingleMuon) is (rate > 0.0 and not quick)
        made["optimizer"].step()
        moved[rate] = {name: w.detach() - before[name] for name, w in stage.named_parameters()}
        gradients = {name: w.grad for name, w in stage.named_parameters()}
    for name, by_adamw in moved[0.0].items():
        own = moved[0.02][name]
        if own.ndim < 2:
            torch.testing.assert_close(own, by_adamw, atol=1e-5, rtol=1e-2)
            continue
        left, strength, right = torch.linalg.svd(gradients[name].flatten(1), full_matrices=False)
        steps = -(left.T @ own.flatten(1) @ right.T).diagonal()[strength > 0.02 * strength[0]]
        scale = 0.02 * max(1.0, own.shape[0] / own[0].numel()) ** 0.5
        assert len(steps) > 1 or len(strength) == 1
        assert 0.5 * scale < steps.min() < steps.max() < 1.3 * scale, name


def test_the_last_epoch_has_what_is_left_of_the_steps(source):
    _, settings = stage_of("contrastive.steps=5", "contrastive.steps_per_epoch=2")
    epochs = [ContrastiveBatches(source, settings, epoch) for epoch in range(settings.epochs)]
    assert [len(batches) for batches in epochs] == [2, 2, 1]
    assert len(epochs[-1][0]["stems"]) == settings.separated_mixtures
    with pytest.raises(IndexError):
        epochs[-1][1]
