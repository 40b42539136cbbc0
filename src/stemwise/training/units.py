"""The units of a run and their keys: a stage, of one part where each part has its own networks."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from stemwise.corpora.bank import Bank
from stemwise.models.checkpoint import load_model
from stemwise.recipe import DirectRecipe, Recipe

__all__ = ["Unit", "earlier_units", "keys_of", "shape_of", "units_of"]

PART_STAGES = ("clean", "separation", "features", "finetuning")
MASK_STAGES = ("masked", "lengthened")


@dataclass(frozen=True)
class Unit:
    """One thing to fit.

    Attributes:
        stage: as in the recipe.
        part: the part whose networks move; None for all parts at once.
    """

    stage: str
    part: str | None = None

    @property
    def folder(self) -> str:
        """Where it lies in the run, ``stage/part``."""
        return self.stage if self.part is None else f"{self.stage}/{self.part}"


def units_of(recipe: Recipe) -> list[Unit]:
    """Return the units of a recipe in their order."""
    units = []
    for stage in recipe.stages:
        parts = shape_of(recipe, stage).parts if stage in PART_STAGES else (None,)
        units += [Unit(stage, part) for part in parts]
    return units


def shape_of(recipe: Recipe, stage: str) -> Any:
    """Return the shape of the network that a stage trains."""
    if stage == "clean" and isinstance(recipe, DirectRecipe):
        return recipe.teacher
    if stage in MASK_STAGES and not getattr(recipe, stage).presence_head:
        return recipe.model.model_copy(update={"presence": "share"})
    return recipe.model


def earlier_units(recipe: Recipe, unit: Unit) -> list[Unit]:
    """Return the units whose weights a unit begins with or learns from."""
    place = recipe.stages.index(unit.stage)
    if place == 0:
        return []
    before = recipe.stages[place - 1]
    return [
        earlier
        for earlier in units_of(recipe)
        if earlier.stage == before and (unit.part is None or earlier.part == unit.part)
    ]


def keys_of(recipe: Recipe, bank: Bank) -> dict[Unit, str]:
    """Return the key of every unit: a hash of all that its weights depend on."""
    corpus = json.dumps([bank.sample_rate_hz, [asdict(piece) for piece in bank.pieces]])
    keys: dict[Unit, str] = {}
    for unit in units_of(recipe):
        shape = shape_of(recipe, unit.stage).model_dump(mode="json")
        shape.pop("parts", None)
        if unit.stage in MASK_STAGES:
            shape.pop("presence")  # always one: masks from before there was a head still count
        facts = {
            "unit": asdict(unit),
            "network": "stems" if unit.stage == "clean" else recipe.method,
            "shape": shape,
            "settings": getattr(recipe, unit.stage).model_dump(mode="json"),
            "segments": recipe.segments.model_dump(mode="json"),
            "precision": recipe.precision,
            "seed": recipe.seed,
            "before": [keys[earlier] for earlier in earlier_units(recipe, unit)],
            "corpus": corpus,
        }
        if begun := getattr(getattr(recipe, unit.stage), "begin_with", ""):
            facts["begun"] = load_model(begun).fingerprint
        if unit.stage == "pretraining":
            facts["network"] = "direct"  # the same for Direct-Reconst, whose decoders come later
        text = json.dumps(facts, sort_keys=True)
        keys[unit] = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    return keys
