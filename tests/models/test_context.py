import pytest
import torch
from made_networks import noise

from stemwise.models.context import FrameMixer, SegmentContext

KINDS = (FrameMixer, SegmentContext)


def taught(kind):
    """Return a layer for 3 channels of 8 bins that no longer passes its input on as it is."""
    torch.manual_seed(0)
    layer = kind(3, 8)
    with torch.no_grad():
        for weights in layer.parameters():
            weights.normal_()
    return layer.eval()


@pytest.mark.parametrize("kind", KINDS)
def test_little_is_added_before_training(kind):
    x = noise(2, 3, 8, 5)
    torch.testing.assert_close(kind(3, 8)(x), x, atol=0.13, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("frames", [1, 5])
def test_any_number_of_frames(kind, frames):
    x = noise(2, 3, 8, frames)
    y = taught(kind)(x)
    assert y.shape == x.shape
    assert y.isfinite().all()


def changed(layer, place):
    """Return where the layer's answer moves when its input moves in one place, (C, F, T)."""
    x = noise(1, 3, 8, 5)
    other = x.clone()
    other[(0, *place)] += 1
    with torch.no_grad():
        return ((layer(other) - layer(x)).abs() > 1e-5)[0]


def test_a_frame_is_mixed_over_its_bins_alone():
    moved = changed(taught(FrameMixer), (1, 2, 3))
    assert moved[1, :, 3].all()
    assert moved.sum() == 8


def test_a_segment_tells_all_its_bins_and_frames():
    assert changed(taught(SegmentContext), (1, 2, 3)).all()


def test_frames_are_mixed_as_two_linear_layers_mix_them():
    layer, x = taught(FrameMixer), noise(2, 3, 8, 5)
    slow = torch.empty_like(x)
    for b, c, t in torch.cartesian_prod(torch.arange(2), torch.arange(3), torch.arange(5)):
        inside = torch.nn.functional.leaky_relu(layer.inside(x[b, c, :, t]), 0.2)
        slow[b, c, :, t] = layer.outside(inside)
    torch.testing.assert_close(layer(x), x + layer.norm(slow))


def test_the_order_of_frames_tells_a_segment_nothing():
    layer, x = taught(SegmentContext), noise(2, 3, 8, 5)
    order = torch.tensor([3, 1, 0, 4, 2])
    torch.testing.assert_close(layer(x[..., order]), layer(x)[..., order])
