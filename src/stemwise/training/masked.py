"""The stage of Direct-Mask: masks first, then identity through the masks as well.

Each mixture is read twice, through the estimated masks and through the ideal ones, and both
readings are compared with all others: so what is read off a mixture is drawn to what is read off
the clean part, and the extractors learn from clean parts before the masks are good.

Departure: nothing of this is in the paper; see docs/method.md. Conventions: as in
`stemwise.training.stages`.
"""

import torch
from torch.nn import functional

from stemwise import losses
from stemwise.models.direct_mask import DirectMask
from stemwise.recipe import MaskedSettings
from stemwise.training.batches import Batch
from stemwise.training.contrast import BatchStage

__all__ = ["MaskedStage"]

NODES = 6  # of the random equaliser, evenly over the mel bins


class MaskedStage(BatchStage):
    """Separation alone at first; then contrast of songs and presence beside it."""

    network: DirectMask
    settings: MaskedSettings

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the losses of one batch."""
        network, labels = self.network, batch["labels"]
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            mixture, stems = self._magnitudes(batch)
        masks = network.masks(mixture)
        terms = {"separation": losses.separation(masks, mixture, stems)}
        if self.global_step < self.settings.separation_only_steps:
            return terms
        ideal = stems / (stems.sum(dim=1, keepdim=True) + 1e-7)
        both = torch.cat([masks, ideal]), torch.cat([mixture, mixture])
        per_part = losses.contrastive(
            network.blocks(*both).float(),
            torch.cat([labels, labels]),
            temperature=self.settings.temperature,
        )
        logits = network.presence(masks, mixture)
        return terms | {
            "contrastive": per_part.mean(),
            "presence": losses.presence(logits.float(), batch["playing"]),
        }

    def _magnitudes(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mel magnitudes of mixtures (B, F, T) and stems (B, 5, F, T), equalised alike."""
        front_end = self.network.front_end
        mixture = front_end.mel(batch["mixture"])
        stems = front_end.mel(batch["stems"].flatten(0, 1))
        stems = stems.reshape(*batch["stems"].shape[:2], *stems.shape[1:])
        if not self.settings.eq_deviation_db:
            return mixture, stems
        nodes = torch.randn(len(mixture), 1, NODES, device=mixture.device)
        curves = functional.interpolate(
            nodes * self.settings.eq_deviation_db, mixture.shape[1], mode="linear",
            align_corners=True,
        )  # fmt: skip
        gains = 10 ** (curves[:, 0, :, None] / 20)
        return mixture * gains, stems * gains[:, None]
