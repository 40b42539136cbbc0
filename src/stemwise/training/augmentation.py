"""What training does to sound so that a network does not hold on to it."""

import torch
from torch.nn import functional

__all__ = ["equaliser"]

NODES = 6  # of the random equaliser, evenly over the bands


def equaliser(
    mel: torch.Tensor, deviation_db: float, chance: torch.Generator | None = None
) -> torch.Tensor:
    """Return random gains (B, F, 1) for band magnitudes (B, F, T), smooth over the bands.

    Args:
        mel: says how many mixtures and bands there are, and where.
        deviation_db: of the gain at each node, in dB; 0 gives ones.
        chance: draws the gains, on the CPU; by default torch's own, on the device.
    """
    size = (len(mel), 1, NODES)
    if chance is None:
        nodes = torch.randn(size, device=mel.device)
    else:
        nodes = torch.randn(size, generator=chance).to(mel.device)
    curves = functional.interpolate(
        nodes * deviation_db, mel.shape[1], mode="linear", align_corners=True
    )
    return 10 ** (curves[:, 0, :, None] / 20)
