import pytest
import torch
from made_networks import SHAPES, made, noise

from stemwise.models.direct_mask import DirectMask
from stemwise.parts import PARTS

RATE_HZ = 8000


@pytest.mark.parametrize("seconds", [0.5, 3, 10])
def test_shapes_and_ranges(seconds):
    network = made("direct-mask")
    mixture = noise(2, round(RATE_HZ * seconds)) / 10
    embedding, presence = network.describe(mixture)
    assert embedding.shape == (2, 5, 128)
    torch.testing.assert_close(embedding.norm(dim=-1), torch.ones(2, 5))
    assert ((presence >= 0) & (presence <= 1)).all()
    torch.testing.assert_close(network.embed(mixture), embedding)
    assert network.separate(mixture).shape == (2, 5, mixture.shape[1])


def test_masks_share_every_bin_out():
    network = made("direct-mask")
    masks = network.masks(network.front_end.bands(noise(2, RATE_HZ)))
    assert masks.shape[:2] == (2, 5)
    torch.testing.assert_close(masks.sum(dim=1), torch.ones_like(masks[:, 0]))
    assert masks.std(dim=1).min() > 0


def test_the_parts_add_up_to_the_mixture():
    network = made("direct-mask")
    mixture = noise(2, RATE_HZ) / 10
    parts = network.separate(mixture)
    assert (parts.std(dim=1) > 0).any()
    torch.testing.assert_close(parts.sum(dim=1), mixture, atol=1e-5, rtol=1e-4)


def test_a_mask_of_mel_bins_lands_where_they_lie():
    """With all of the low mel bins given to one part, that part is the mixture's low tones."""
    network = made("direct-mask")
    mels = network.shape.n_mels

    def lower_half(mel):
        masks = torch.zeros(len(mel), len(PARTS), *mel.shape[1:])
        masks[:, 1, : mels // 2], masks[:, 0, mels // 2 :] = 1, 1
        return masks

    network.masks = lower_half
    seconds = torch.arange(RATE_HZ) / RATE_HZ
    low, high = (torch.sin(2 * torch.pi * hertz * seconds)[None] for hertz in (300, 3000))
    parts = network.separate(low + high)
    inside = slice(1000, -1000)
    torch.testing.assert_close(parts[:, 1, inside], low[:, inside], atol=0.02, rtol=0)
    torch.testing.assert_close(parts[:, 0, inside], high[:, inside], atol=0.02, rtol=0)
    assert not parts[:, 2:].any()


def test_the_level_of_a_recording_does_not_matter():
    network = made("direct-mask")
    mixture = noise(2, 3 * RATE_HZ) / 10
    quiet = network.describe(mixture / 8)
    for value, other in zip(network.describe(mixture), quiet, strict=True):
        torch.testing.assert_close(value, other, atol=1e-4, rtol=1e-3)


def test_an_extractor_sees_its_own_part_alone():
    """What one part's mask lets through changes that part's block and no other."""
    network = made("direct-mask")
    mel = network.front_end.bands(noise(1, RATE_HZ))
    masks = network.masks(mel)
    before = network.blocks(masks, mel)
    changed = masks.clone()
    changed[:, 3] = changed[:, 3].flip(1)
    apart = (network.blocks(changed, mel) - before).norm(dim=-1)[0]
    assert apart[3] > 1e-3
    assert apart[[0, 1, 2, 4]].max() == 0


def test_a_louder_part_is_more_surely_there():
    network = made("direct-mask")
    mel = network.front_end.bands(noise(1, RATE_HZ))
    shares = torch.tensor([0.0, 0.1, 0.2, 0.3, 0.4])[None, :, None, None]
    logits = network.presence(shares.expand(1, 5, *mel.shape[1:]), mel)[0]
    assert (logits.diff() > 0).all()


def test_silence_is_finite():
    network = made("direct-mask")
    for value in network.describe(torch.zeros(1, RATE_HZ)):
        assert value.isfinite().all()
    assert not network.separate(torch.zeros(1, RATE_HZ)).any()


def test_the_shipped_size_stays_small():
    shape = SHAPES["direct-mask"].model_copy(
        update={
            "sample_rate_hz": 22050, "n_fft": 2048, "hop_samples": 512, "n_mels": 128,
            "mask_channels": (16, 32, 48, 64, 96), "channels": (12, 24, 48, 64, 96),
        }
    )  # fmt: skip
    assert sum(p.numel() for p in DirectMask(shape).parameters()) < 4_000_000
