import pytest
import torch
from torch.nn import functional

from oracles import contrastive_of_part
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
