"""The training stages as Lightning modules: what is fed, what is summed, what is validated.

One stage so far: Direct trained from scratch on batches in which every part of every mixture comes
from another song (`stemwise.sampling.contrastive_plan`).

A run folder holds the resolved recipe, versions, metrics, checkpoints to resume from and, when the
run is through, ``<name>.safetensors``.
"""

import ctypes
import json
import logging
import platform
import sys
import warnings
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, Dataset

from stemwise import __version__, losses
from stemwise.corpora.bank import Bank
from stemwise.errors import CorpusError
from stemwise.evaluation import Pseudo10x5, pseudo_scores
from stemwise.models.checkpoint import save_model
from stemwise.models.direct import Direct, MaskHead
from stemwise.recipe import Recipe
from stemwise.sampling import Segments, contrastive_plan

__all__ = ["ContrastiveStage", "keep_memory", "train"]

VALIDATION = Pseudo10x5(groups=2, segments_per_piece=3)
VALIDATION_SECONDS = 10.0
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # of glibc's malloc.h


class Batches(Dataset[dict[str, torch.Tensor]]):
    """The batches of one epoch, drawn from (seed, epoch, index) and gathered from the bank."""

    def __init__(self, bank: Bank, segments: Segments, recipe: Recipe, epoch: int) -> None:
        self.bank, self.segments, self.recipe, self.epoch = bank, segments, recipe, epoch

    def __len__(self) -> int:
        return self.recipe.training.steps_per_epoch

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        if index >= len(self):
            raise IndexError(index)
        sampling = self.recipe.sampling
        plan = contrastive_plan(
            self.segments,
            self.recipe.training.seed,
            self.epoch,
            index,
            mixtures=sampling.mixtures,
            kept_parts=sampling.kept_parts,
            gain_deviation_db=sampling.gain_deviation_db,
            twins=sampling.twins,
        )
        stems = torch.from_numpy(self.bank.gather(plan)[:, 0])  # (B, I, N)
        assert plan.labels is not None
        batch = {
            "mixture": stems.sum(dim=1),
            "labels": torch.from_numpy(plan.labels[:, 0]),
            "playing": torch.from_numpy(plan.pieces[:, 0] >= 0),
        }
        if self.recipe.loss.separation > 0:
            batch["stems"] = stems[: self.recipe.loss.separated_mixtures]
        return batch


class ContrastiveStage(lightning.LightningModule):
    """Direct from scratch: contrast of songs, presence, and masks as an auxiliary task."""

    def __init__(self, recipe: Recipe, bank: Bank) -> None:
        super().__init__()
        self.recipe = recipe
        self.bank = bank
        sampling = recipe.sampling
        self.segments = bank.segments(
            "train", sampling.segment_seconds, sampling.hop_seconds, sampling.silence_rule
        )
        self.network = Direct(recipe.model)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        layer = recipe.loss.mask_layer
        self.masks = (
            MaskHead(recipe.model.channels[layer - 1], layer) if recipe.loss.separation else None
        )

    def training_step(self, batch: dict[str, torch.Tensor], _: int) -> torch.Tensor:
        """Return the weighted sum of the losses of one batch."""
        network, weights, labels = self.network, self.recipe.loss, batch["labels"]
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            spectrogram = network.front_end(batch["mixture"])
        maps = network.encoder.features(spectrogram.to(memory_format=torch.channels_last))
        pooled = network.pool(maps[-1].float())
        embedding, logits = network.blocks(pooled), network.presence_head(pooled)
        per_part = losses.contrastive(embedding.float(), labels, temperature=weights.temperature)
        parts = {
            "contrastive": per_part.mean(),
            "presence": losses.presence(logits.float(), batch["playing"]),
        }
        if self.masks is not None:
            parts["separation"] = self._separation(maps[weights.mask_layer - 1], batch)
        total = torch.stack([getattr(weights, name) * value for name, value in parts.items()]).sum()
        self.log_dict({f"train/{name}": value for name, value in parts.items()})
        self.log("loss", total, prog_bar=True)
        return total

    def _separation(self, features: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the separation loss of the first mixtures of a batch, those that bring stems."""
        count, parts = batch["stems"].shape[:2]
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            mixture = self.network.front_end.mel(batch["mixture"][:count])
            stems = self.network.front_end.mel(batch["stems"].flatten(0, 1))
        assert self.masks is not None
        masks = self.masks(features[:count], *mixture.shape[1:])
        stems = stems.reshape(count, parts, *mixture.shape[1:])
        return losses.separation(masks.float(), mixture, stems)

    def train_dataloader(self) -> DataLoader[dict[str, torch.Tensor]]:
        """Return the batches of the current epoch."""
        batches = Batches(self.bank, self.segments, self.recipe, self.current_epoch)
        return DataLoader(batches, batch_size=None, num_workers=0)

    def configure_optimizers(self) -> Any:
        """AdamW with a linear warm-up and a cosine to 0."""
        settings = self.recipe.training
        optimiser = torch.optim.AdamW(
            self.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )

        def factor(step: int) -> float:
            if step < settings.warmup_steps:
                return (step + 1) / settings.warmup_steps
            rest = (step - settings.warmup_steps) / (settings.steps - settings.warmup_steps)
            return float(0.5 + 0.5 * np.cos(np.pi * min(rest, 1.0)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


class Validation(Callback):
    """MES-Pseudo on validation songs, every few epochs and at the end."""

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: Any) -> None:
        """Log accuracy and leakage per part, and their mean."""
        epoch, every = trainer.current_epoch + 1, module.recipe.training.validate_every_epochs
        if epoch % every and epoch != trainer.max_epochs:
            return
        segments = module.bank.segments("valid", VALIDATION_SECONDS, VALIDATION_SECONDS)
        module.network.eval()
        scores = pseudo_scores(
            module.bank, segments, module.network.describe, VALIDATION, str(module.device)
        )
        module.network.train()
        for part, score in scores.items():
            module.log(f"valid/accuracy_{part}", score["accuracy"])
            module.log(f"valid/leakage_{part}", score["leakage"])
        module.log("valid/accuracy", float(np.mean([s["accuracy"] for s in scores.values()])))


def train(
    recipe: Recipe, bank: Bank, run: Path, *, commit: str = "unknown", progress: bool = True
) -> Path:
    """Train by `recipe` in the folder `run`, going on where an earlier run of it stopped.

    Returns:
        The path of the trained model, ``run/<name>.safetensors``.

    Raises:
        CorpusError: the bank's rate is not the recipe's, or the run is of another recipe.
    """
    if bank.sample_rate_hz != recipe.model.sample_rate_hz:
        raise CorpusError(
            f"the bank is at {bank.sample_rate_hz} Hz, but the recipe wants "
            f"{recipe.model.sample_rate_hz} Hz; prepare one at that rate"
        )
    _claim(run, recipe, bank, commit)
    keep_memory()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # tips and device notes
    lightning.seed_everything(recipe.training.seed, verbose=False)
    torch.set_float32_matmul_precision("high")
    stage = ContrastiveStage(recipe, bank)
    keeper = ModelCheckpoint(run, filename="last", enable_version_counter=False)
    callbacks: list[Callback] = [Validation(), keeper]
    if progress:
        callbacks.append(TQDMProgressBar(refresh_rate=50))
    trainer = lightning.Trainer(
        accelerator="auto",
        devices=1,
        max_epochs=-(-recipe.training.steps // recipe.training.steps_per_epoch),
        precision=recipe.training.precision,
        gradient_clip_val=1.0,
        callbacks=callbacks,
        logger=CSVLogger(run, name=None, version="metrics", flush_logs_every_n_steps=50),
        log_every_n_steps=50,
        reload_dataloaders_every_n_epochs=1,
        enable_progress_bar=progress,
        enable_model_summary=False,
    )
    last = run / "last.ckpt"
    with warnings.catch_warnings():
        for harmless in ("Checkpoint directory .* is not empty", ".*does not have many workers"):
            warnings.filterwarnings("ignore", harmless)
        warnings.filterwarnings("ignore", "`isinstance.treespec, LeafSpec.` is deprecated")
        trainer.fit(stage, ckpt_path=last if last.exists() else None, weights_only=False)
    path = run / f"{recipe.name}.safetensors"
    provenance = json.loads((run / "run.json").read_text())
    save_model(stage.network, path, name=recipe.name, provenance=provenance)
    return path


def keep_memory() -> None:
    """Tell glibc, where there is one, to keep freed memory: see benchmarks/training_step.py."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD):
            mallopt(option, 2**30)


def _claim(run: Path, recipe: Recipe, bank: Bank, commit: str) -> None:
    """Write what the run is made of; refuse a folder that holds a run of another recipe."""
    run.mkdir(parents=True, exist_ok=True)
    resolved = run / "recipe.json"
    text = recipe.model_dump_json(indent=1)
    if resolved.exists() and resolved.read_text() != text:
        raise CorpusError(f"{run} holds a run of another recipe; choose another folder")
    resolved.write_text(text)
    facts = {
        "recipe": recipe.model_dump(mode="json"),
        "commit": commit,
        "versions": {
            "stemwise": __version__,
            "torch": torch.__version__,
            "lightning": lightning.__version__,
            "python": platform.python_version(),
        },
        "pieces": len(bank.pieces),
        "command": sys.argv[1:],
    }
    (run / "run.json").write_text(json.dumps(facts, indent=1))
