import pytest
import torch
from made_networks import SHAPES, made, noise

from stemwise.models.direct_mask import DirectMask
from stemwise.models.frame_mixer import FrameMixer
from stemwise.parts import PARTS

RATE_HZ = 8000


@pytest.mark.parametrize("more", [{}, {"kept_frames": 2}, {"mask_frames": True}])
@pytest.mark.parametrize("seconds", [0.5, 3, 10])
def test_shapes_and_ranges(seconds, more):
    network = made("direct-mask", **more)
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


def test_each_layer_but_the_last_sees_frames_that_have_bins_enough():
    network = made("direct-mask", mask_frames=True, n_mels=32)
    layers = [*network.encoder, *network.decoder.after]  # of 16, 8, 4, 8 and 16 bins
    mixers = [sum(isinstance(x, FrameMixer) for x in layer) for layer in layers]
    assert mixers == [1, 1, 0, 1, 1]


def test_extractors_that_keep_frames_follow_a_sound_that_comes_later():
    """Moved by as many frames as the first layers step over, it gives the same maps, moved."""
    bands = torch.rand(1, 20, 256)
    later = torch.roll(bands, 4, dims=2)
    for kept, frames_out in ((0, 16), (2, 64)):
        network = made("direct-mask", channels=(3, 4, 5, 6), kept_frames=kept)
        before, after = (
            network.readers[0].encoder(x[:, None].expand(-1, 2, -1, -1))[..., 4:-4]
            for x in (bands, later)
        )
        assert before.shape[-1] == frames_out - 8
        moved = (after[..., 1:] - before[..., :-1]).abs().max()
        assert moved < 1e-5 if kept else moved > 1e-2


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


def test_the_head_hears_a_rest_of_a_stretch():
    """The cue of a part is its share where it is the least, over two and a half seconds."""
    network = made("direct-mask", presence="linear")
    mel = torch.ones(1, 20, 10 * RATE_HZ // 64)
    frames = mel.shape[2]
    masks = torch.full((1, 5, *mel.shape[1:]), 0.2)
    masks[:, 1, :, : frames // 4] = 0  # rests for 2.5 s
    masks[:, 2, :, ::2] = 0  # comes and goes: half as much, but everywhere
    masks[:, 3, :, : frames // 8] = 0  # rests for 1.25 s
    cues = network.cues_of(masks, torch.zeros(1, 5, 3, 4), mel)[0]
    assert cues.shape == (3 * 5 * 3 + 5,)
    expected = torch.tensor([0.2, 0.0, 0.1, 0.1, 0.2])
    torch.testing.assert_close(cues[:5].exp(), expected + 1e-4, atol=5e-3, rtol=0)
    assert not cues[5:].any()


def test_the_head_hears_the_bottleneck_over_time():
    network = made("direct-mask", presence="linear")
    mel = torch.ones(1, 20, 50)
    deep = noise(1, 5, 3, 4)
    cues = network.cues_of(torch.full((1, 5, 20, 50), 0.2), deep, mel)[0, 5:].reshape(3, 15)
    for found, wanted in zip(
        cues, (deep.mean(-1), deep.min(-1).values, deep.max(-1).values), strict=True
    ):
        torch.testing.assert_close(found, wanted.flatten())


@pytest.mark.parametrize("seconds", [0.5, 3, 10])
def test_presence_by_a_head_of_its_own(seconds):
    network = made("direct-mask", presence="linear")
    mixture = noise(2, round(RATE_HZ * seconds)) / 10
    embedding, presence = network.describe(mixture)
    logits = network.presence_head(network.cues(network.see(mixture)))
    torch.testing.assert_close(presence, logits.sigmoid())
    torch.testing.assert_close(embedding, made("direct-mask").embed(mixture))  # nothing else moves
    torch.nn.init.zeros_(network.presence_head[1].weight)
    assert len(network.describe(mixture)[1].flatten().unique()) == 5  # the five biases


@pytest.mark.parametrize("kind", ["share", "linear"])
def test_silence_is_finite(kind):
    network = made("direct-mask", presence=kind)
    for value in network.describe(torch.zeros(1, RATE_HZ)):
        assert value.isfinite().all()
    assert not network.separate(torch.zeros(1, RATE_HZ)).any()


@pytest.mark.parametrize("more", [{}, {"kept_frames": 1}, {"mask_frames": True}])
@pytest.mark.parametrize("presence", ["share", "linear"])
def test_merged_for_use_it_computes_the_same(more, presence):
    network = made("direct-mask", presence=presence, **more)
    merged, mixture = network.merged(), noise(3, 3 * RATE_HZ) / 10
    for found, wanted in zip(merged.describe(mixture), network.describe(mixture), strict=True):
        torch.testing.assert_close(found, wanted, atol=2e-6, rtol=0)
    assert not any(isinstance(x, torch.nn.BatchNorm2d) for x in merged.readers.modules())
    assert sum(isinstance(x, torch.nn.Conv2d) for x in merged.readers.modules()) == 2


def test_the_shipped_size_stays_small():
    shape = SHAPES["direct-mask"].model_copy(
        update={
            "sample_rate_hz": 22050, "n_fft": 2048, "hop_samples": 512, "n_mels": 128,
            "mask_channels": (16, 32, 48, 64, 96), "channels": (12, 24, 48, 64, 96),
        }
    )  # fmt: skip
    assert sum(p.numel() for p in DirectMask(shape).parameters()) < 4_000_000
