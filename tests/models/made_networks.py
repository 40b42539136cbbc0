"""Small networks of every method, and weights that no test may take for granted."""

import torch

from stemwise.models.cascade import CascadeShape, CleanShape
from stemwise.models.checkpoint import METHODS
from stemwise.models.direct import DirectShape
from stemwise.models.direct_mask import DirectMaskShape

STFT = {"sample_rate_hz": 8000, "n_fft": 256, "hop_samples": 64}
SHAPES = {
    "clean": CleanShape(**STFT, n_mels=20, network="unet", channels=(3, 4, 5)),
    "cascade": CascadeShape(
        **STFT, n_mels=20, network="unet", channels=(3, 4, 5), separator_channels=(3, 4, 5)
    ),
    "direct": DirectShape(**STFT, n_mels=0, channels=(3, 4, 10), presence="length"),
    "direct-reconst": DirectShape(**STFT, n_mels=0, channels=(3, 4, 10), presence="length"),
    "direct-mask": DirectMaskShape(**STFT, n_mels=20, mask_channels=(3, 4, 5), channels=(3, 4)),
}


def shaken(network, seed=0):
    """Return `network` in eval mode with batch statistics and scales that are not 0 and 1."""
    chance = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            with torch.no_grad():
                for values in (module.running_mean, module.bias):
                    values.copy_(torch.randn(values.shape, generator=chance) / 2)
                for values in (module.running_var, module.weight):
                    values.copy_(torch.rand(values.shape, generator=chance) + 0.5)
    return network.eval()


def made(method, seed=0, **update):
    """Return a small network of `method`, its shape changed by `update`."""
    torch.manual_seed(seed)
    return shaken(METHODS[method][0](SHAPES[method].model_copy(update=update)), seed)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
