"""The U-Net: encoder, decoder, and the two together as a separator of one part.

Conventions: feature maps are (B, C, F, T); every encoder layer halves F and T, rounding up, and
every decoder layer brings them back to those of its twin. Magnitudes are linear.

References: sections III-A1 and III-B1 of the paper; Jansson et al., "Singing voice separation with
deep U-Net convolutional networks", ISMIR 2017. Where the two differ we follow the authors'
published code: LeakyReLU in the decoder too, dropout of whole channels, whole spectrograms at the
full rate, no scaling of the magnitudes.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn.grad import conv2d_weight
from torch.nn.utils.fusion import fuse_conv_bn_eval

__all__ = [
    "SLOPE", "Decoder", "Downsampler", "Encoder", "InPhases", "Separator", "Upsampler",
    "without_norm", "without_norms",
]  # fmt: skip

KERNEL = 5
STRIDE = 2
SLOPE = 0.2
DROPOUT = 0.5
DROPPED_LAYERS = 3
LEAST_FRAMES = 3  # of maps that are halved, for oneDNN


class Encoder(nn.Sequential):
    """Stride-2 5 x 5 convolutions, each followed by batch norm and LeakyReLU 0.2.

    In: (B, inputs, F, T). Out: (B, channels[-1], ceil(F / 2**L), ceil(T / 2**L)) with L layers.
    With `plain_last`, the last layer is the convolution alone, as in Cascade's extractors. The last
    layers, `kept_frames` of them, halve F alone: each is 5 x 3, with a stride of (2, 1).
    """

    def __init__(
        self, channels: Sequence[int], *, inputs: int = 1, plain_last: bool = False,
        kept_frames: int = 0,
    ) -> None:  # fmt: skip
        layers: list[nn.Module] = []
        for number, (inside, outside) in enumerate(pairwise([inputs, *channels]), start=1):
            kept = number > len(channels) - kept_frames
            size, stride = ((KERNEL, 3), (STRIDE, 1)) if kept else ((KERNEL,) * 2, (STRIDE,) * 2)
            padding = (size[0] // 2, size[1] // 2)
            layer: list[nn.Module] = [Downsampler(inside, outside, size, stride, padding)]
            if not (plain_last and number == len(channels)):
                layer += [nn.BatchNorm2d(outside), nn.LeakyReLU(SLOPE)]
            layers.append(nn.Sequential(*layer))
        super().__init__(*layers)

    def features(self, spectrogram: torch.Tensor) -> list[torch.Tensor]:
        """Return the feature map of every layer, the shallowest first."""
        maps = []
        for layer in self:
            spectrogram = layer(spectrogram)
            maps.append(spectrogram)
        return maps


class Downsampler(nn.Conv2d):
    """A convolution that halves F, and T unless told to keep it; right on CPUs with AMX, too.

    There, torch 2.13 (oneDNN) gives wrong numbers or none in bfloat16 where maps of one or two
    frames become one: so these get silence after their end, which the padding is anyway.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, C', F', T')."""
        if self.stride[1] == 1 or x.shape[-1] >= LEAST_FRAMES:
            return super().forward(x)
        return super().forward(_wide(x, LEAST_FRAMES))[..., :1]


def _wide(x: torch.Tensor, frames: int) -> torch.Tensor:
    """Return `x` (B, C, F, T) with silence after its end up to `frames`."""
    return nn.functional.pad(x, (0, max(0, frames - x.shape[-1])))


class Upsampler(nn.ConvTranspose2d):
    """A stride-2 transposed convolution that learns in less time.

    The same numbers from the same weights. In bfloat16 on a CPU the forward pass of torch's own
    takes ten times as long as a convolution of its size, and half of a training step.
    """

    def forward(self, x: torch.Tensor, output_size: Any = None) -> torch.Tensor:
        """Return (B, C', F', T') of `output_size`, each twice what went in, or one less."""
        if not self.training or x.device.type != "cpu":
            return super().forward(x, output_size)
        upsampling: Any = _Upsampling.apply
        grown: torch.Tensor = upsampling(x, self.weight, tuple(output_size))
        return grown if self.bias is None else grown + self.bias[:, None, None].to(grown.dtype)


class InPhases(nn.Module):
    """An upsampler that learns no more, as a convolution of stride 1 that gives all four phases.

    The same to rounding, in four fifths of the time for the last layer of a U-Net, whose few
    outputs torch's own transposed convolution computes slowly; others gain nothing.
    """

    def __init__(self, upsampler: nn.ConvTranspose2d) -> None:
        super().__init__()
        self.weight = nn.Parameter(_phases(upsampler.weight))
        bias: Any = upsampler.bias
        self.bias = nn.Parameter(bias.repeat_interleave(STRIDE**2))

    def forward(self, x: torch.Tensor, output_size: torch.Size) -> torch.Tensor:
        """Return (B, C', F', T') of `output_size`, each twice what went in, or one less."""
        grown = nn.functional.conv2d(x, self.weight, self.bias, padding=1)
        whole = nn.functional.pixel_shuffle(grown, STRIDE)
        return whole[..., : output_size[0], : output_size[1]]


def _phases(weight: torch.Tensor) -> torch.Tensor:
    """Return the weights (4 C', C, 3, 3) of all four phases of an upsampler's (C, C', K, K).

    With kernel K and padding K // 2, output 2 m + r is the sum over d = -1, 0, 1 of input m + d
    times weight r + K // 2 - 2 d, where there is one.
    """
    kernel = weight.shape[-1]
    phase, reach = torch.arange(2)[:, None], torch.arange(-1, 2)
    place = phase + kernel // 2 - 2 * reach
    place = torch.where((place < 0) | (place >= kernel), kernel, place)  # of a zero
    padded = nn.functional.pad(weight, (0, 1, 0, 1))  # (C, C', K + 1, K + 1)
    phases = padded[:, :, place[:, :, None, None], place]  # (C, C', 2, 3, 2, 3)
    return phases.permute(1, 2, 4, 0, 3, 5).flatten(0, 2)


class _Upsampling(torch.autograd.Function):
    """Forward as a convolution of stride 1 that gives all four phases; backward as in torch."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, size: tuple[int, int]) -> Any:
        grown = nn.functional.conv2d(x, _phases(weight), padding=1)
        ctx.save_for_backward(x, weight)
        whole = nn.functional.pixel_shuffle(grown, STRIDE)
        return whole[..., : size[0], : size[1]].contiguous(memory_format=torch.channels_last)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        (gradient,) = gradients
        x, weight = ctx.saved_tensors
        settings = {"stride": STRIDE, "padding": weight.shape[-1] // 2}
        frames = x.shape[-1]
        if gradient.shape[-1] < LEAST_FRAMES:  # as in `Downsampler`
            gradient, x = _wide(gradient, LEAST_FRAMES), _wide(x, LEAST_FRAMES - 1)
        own = nn.functional.conv2d(gradient, weight.to(gradient.dtype), **settings)[..., :frames]
        learnt: Any = conv2d_weight
        of_weight = learnt(gradient, weight.shape, x.to(gradient.dtype), **settings)
        return own.to(x.dtype), of_weight.to(weight.dtype), None


class Decoder(nn.Module):
    """Stride-2 5 x 5 transposed convolutions from an encoder's maps to a mask in 0..1.

    Each layer but the last is followed by batch norm and LeakyReLU 0.2, the first three by dropout
    of half of the channels; from the second on, a layer sees its forerunner's output beside the
    encoder's map of that size. The last layer ends in a sigmoid.

    Args:
        channels: of the encoder.
        outputs: masks that come out.
        dropout: the share of channels dropped.
    """

    def __init__(
        self, channels: Sequence[int], *, outputs: int = 1, dropout: float = DROPOUT
    ) -> None:
        super().__init__()
        outside = [*reversed(channels[:-1]), outputs]
        inside = [channels[-1], *(2 * width for width in outside[:-1])]
        self.up = nn.ModuleList(
            Upsampler(a, b, KERNEL, STRIDE, KERNEL // 2)
            for a, b in zip(inside, outside, strict=True)
        )
        self.after = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(width),
                nn.LeakyReLU(SLOPE),
                nn.Dropout2d(dropout) if layer < DROPPED_LAYERS else nn.Identity(),
            )
            for layer, width in enumerate(outside[:-1])
        )

    def logits(
        self, bottleneck: torch.Tensor, skips: Sequence[torch.Tensor], size: torch.Size
    ) -> torch.Tensor:
        """Return the masks (B, outputs, F, T) of `size` (F, T), before the sigmoid.

        Args:
            bottleneck: (B, C, F', T') the encoder's last map.
            skips: the encoder's other maps, the shallowest first.
            size: bins and frames of the spectrogram that the encoder saw.
        """
        x: torch.Tensor = self.up[0](bottleneck, output_size=skips[-1].shape[-2:])
        for layer, skip in enumerate(reversed(skips)):
            x = torch.cat([self.after[layer](x), skip], dim=1)
            target = skips[-2 - layer].shape[-2:] if layer + 1 < len(skips) else size
            x = self.up[layer + 1](x, output_size=target)
        return x

    def forward(
        self, bottleneck: torch.Tensor, skips: Sequence[torch.Tensor], size: torch.Size
    ) -> torch.Tensor:
        """Return the masks (B, outputs, F, T) in 0..1; arguments as of `logits`."""
        return self.logits(bottleneck, skips, size).sigmoid()


class Separator(nn.Module):
    """U-Net of one part: its magnitudes from those of the mixture."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.encoder = Encoder(channels)
        self.decoder = Decoder(channels)

    def forward(self, magnitude: torch.Tensor) -> torch.Tensor:
        """Return mask times `magnitude`, both (B, F, T): the part's magnitudes."""
        *skips, bottleneck = self.encoder.features(magnitude[:, None])
        mask: torch.Tensor = self.decoder(bottleneck, skips, magnitude.shape[-2:])
        return mask[:, 0].float() * magnitude


def without_norm(layer: nn.Sequential) -> nn.Conv2d:
    """Return the convolution that does what `layer`'s and its batch norm do in use."""
    convolution, norm = layer[0], layer[1]
    assert isinstance(convolution, nn.Conv2d), layer
    assert isinstance(norm, nn.BatchNorm2d), layer
    return fuse_conv_bn_eval(convolution, norm)


def without_norms(encoder: Encoder, decoder: Decoder) -> None:
    """Let the convolutions do what their batch norms do in use; these learn no more."""
    for layer in encoder:
        assert isinstance(layer, nn.Sequential), encoder
        layer[0], layer[1] = without_norm(layer), nn.Identity()
    after: Any
    for place, after in enumerate(decoder.after):
        up: Any = decoder.up[place]
        decoder.up[place] = fuse_conv_bn_eval(up, after[0], transpose=True)
        after[0] = nn.Identity()
