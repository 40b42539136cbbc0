import numpy as np
import pytest
import torch
from made_networks import noise, shaken
from torch import nn

from oracles import pooled_read_aloud
from stemwise.models.extractor import Extractor, Hashizume, bins_left
from stemwise.models.unet import Downsampler

PAPER = (16, 32, 64, 128, 256, 512)
HASHIZUME = (32, 64, 128, 256, 512)


def sizes_of(encoder, kinds, bins, frames):
    seen = []
    for layer in encoder.modules():
        if isinstance(layer, kinds):
            layer.register_forward_hook(lambda _, __, out: seen.append(tuple(out.shape[1:])))
    with torch.no_grad():
        encoder.eval()(torch.zeros(1, 1, bins, frames))
    return seen


def test_parameters_of_the_papers_extractor():
    extractor = Extractor(259, PAPER)
    assert extractor.head.in_features == 2_560
    assert sum(p.numel() for p in extractor.parameters()) == 4_695_008


@pytest.mark.parametrize(
    ("frames", "of_layers"),
    [(259, (130, 65, 33, 17, 9, 5)), (862, (431, 216, 108, 54, 27, 14))],
)
def test_sizes_for_3_and_10_seconds(frames, of_layers):
    bins = (130, 65, 33, 17, 9, 5)
    sizes = sizes_of(Extractor(259, PAPER).encoder, nn.Conv2d, 259, frames)
    assert sizes == list(zip(PAPER, bins, of_layers, strict=True))


def test_hashizumes_network():
    encoder = Hashizume(HASHIZUME)
    kinds = [type(layer).__name__ for layer in encoder]
    block = ["Conv2d", "BatchNorm2d", "ReLU"] * 2
    assert kinds == block + 4 * ["MaxPool2d", *block]
    assert (kinds.count("Conv2d"), kinds.count("MaxPool2d")) == (10, 4)
    for layer in encoder:
        if isinstance(layer, nn.Conv2d):
            assert (layer.kernel_size, layer.stride, layer.padding) == ((3, 3), (1, 1), (1, 1))
        elif isinstance(layer, nn.MaxPool2d):
            assert (layer.kernel_size, layer.stride, layer.padding) == (5, 2, 2)
    widths = [(x.in_channels, x.out_channels) for x in encoder if isinstance(x, nn.Conv2d)]
    assert widths == [
        (1, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256),
        (256, 512), (512, 512),
    ]  # fmt: skip


def test_hashizumes_sizes_and_parameters():
    extractor = Extractor(259, HASHIZUME, "hashizume")
    assert extractor.head.in_features == 8_704  # 512 channels of 17 bins
    assert sum(p.numel() for p in extractor.parameters()) == 5_829_856
    pools = sizes_of(extractor.encoder, nn.MaxPool2d, 259, 259)
    assert pools == [(32, 130, 130), (64, 65, 65), (128, 33, 33), (256, 17, 17)]


@pytest.mark.parametrize(
    ("bins", "network", "layers", "left"),
    [(259, "unet", 6, 5), (1025, "unet", 6, 17), (259, "hashizume", 5, 17), (128, "unet", 6, 2),
     (64, "unet", 6, 1), (65, "unet", 6, 2), (1, "hashizume", 1, 1)],
)  # fmt: skip
def test_bins_left(bins, network, layers, left):
    assert bins_left(bins, network, layers) == left


@pytest.mark.parametrize("network", ["unet", "hashizume"])
@pytest.mark.parametrize("bins", [32, 33, 37])
def test_the_head_fits_whatever_the_bins(network, bins):
    extractor = Extractor(bins, (2, 3, 4), network).eval()
    assert extractor(torch.zeros(2, 1, bins, 11)).shape == (2, 128)


@pytest.mark.parametrize("network", ["unet", "hashizume"])
def test_average_over_time_then_channel_major_then_linear(network):
    torch.manual_seed(0)
    extractor = shaken(Extractor(21, (3, 4, 5), network))
    spectrogram = noise(2, 1, 21, 30, seed=1)
    with torch.no_grad():
        features, out = extractor.encoder(spectrogram), extractor(spectrogram)
    assert min(features.shape[2:]) > 1  # else the order would not show
    weight, bias = (p.detach().numpy().astype(np.float64) for p in extractor.head.parameters())
    for b in range(2):
        pooled = pooled_read_aloud(features[b].numpy().astype(np.float64))
        np.testing.assert_allclose(out[b], weight @ pooled + bias, rtol=1e-4, atol=1e-5)


def test_the_last_convolution_stands_alone():
    """Neither batch norm nor activation, so that averages below 0 reach the head as they are."""
    last = Extractor(259, PAPER).encoder[-1]
    assert [type(layer) for layer in last] == [Downsampler]
    ends = [type(layer) for layer in Hashizume(HASHIZUME)][-2:]
    assert ends == [nn.BatchNorm2d, nn.ReLU]


def test_no_activation_and_no_length():
    torch.manual_seed(0)
    extractor = shaken(Extractor(21, (3, 4, 5)))
    spectrogram = noise(8, 1, 21, 30, seed=2)
    with torch.no_grad():
        before = extractor(spectrogram)
        extractor.head.weight.mul_(3)
        extractor.head.bias.mul_(3)
        torch.testing.assert_close(extractor(spectrogram), 3 * before)
    assert (before < 0).any()
    assert before.norm(dim=1).std() > 0
