import pytest
import torch
from made_networks import noise

from stemwise.models.frame_mixer import FrameMixer


def taught():
    """Return a layer for 3 channels of 8 bins that no longer passes its input on as it is."""
    torch.manual_seed(0)
    layer = FrameMixer(3, 8)
    with torch.no_grad():
        for weights in layer.parameters():
            weights.normal_()
    return layer.eval()


def test_nothing_is_added_before_training():
    x = noise(2, 3, 8, 5)
    assert torch.equal(FrameMixer(3, 8)(x), x)


@pytest.mark.parametrize("frames", [1, 5])
def test_frames_are_mixed_as_two_linear_layers_mix_them(frames):
    layer, x = taught(), noise(2, 3, 8, frames)
    slow = torch.empty_like(x)
    for b, c, t in torch.cartesian_prod(torch.arange(2), torch.arange(3), torch.arange(frames)):
        inside = torch.nn.functional.leaky_relu(layer.inside(x[b, c, :, t]), 0.2)
        slow[b, c, :, t] = layer.outside(inside)
    torch.testing.assert_close(layer(x), x + layer.norm(slow))


def test_a_frame_is_mixed_over_its_own_bins_alone():
    layer, x = taught(), noise(1, 3, 8, 5)
    other = x.clone()
    other[0, 1, 2, 3] += 1
    with torch.no_grad():
        moved = ((layer(other) - layer(x)).abs() > 1e-5)[0]
    assert moved[1, :, 3].all()
    assert moved.sum() == 8
