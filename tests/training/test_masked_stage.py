import pytest
import torch

from made_corpus import RATE_HZ, write_corpus
from made_recipes import COMPACT, RECIPES, learn_by_heart, small_recipe
from stemwise.corpora.bank import bank_of
from stemwise.training.assembly import network_of
from stemwise.training.batches import ContrastiveBatches, PresenceBatches, Source
from stemwise.training.masked import MaskedStage, PresenceStage
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
        places = stage._places(len(batch["stems"]))
        mixture, stems = stage._magnitudes(batch["stems"], places)
        plain, plain_stems = flat._magnitudes(batch["stems"], places)
    gains_db = 20 * torch.log10(mixture / plain.clamp(min=1e-12))
    heard = plain > 1e-6
    assert gains_db[heard].std() > 2
    for i in range(len(mixture)):  # constant over time, and the same for all stems
        rows = heard[i].all(dim=1)
        assert gains_db[i, rows].std(dim=1).max() < 1e-3
        torch.testing.assert_close(
            stems[i, :, rows], plain_stems[i, :, rows] * 10 ** (gains_db[i, rows, :1] / 20)
        )


def test_stems_are_dealt_out_anew_and_take_their_labels_along(source):
    stage, settings = stage_of("masked.heard_in=3", "masked.eq_deviation_db=0.0")
    batch = ContrastiveBatches(source, settings, epoch=0)[0]
    count = len(batch["stems"])
    with torch.no_grad():
        places = stage._places(count)
        mixture, stems = stage._magnitudes(batch["stems"], places)
    assert places.shape == (3 * count, 5)
    for round_ in places.reshape(3, count, 5):  # every stem is heard once in each
        assert (round_.sort(dim=0).values == torch.arange(count)[:, None]).all()
    assert (places[:count] == torch.arange(count)[:, None]).all()
    assert (places[count:] != places[:count].repeat(2, 1)).any()
    front_end = stage.network.front_end
    for row, place in enumerate(places):  # the slow way: in the time domain
        own = torch.stack([batch["stems"][k, i] for i, k in enumerate(place)])
        torch.testing.assert_close(stems[row], front_end.bands(own), atol=1e-4, rtol=1e-3)
        slow = front_end.bands(own.sum(dim=0)[None])[0]
        torch.testing.assert_close(mixture[row], slow, atol=1e-4, rtol=1e-3)
    seen = []
    stage.network.presence = lambda masks, mel: torch.zeros(len(mel), 5, requires_grad=True)
    stage.settings = settings.model_copy(update={"separation_only_steps": 0})
    losses_of = torch.nn.functional.binary_cross_entropy_with_logits
    torch.manual_seed(1)
    places = stage._places(count)
    torch.manual_seed(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stemwise.losses.presence", lambda logits, playing: seen.append(playing)
                      or losses_of(logits, playing.float()))  # fmt: skip
        stage.losses(batch)
    assert (seen[0] == batch["playing"][places, torch.arange(5)]).all()


def test_the_loss_of_shares_trains_masks(source):
    stage, settings = stage_of(
        "masked.mask_loss='shares'", "masked.separation_only_steps=100", "masked.eq_deviation_db=0"
    )
    batch = ContrastiveBatches(source, settings, epoch=0)[0]
    first, last = learn_by_heart(stage, batch, steps=30)
    assert last["separation"] < 0.7 * first["separation"]


def test_stems_at_speeds_of_their_own_are_learnt_by_heart(source):
    stage, settings = stage_of(
        "masked.speed_semitones=3.0", "masked.separation_only_steps=0", "masked.heard_in=2",
        "masked.eq_deviation_db=0.0",
    )  # fmt: skip
    batch = ContrastiveBatches(source, settings, epoch=0)[0]
    first, last = learn_by_heart(stage, batch, steps=60)
    assert last["separation"] < 0.9 * first["separation"]


TIMBRES = "masked.timbres={semitones=2.0, drive_db=6.0, colour_deviation_db=3.0, rooms=0.5}"


def test_stems_with_timbres_of_their_own_are_learnt_by_heart(source):
    stage, settings = stage_of(
        TIMBRES, "masked.separation_only_steps=0", "masked.eq_deviation_db=0.0"
    )
    batch = ContrastiveBatches(source, settings, epoch=0)[0]
    stems = stage._played(batch)
    shortest = int((batch["stems"].shape[-1] - 1) / 2 ** (2 / 12))
    assert stems.shape == (*batch["stems"].shape[:2], shortest)
    assert (stems[batch["labels"] < 0] == 0).all()
    first, last = learn_by_heart(stage, batch, steps=60)
    assert last["separation"] < 0.95 * first["separation"]


@pytest.mark.parametrize("word", ["masked.presence_head=true", "seed=0"])
def test_presence_is_taught_beside_masks_by_the_head_if_it_is_asked_for(source, word):
    torch.manual_seed(0)
    recipe = small_recipe(RECIPES / "stemwise.toml", "masked.separation_only_steps=0", word)
    stage = MaskedStage(network_of(recipe, Unit("masked")), recipe.masked, 0)
    batch = ContrastiveBatches(source, recipe.masked, epoch=0)[0]
    first = stage.losses(batch)["presence"]
    first.backward()
    network = stage.network
    if word == "seed=0":
        assert not hasattr(network, "presence_head")
        assert network.presence_scale.grad is not None
    else:
        assert network.presence_head[1].weight.grad.abs().max() > 0
        assert all(p.grad.abs().max() > 0 for p in network.encoder[-1].parameters())
        assert network.presence_scale.grad is None


def test_the_head_of_presence_learns_and_all_else_rests(source):
    torch.manual_seed(0)
    recipe = small_recipe(RECIPES / "stemwise.toml", batch=16)
    stage = PresenceStage(network_of(recipe, Unit("presence")), recipe.presence, 0)
    batch = PresenceBatches(source, recipe.presence, epoch=0, items=48)[1]
    assert set(batch) == {"mixture", "playing"}
    assert batch["mixture"].shape == (16, RATE_HZ)
    assert 0.2 < batch["playing"].float().mean() < 1
    before = {k: v.clone() for k, v in stage.network.state_dict().items()}
    first, last = learn_by_heart(stage, batch, steps=200, optimiser=stage.configure_optimizers())
    assert last["presence"] < 0.7 * first["presence"]
    moved = {k for k, v in stage.network.state_dict().items() if not torch.equal(v, before[k])}
    assert moved == {k for k in before if k.startswith("presence_head.")}
