import pytest
import torch
from made_networks import made

from stemwise.models.cascade import Cascade, CascadeShape, Clean, CleanShape
from stemwise.models.checkpoint import METHODS
from stemwise.models.direct import Direct, DirectReconst, DirectShape
from stemwise.models.layers import layers_of, parameter_counts

PAPER = {"sample_rate_hz": 44100, "n_fft": 2048, "hop_samples": 512}
WIDTHS = (16, 32, 64, 128, 256)
CASCADE = CascadeShape(
    **PAPER, n_mels=259, network="unet", channels=(*WIDTHS, 512),
    separator_channels=(*WIDTHS, 512), parts=("piano",),
)  # fmt: skip
RECONST = DirectShape(**PAPER, n_mels=0, channels=(*WIDTHS, 640), presence="length")

ENCODED = {  # of 1025 bins and 259 or 862 frames; the channels of the last differ
    3: [(16, 513, 130), (32, 257, 65), (64, 129, 33), (128, 65, 17), (256, 33, 9), (0, 17, 5)],
    10: [(16, 513, 431), (32, 257, 216), (64, 129, 108), (128, 65, 54), (256, 33, 27),
         (0, 17, 14)],
}  # fmt: skip
DECODED = {
    3: [(256, 33, 9), (128, 65, 17), (64, 129, 33), (32, 257, 65), (16, 513, 130), (1, 1025, 259)],
    10: [(256, 33, 27), (128, 65, 54), (64, 129, 108), (32, 257, 216), (16, 513, 431),
         (1, 1025, 862)],
}  # fmt: skip
EXTRACTED = {  # of 259 mel bins
    3: [(16, 130, 130), (32, 65, 65), (64, 33, 33), (128, 17, 17), (256, 9, 9), (512, 5, 5),
        (128,)],
    10: [(16, 130, 431), (32, 65, 216), (64, 33, 108), (128, 17, 54), (256, 9, 27), (512, 5, 14),
         (128,)],
}  # fmt: skip


def encoded(seconds, channels):
    return [*ENCODED[seconds][:-1], (channels, *ENCODED[seconds][-1][1:])]


def sizes(layers, start):
    return [layer.size for layer in layers if layer.name.startswith(start)]


@pytest.mark.parametrize("seconds", [3, 10])
def test_every_map_of_cascade(seconds):
    layers = layers_of(Cascade(CASCADE), seconds)
    assert sizes(layers, "separators.piano.encoder.") == encoded(seconds, 512)
    assert sizes(layers, "separators.piano.decoder.") == DECODED[seconds]
    assert sizes(layers, "extractors.piano.") == EXTRACTED[seconds]
    assert len(layers) == 6 + 6 + 7
    kinds = ["Conv2d"] * 6 + ["ConvTranspose2d"] * 6 + ["Conv2d"] * 6 + ["Linear"]
    assert [layer.kind for layer in layers] == kinds


@pytest.mark.parametrize("seconds", [3, 10])
def test_every_map_of_direct_reconst(seconds):
    layers = layers_of(DirectReconst(RECONST), seconds)
    assert sizes(layers, "encoder.") == encoded(seconds, 640)
    assert sizes(layers, "head") == [(640,)]
    for part in range(5):
        assert sizes(layers, f"decoders.{part}.") == DECODED[seconds]
    assert len(layers) == 6 + 1 + 5 * 6


def test_every_map_of_clean():
    shape = CleanShape(**PAPER, n_mels=259, network="hashizume",
                       channels=(32, 64, 128, 256, 512), parts=("bass",))  # fmt: skip
    layers = layers_of(Clean(shape), 3)
    square = [(32, 259), (64, 130), (128, 65), (256, 33), (512, 17)]
    expected = []
    for number, (channels, size) in enumerate(square):
        if number:
            expected.append(("MaxPool2d", (square[number - 1][0], size, size)))
        expected += [("Conv2d", (channels, size, size))] * 2
    assert [(x.kind, x.size) for x in layers] == [*expected, ("Linear", (128,))]
    kinds = [x.kind for x in layers]
    assert (kinds.count("Conv2d"), kinds.count("MaxPool2d")) == (10, 4)


def test_counts_of_the_papers_networks():
    with torch.device("meta"):
        cascade, direct, reconst = Cascade(CASCADE), Direct(RECONST), DirectReconst(RECONST)
    assert parameter_counts(cascade) == {
        "extractors": 4_695_008, "separators": 9_823_313,
        "total": 14_518_321, "embedding": 14_518_321,
    }  # fmt: skip
    assert parameter_counts(direct) == {
        "encoder": 5_187_808, "head": 6_963_840, "total": 12_151_648, "embedding": 12_151_648,
    }  # fmt: skip
    assert parameter_counts(reconst)["total"] == 43_523_093
    assert parameter_counts(reconst)["embedding"] == 12_151_648


@pytest.mark.parametrize("method", METHODS)
def test_looking_leaves_the_network_as_it_was(method):
    network = made(method).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    layers = layers_of(network, 0.5)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())
    held = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear
                                                       | torch.nn.ConvTranspose2d)]  # fmt: skip
    assert len(layers) == len(held)  # every one, and once
    assert sum(x.parameters for x in layers) == sum(p.numel() for m in held for p in m.parameters())
