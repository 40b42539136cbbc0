"""The stages of Direct-Mask: masks first, then identity through the masks as well; then presence.

Each mixture is read twice, through the estimated masks and through the ideal ones, and both
readings are compared with all others: so what is read off a mixture is drawn to what is read off
the clean part, and the extractors learn from clean parts before the masks are good.

Departure: nothing of this is in the paper; see docs/method.md. Conventions: as in
`stemwise.training.stages`.
"""

from typing import Self

import torch

from stemwise import losses
from stemwise.models.direct_mask import DirectMask
from stemwise.parts import PARTS
from stemwise.recipe import MaskedSettings, PresenceSettings
from stemwise.training.augmentation import Timbres, equaliser, played
from stemwise.training.batches import Batch
from stemwise.training.contrast import BatchStage
from stemwise.training.stages import Stage

__all__ = ["MaskedStage", "PresenceStage"]

MASK_LOSSES = {"magnitudes": losses.separation, "shares": losses.shares}


class MaskedStage(BatchStage):
    """Separation alone at first; then contrast of songs and presence beside it."""

    network: DirectMask
    settings: MaskedSettings

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the losses of one batch."""
        network, settings = self.network, self.settings
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            places = self._places(len(batch["stems"]))  # (B, I)
            mixture, stems = self._magnitudes(self._played(batch), places)
        parts = torch.arange(places.shape[1], device=places.device)
        labels, playing = batch["labels"][places, parts], batch["playing"][places, parts]
        masks, bottleneck = network.shared_out(mixture)
        terms = {"separation": MASK_LOSSES[settings.mask_loss](masks, mixture, stems)}
        if self.global_step < settings.separation_only_steps:
            return terms
        clean = slice(len(batch["stems"]))  # every stem once
        ideal = stems[clean] / (stems[clean].sum(dim=1, keepdim=True) + 1e-7)
        both = torch.cat([masks, ideal]), torch.cat([mixture, mixture[clean]])
        per_part = losses.contrastive(
            network.blocks(*both).float(),
            torch.cat([labels, labels[clean]]),
            temperature=settings.temperature,
        )
        if settings.presence_head:
            cues = network.cues_of(masks, bottleneck, mixture).float()
            with torch.autocast(self.device.type, enabled=False):
                logits = network.presence_head(cues)
        else:
            logits = network.presence(masks, mixture)
        return terms | {
            "contrastive": per_part.mean(),
            "presence": losses.presence(logits.float(), playing),
        }

    def _played(self, batch: Batch) -> torch.Tensor:
        """Return the drawn stems (B, 5, N') as they are played, with their pieces' timbres."""
        stems, settings = batch["stems"], self.settings
        if settings.timbres is None:
            return played(stems, settings.speed_semitones)
        timbres = Timbres(batch["labels"], settings.timbres, self.network.shape.sample_rate_hz)
        return timbres.played(stems, settings.speed_semitones)

    def _places(self, mixtures: int) -> torch.Tensor:
        """Return which drawn mixture each stem of each mixture is from (B, I).

        First come the mixtures as they were drawn, then `heard_in` - 1 times as many, in which the
        stems of each part are dealt out anew.
        """
        drawn = torch.arange(mixtures, device=self.device)[:, None].expand(-1, len(PARTS))
        rounds = [drawn]
        for _ in range(self.settings.heard_in - 1):
            chance = torch.rand(drawn.shape, device=self.device)
            rounds.append(chance.argsort(dim=0))
        return torch.cat(rounds)

    def _magnitudes(
        self, drawn_stems: torch.Tensor, places: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return band magnitudes of mixtures (B, F, T) and stems (B, 5, F, T), equalised alike."""
        front_end = self.network.front_end
        parts = torch.arange(drawn_stems.shape[1], device=places.device)
        sound = torch.cat([drawn_stems[places, parts].sum(dim=1), drawn_stems.flatten(0, 1)])
        bands = front_end.bands(sound)
        mixture, drawn = bands[: len(places)], bands[len(places) :]
        stems = drawn.reshape(*drawn_stems.shape[:2], *drawn.shape[1:])[places, parts]
        if not self.settings.eq_deviation_db:
            return mixture, stems
        gains = equaliser(mixture, self.settings.eq_deviation_db)
        return mixture * gains, stems * gains[:, None]


class PresenceStage(Stage):
    """The linear head of presence; all else is at rest, batch statistics included."""

    network: DirectMask

    def __init__(self, network: DirectMask, settings: PresenceSettings, seed: int) -> None:
        super().__init__(network, {"presence": 1.0}, settings.learning_rate, seed)
        network.requires_grad_(False)
        network.presence_head.requires_grad_(True)
        self.train()  # Lightning takes the modes as it finds them

    def train(self, mode: bool = True) -> Self:
        """Set training mode, of the head alone."""
        super().train(mode)
        self.network.eval()
        self.network.presence_head.train(mode)
        return self

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the cross-entropy of presence with what sounds."""
        with torch.no_grad():
            with torch.autocast(self.device.type, enabled=False):
                mel = self.network.see(batch["mixture"])
            cues = self.network.cues(mel).float()
        with torch.autocast(self.device.type, enabled=False):
            logits = self.network.presence_head(cues)
        return {"presence": losses.presence(logits, batch["playing"])}
