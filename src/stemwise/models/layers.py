"""What a network is made of: the size of every layer's output, and how many parameters it has.

Conventions: sizes are of one example, without the batch: (C, F, T) or (D,).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from stemwise.models.cascade import Cascade, Clean
from stemwise.models.checkpoint import Network
from stemwise.models.direct import DirectReconst

__all__ = ["Layer", "layers_of", "parameter_counts"]

SHOWN = (nn.Conv2d, nn.ConvTranspose2d, nn.MaxPool2d, nn.Linear)


@dataclass(frozen=True)
class Layer:
    """One layer.

    Attributes:
        name: where it lies in the network.
        kind: its class.
        size: of its output for one example.
        parameters: weights and biases of its own.
    """

    name: str
    kind: str
    size: tuple[int, ...]
    parameters: int


def layers_of(network: Network, seconds: float) -> list[Layer]:
    """Return the convolutions, poolings and linear layers for a segment, in the order they run.

    Args:
        network: any; the parts of Clean and Cascade are alike, so make it for one of them.
        seconds: length of the segment.
    """
    layers: list[Layer] = []

    def seen(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, _: object, output: torch.Tensor) -> None:
            count = sum(p.numel() for p in module.parameters())
            kind = next(
                kind for kind in type(module).__mro__ if kind.__module__.startswith("torch.")
            )
            layers.append(Layer(name, kind.__name__, tuple(output.shape[1:]), count))

        return hook

    hooks = [
        module.register_forward_hook(seen(name))
        for name, module in network.named_modules()
        if isinstance(module, SHOWN)
    ]
    clean = isinstance(network, Clean) and not isinstance(network, Cascade)
    length = round(seconds * network.shape.sample_rate_hz)
    training = network.training
    network.eval()
    with torch.inference_mode():
        network.embed(torch.zeros(1, 5, length) if clean else torch.zeros(1, length))
        embedded = len(layers)
        if isinstance(network, DirectReconst):
            network.separate(torch.zeros(1, length))
            layers[embedded:] = [x for x in layers[embedded:] if x.name.startswith("decoders.")]
    for hook in hooks:
        hook.remove()
    network.train(training)
    return layers


def parameter_counts(network: Network) -> dict[str, int]:
    """Return the number of parameters: of each piece, in all, and of what embedding needs."""
    pieces = {name: sum(p.numel() for p in child.parameters())
              for name, child in network.named_children()}  # fmt: skip
    counts = {name: count for name, count in pieces.items() if count}
    total = sum(counts.values())
    return counts | {"total": total, "embedding": total - counts.get("decoders", 0)}
