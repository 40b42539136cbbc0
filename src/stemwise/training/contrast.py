"""Our own stage: Direct from scratch, by contrast over batches of songs.

Departure: the paper learns from triplets, after pre-training; see docs/method.md.

Conventions: as in `stemwise.training.stages`.
"""

from typing import Any

import numpy as np
import torch
from pytorch_optimizer import Muon
from pytorch_optimizer.optimizer.utils.matrix import zero_power_via_newton_schulz_5

from stemwise import losses
from stemwise.models.direct import Direct, MaskHead
from stemwise.models.unet import Encoder
from stemwise.recipe import BatchSettings, ContrastiveSettings
from stemwise.spectrogram import LogMel
from stemwise.training.batches import Batch
from stemwise.training.precision import is_quick_in_bfloat16
from stemwise.training.stages import Stage

__all__ = ["BatchStage", "ContrastiveStage"]

MATRIX = 2  # dimensions that a weight has at least, to be one or to be flattened to one
ADAM_BETAS, ADAM_EPSILON = (0.9, 0.999), 1e-8  # torch's


class BatchStage(Stage):
    """A stage of ours: AdamW or Muon, with a linear warm-up and a cosine to 0."""

    def __init__(self, network: torch.nn.Module, settings: BatchSettings, seed: int) -> None:
        names = ("contrastive", "presence", "separation")
        weights = {name: getattr(settings, name) for name in names}
        super().__init__(network, weights, settings.learning_rate, seed)
        self.settings = settings

    def configure_optimizers(self) -> Any:
        """AdamW, or Muon where it is asked for, with a linear warm-up and a cosine to 0."""
        settings = self.settings
        optimiser = _optimiser(list(self.parameters()), settings)

        def factor(step: int) -> float:
            if step < settings.warmup_steps:
                return (step + 1) / settings.warmup_steps
            left = max(1, settings.steps - settings.warmup_steps)
            rest = (step - settings.warmup_steps) / left
            return float(0.5 + 0.5 * np.cos(np.pi * min(rest, 1.0)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def _optimiser(weights: list[torch.nn.Parameter], settings: BatchSettings) -> torch.optim.Optimizer:
    """Return AdamW, or Muon for matrices and convolutions and AdamW for the rest.

    Muon makes the update of a matrix (here: of channels out by all else) about orthogonal, so that
    no direction is left behind. References: Jordan et al., "Muon: an optimizer for hidden layers
    in neural networks", 2024; the weights of convolutions are flattened as there.
    """
    decay = settings.weight_decay
    if not settings.muon_learning_rate:
        return torch.optim.AdamW(weights, settings.learning_rate, weight_decay=decay)
    groups: Any = [
        {"use_muon": True, "params": [w for w in weights if w.ndim >= MATRIX],
         "lr": settings.muon_learning_rate, "weight_decay": decay},
        {"use_muon": False, "params": [w for w in weights if w.ndim < MATRIX],
         "lr": settings.learning_rate, "weight_decay": decay,
         "betas": ADAM_BETAS, "eps": ADAM_EPSILON},
    ]  # fmt: skip
    return Muon(groups) if is_quick_in_bfloat16(weights[0].device) else SingleMuon(groups)


class SingleMuon(Muon):
    """Muon whose products are in single precision, in place of bfloat16."""

    @staticmethod
    def _orthogonalize(group: Any, updates: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return the matrices (C', all else) of updates (C', ...)."""
        return [
            zero_power_via_newton_schulz_5(
                update.flatten(1), group["ns_steps"], weights=group["ns_coeffs"],
                dtype=torch.float32,
            )
            for update in updates
        ]  # fmt: skip


class ContrastiveStage(BatchStage):
    """Direct from scratch: contrast of songs, presence, and masks as an auxiliary task."""

    network: Direct

    def __init__(self, network: Direct, settings: ContrastiveSettings, seed: int) -> None:
        super().__init__(network, settings, seed)
        self.settings: ContrastiveSettings
        layer = settings.mask_layer
        channels = network.shape.channels[layer - 1]
        self.masks = MaskHead(channels, layer) if settings.separation else None

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the losses of one batch."""
        network, labels = self.network, batch["labels"]
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            spectrogram = network.front_end(batch["mixture"])
        assert isinstance(network.encoder, Encoder)
        maps = network.encoder.features(spectrogram.to(memory_format=torch.channels_last))
        pooled = network.pool(maps[-1].float())
        embedding, logits = network.blocks(pooled), network.presence_head(pooled)
        per_part = losses.contrastive(
            embedding.float(), labels, temperature=self.settings.temperature
        )
        terms = {
            "contrastive": per_part.mean(),
            "presence": losses.presence(logits.float(), batch["playing"]),
        }
        if self.masks is not None:
            terms["separation"] = self._separation(maps[self.settings.mask_layer - 1], batch)
        return terms

    def _separation(self, features: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return the separation loss of the first mixtures of a batch, those that bring stems."""
        count, parts = batch["stems"].shape[:2]
        front_end = self.network.front_end
        assert isinstance(front_end, LogMel)
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            mixture = front_end.bands(batch["mixture"][:count])
            stems = front_end.bands(batch["stems"].flatten(0, 1))
        assert self.masks is not None
        masks = self.masks(features[:count], *mixture.shape[1:])
        stems = stems.reshape(count, parts, *mixture.shape[1:])
        return losses.separation(masks.float(), mixture, stems)
