"""Recipes: a TOML file from which a training run follows wholly.

Every field has a unit and a sentence; an unknown key is an error that names the nearest spelling.
A recipe may rest on one other by ``base = "other.toml"`` (relative to itself); what it states
itself wins.
"""

import difflib
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stemwise.errors import RecipeError
from stemwise.models.direct import DirectShape

__all__ = ["LossSettings", "Recipe", "SamplingSettings", "TrainingSettings", "load_recipe"]


class Section(BaseModel):
    """A table of a recipe: strict and unchangeable."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SamplingSettings(Section):
    """How batches are drawn."""

    mixtures: int = Field(description="Mixtures per batch; even.", ge=2, multiple_of=2)
    segment_seconds: float = Field(description="Length of a training segment, in seconds.", gt=0)
    hop_seconds: float = Field(description="Step between segments of a piece, in seconds.", gt=0)
    silence_rule: Literal["range", "power"] = Field(
        description="Which rule says that a part sounds: range (A) or power (B)."
    )
    kept_parts: tuple[float, float, float, float, float] = Field(
        description="Weights of keeping 1, 2, 3, 4 or 5 parts of a mixture."
    )
    twins: int = Field(
        default=0, description="Mixtures repeated with one part from elsewhere.", ge=0
    )
    gain_deviation_db: float = Field(
        description="Deviation of the random gain of each stem, in dB.", ge=0
    )


class LossSettings(Section):
    """What is made small, and with which weights."""

    contrastive: float = Field(description="Weight of the contrastive loss, mean of parts.", ge=0)
    temperature: float = Field(description="Temperature of the contrastive loss.", gt=0)
    presence: float = Field(description="Weight of the presence loss.", ge=0)
    separation: float = Field(description="Weight of the auxiliary separation loss.", ge=0)
    separated_mixtures: int = Field(
        description="Mixtures of each batch on which the separation loss is taken.", ge=1
    )
    mask_layer: int = Field(
        description="Encoder layer, counted from 1, from which the masks are read.", ge=1
    )


class TrainingSettings(Section):
    """How the weights move."""

    steps: int = Field(description="Batches in all.", gt=0)
    steps_per_epoch: int = Field(description="Batches between two checkpoints.", gt=0)
    validate_every_epochs: int = Field(description="Epochs between two validations.", gt=0)
    learning_rate: float = Field(description="Peak learning rate of AdamW.", gt=0)
    weight_decay: float = Field(description="Weight decay of AdamW.", ge=0)
    warmup_steps: int = Field(description="Batches of linear warm-up; then a cosine to 0.", ge=0)
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(
        description="Numbers used in the networks."
    )
    seed: int = Field(description="Seed of weights and batches.", ge=0)


class Recipe(Section):
    """One training run."""

    name: str = Field(description="Name of the model that comes out.", min_length=1)
    summary: str = Field(description="What the recipe is for, in a sentence.")
    model: DirectShape
    sampling: SamplingSettings
    loss: LossSettings
    training: TrainingSettings


def load_recipe(path: Path, overrides: Iterable[str] = ()) -> Recipe:
    """Return the recipe in `path`, its base resolved and `overrides` applied.

    Args:
        path: a TOML file.
        overrides: ``table.key=value`` with value in TOML, for example ``training.steps=100``.

    Raises:
        RecipeError: no such file, broken TOML, an unknown key, or a value out of range.
    """
    tree = _read(path)
    if "base" in tree:
        base = _read(path.parent / str(tree.pop("base")))
        if "base" in base:
            raise RecipeError(f"{path}: its base has a base of its own; one level is allowed")
        tree = _merged(base, tree)
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise RecipeError(f"override {override!r} is not of the form table.key=value")
        try:
            parsed = tomllib.loads(f"{key} = {value}")
        except tomllib.TOMLDecodeError:
            parsed = tomllib.loads(f"{key} = {value!r}")
        tree = _merged(tree, parsed)
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        raise RecipeError(f"{path}: {_explained(error)}") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"recipe {path} cannot be read: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"recipe {path} is not TOML: {error}") from error


def _merged(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    both = dict(base)
    for key, value in top.items():
        old = both.get(key)
        nested = isinstance(value, dict) and isinstance(old, dict)
        both[key] = _merged(old, value) if nested else value  # type: ignore[arg-type]
    return both


def _explained(error: ValidationError) -> str:
    """Return the first fault in one line, with the nearest spelling of an unknown key."""
    fault = error.errors()[0]
    where = ".".join(map(str, fault["loc"]))
    if fault["type"] != "extra_forbidden":
        return f"{where}: {fault['msg']} (got {fault['input']!r})"
    table: Any = Recipe
    for name in fault["loc"][:-1]:
        table = table.model_fields[name].annotation
    known = list(table.model_fields)
    close = difflib.get_close_matches(str(fault["loc"][-1]), known, n=1, cutoff=0)
    return f"unknown key {where}; did you mean {close[0]}?"
