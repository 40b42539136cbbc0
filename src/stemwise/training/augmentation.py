"""What training does to sound: what a network is not to hold on to, and what makes more of it.

References: Polack, "La transmission de l'énergie sonore dans les salles", 1988 (a room answers with
noise that dies away exponentially).
"""

from typing import cast

import torch
from scipy.fft import next_fast_len
from torch.nn import functional

from stemwise.recipe import TimbreSettings

__all__ = ["Timbres", "equaliser", "played"]

NODES = 6  # of the random equaliser, evenly over the bands
LOWEST_HZ = 40.0  # of a timbre's colour; below, as there
ROOM_SECONDS = 0.5  # what is kept of a room's answer
DECAY_SECONDS = 0.2, 1.2  # until a room's answer is down by 60 dB
WET_DB = -20.0, 0.0  # a room's answer against what is played
SILENCE = 1e-5


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
    sound: torch.Tensor, semitones: float, chance: torch.Generator | None = None, *,
    shifts: torch.Tensor | None = None, widest: float = 0.0,
) -> torch.Tensor:  # fmt: skip
    """Return sounds (..., N') of which each is played at a speed of its own.

    As a tape: pitch and timbre go with it, so that the same sounds become others. N' is what
    the fastest of all draws leaves of N. Between samples it runs straight, which damps the
    highest band a little.

    Args:
        sound: (..., N).
        semitones: faster or slower by up to this; 0 returns `sound` itself.
        chance: draws the speeds, on the CPU; by default torch's own, on the device.
        shifts: (...) what is added to each draw, in semitones; by default nothing.
        widest: no shift is larger.
    """
    most = semitones + widest
    if not most:
        return sound
    size = sound.shape[:-1]
    if chance is None:
        drawn = torch.rand(size, device=sound.device)
    else:
        drawn = torch.rand(size, generator=chance).to(sound.device)
    drawn = (2 * drawn - 1) * semitones
    speeds = 2 ** ((drawn if shifts is None else drawn + shifts) / 12)
    length = int((sound.shape[-1] - 1) / 2 ** (most / 12))
    times = speeds[..., None] * torch.arange(length, device=sound.device)
    before = times.long()
    low, high = sound.gather(-1, before), sound.gather(-1, before + 1)
    return low + (times - before) * (high - low)


class Timbres:
    """Makes stems others than they are, as if played and recorded elsewhere; each label its own.

    All stems of one label, such as both segments of a piece, are made the same: so it is another
    instrument to learn from, where `equaliser` and `played` are what is not to matter.

    Args:
        labels: (...) integers; stems of one label get one timbre.
        settings: how far a timbre may go.
        sample_rate_hz: of the stems.
    """

    def __init__(self, labels: torch.Tensor, settings: TimbreSettings, sample_rate_hz: int) -> None:
        names, self.which = torch.unique(labels, return_inverse=True)
        self.count, self.device = len(names), labels.device
        self.settings, self.rate = settings, sample_rate_hz
        self.shifts = self._evenly(-settings.semitones, settings.semitones)
        self.drives_db = self._evenly(-settings.drive_db, settings.drive_db)

    def _evenly(self, low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(self.count, device=self.device)

    def played(self, sound: torch.Tensor, semitones: float) -> torch.Tensor:
        """Return the stems (..., N) as `played` does, shifted besides, and coloured (..., N')."""
        own = played(
            sound, semitones, shifts=self.shifts[self.which], widest=self.settings.semitones
        )
        return self._recorded(self._driven(own))

    def _driven(self, sound: torch.Tensor) -> torch.Tensor:
        """Return what an amplifier makes of stems, at their level; half of all it leaves as is."""
        if not self.settings.drive_db:
            return sound
        level = _level(sound)
        drive = 10 ** (self.drives_db[self.which, None] / 20)
        bent = (sound * (drive / level)).tanh()
        return torch.where(drive > 1, bent * (level / _level(bent)), sound)

    def _recorded(self, sound: torch.Tensor) -> torch.Tensor:
        """Return stems with a colour of their own, some of them in a room, at their level."""
        if not (self.settings.colour_deviation_db or self.settings.rooms):
            return sound
        answer = self._answers()
        size = cast(int, next_fast_len(sound.shape[-1] + answer.shape[-1], real=True))
        response = self._colours(size) * (1 + torch.fft.rfft(answer, size))
        spectrum = torch.fft.rfft(sound, size) * response[self.which]
        heard: torch.Tensor = torch.fft.irfft(spectrum, size)[..., : sound.shape[-1]]
        return heard * (_level(sound) / _level(heard))

    def _answers(self) -> torch.Tensor:
        """Return what each timbre's room adds to an impulse, (timbres, samples)."""
        times = torch.arange(1, round(ROOM_SECONDS * self.rate), device=self.device) / self.rate
        shortest, longest = DECAY_SECONDS
        decay = shortest * (longest / shortest) ** self._evenly(0.0, 1.0)
        noise = torch.randn(self.count, len(times), device=self.device)
        answer = noise * 10 ** (-3 * times / decay[:, None])
        wet = 10 ** (self._evenly(*WET_DB) / 20)
        inside = torch.rand(self.count, device=self.device) < self.settings.rooms
        length = torch.linalg.vector_norm(answer, dim=1)
        return functional.pad(answer * (wet * inside / length)[:, None], (1, 0))

    def _colours(self, size: int) -> torch.Tensor:
        """Return the gain of each timbre at each frequency, (timbres, size // 2 + 1)."""
        nodes = torch.randn(self.count, NODES, device=self.device)
        frequency = torch.fft.rfftfreq(size, 1 / self.rate, device=self.device)
        octave = (frequency.clamp(min=LOWEST_HZ) / LOWEST_HZ).log2()
        place = octave / octave[-1] * (NODES - 1)
        below = place.long().clamp(max=NODES - 2)
        curve = torch.lerp(nodes[:, below], nodes[:, below + 1], place - below)
        return 10 ** (self.settings.colour_deviation_db * curve / 20)


def _level(sound: torch.Tensor) -> torch.Tensor:
    """Return the root mean square (..., 1), above 0."""
    return sound.square().mean(dim=-1, keepdim=True).sqrt() + SILENCE
