import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from oracles import contrastive_of_part, triplet_read_aloud
from stemwise import losses


def unit(*shape, seed=0):
    return functional.normalize(
        torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1
    )


def test_contrastive_equals_the_slow_loop():
    embedding = unit(10, 5, 8)
    labels = torch.randint(-1, 4, (10, 5), generator=torch.Generator().manual_seed(1))
    fast = losses.contrastive(embedding, labels, temperature=0.2)
    slow = [
        contrastive_of_part(embedding[:, i].tolist(), labels[:, i].tolist(), 0.2) for i in range(5)
    ]
    torch.testing.assert_close(fast, torch.tensor(slow), rtol=1e-5, atol=1e-5)


def test_contrastive_without_positives_is_zero_and_has_a_gradient():
    embedding = unit(4, 5, 8).requires_grad_()
    labels = torch.full((4, 5), -1)
    labels[:, 0] = torch.arange(4)
    loss = losses.contrastive(embedding, labels, temperature=0.1)
    assert loss.tolist() == [0, 0, 0, 0, 0]
    loss.sum().backward()
    assert embedding.grad is not None
    assert torch.isfinite(embedding.grad).all()


def test_contrastive_is_least_when_labels_cluster():
    labels = torch.arange(4).repeat(2)[:, None].expand(8, 5)
    apart = functional.one_hot(labels, 8).float()
    mixed = functional.one_hot(torch.arange(8) % 3, 8).float()[:, None].expand(8, 5, 8)
    best, worse = (losses.contrastive(z, labels, temperature=0.1) for z in (apart, mixed))
    assert (best < worse).all()
    assert (best < 1e-3).all()


def test_presence_is_least_when_right():
    playing = torch.tensor([[True, False, True, False, True]])
    right = torch.where(playing, 9.0, -9.0)
    assert losses.presence(right, playing) < 1e-3
    assert losses.presence(-right, playing) > 8


def test_separation_is_zero_for_the_perfect_mask():
    stems = torch.rand(2, 5, 6, 7, generator=torch.Generator().manual_seed(3))
    mixture = stems.sum(dim=1)
    perfect = stems / mixture[:, None]
    assert losses.separation(perfect, mixture, stems) < 1e-4
    assert losses.separation(perfect.roll(1, dims=1), mixture, stems) > 0.1


@pytest.mark.parametrize("gain", [0.01, 100.0])
def test_separation_does_not_depend_on_the_level(gain):
    stems = torch.rand(2, 5, 6, 7, generator=torch.Generator().manual_seed(4))
    masks = torch.full((2, 5, 6, 7), 0.2)
    one = losses.separation(masks, stems.sum(dim=1), stems)
    other = losses.separation(masks, gain * stems.sum(dim=1), gain * stems)
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def views(batch, dimensions, seed, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(3, batch, dimensions, generator=generator)


@settings(deadline=None, max_examples=80)
@given(
    batch=st.integers(1, 6), dimensions=st.integers(1, 9), seed=st.integers(0, 999),
    scale=st.sampled_from([1e-3, 0.1, 1.0, 100.0]), margin=st.sampled_from([0.0, 0.2, 5.0]),
    same=st.sampled_from(["none", "anchor and positive", "anchor and negative", "all"]),
)  # fmt: skip
def test_triplet_equals_the_slow_loop(batch, dimensions, seed, scale, margin, same):
    anchor, positive, negative = views(batch, dimensions, seed, scale)
    if same in ("anchor and positive", "all"):
        positive = anchor.clone()
    if same in ("anchor and negative", "all"):
        negative = anchor.clone()
    leaves = [view.requires_grad_() for view in (anchor, positive, negative)]
    loss = losses.triplet(*leaves, margin=margin)
    slow = triplet_read_aloud(*(v.detach().double().tolist() for v in leaves), margin)
    torch.testing.assert_close(loss.item(), slow, rtol=1e-4, atol=1e-5)
    loss.backward()
    assert all(torch.isfinite(view.grad).all() for view in leaves)


def row(*values):
    return torch.tensor([values])


@pytest.mark.parametrize(
    ("positive", "negative", "margin", "expected"),
    [
        (3.0, 5.0, 0.2, 0.0),  # far enough
        (5.0, 3.0, 0.2, 2.2),  # not 5 ** 2 - 3 ** 2 + 0.2
        (50.0, 30.0, 0.2, 20.2),  # not the same: nothing is normalised
        (3.0, 3.1, 0.2, 0.1),
        (3.0, 3.1, 0.1, 0.0),
        (0.0, 0.0, 0.2, 0.2),
        (-5.0, 3.0, 0.0, 2.0),
    ],
)
def test_triplet_by_hand(positive, negative, margin, expected):
    loss = losses.triplet(row(0.0), row(positive), row(negative), margin=margin)
    assert loss.item() == pytest.approx(expected, abs=1e-5)


def test_triplet_is_euclidean_and_a_mean_over_all_triplets():
    anchor = torch.zeros(2, 2)
    positive = torch.tensor([[3.0, 4.0], [0.0, 0.0]])  # distance 5, and 0
    negative = torch.tensor([[0.0, 1.0], [6.0, 8.0]])  # 1, and 10: the second triplet is content
    loss = losses.triplet(anchor, positive, negative, margin=0.2)
    assert loss.item() == pytest.approx((4.2 + 0.0) / 2, abs=1e-5)


def test_triplet_adds_a_millionth_to_each_difference():
    """So equal vectors of D numbers are 1e-6 sqrt(D) apart."""
    anchor, negative = torch.zeros(1, 10_000), torch.zeros(1, 10_000)
    negative[0, 0] = 3.0
    loss = losses.triplet(anchor, anchor, negative, margin=4.0)
    assert loss.item() == pytest.approx(1.0 + 1e-4, abs=1e-5)


def test_triplet_pulls_the_positive_and_pushes_the_negative():
    anchor, positive, negative = (v.requires_grad_() for v in views(4, 8, 0).unbind())
    losses.triplet(anchor, positive, negative, margin=20.0).backward()
    for view, sign in ((positive, 1), (negative, -1)):
        away = sign * (view - anchor).detach()
        direction = functional.cosine_similarity(view.grad, away)
        torch.testing.assert_close(direction, torch.ones(4), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("other", [(1, 8), (4, 1), (4, 7), (8,)])
def test_triplet_of_other_shapes_is_refused(other):
    whole, odd = torch.zeros(4, 8), torch.zeros(other)
    for wrong in ((odd, whole, whole), (whole, odd, whole), (whole, whole, odd)):
        with pytest.raises(ValueError, match=r"shapes differ: .*\(4, 8\)"):
            losses.triplet(*wrong, margin=0.2)


@settings(deadline=None, max_examples=40)
@given(shape=st.lists(st.integers(1, 4), min_size=1, max_size=4), seed=st.integers(0, 999))
def test_magnitude_l1_equals_the_slow_loop(shape, seed):
    generator = torch.Generator().manual_seed(seed)
    estimate, reference = torch.rand(2, *shape, generator=generator)
    pairs = zip(estimate.flatten().tolist(), reference.flatten().tolist(), strict=True)
    differences = [abs(x - y) for x, y in pairs]
    loss = losses.magnitude_l1(estimate, reference)
    assert loss.item() == pytest.approx(sum(differences) / len(differences), rel=1e-5, abs=1e-7)
    assert losses.magnitude_l1(reference, reference) == 0


def test_magnitude_l1_is_linear_in_the_level():
    estimate, reference = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(1))
    one = losses.magnitude_l1(estimate, reference)
    torch.testing.assert_close(losses.magnitude_l1(10 * estimate, 10 * reference), 10 * one)


@pytest.mark.parametrize("other", [(2, 5, 1), (5, 7), (1, 5, 7), (2, 1, 5, 7)])
def test_magnitude_l1_of_other_shapes_is_refused(other):
    with pytest.raises(ValueError, match=r"shapes differ: \(2, 5, 7\), \("):
        losses.magnitude_l1(torch.zeros(2, 5, 7), torch.zeros(other))


def test_shares_is_least_for_the_true_shares_and_ignores_the_level():
    generator = torch.Generator().manual_seed(5)
    stems = torch.rand(2, 5, 6, 7, generator=generator)
    mixture = stems.sum(dim=1)
    true = stems / mixture[:, None]
    best = losses.shares(true, mixture, stems)
    for other in (true.roll(1, dims=1), torch.full_like(true, 0.2), true.square().softmax(dim=1)):
        assert losses.shares(other, mixture, stems) > best
    torch.testing.assert_close(losses.shares(true, 9 * mixture, 9 * stems), best)
    slow = [
        (mixture[b, f, t] / mixture[b].mean()).sqrt()
        * -sum(true[b, i, f, t] * true[b, i, f, t].log() for i in range(5))
        for b in range(2) for f in range(6) for t in range(7)
    ]  # fmt: skip
    torch.testing.assert_close(best, torch.stack(slow).mean())
