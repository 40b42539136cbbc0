"""What a unit is fitted with: its network, begun from the weights before it, and its batches."""

from pathlib import Path
from typing import Any

import torch

from stemwise.errors import RecipeError
from stemwise.models.cascade import Clean
from stemwise.models.checkpoint import METHODS, Network, load_model
from stemwise.models.direct import Direct
from stemwise.models.direct_mask import DirectMask
from stemwise.models.widening import can_widen, widen
from stemwise.parts import PARTS
from stemwise.recipe import BatchSettings, Recipe, SegmentSettings
from stemwise.training.batches import (
    ContrastiveBatches,
    PresenceBatches,
    Source,
    SubsetBatches,
    TripletBatches,
)  # fmt: skip
from stemwise.training.contrast import ContrastiveStage
from stemwise.training.masked import MaskedStage, PresenceStage
from stemwise.training.setting import Setting
from stemwise.training.stages import DirectStage, PartStage, PretrainingStage, Stage
from stemwise.training.teacher import pretraining_aims
from stemwise.training.units import Unit, earlier_units, shape_of

__all__ = ["as_used", "begun_network", "network_of", "source_of", "stage_of"]

OURS = {
    "contrastive": ContrastiveStage,
    "masked": MaskedStage,
    "lengthened": MaskedStage,
    "presence": PresenceStage,
}
BEGUN = ("features", "finetuning", "triplets", "lengthened", "presence", "heads")


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


def stage_of(
    recipe: Recipe, unit: Unit, weights: dict[Unit, Path], setting: Setting, folder: Path
) -> Stage:
    """Return the unit's stage, begun from the weights before it, with its batches."""
    settings = getattr(recipe, unit.stage)
    network: Any
    network, before = begun_network(recipe, unit, weights)
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
        cut = as_used(recipe, settings.hop_seconds)
    elif unit.stage == "lengthened":
        told = {"seconds": settings.seconds, "hop_seconds": settings.hop_seconds}
        cut = cut.model_copy(update=told)
    sources = {split: source_of(recipe, setting, split, cut) for split in ("train", "valid")}
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


def begun_network(
    recipe: Recipe, unit: Unit, weights: dict[Unit, Path]
) -> tuple[Any, dict[Unit, Network]]:
    """Return the unit's network, begun from the weights before it, and the networks before it."""
    network: Any = network_of(recipe, unit)
    before = {u: load_model(weights[u]).network for u in earlier_units(recipe, unit)}
    if unit.stage in BEGUN:
        for earlier in before.values():
            _take_weights(network, earlier)
    if begun := getattr(getattr(recipe, unit.stage), "begin_with", ""):
        _begin_with(begun, network)
    return network, before


def _begin_with(name: str, network: Any) -> None:
    """Give `network` the weights of the model `name`, which is of its shape or narrower.

    Raises:
        RecipeError: it is neither.
    """
    found: Any = load_model(name).network
    own, other = (
        {key: value.shape for key, value in one.state_dict().items() if "presence" not in key}
        for one in (network, found)
    )
    if own == other:
        _take_weights(network, found)
    elif isinstance(found, DirectMask) and can_widen(found.shape, network.shape):
        widen(found, network)
    else:
        raise RecipeError(
            f"begin_with: {name} is a network of another shape; begin with one of this recipe's, "
            "or with one that has fewer mask_channels and is the same otherwise"
        )


def as_used(recipe: Recipe, hop_seconds: float) -> SegmentSettings:
    """Return segments as long as those that are embedded in use."""
    told = {"seconds": recipe.model.segment_seconds, "hop_seconds": hop_seconds}
    return recipe.segments.model_copy(update=told)


def _take_weights(network: torch.nn.Module, earlier: torch.nn.Module) -> None:
    """Copy the weights that both have; those of new networks (decoders, extractors) stay fresh."""
    own = network.state_dict()
    network.load_state_dict(own | {k: v for k, v in earlier.state_dict().items() if k in own})


def source_of(recipe: Recipe, setting: Setting, split: str, cut: SegmentSettings) -> Source:
    """Return where the batches of a split come from, its pieces in segments cut as told."""
    segments = setting.bank.segments(split, cut.seconds, cut.hop_seconds, cut.silence_rule)
    return setting.source(segments, split, recipe.seed)
