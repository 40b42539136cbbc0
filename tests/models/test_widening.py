import pytest
import torch
from made_networks import made, noise

from stemwise.models.widening import widen

RATE_HZ = 8000
SAME = {"mask_frames": True, "n_mels": 32}


def settled(**shape):
    """Return a network whose norms have seen some noise, and whose frames are mixed."""
    network = made("direct-mask", **SAME, **shape)
    for weights in network.parameters():
        if weights.ndim == 1:
            torch.nn.init.normal_(weights, 0.5, 0.2)
    network.train()(noise(4, 2 * RATE_HZ) / 10)
    return network.eval()


def test_a_wider_network_begins_with_what_the_narrower_one_computes():
    narrow, wide = settled(), made("direct-mask", **SAME, mask_channels=(7, 9, 12))
    assert narrow.shape.mask_channels < wide.shape.mask_channels
    mixture = noise(3, 2 * RATE_HZ) / 10
    bands = narrow.see(mixture)
    assert (narrow.masks(bands) - wide.masks(bands)).abs().max() > 0.01
    widen(narrow, wide)
    for training in (False, True):
        narrow.train(training)
        wide.train(training)
        torch.testing.assert_close(wide.masks(bands), narrow.masks(bands), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(wide.eval().embed(mixture), narrow.eval().embed(mixture),
                               atol=1e-5, rtol=1e-4)  # fmt: skip


def test_all_that_is_new_learns_within_two_steps():
    narrow, wide = settled(), made("direct-mask", **SAME, mask_channels=(7, 9, 12))
    widen(narrow, wide)
    before = {name: weights.clone() for name, weights in wide.named_parameters()}
    optimiser = torch.optim.Adam(wide.parameters(), 1e-3)
    bands = wide.see(noise(3, 2 * RATE_HZ) / 10)
    for _ in range(2):
        optimiser.zero_grad()
        wide.masks(bands)[:, 0].mean().backward()
        optimiser.step()
    for name, weights in wide.named_parameters():
        if name.endswith("weight") and name.startswith(("encoder", "decoder")):
            assert (weights != before[name]).all(), name


@pytest.mark.parametrize(
    "other", [{"mask_channels": (2, 9, 12)}, {"mask_channels": (7, 9)}, {"channels": (3, 6)}]
)
def test_a_network_of_another_shape_is_refused(other):
    with pytest.raises(ValueError, match="same shape but for its channels"):
        widen(settled(), made("direct-mask", **(SAME | other)))
