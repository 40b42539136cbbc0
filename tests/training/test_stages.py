"""Every method and stage: what is learnt, which weights move, and the losses against loops."""

import numpy as np
import pytest
import torch

from made_corpus import RATE_HZ, write_corpus
from made_recipes import COMPACT, RECIPES, learn_by_heart, small_recipe
from oracles import direct_loss_of_batch
from stemwise.corpora.bank import bank_of
from stemwise.models.direct import condition_1d
from stemwise.parts import PARTS
from stemwise.recipe import load_recipe
from stemwise.training.assembly import network_of
from stemwise.training.batches import Aims, Source, SubsetBatches, TripletBatches
from stemwise.training.stages import DirectStage, PartStage, PretrainingStage, direct_loss
from stemwise.training.units import Unit

BASS = PARTS.index("bass")
WIDE = "channels=[8, 16, 16, 20]"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    directory = tmp_path_factory.mktemp("corpus")
    write_corpus(directory, {"train": 12, "valid": 15}, absent={(0, "guitar")})
    bank = bank_of(directory, RATE_HZ)
    return Source(bank, bank.segments("train", 1.0, 0.5), seed=0)


def stage_of(name, part=None, **settings):
    """Return a stage, with its batches, by the recipe and unit it comes from."""
    recipe = small_recipe(COMPACT / f"{name}.toml", f"model.{WIDE}", batch=4)
    unit = Unit(settings.pop("stage"), part)
    torch.manual_seed(0)
    network = network_of(recipe, unit)
    told = getattr(recipe, unit.stage).model_copy(update=settings)
    if part is not None:
        return PartStage(network, told, part, 0, moving=unit.stage), told
    return DirectStage(network, told, 0), told


def one_batch(source, settings, part=None, alone=False):
    batches = TripletBatches(
        source, settings, epoch=0, items=4, part=part, alone=alone, stems=settings.separation > 0
    )
    return batches[0]


def learn(stage, batch, steps, rate=3e-3):
    """Take `steps` steps of Adam on one batch; return the first and the last losses."""
    stage.learning_rate = rate
    return learn_by_heart(stage, batch, steps, stage.configure_optimizers())


@pytest.mark.parametrize(
    ("recipe", "stage", "alone"),
    [("clean", "clean", True), ("cascade_ft", "features", False)],
)
def test_extractors_learn_four_triplets_by_heart(source, recipe, stage, alone):
    module, settings = stage_of(recipe, "bass", stage=stage, margin=1.0)
    batch = one_batch(source, settings, BASS, alone)
    if alone:  # too easy as it is: take the negatives for positives
        batch["mixture"] = batch["mixture"][:, [0, 2, 1]]
    first, last = learn(module, batch, 60)
    assert set(last) == {"triplet"}
    assert first["triplet"] > 0.5
    assert last["triplet"] < 0.01


def test_a_separator_learns_four_triplets_by_heart(source):
    module, settings = stage_of("cascade_ft", "bass", stage="separation")
    for layer in module.network.modules():
        if isinstance(layer, torch.nn.Dropout2d):
            layer.p = 0.0
    first, last = learn(module, one_batch(source, settings, BASS), 120, rate=1e-2)
    assert set(last) == {"separation"}
    assert last["separation"] < 0.4 * first["separation"]


def test_fine_tuning_learns_both(source):
    module, settings = stage_of("cascade_ft", "bass", stage="finetuning", margin=1.0)
    first, last = learn(module, one_batch(source, settings, BASS), 120)
    assert last["triplet"] < 0.05 < first["triplet"]
    assert last["separation"] < 0.8 * first["separation"]


@pytest.mark.parametrize("recipe", ["direct", "direct_da", "direct_normal"])
def test_direct_learns_four_triplets_by_heart(source, recipe):
    module, settings = stage_of(recipe, stage="triplets", margin=1.0)
    batch = one_batch(source, settings)
    if recipe == "direct_normal":  # too easy as it is: take the negatives for positives
        batch["mixture"] = batch["mixture"][:, [0, 2, 1]]
    first, last = learn(module, batch, 80)
    assert set(last) == {"triplet"}
    assert first["triplet"] > 0.5
    assert last["triplet"] < 0.01


def test_direct_reconst_learns_both(source):
    module, settings = stage_of("direct_reconst", stage="triplets", margin=1.0)
    first, last = learn(module, one_batch(source, settings), 120, rate=5e-3)
    assert last["triplet"] < 0.05 < first["triplet"]
    assert last["separation"] < 0.8 * first["separation"]


def test_pretraining_learns_its_aims(source):
    recipe = small_recipe(COMPACT / "direct_da.toml", f"model.{WIDE}", batch=4)
    torch.manual_seed(0)
    network = network_of(recipe, Unit("pretraining"))
    module = PretrainingStage(network, 1e-3, 0)
    rows = np.arange(len(source.segments.rows))
    vectors = np.random.default_rng(0).standard_normal((len(rows), 5, 128)).astype(np.float32)
    batch = SubsetBatches(source, recipe.pretraining, epoch=0, items=4, aims=Aims(rows, vectors))[0]
    first, last = learn(module, batch, 150)
    assert last["clean_error"] < 0.05 * first["clean_error"]
    assert batch["aim"].norm(dim=1).allclose(torch.ones(4))


def gradient_sizes(stage, batch):
    stage.train()
    terms = stage.losses(batch)
    sum(stage.weights[name] * value for name, value in terms.items()).backward()
    return {
        name: 0.0 if p.grad is None else p.grad.abs().sum().item()
        for name, p in stage.named_parameters()
    }


def test_gradients_reach_the_separators_in_fine_tuning_alone(source):
    module, settings = stage_of("cascade_ft", "bass", stage="finetuning", separation=0.0)
    sizes = gradient_sizes(module, one_batch(source, settings, BASS))
    convolutions = [n for n in sizes if "separators" in n and ("up" in n or "encoder" in n)]
    assert len(convolutions) > 20
    assert all(sizes[n] > 0 for n in convolutions if n.endswith("weight"))  # through the triplet
    module, settings = stage_of("cascade_ft", "bass", stage="features")
    before = {k: v.clone() for k, v in module.network.separators.state_dict().items()}
    sizes = gradient_sizes(module, one_batch(source, settings, BASS))
    assert {sizes[n] for n in sizes if "separators" in n} == {0.0}
    assert all(sizes[n] > 0 for n in sizes if n.endswith("head.weight"))
    after = module.network.separators.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)  # batch statistics too
    module, settings = stage_of("cascade_ft", "bass", stage="separation")
    sizes = gradient_sizes(module, one_batch(source, settings, BASS))
    assert {sizes[n] for n in sizes if "extractors" in n} == {0.0}


def test_only_the_decoders_of_targets_learn(source):
    module, settings = stage_of("direct_reconst", stage="triplets")
    batch = one_batch(source, settings)
    batch["targets"] = torch.tensor([[1, 3]] * 4)
    sizes = gradient_sizes(module, batch)
    for i in range(5):
        reached = sum(size for n, size in sizes.items() if f"decoders.{i}." in n)
        assert (reached > 0) == (i in (1, 3))
    assert all(sizes[n] > 0 for n in sizes if ".encoder." in n and n.endswith("0.weight"))


def test_directs_loss_is_that_of_a_double_precision_loop():
    generator = torch.Generator().manual_seed(0)
    embedding = torch.randn(6, 3, 5, 128, generator=generator)
    targets = torch.tensor([[0, 1], [1, 4], [2, 3], [3, 0], [4, 2], [0, 4]])
    for columns in (1, 2):
        own = targets[:, :columns]
        for margin in (0.2, 3.0):
            expected = direct_loss_of_batch(embedding.double().tolist(), own.tolist(), margin)
            assert direct_loss(embedding, own, margin).item() == pytest.approx(expected, rel=1e-5)


def test_conditioning_leaves_the_same_distances():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 7, 5, 128, generator=generator)
    parts = torch.tensor([0, 1, 2, 3, 4, 0, 1])
    whole = (condition_1d(a, parts) - condition_1d(b, parts)).flatten(1).norm(dim=1)
    own = (a - b)[torch.arange(7), parts].norm(dim=1)
    torch.testing.assert_close(whole, own)


def test_three_clips_are_summed_and_triplets_averaged(source):
    """The separation loss of Direct-Reconst against a loop over triplets and clips."""
    module, settings = stage_of("direct_reconst", stage="triplets")
    module.eval()
    network = module.network
    batch = one_batch(source, settings)
    with torch.no_grad():
        terms = module.losses(batch)
        total = 0.0
        for item in range(4):
            for column in range(2):
                target = batch["targets"][item, column].item()
                for view in range(3):
                    magnitude = network.front_end.magnitude(batch["mixture"][item, view][None])
                    maps = network.encoder.features(magnitude[:, None])
                    estimate = network.reconstruct(maps, magnitude, target)
                    stem = batch["stems"][item, view, column][None]
                    reference = network.front_end.magnitude(stem)
                    total += (estimate - reference).abs().mean().item()
    assert terms["separation"].item() == pytest.approx(total / 8, rel=1e-4)


@pytest.mark.parametrize(
    ("name", "unit"),
    [("clean", Unit("clean", "piano")), ("cascade_ft", Unit("finetuning", "bass")),
     ("direct_da", Unit("triplets")), ("direct_reconst", Unit("triplets"))],
)  # fmt: skip
def test_the_papers_sizes_take_a_step(name, unit):
    recipe = load_recipe(RECIPES / "paper" / f"{name}.toml")
    torch.manual_seed(0)
    network = network_of(recipe, unit)
    settings = getattr(recipe, unit.stage)
    if unit.part is None:
        stage, targets = DirectStage(network, settings, 0), torch.tensor([[1, 3]])
    else:
        stage = PartStage(network, settings, unit.part, 0, moving=unit.stage)
        targets = torch.tensor([[PARTS.index(unit.part)]])
    stems = 0.1 * torch.randn(1, 3, 5, 3 * 44100)
    where = targets[:, None, :, None].expand(1, 3, targets.shape[1], stems.shape[-1])
    batch = {"mixture": stems.sum(dim=2), "targets": targets, "stems": stems.gather(2, where)}
    first, last = learn(stage, batch, 2, rate=settings.learning_rate)
    assert set(last) == {n for n in ("triplet", "separation") if getattr(settings, n)}
    assert all(np.isfinite(value) for value in last.values())
    assert first != last
