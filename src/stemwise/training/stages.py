"""The stages of training: which networks move, and what is summed into the loss.

| stage | networks that move | loss |
|---|---|---|
| clean | a part's extractor | triplet, on clean stems |
| separation | a part's separator | L1 of the three clips |
| features | a part's extractor; its separator is frozen | triplet |
| finetuning | both of a part | triplet + L1 of the three clips |
| pretraining | Direct's encoder | squared error to the Clean vectors |
| triplets | Direct's encoder (and Direct-Reconst's decoders) | triplet (+ L1 of the three clips) |
| contrastive | Direct's encoder | ours: contrast over the batch |
| masked | all of Direct-Mask but a head of presence | ours: masks, then contrast as well |
| lengthened | the same | ours: as masked, on longer segments |
| presence | Direct-Mask's head of presence | ours: cross-entropy with what sounds |
| heads | its extractors' last layers, in closed form | ours: none (`stemwise.training.heads`) |

Conventions: B batch, V = 3 views, K targets of an item, F frequency bin, T frame, D dimension.
Spectrograms and losses are computed in single precision, the networks in the recipe's.

References: equation (1), sections II-B, III-A2 and III-B2 of the paper.
"""

from typing import Any

import lightning
import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from stemwise import losses
from stemwise.errors import ModelError
from stemwise.models.cascade import Cascade, Clean
from stemwise.models.direct import Direct, DirectReconst
from stemwise.models.unet import Encoder
from stemwise.parts import PARTS
from stemwise.recipe import TripletSettings
from stemwise.training.batches import Batch

__all__ = ["DirectStage", "PartStage", "PretrainingStage", "Stage", "direct_loss"]

LOOKED_AT_STEPS = 50
VIEWS = 3
ROLES = ((0, 1, 2), (0, 2, 1))  # anchor, positive, negative: of the basic and additional triplet


class Stage(lightning.LightningModule):
    """What all stages share: losses in a dict times weights in a dict; Adam; logging.

    Attributes:
        network: what is trained.
        weights: of the losses, by name; those of weight 0 are not computed.
        batches: gives the batches of ("train" or "valid", epoch).
        workers: processes that prepare batches beside this one.
    """

    def __init__(
        self, network: torch.nn.Module, weights: dict[str, float], learning_rate: float, seed: int
    ) -> None:
        super().__init__()
        self.network, self.weights = network, weights
        self.learning_rate, self.seed = learning_rate, seed
        self.batches: Any = None
        self.workers = 0

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the losses of one batch by name."""
        raise NotImplementedError

    def total(self, batch: Batch, split: str) -> torch.Tensor:
        """Return and log the weighted sum of the losses."""
        terms = self.losses(batch)
        total = torch.stack([self.weights[name] * value for name, value in terms.items()]).sum()
        logged = {f"{split}/{name}": value for name, value in terms.items()}
        many: Any = {"batch_size": len(batch["mixture"]), "sync_dist": split == "valid"}
        self.log_dict(logged, **many)
        self.log(f"{split}/loss", total, prog_bar=True, **many)
        return total

    def training_step(self, batch: Batch, number: int) -> torch.Tensor:
        """Return the loss; dropout depends on (seed, step, process) only.

        Raises `ModelError` if the loss is no number, before an epoch is kept: weights that are none
        never become numbers again.
        """
        state = np.random.SeedSequence([self.seed, self.global_step, self.global_rank])
        torch.manual_seed(int(state.generate_state(1)[0]))
        total = self.total(batch, "train")
        looked_at = number % LOOKED_AT_STEPS == 0 or self.trainer.is_last_batch
        if looked_at and not total.isfinite():  # not at each: a CUDA device would wait
            raise ModelError(
                f"the loss of step {self.global_step} is {total:g}; train with --set "
                "precision=32-true or a lower learning rate (the epochs before are kept)"
            )
        return total

    def validation_step(self, batch: Batch, _: int) -> None:
        """Log the losses of one batch of validation songs."""
        self.total(batch, "valid")

    def _loader(self, batches: Dataset[Batch]) -> DataLoader[Batch]:
        pinned = self.device.type == "cuda" and self.workers > 0
        return DataLoader(batches, batch_size=None, num_workers=self.workers, pin_memory=pinned)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the batches of the current epoch."""
        return self._loader(self.batches("train", self.current_epoch))

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the batches of the validation loss, the same in every epoch."""
        return self._loader(self.batches("valid", 0))

    def configure_optimizers(self) -> Any:
        """Adam, its betas as usual, over the weights that may move."""
        moving = [p for p in self.parameters() if p.requires_grad]
        return torch.optim.Adam(moving, self.learning_rate)


def weights_of(settings: TripletSettings) -> dict[str, float]:
    """Return the weights of a triplet stage's losses."""
    return {"triplet": settings.triplet, "separation": settings.separation}


class PartStage(Stage):
    """One part's own networks: Clean, or one of the three stages of Cascade."""

    network: Clean

    def __init__(
        self, network: Clean, settings: TripletSettings, part: str, seed: int, *,
        moving: str = "both",
    ) -> None:  # fmt: skip
        super().__init__(network, weights_of(settings), settings.learning_rate, seed)
        self.settings, self.part = settings, part
        if isinstance(network, Cascade):
            if moving == "features":
                network.freeze_separators()
            network.extractors.requires_grad_(moving != "separation")

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the triplet loss, the separation loss summed over the three clips, or both."""
        network, weights = self.network, self.weights
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            magnitude = network.front_end.magnitude(batch["mixture"].flatten(0, 1))  # (BV, F, T)
        estimate = magnitude  # Clean: the stem alone
        if isinstance(network, Cascade):
            estimate = network.separators[self.part](magnitude)
        terms = {}
        if weights["separation"]:
            with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
                reference = network.front_end.magnitude(batch["stems"][:, :, 0].flatten(0, 1))
            terms["separation"] = VIEWS * losses.magnitude_l1(estimate, reference)
        if weights["triplet"]:
            block = network.block(estimate, self.part)  # (BV, D)
            views = block.reshape(-1, VIEWS, block.shape[-1]).unbind(1)
            terms["triplet"] = losses.triplet(*views, margin=self.settings.margin)
        return terms


def direct_loss(embedding: torch.Tensor, targets: torch.Tensor, margin: float) -> torch.Tensor:
    """Return the triplet loss of Direct, mean over the B x K triplets.

    Only the target's block counts, which is the paper's 1D conditioning: `condition_1d` leaves the
    same distances.

    Args:
        embedding: (B, 3, 5, 128) of the anchor, positive and negative of the basic triplets.
        targets: (B, K) the part that each triplet is about.
        margin: of equation (1).
    """
    items = torch.arange(len(targets), device=targets.device)
    terms = []
    for roles, target in zip(ROLES, targets.unbind(1), strict=False):
        views = [embedding[items, role, target] for role in roles]  # each (B, D)
        terms.append(losses.triplet(*views, margin=margin))
    return torch.stack(terms).mean()


class DirectStage(Stage):
    """Direct on triplets; with decoders and a weight on their loss, Direct-Reconst."""

    network: Direct

    def __init__(self, network: Direct, settings: TripletSettings, seed: int) -> None:
        super().__init__(network, weights_of(settings), settings.learning_rate, seed)
        self.settings = settings

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the triplet loss and, for Direct-Reconst, the separation loss."""
        network = self.network
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            spectrogram = network.front_end(batch["mixture"].flatten(0, 1))  # (BV, 1, F, T)
        if not isinstance(network, DirectReconst):
            features = network.encoder(spectrogram)
        else:
            assert isinstance(network.encoder, Encoder)
            maps = network.encoder.features(spectrogram)
            features = maps[-1]
        embedding = network.blocks(network.pool(features.float())).float()
        embedding = embedding.reshape(-1, VIEWS, *embedding.shape[1:])  # (B, V, 5, 128)
        terms = {"triplet": direct_loss(embedding, batch["targets"], self.settings.margin)}
        if isinstance(network, DirectReconst):
            terms["separation"] = self._separation(network, maps, spectrogram[:, 0], batch)
        return terms

    def _separation(
        self, network: DirectReconst, maps: list[torch.Tensor], magnitude: torch.Tensor,
        batch: Batch,
    ) -> torch.Tensor:  # fmt: skip
        """Return the L1 of the target's magnitudes, the three clips summed, mean over triplets.

        Choice: a decoder sees those mixtures only of which it rebuilds the part, so its batch
        statistics are theirs.
        """
        targets = batch["targets"]
        total = magnitude.new_zeros(())
        for part in range(len(PARTS)):
            items, column = torch.nonzero(targets == part, as_tuple=True)
            if len(items) == 0:
                continue
            clips = (items[:, None] * VIEWS + torch.arange(VIEWS, device=items.device)).flatten()
            own = [feature[clips] for feature in maps]
            estimate = network.reconstruct(own, magnitude[clips], part)
            with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
                stems = batch["stems"][items, :, column].flatten(0, 1)  # (items V, N)
                reference = network.front_end.magnitude(stems)
            total = total + len(items) * losses.magnitude_l1(estimate, reference)
        return VIEWS * total / targets.numel()


class PretrainingStage(Stage):
    """Direct learns the concatenated Clean vectors of the stems that are in the mixture."""

    network: Direct

    def __init__(self, network: Direct, learning_rate: float, seed: int) -> None:
        super().__init__(network, {"clean_error": 1.0}, learning_rate, seed)

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the mean squared error of the 640 numbers."""
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            spectrogram = self.network.front_end(batch["mixture"])
        features = self.network.encoder(spectrogram)
        embedding = self.network.blocks(self.network.pool(features.float())).float()
        return {"clean_error": functional.mse_loss(embedding.flatten(1), batch["aim"])}
