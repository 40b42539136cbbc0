import numpy as np
import pytest
import torch

from made_corpus import RATE_HZ, write_corpus
from made_recipes import COMPACT, small_recipe
from stemwise.corpora.bank import bank_of
from stemwise.parts import PARTS
from stemwise.sampling import subset_plan
from stemwise.training.batches import Aims, Source, SubsetBatches, TripletBatches


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    directory = tmp_path_factory.mktemp("corpus")
    write_corpus(directory, {"train": 12}, absent={(0, "guitar")})
    return bank_of(directory, RATE_HZ)


@pytest.fixture(scope="module")
def source(bank):
    return Source(bank, bank.segments("train", 1.0, 0.5), seed=3)


def settings(name, stage, **changes):
    recipe = small_recipe(COMPACT / f"{name}.toml", batch=4)
    return getattr(recipe, stage).model_copy(update=changes)


@pytest.mark.parametrize(
    ("recipe", "stage", "part"),
    [("direct", "triplets", None), ("direct_reconst", "triplets", None),
     ("direct_normal", "triplets", None), ("cascade_ft", "separation", 2)],
)  # fmt: skip
def test_a_batch_is_the_sum_of_the_stems_its_plan_names(source, bank, recipe, stage, part):
    batches = TripletBatches(
        source, settings(recipe, stage), epoch=1, items=12, part=part, stems=True
    )
    assert len(batches) == 3
    triplets, batch = batches.draw(1), batches[1]
    assert batch["mixture"].shape == (4, 3, RATE_HZ)
    np.testing.assert_array_equal(batch["targets"].numpy(), triplets.targets)
    assert part is None or set(triplets.targets.ravel()) == {part}
    for item in range(4):
        for view in range(3):
            total = np.zeros(RATE_HZ, np.float32)
            for i in range(len(PARTS)):
                piece, start = (
                    triplets.plan.pieces[item, view, i],
                    triplets.plan.starts[item, view, i],
                )
                if piece >= 0:
                    total += bank.stem(int(piece), i, int(start), RATE_HZ)
            np.testing.assert_allclose(batch["mixture"][item, view], total, atol=1e-6)
            for column, target in enumerate(triplets.targets[item]):
                where = (
                    triplets.plan.pieces[item, view, target],
                    triplets.plan.starts[item, view, target],
                )
                stem = bank.stem(int(where[0]), int(target), int(where[1]), RATE_HZ)
                np.testing.assert_allclose(batch["stems"][item, view, column], stem, atol=1e-6)


def test_plans_draw_what_their_names_say(source):
    def views(plan):
        kind = settings("direct_da", "triplets", plan=plan)
        return TripletBatches(source, kind, epoch=0, items=12).draw(0)

    assert views("pseudo").targets.shape == (4, 2)
    assert views("listed").targets.shape == views("normal").targets.shape == (4, 1)
    for row in views("normal").plan.pieces.reshape(-1, 5):  # real pieces: one song in a mixture
        assert len(set(row[row >= 0])) == 1
    rows = views("pseudo").plan.pieces.reshape(-1, 5)
    assert all(len(set(row[row >= 0])) == 2 for row in rows)


def test_clean_hears_the_target_alone(source):
    batches = TripletBatches(
        source, settings("clean", "clean"), epoch=0, items=4, part=1, alone=True, stems=True
    )
    batch = batches[0]
    torch.testing.assert_close(batch["mixture"], batch["stems"][:, :, 0])


@pytest.mark.parametrize("world", [2, 4])
def test_shares_of_processes_make_the_whole(source, bank, world):
    def epoch(rank, of):
        own = Source(bank, source.segments, 3, rank, of)
        return list(TripletBatches(own, settings("direct_da", "triplets"), epoch=0, items=8))

    whole, shares = epoch(0, 1), [epoch(rank, world) for rank in range(world)]
    for batch, *parts in zip(whole, *shares, strict=True):
        for key in batch:
            joined = torch.empty_like(batch[key])
            for rank, share in enumerate(parts):
                joined[rank::world] = share[key]
            torch.testing.assert_close(joined, batch[key], rtol=0, atol=0)


def test_an_epoch_ends(source):
    batches = TripletBatches(source, settings("clean", "clean"), epoch=0, items=9, part=0)
    assert len(batches) == 3
    with pytest.raises(IndexError):
        batches[3]


def test_aims_are_the_present_blocks_scaled_to_length_one():
    rows = np.array([4, 7, 9])
    vectors = np.zeros((3, 5, 128), np.float32)
    vectors[1, 0], vectors[1, 3], vectors[2] = 3.0, 4.0, 1e-6
    aims = Aims(rows, vectors)
    present = np.array([[True, True, False, False, True], [True] * 5, [True] * 5])
    found = aims.of(np.array([7, 7, 9]), present)
    torch.testing.assert_close(found[0, :128], torch.full((128,), 128**-0.5))
    assert found[0, 128:].count_nonzero() == 0  # block 3 is absent, the others are zero
    expected = torch.cat([torch.full((128,), 3.0), torch.zeros(256), torch.full((128,), 4.0),
                          torch.zeros(128)])  # fmt: skip
    torch.testing.assert_close(found[1], expected / expected.norm())
    torch.testing.assert_close(found[2], torch.full((640,), 1e-6))  # too short: left as it is


def test_subsets_go_on_through_the_epochs_and_name_their_segments(source):
    told = settings("direct_da", "pretraining", segments_per_song=20)
    table = len(source.segments.rows)
    aims = Aims(np.arange(table), np.ones((table, 5, 128), np.float32))
    by_epoch = [SubsetBatches(source, told, epoch=e, items=8, aims=aims) for e in range(3)]
    drawn = [by_epoch[e].draw(i).rows for e in range(3) for i in range(2)]
    straight = [
        subset_plan(source.segments, 3, k, batch=4, songs=None, per_song=20).rows for k in range(6)
    ]
    np.testing.assert_array_equal(drawn, straight)
    np.testing.assert_array_equal(by_epoch[0].rows(), np.unique(drawn[:2]))
    batch, subsets = by_epoch[0][0], by_epoch[0].draw(0)
    assert batch["mixture"].shape == (4, RATE_HZ)
    blocks = batch["aim"].unflatten(1, (5, 128)).norm(dim=2) > 0
    np.testing.assert_array_equal(blocks.numpy(), subsets.present)
