import numpy as np
import pytest
import torch
from made_networks import noise, shaken
from torch import nn

from oracles import convolved, deconvolved, leaky, normalised
from stemwise.models.unet import Decoder, Downsampler, Encoder, Separator, Upsampler

PAPER = (16, 32, 64, 128, 256, 512)
SMALL = (3, 4, 5, 6, 7)  # five layers: three with dropout, one without, and the last
BINS, FRAMES = 37, 23  # 19, 10, 5, 3, 2 and 12, 6, 3, 2, 1: odd and even


def leaves(network):
    return [module for module in network.modules() if not list(module.children())]


def order_run(network, *inputs):
    """Return the classes of the layers in the order in which they run."""
    seen = []
    hooks = [
        leaf.register_forward_hook(lambda module, _, __: seen.append(type(module).__name__))
        for leaf in leaves(network)
    ]
    network(*inputs)
    for hook in hooks:
        hook.remove()
    return seen


def numbers(module):
    return {name: value.numpy().astype(np.float64) for name, value in module.state_dict().items()}


def norm(x, module):
    n = numbers(module)
    return normalised(x, n["running_mean"], n["running_var"], n["weight"], n["bias"])


def maps_read_aloud(encoder, x):
    maps = []
    for layer in encoder:
        n = numbers(layer[0])
        x = convolved(x, n["weight"], n["bias"])
        if len(layer) > 1:
            x = leaky(norm(x, layer[1]))
        maps.append(x)
    return maps


def mask_read_aloud(decoder, maps, size):
    """The decoder in eval mode, where dropout does nothing, layer by layer."""
    x, skips = maps[-1], list(reversed(maps[:-1]))
    for number, up in enumerate(decoder.up):
        n = numbers(up)
        target = skips[number].shape[1:] if number < len(skips) else size
        x = deconvolved(x, n["weight"], n["bias"], target)
        if number < len(skips):
            x = leaky(norm(x, decoder.after[number][0]))
            x = np.concatenate([x, skips[number]])  # the decoder's own first
    return 1 / (1 + np.exp(-x))


@pytest.fixture
def separator():
    torch.manual_seed(0)
    return shaken(Separator(SMALL))


@pytest.fixture
def magnitude():
    return noise(2, BINS, FRAMES, seed=1).abs()


def test_every_layer_halves_rounding_up():
    encoder = Encoder(PAPER)
    sizes = [tuple(m.shape[1:]) for m in encoder.features(torch.zeros(1, 1, 1025, 259))]
    assert sizes == [
        (16, 513, 130), (32, 257, 65), (64, 129, 33), (128, 65, 17), (256, 33, 9), (512, 17, 5),
    ]  # fmt: skip


def test_parameters_of_the_papers_separator():
    assert sum(p.numel() for p in Separator(PAPER).parameters()) == 9_823_313


@pytest.mark.parametrize("plain_last", [False, True])
def test_encoder_equals_the_slow_statement(plain_last, magnitude):
    torch.manual_seed(0)
    encoder = shaken(Encoder(SMALL, plain_last=plain_last))
    with torch.no_grad():
        maps = encoder.features(magnitude[:, None])
        torch.testing.assert_close(encoder(magnitude[:, None]), maps[-1])
    slow = maps_read_aloud(encoder, magnitude[1, None].numpy().astype(np.float64))
    assert len(maps) == len(slow) == len(SMALL)
    for fast, one in zip(maps, slow, strict=True):
        np.testing.assert_allclose(fast[1].numpy(), one, rtol=1e-4, atol=1e-5)


def test_separator_equals_the_slow_statement(separator, magnitude):
    with torch.no_grad():
        estimate = separator(magnitude)
    for b in range(2):
        sound = magnitude[b].numpy().astype(np.float64)
        maps = maps_read_aloud(separator.encoder, sound[None])
        mask = mask_read_aloud(separator.decoder, maps, (BINS, FRAMES))[0]
        assert mask.std() > 1e-3  # the comparison says something
        np.testing.assert_allclose(estimate[b].numpy(), mask * sound, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("gain", [1e-3, 1.0, 1e3])
def test_what_comes_out_lies_between_silence_and_the_mixture(gain, magnitude):
    torch.manual_seed(1)
    separator = Separator(SMALL)
    for mode in (True, False):
        with torch.no_grad():
            estimate = separator.train(mode)(gain * magnitude)
        assert estimate.shape == magnitude.shape
        assert (estimate >= 0).all()
        assert (estimate <= gain * magnitude).all()
    assert separator(torch.zeros(1, BINS, FRAMES)).abs().max() == 0


def test_the_mask_is_not_of_the_level_alone(separator, magnitude):
    """No logarithm and no scaling: twice the magnitude is another input, not another gain."""
    with torch.no_grad():
        assert (separator(2 * magnitude) - 2 * separator(magnitude)).abs().max() > 1e-3


def test_order_of_the_layers():
    encoded = ["Downsampler", "BatchNorm2d", "LeakyReLU"] * 6
    decoded = (
        ["Upsampler", "BatchNorm2d", "LeakyReLU", "Dropout2d"] * 3
        + ["Upsampler", "BatchNorm2d", "LeakyReLU", "Identity"] * 2
        + ["Upsampler"]
    )
    separator = Separator((2, 3, 4, 5, 6, 7))
    assert order_run(separator, torch.rand(1, 70, 70)) == encoded + decoded
    plain = Encoder((2, 3, 4, 5, 6, 7), plain_last=True)
    assert order_run(plain, torch.rand(1, 1, 70, 70)) == encoded[:-2]


def test_the_last_layers_may_keep_every_frame():
    encoder = Encoder((2, 3, 4, 5), kept_frames=2)
    sizes = [tuple(x.shape[2:]) for x in encoder.features(torch.rand(1, 1, 64, 30))]
    assert sizes == [(32, 15), (16, 8), (8, 8), (4, 8)]


def test_constants_of_the_layers():
    for layer in leaves(Separator(PAPER)):
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            assert (layer.kernel_size, layer.stride, layer.padding) == ((5, 5), (2, 2), (2, 2))
        elif isinstance(layer, nn.LeakyReLU):
            assert layer.negative_slope == 0.2
        elif isinstance(layer, nn.Dropout2d):
            assert layer.p == 0.5
    widths = [(up.in_channels, up.out_channels) for up in Decoder(PAPER).up]
    assert widths == [(512, 256), (512, 128), (256, 64), (128, 32), (64, 16), (32, 1)]


def test_dropout_takes_whole_channels_in_training_only(magnitude):
    separator = Separator((8, 8, 8, 8, 8))
    dropped = []

    def look(_, inputs, output):
        empty = (output == 0).flatten(2).all(dim=2)  # (B, C)
        kept = output[~empty]
        torch.testing.assert_close(kept, 2 * inputs[0][~empty])
        dropped.append(empty.float().mean().item())

    for layer in leaves(separator):
        if isinstance(layer, nn.Dropout2d):
            layer.register_forward_hook(look)
    torch.manual_seed(0)
    separator.train()(magnitude.repeat(20, 1, 1))
    assert len(dropped) == 3
    assert all(0.4 < share < 0.6 for share in dropped)
    again = separator.eval()
    for hooks in (layer._forward_hooks for layer in leaves(separator)):
        hooks.clear()
    torch.testing.assert_close(again(magnitude), again(magnitude), rtol=0, atol=0)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("size", [(7, 9), (8, 10), (7, 10), (7, 1), (8, 2), (7, 3)])
def test_an_upsampler_learns_as_a_transposed_convolution(kernel, size):
    torch.manual_seed(0)
    layer = Upsampler(6, 4, kernel, 2, kernel // 2).double()
    x = torch.randn(2, 6, 4, (size[1] + 1) // 2, dtype=torch.double, requires_grad=True)
    asked = torch.randn(2, 4, *size, dtype=torch.double)
    wanted, found = [], []
    for training, numbers in ((False, wanted), (True, found)):
        y = layer.train(training)(x, output_size=torch.Size(size))
        gradients = torch.autograd.grad((y * asked).sum(), [x, layer.weight, layer.bias])
        numbers += [y, *gradients]
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_an_upsampler_learns_in_bfloat16():
    torch.manual_seed(0)
    layer, x = Upsampler(6, 4, 5, 2, 2), torch.randn(2, 6, 4, 5)
    gradients = []
    for mixed in (False, True):
        layer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            y = layer(x, output_size=torch.Size((8, 10)))
        assert y.dtype == (torch.bfloat16 if mixed else torch.float32)
        y.float().square().sum().backward()
        assert layer.weight.grad.dtype == torch.float32
        gradients.append(layer.weight.grad.clone())
    torch.testing.assert_close(gradients[1], gradients[0], atol=0.2, rtol=0.05)
    assert not torch.equal(gradients[1], gradients[0])


@pytest.mark.parametrize("frames", [1, 2, 3, 4])
@pytest.mark.parametrize(("kernel", "stride"), [((5, 5), (2, 2)), ((5, 3), (2, 1))])
def test_a_downsampler_learns_as_a_convolution(kernel, stride, frames):
    torch.manual_seed(0)
    plain = torch.nn.Conv2d(6, 4, kernel, stride, tuple(size // 2 for size in kernel)).double()
    layer = Downsampler(6, 4, kernel, stride, plain.padding).double()
    layer.load_state_dict(plain.state_dict())
    x = torch.randn(2, 6, 7, frames, dtype=torch.double, requires_grad=True)
    asked = torch.randn(plain(x).shape, dtype=torch.double)
    wanted, found = (
        [y, *torch.autograd.grad((y * asked).sum(), [x, *module.parameters()])]
        for module, y in ((plain, plain(x)), (layer, layer(x)))
    )
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("frames", [1, 2, 3, 4])
def test_short_maps_are_right_in_bfloat16(frames):
    """Without care, oneDNN gives wrong numbers or none on CPUs with AMX, where they become one."""
    torch.manual_seed(0)
    down, up = Downsampler(64, 96, 5, 2, 2), Upsampler(96, 64, 5, 2, 2)
    x = torch.randn(32, 64, 6, frames).to(memory_format=torch.channels_last).requires_grad_()
    results = []
    for mixed in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            deep = down(x)
            y = up(deep, output_size=x.shape[-2:])
        weights = [*down.parameters(), *up.parameters()]
        results.append([y, *torch.autograd.grad(y.float().square().sum(), [deep, x, *weights])])
    for exact, one in zip(*results, strict=True):
        assert (one.float() - exact).abs().max() < 0.05 * exact.abs().max()
