import librosa
import numpy as np
import pytest
import torch
from made_networks import SHAPES, made, noise
from pydantic import ValidationError

from oracles import pooled_read_aloud
from stemwise.models.direct import (
    Direct,
    DirectReconst,
    DirectShape,
    MaskHead,
    condition_1d,
    condition_3d,
)
from stemwise.parts import PARTS

COMPACT = DirectShape(
    sample_rate_hz=22050, n_fft=2048, hop_samples=512, n_mels=128, f_min_hz=20.0,
    channels=(16, 32, 64, 128, 256, 320), pooling="mean_std", unit_blocks=True,
)  # fmt: skip
PAPER = DirectShape(
    sample_rate_hz=44100, n_fft=2048, hop_samples=512, n_mels=0,
    channels=(16, 32, 64, 128, 256, 640), presence="length",
)  # fmt: skip


@pytest.mark.parametrize("seconds", [1, 3, 10])
def test_shapes_and_ranges(seconds):
    network = Direct(COMPACT).eval()
    mixture = noise(3, 22050 * seconds)
    embedding, presence = network.describe(mixture)
    assert embedding.shape == (3, 5, 128)
    torch.testing.assert_close(embedding.norm(dim=-1), torch.ones(3, 5))
    assert presence.shape == (3, 5)
    assert ((presence >= 0) & (presence <= 1)).all()
    torch.testing.assert_close(network.embed(mixture), embedding)


def test_compact_stays_compact():
    assert sum(p.numel() for p in Direct(COMPACT).parameters()) == 3_965_093


def test_parameters_of_the_papers_networks():
    with torch.device("meta"):
        direct, reconst = Direct(PAPER), DirectReconst(PAPER)
    assert direct.head.in_features == 10_880
    assert sum(p.numel() for p in direct.parameters()) == 12_151_648
    assert sum(p.numel() for p in reconst.parameters()) == 43_523_093


def test_blocks_without_unit_length():
    network = Direct(COMPACT.model_copy(update={"pooling": "mean", "unit_blocks": False})).eval()
    assert network.head.in_features == 320 * COMPACT.bins_out
    assert network.embed(noise(1, 22050)).norm(dim=-1).std() > 0


@pytest.mark.parametrize("pooling", ["mean", "mean_std"])
def test_average_over_time_then_channel_major(pooling):
    network = made("direct", pooling=pooling)
    features = noise(2, 10, 4, 7, seed=1)
    pooled = network.pool(features)
    for b in range(2):
        values = features[b].numpy().astype(np.float64)
        expected = pooled_read_aloud(values)
        if pooling == "mean_std":
            deviation = np.sqrt(values.var(axis=2) + 1e-6).ravel()
            expected = np.concatenate([expected, deviation])
        np.testing.assert_allclose(pooled[b], expected, rtol=1e-5, atol=1e-6)


def test_the_embedding_is_encoder_average_and_one_linear_layer():
    network, mixture = made("direct"), noise(2, 2000)
    weight, bias = (p.detach().double().numpy() for p in network.head.parameters())
    with torch.no_grad():
        features = network.encoder(network.front_end(mixture)).double().numpy()
        embedding = network.embed(mixture)
    for b in range(2):
        numbers = weight @ pooled_read_aloud(features[b]) + bias
        for i in range(5):
            block = numbers[128 * i : 128 * (i + 1)]
            np.testing.assert_allclose(embedding[b, i], block, rtol=1e-4, atol=1e-6)


def test_the_last_layer_of_the_encoder_has_norm_and_activation():
    """Unlike the last of Cascade's extractors, which is the convolution alone."""
    last = made("direct").encoder[-1]
    assert [type(x).__name__ for x in last] == ["Downsampler", "BatchNorm2d", "LeakyReLU"]


@pytest.mark.parametrize("method", ["direct", "direct-reconst"])
def test_without_mels_the_encoder_sees_the_linear_magnitude(method):
    network, mixture = made(method), noise(2, 2000)
    seen = []
    network.encoder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    network.embed(mixture)
    (given,) = seen
    assert given.shape == (2, 1, 129, 32)
    for b in range(2):
        reference = np.abs(librosa.stft(mixture[b].numpy(), n_fft=256, hop_length=64,
                                        pad_mode="reflect"))  # fmt: skip
        np.testing.assert_allclose(given[b, 0], reference, rtol=1e-4, atol=1e-4)


def test_presence_by_length_is_the_logarithm_of_the_length():
    network = made("direct")
    with torch.no_grad():
        embedding, logits = network(noise(3, 2000))
    assert not hasattr(network, "presence_head")
    torch.testing.assert_close(logits, embedding.square().sum(dim=-1).sqrt().log())


def test_unit_blocks_have_no_presence_by_length():
    with pytest.raises(ValidationError, match="presence = linear"):
        DirectShape(**(SHAPES["direct"].model_dump() | {"unit_blocks": True}))


def test_silence_and_short_input():
    network = Direct(COMPACT).eval()
    embedding, presence = network.describe(torch.zeros(1, 22050))
    assert torch.isfinite(embedding).all()
    assert torch.isfinite(presence).all()
    with pytest.raises(ValueError, match="N > 1024"):
        network.embed(torch.zeros(1, 1000))


def test_condition_1d_keeps_one_block():
    embedding, parts = noise(6, 5, 128), torch.tensor([0, 4, 2, 2, 1, 3])
    masked = condition_1d(embedding, parts)
    flat, kept = embedding.flatten(1), masked.flatten(1)
    for b, part in enumerate(parts.tolist()):
        for d in range(640):
            own = 128 * part <= d < 128 * (part + 1)
            assert kept[b, d] == (flat[b, d] if own else 0)


@pytest.mark.parametrize("part", range(5))
def test_condition_3d_keeps_a_fifth_of_the_channels(part):
    bottleneck = noise(2, 20, 3, 4)
    masked = condition_3d(bottleneck, part)
    for channel in range(20):
        own = 4 * part <= channel < 4 * (part + 1)
        expected = bottleneck[:, channel] if own else torch.zeros(2, 3, 4)
        assert torch.equal(masked[:, channel], expected)
    paper = condition_3d(torch.ones(1, 640, 17, 5), part)[0, :, 16, 4]
    assert paper.nonzero().flatten().tolist() == list(range(128 * part, 128 * (part + 1)))


def test_the_conditions_are_fixed():
    names = [name for name, _ in made("direct-reconst").named_parameters()]
    assert {name.split(".")[0] for name in names} == {"encoder", "head", "decoders"}
    embedding = noise(1, 5, 128).requires_grad_()
    condition_1d(embedding, torch.tensor([1])).sum().backward()
    assert embedding.grad.sum(dim=-1).tolist() == [[0, 128, 0, 0, 0]]


def maps_of(network, mixture):
    magnitude = network.front_end.magnitude(mixture)
    with torch.no_grad():
        return [m.requires_grad_() for m in network.encoder.features(magnitude[:, None])], magnitude


@pytest.mark.parametrize("part", range(5))
def test_a_decoder_sees_its_share_of_the_bottleneck_and_all_the_skips(part):
    network = made("direct-reconst")
    maps, magnitude = maps_of(network, noise(2, 2000))
    network.reconstruct(maps, magnitude, part).sum().backward()
    reached = maps[-1].grad.abs().amax(dim=(0, 2, 3)) > 0  # channels of the bottleneck
    assert reached.tolist() == [channel // 2 == part for channel in range(10)]
    for skip in maps[:-1]:
        assert (skip.grad.abs().amax(dim=(0, 2, 3)) > 0).all()  # not masked
    learning = [i for i in range(5) if network.decoders[i].up[0].weight.grad is not None]
    assert learning == [part]


@pytest.mark.parametrize("part", range(5))
def test_what_a_decoder_rebuilds_depends_on_no_other_share(part):
    network = made("direct-reconst")
    maps, magnitude = maps_of(network, noise(2, 2000))

    def rebuilt(changed):
        with torch.no_grad():
            return network.reconstruct(changed, magnitude, part)

    before = rebuilt(maps)
    for other in range(5):
        share = torch.zeros(10, 1, 1)
        share[2 * other : 2 * other + 2] = 3.0
        moved = (rebuilt([*maps[:-1], maps[-1] + share]) - before).abs().max()
        assert (moved > 0) == (other == part)
    for layer in range(len(maps) - 1):
        changed = [m + 3.0 * (number == layer) for number, m in enumerate(maps)]
        assert (rebuilt(changed) - before).abs().max() > 0


def test_reconstruction_is_a_mask_of_the_mixture():
    """That of the part's decoder, from its share of the bottleneck and the skips as they are."""
    network = made("direct-reconst")
    maps, magnitude = maps_of(network, noise(2, 2000))
    for part in range(5):
        with torch.no_grad():
            rebuilt = network.reconstruct(maps, magnitude, part)
            share = torch.zeros_like(maps[-1])
            share[:, 2 * part : 2 * part + 2] = maps[-1][:, 2 * part : 2 * part + 2]
            mask = network.decoders[part](share, maps[:-1], magnitude.shape[1:])
            torch.testing.assert_close(rebuilt, mask[:, 0] * magnitude)
        assert rebuilt.shape == magnitude.shape
        assert ((rebuilt >= 0) & (rebuilt <= magnitude)).all()


def test_separation_is_the_reconstructions_with_the_mixtures_phase(monkeypatch):
    network, mixture = made("direct-reconst"), noise(2, 2000)
    with torch.no_grad():
        parts = network.separate(mixture)
        maps, magnitude = maps_of(network, mixture)
        for i in range(5):
            phase = network.front_end.spectrum(mixture).angle()
            spectrum = torch.polar(network.reconstruct(maps, magnitude, i), phase)
            expected = network.front_end.waveform(spectrum, 2000)
            torch.testing.assert_close(parts[:, i], expected, rtol=1e-3, atol=1e-4)
    monkeypatch.setattr(network, "reconstruct", lambda _, magnitude, part: magnitude * part)
    shares = torch.arange(5.0)[:, None] * mixture[:, None]
    torch.testing.assert_close(network.separate(mixture), shares, rtol=1e-4, atol=1e-4)


def test_decoders_do_not_move_the_embedding():
    network, mixture = made("direct-reconst"), noise(1, 2000)
    plain = Direct(SHAPES["direct"]).eval()
    state = network.state_dict()
    plain.load_state_dict({k: v for k, v in state.items() if not k.startswith("decoders.")})
    with torch.no_grad():
        torch.testing.assert_close(network.embed(mixture), plain.embed(mixture))


@pytest.mark.parametrize(
    "update", [{"n_mels": 16}, {"network": "hashizume"}, {"channels": (4, 8, 16)}]
)
def test_reconstruction_without_its_needs_is_refused(update):
    with pytest.raises(ValueError, match="Direct-Reconst needs linear magnitudes"):
        DirectReconst(SHAPES["direct-reconst"].model_copy(update=update))


def test_direct_with_hashizumes_network():
    network = made("direct", n_mels=30, network="hashizume", channels=(3, 4, 10))
    assert network.head.in_features == 10 * 8  # 30 bins, halved twice
    assert network.embed(noise(2, 2000)).shape == (2, len(PARTS), 128)


def test_masks_share_out_every_bin():
    masks = MaskHead(128, 4)(torch.randn(2, 128, 8, 9), 128, 130)
    assert masks.shape == (2, 5, 128, 130)
    torch.testing.assert_close(masks.sum(dim=1), torch.ones(2, 128, 130))
