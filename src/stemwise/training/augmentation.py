"""What training does to sound so that a network does not hold on to it."""

import torch
from torch.nn import functional

__all__ = ["equaliser", "played"]

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


def played(
    sound: torch.Tensor, semitones: float, chance: torch.Generator | None = None
) -> torch.Tensor:
    """Return sounds (..., N') of which each is played at a speed of its own.

    As a tape: pitch and timbre go with it, so that the same sounds become others. N' is what
    the fastest of all draws leaves of N. Between samples it runs straight, which damps the
    highest band a little.

    Args:
        sound: (..., N).
        semitones: faster or slower by up to this; 0 returns `sound` itself.
        chance: draws the speeds, on the CPU; by default torch's own, on the device.
    """
    if not semitones:
        return sound
    size = sound.shape[:-1]
    if chance is None:
        drawn = torch.rand(size, device=sound.device)
    else:
        drawn = torch.rand(size, generator=chance).to(sound.device)
    speeds = 2 ** ((2 * drawn - 1) * semitones / 12)
    length = int((sound.shape[-1] - 1) / 2 ** (semitones / 12))
    times = speeds[..., None] * torch.arange(length, device=sound.device)
    before = times.long()
    low, high = sound.gather(-1, before), sound.gather(-1, before + 1)
    return low + (times - before) * (high - low)
