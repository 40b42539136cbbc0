"""A Direct-Mask with more channels, which computes what a narrower one does, and can learn more.

Channels that are new begin with weights of their own by chance, but nothing reads them yet: the
weights from a new channel to an old one are 0. The first step of training moves these, the next
all others.

Conventions: of a feature map's channels the first are those of the narrower network; a decoder's
layer sees its forerunner's channels and then the encoder's, each of them with the new ones last.

Reference: Chen et al., "Net2Net: accelerating learning via knowledge transfer", ICLR 2016 (there,
new channels are copies of old ones).
"""

from typing import Any

import torch

from stemwise.models.direct_mask import DirectMask, DirectMaskShape

__all__ = ["can_widen", "widen"]

APART = {"mask_channels", "presence", "segment_seconds"}  # no masks or vectors hang on the latter


def can_widen(narrow: DirectMaskShape, wide: DirectMaskShape) -> bool:
    """Tell whether a network of shape `wide` can compute what one of shape `narrow` does."""
    pairs = list(zip(narrow.mask_channels, wide.mask_channels, strict=False))
    as_deep = len(narrow.mask_channels) == len(wide.mask_channels)
    alike = narrow.model_dump(exclude=APART) == wide.model_dump(exclude=APART)
    return alike and as_deep and all(few <= many for few, many in pairs)


@torch.no_grad()
def widen(narrow: DirectMask, wide: DirectMask) -> None:
    """Let `wide` compute the masks and embeddings that `narrow` does.

    Its head of presence, if it has one, stays as it is: it reads the U-Net's inmost channels.

    Raises:
        ValueError: `wide` has fewer channels in a layer, or is of another shape otherwise.
    """
    if not can_widen(narrow.shape, wide.shape):
        raise ValueError("the network to be widened must be of the same shape but for its channels")
    few, many = ([1, *shape.mask_channels] for shape in (narrow.shape, wide.shape))
    old: Any
    new: Any
    for layer, (old, new) in enumerate(zip(narrow.encoder, wide.encoder, strict=True)):
        _convolution(old[0], new[0], torch.arange(few[layer]), outputs=0)
        _channels(old[1:], new[1:])
    for layer, (old, new) in enumerate(zip(narrow.decoder.up, wide.decoder.up, strict=True)):
        own = torch.arange(few[-1 - layer])
        places = torch.cat([own, many[-1 - layer] + own]) if layer else own
        _convolution(old, new, places, outputs=1)
    for old, new in zip(narrow.decoder.after, wide.decoder.after, strict=True):
        _channels(old, new)
    wide.readers.load_state_dict(narrow.readers.state_dict())
    for name in ("presence_scale", "presence_bias"):
        getattr(wide, name).copy_(getattr(narrow, name))


def _convolution(old: Any, new: Any, places: torch.Tensor, *, outputs: int) -> None:
    """Copy weights; `places` are those of the old inputs, `outputs` the dimension of outputs."""
    count = old.weight.shape[outputs]
    target = new.weight if outputs == 0 else new.weight.transpose(0, 1)  # (out, in, K, K)
    weight = old.weight if outputs == 0 else old.weight.transpose(0, 1)
    target[:count] = 0.0
    target[:count, places] = weight
    new.bias[:count] = old.bias


def _channels(old: torch.nn.Module, new: torch.nn.Module) -> None:
    """Copy norms, the old channels first, and what is shared by all channels as it is."""
    state = new.state_dict()
    for name, value in old.state_dict().items():
        if value.ndim:
            state[name][: len(value)] = value
        else:
            state[name].copy_(value)  # batches counted
