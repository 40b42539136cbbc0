import dataclasses

import pytest
import torch

from made_corpus import RATE_HZ, write_corpus
from made_recipes import COMPACT, RECIPES, small_recipe
from stemwise.corpora.bank import bank_of
from stemwise.models.checkpoint import save_model
from stemwise.recipe import load_recipe
from stemwise.training.assembly import network_of
from stemwise.training.units import Unit, earlier_units, keys_of, units_of


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    directory = tmp_path_factory.mktemp("corpus")
    write_corpus(directory, {"train": 2}, seconds=2.0)
    return bank_of(directory, RATE_HZ)


def test_cascade_trains_part_by_part_stage_by_stage():
    recipe = load_recipe(RECIPES / "paper" / "cascade_ft.toml")
    units = units_of(recipe)
    assert len(units) == 15
    assert [u.folder for u in units[:2]] == ["separation/drums", "separation/bass"]
    assert earlier_units(recipe, Unit("finetuning", "bass")) == [Unit("features", "bass")]
    assert earlier_units(recipe, Unit("separation", "bass")) == []


def test_direct_learns_from_all_clean_networks():
    recipe = load_recipe(RECIPES / "paper" / "direct_reconst.toml")
    assert [u.folder for u in units_of(recipe)][-2:] == ["pretraining", "triplets"]
    assert len(earlier_units(recipe, Unit("pretraining"))) == 5
    assert earlier_units(recipe, Unit("triplets")) == [Unit("pretraining")]


def keys(bank, name, *words, **sizes):
    return keys_of(small_recipe(COMPACT / f"{name}.toml", *words, **sizes), bank)


def test_methods_share_the_stages_that_are_the_same(bank):
    clean, da, reconst = (keys(bank, n) for n in ("clean", "direct_da", "direct_reconst"))
    unit = Unit("clean", "bass")
    assert clean[unit] == da[unit] == reconst[unit]
    assert da[Unit("pretraining")] == reconst[Unit("pretraining")]
    assert da[Unit("triplets")] != reconst[Unit("triplets")]
    cascade, ft = keys(bank, "cascade"), keys(bank, "cascade_ft")
    assert all(ft[unit] == key for unit, key in cascade.items())
    wide = keys(bank, "cascade", parts=("bass", "piano"))
    assert wide[Unit("features", "bass")] == cascade[Unit("features", "bass")]


@pytest.mark.parametrize(
    "word",
    ["seed=1", "precision='bf16-mixed'", "segments.hop_seconds=0.25", "separation.margin=0.3",
     "model.n_mels=40"],
)  # fmt: skip
def test_whatever_weights_depend_on_changes_the_key_and_all_later_keys(bank, word):
    before, after = keys(bank, "cascade_ft"), keys(bank, "cascade_ft", word)
    assert all(before[unit] != after[unit] for unit in before)


def test_a_later_stage_leaves_the_keys_of_the_earlier_ones(bank):
    before, after = keys(bank, "cascade_ft"), keys(bank, "cascade_ft", "finetuning.margin=0.3")
    changed = {unit.stage for unit in before if before[unit] != after[unit]}
    assert changed == {"finetuning"}


def test_another_corpus_is_another_key(bank):
    piece = dataclasses.replace(bank.pieces[0], length_samples=1)
    other = dataclasses.replace(bank, pieces=(piece, *bank.pieces[1:]))
    assert set(keys(bank, "clean").values()).isdisjoint(keys(other, "clean").values())


def test_what_recipes_could_not_tell_at_first_changes_no_key_unless_told(bank):
    path = RECIPES / "stemwise_adamw.toml"
    plain = keys_of(small_recipe(path), bank)
    before_it_could_be_told = {
        Unit("masked"): "5b59c74d14bf261a6fd291411997bab5",  # as of commit e8304d8
        Unit("presence"): "0e6e343d06249681126e16e9e2885515",
    }
    assert plain == before_it_could_be_told
    told = keys_of(small_recipe(path, "model.kept_frames=1"), bank)
    assert set(told.values()).isdisjoint(plain.values())


def test_the_weights_that_training_begins_with_change_the_keys(bank, tmp_path):
    recipe = small_recipe(RECIPES / "stemwise.toml")
    before, found = keys_of(recipe, bank), []
    for seed in (0, 1):
        torch.manual_seed(seed)
        path = tmp_path / "begun.safetensors"
        save_model(network_of(recipe), path, name="begun", provenance={})
        found.append(keys_of(small_recipe(RECIPES / "stemwise.toml",
                                          f"masked.begin_with={path}"), bank))  # fmt: skip
    assert set(found[0].values()).isdisjoint(found[1].values())
    assert set(found[0].values()).isdisjoint(before.values())


def test_masks_are_the_same_with_whatever_presence(bank):
    """So a head can be fitted to masks that another run has learnt."""
    plain = ["model.presence=share", "stages=['masked']"]
    with_head, without = (
        keys_of(small_recipe(RECIPES / "stemwise.toml", *words), bank) for words in ([], plain)
    )
    assert with_head[Unit("masked")] == without[Unit("masked")]
    assert list(with_head) == [Unit("masked"), Unit("lengthened"), Unit("presence")]
    more = small_recipe(RECIPES / "stemwise.toml", "presence.whole=1.0")
    assert keys_of(more, bank)[Unit("presence")] != with_head[Unit("presence")]
    assert earlier_units(more, Unit("presence")) == [Unit("lengthened")]
