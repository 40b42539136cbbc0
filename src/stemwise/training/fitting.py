"""Fit one unit of a run with Lightning's Trainer: batches, callbacks, checkpoints.

Every epoch leaves ``last.ckpt``, from which a killed run goes on to the same weights, and, where a
validation chooses, ``best.ckpt``, whose weights are the unit's.
"""

import logging
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy

from stemwise.errors import CorpusError, ModelError
from stemwise.models.checkpoint import Network
from stemwise.recipe import BatchSettings, CascadeRecipe, CleanRecipe, HeadsSettings, Recipe
from stemwise.training.assembly import as_used, begun_network, source_of, stage_of
from stemwise.training.cost import Cost
from stemwise.training.heads import fit_heads
from stemwise.training.precision import is_quick_in_bfloat16
from stemwise.training.setting import Setting
from stemwise.training.stages import Stage
from stemwise.training.units import Unit
from stemwise.training.validation import MesValidation

__all__ = ["fit"]

OUR_SETTINGS = (BatchSettings, HeadsSettings)  # for one process
HARMLESS = (
    "Checkpoint directory .* is not empty",
    ".*does not have many workers",
    "`isinstance.treespec, LeafSpec.` is deprecated",
    r"Found \d+ module\(s\) in eval mode",  # frozen separators
    ".*barrier.. is using the device under current context",
)


def fit(
    recipe: Recipe, unit: Unit, weights: dict[Unit, Path], setting: Setting, folder: Path
) -> tuple[Network, Cost]:
    """Train one unit in `folder`; return its network with the weights chosen, and the cost.

    Args:
        recipe: of the run.
        unit: what to train.
        weights: of the units before it.
        setting: where to train.
        folder: of the unit; what a stopped fit left there is gone on with.
    """
    settings = getattr(recipe, unit.stage)
    items = getattr(settings, "batch", setting.world)
    if items % setting.world or (setting.world > 1 and isinstance(settings, OUR_SETTINGS)):
        raise CorpusError(
            f"a batch of the stage {unit.stage} cannot be shared out among {setting.world} "
            "processes; use a number of processes that divides the batch (1 for our own stages)"
        )
    lightning.seed_everything(recipe.seed, verbose=False)
    cost = Cost()  # from here: what a stage prepares counts
    if isinstance(settings, HeadsSettings):
        heard, _ = begun_network(recipe, unit, weights)
        source = source_of(recipe, setting, "train", as_used(recipe, settings.hop_seconds))
        heard.to(setting.place)
        fit_heads(heard, source, settings, recipe.seed, show=setting.progress)
        cost.on_train_epoch_end(None, None)
        return heard, cost
    stage = stage_of(recipe, unit, weights, setting, folder)
    _check_disk(stage, folder)
    stage.workers = setting.workers
    callbacks: list[Callback] = [MesValidation(setting.bank, settings.mes_every_epochs)]
    keeper = ModelCheckpoint(
        folder, "last", enable_version_counter=False, save_on_train_epoch_end=True
    )
    best: ModelCheckpoint | None = None
    if not isinstance(settings, BatchSettings):
        monitor, mode = {"loss": ("valid/loss", "min"), "mes_pseudo": ("valid/mes_pseudo", "max")}[
            settings.monitor
        ]
        best = ModelCheckpoint(
            folder, "best", monitor, mode=mode, save_weights_only=True,
            enable_version_counter=False, save_on_train_epoch_end=True,
        )  # fmt: skip
        callbacks += [best, EarlyStopping(
            monitor, mode=mode, patience=settings.patience_epochs, check_on_train_epoch_end=True
        )]  # fmt: skip
    trainer = _trainer(recipe, settings, setting, folder, [*callbacks, cost, keeper])
    last = folder / "last.ckpt"
    with warnings.catch_warnings():
        for harmless in HARMLESS:
            warnings.filterwarnings("ignore", harmless)
        try:
            if not _stopped(last):
                trainer.fit(stage, ckpt_path=last if last.exists() else None, weights_only=False)
        except torch.OutOfMemoryError as error:
            raise ModelError(
                f"the device's memory does not hold a step of {unit.folder}: "
                f"{str(error).splitlines()[0]} Lower it with --set {unit.stage}.batch=…"
            ) from error
    if best is not None:
        kept = torch.load(folder / "best.ckpt", map_location="cpu", weights_only=False)
        stage.load_state_dict(kept["state_dict"])
    network: Any = stage.network
    return network, cost


def _stopped(last: Path) -> bool:
    """Tell whether patience had ended the fit that left the checkpoint `last`."""
    if not last.exists():
        return False
    callbacks = torch.load(last, map_location="cpu", weights_only=False)["callbacks"]
    return any(state.get("stopped_epoch", 0) > 0 for state in callbacks.values())


def _trainer(
    recipe: Recipe, settings: Any, setting: Setting, folder: Path, callbacks: list[Callback]
) -> lightning.Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # tips and device notes
    if setting.progress:
        callbacks.append(TQDMProgressBar(refresh_rate=50))
    precision: Any = recipe.precision
    if precision == "16-mixed" and not setting.cuda:
        precision = "bf16-mixed"  # a CPU has no fast half precision
    if precision == "bf16-mixed" and not is_quick_in_bfloat16(setting.place):
        precision = "32-true"
    contrastive = isinstance(settings, BatchSettings)
    strategy: Any = "auto"
    if setting.world > 1:
        backend = "nccl" if setting.cuda else "gloo"
        some_rest = not isinstance(recipe, CascadeRecipe | CleanRecipe)  # decoders, presence
        strategy = DDPStrategy(process_group_backend=backend, find_unused_parameters=some_rest)
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return lightning.Trainer(
        accelerator="gpu" if setting.cuda else "cpu",
        devices=local,
        num_nodes=setting.world // local,
        strategy=strategy,
        use_distributed_sampler=False,
        max_epochs=settings.epochs,
        precision=precision,
        gradient_clip_val=1.0 if contrastive else None,
        callbacks=callbacks,
        logger=[
            CSVLogger(folder, name="metrics", flush_logs_every_n_steps=50),
            TensorBoardLogger(folder, name="tensorboard"),
        ],
        log_every_n_steps=min(50, settings.steps_per_epoch),
        num_sanity_val_steps=0,
        limit_val_batches=0 if contrastive else 1.0,
        reload_dataloaders_every_n_epochs=1,
        enable_progress_bar=setting.progress,
        enable_model_summary=False,
        benchmark=setting.cuda and recipe.method != "direct-reconst",  # its shapes change
    )


def _check_disk(stage: Stage, folder: Path) -> None:
    """Refuse to begin where the checkpoints will not fit: weights, two of Adam's, and the best."""
    numbers = sum(p.numel() for p in stage.parameters())
    wanted = 6 * 4 * numbers  # the last with its successor while that is written, and the best
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise CorpusError(
            f"the checkpoints of {folder} need {wanted / 1e6:.0f} MB, but the disk has "
            f"{free / 1e6:.0f} MB left; free some or choose another --run"
        )
