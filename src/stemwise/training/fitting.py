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
from stemwise.models.cascade import Clean
from stemwise.models.checkpoint import METHODS, Network, load_model
from stemwise.models.direct import Direct
from stemwise.parts import PARTS
from stemwise.recipe import BatchSettings, CascadeRecipe, CleanRecipe, Recipe, SegmentSettings
from stemwise.training.batches import (
    ContrastiveBatches,
    PresenceBatches,
    Source,
    SubsetBatches,
    TripletBatches,
)  # fmt: skip
from stemwise.training.contrast import ContrastiveStage
from stemwise.training.cost import Cost
from stemwise.training.masked import MaskedStage, PresenceStage
from stemwise.training.setting import Setting
from stemwise.training.stages import DirectStage, PartStage, PretrainingStage, Stage
from stemwise.training.teacher import pretraining_aims
from stemwise.training.units import Unit, earlier_units, shape_of
from stemwise.training.validation import MesValidation

__all__ = ["fit", "network_of"]

OURS = {"contrastive": ContrastiveStage, "masked": MaskedStage, "presence": PresenceStage}
HARMLESS = (
    "Checkpoint directory .* is not empty",
    ".*does not have many workers",
    "`isinstance.treespec, LeafSpec.` is deprecated",
    r"Found \d+ module\(s\) in eval mode",  # frozen separators
    ".*barrier.. is using the device under current context",
)


def network_of(recipe: Recipe, unit: Unit | None = None) -> Network:
    """Return the untrained network of a recipe, or of one of its units."""
    if unit is None:
        build, _ = METHODS[recipe.method]
        return build(recipe.model)
    shape = shape_of(recipe, unit.stage)
    if unit.part is not None:
        shape = shape.model_copy(update={"parts": (unit.part,)})
        return METHODS["clean" if unit.stage == "clean" else "cascade"][0](shape)
    if unit.stage == "pretraining":
        return Direct(shape)
    return METHODS[recipe.method][0](shape)


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
    if items % setting.world or (setting.world > 1 and isinstance(settings, BatchSettings)):
        raise CorpusError(
            f"a batch of the stage {unit.stage} cannot be shared out among {setting.world} "
            "processes; use a number of processes that divides the batch (1 for our own stages)"
        )
    lightning.seed_everything(recipe.seed, verbose=False)
    cost = Cost()  # from here: what a stage prepares counts
    stage = _stage(recipe, unit, weights, setting, folder)
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


def _stage(
    recipe: Recipe, unit: Unit, weights: dict[Unit, Path], setting: Setting, folder: Path
) -> Stage:
    """Return the unit's stage, begun from the weights before it, with its batches."""
    settings = getattr(recipe, unit.stage)
    network: Any = network_of(recipe, unit)
    before = {u: load_model(weights[u]).network for u in earlier_units(recipe, unit)}
    if unit.stage in ("features", "finetuning", "triplets", "presence"):
        for earlier in before.values():
            _take_weights(network, earlier)
    network = setting.synchronised(network)
    stage: Stage
    if unit.part is not None:
        stage = PartStage(network, settings, unit.part, recipe.seed, moving=unit.stage)
    elif unit.stage == "triplets":
        stage = DirectStage(network, settings, recipe.seed)
    elif unit.stage == "pretraining":
        stage = PretrainingStage(network, settings.learning_rate, recipe.seed)
    else:
        network.to(memory_format=torch.channels_last)
        stage = OURS[unit.stage](network, settings, recipe.seed)
    cut = recipe.segments
    if unit.stage == "presence":
        as_used = {"seconds": recipe.model.segment_seconds, "hop_seconds": settings.hop_seconds}
        cut = cut.model_copy(update=as_used)
    sources = {split: _source(recipe, setting, split, cut) for split in ("train", "valid")}
    if isinstance(settings, BatchSettings):
        stage.batches = lambda _, epoch: ContrastiveBatches(sources["train"], settings, epoch)
    elif unit.stage == "pretraining":
        clean = [network for network in before.values() if isinstance(network, Clean)]
        aims = pretraining_aims(
            clean, settings, sources, folder, setting.place, show=setting.progress
        )
        counts = {"train": settings.items_per_epoch, "valid": settings.valid_items}
        stage.batches = lambda split, epoch: SubsetBatches(
            sources[split], settings, epoch=epoch, items=counts[split], aims=aims[split]
        )
    elif unit.stage == "presence":
        counts = {"train": settings.items_per_epoch, "valid": settings.valid_items}
        stage.batches = lambda split, epoch: PresenceBatches(
            sources[split], settings, epoch=epoch, items=counts[split]
        )
    else:
        counts = {"train": settings.triplets_per_epoch, "valid": settings.valid_triplets}
        part = None if unit.part is None else PARTS.index(unit.part)
        stage.batches = lambda split, epoch: TripletBatches(
            sources[split], settings, epoch=epoch, items=counts[split], part=part,
            alone=unit.stage == "clean", stems=settings.separation > 0,
        )  # fmt: skip
    return stage


def _take_weights(network: torch.nn.Module, earlier: torch.nn.Module) -> None:
    """Copy the weights that both have; those of new networks (decoders, extractors) stay fresh."""
    own = network.state_dict()
    network.load_state_dict(own | {k: v for k, v in earlier.state_dict().items() if k in own})


def _source(recipe: Recipe, setting: Setting, split: str, cut: SegmentSettings) -> Source:
    segments = setting.bank.segments(split, cut.seconds, cut.hop_seconds, cut.silence_rule)
    return setting.source(segments, split, recipe.seed)


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
