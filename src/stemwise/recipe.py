"""Recipes: a TOML file from which a training run follows wholly.

A recipe names its method, the network's shape, the stages in their order and the settings of each.
Every field has a unit and a sentence; an unknown key is an error that names the nearest spelling.
A recipe may rest on one other by ``base = "other.toml"`` (relative to itself); what it states
itself wins.

References: section IV-C of the paper; what it leaves out follows the authors' published code, and
what neither tells is listed in docs/method.md.
"""

import difflib
import json
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from stemwise.errors import RecipeError
from stemwise.models.cascade import CascadeShape, CleanShape
from stemwise.models.direct import DirectReconst, DirectShape
from stemwise.models.direct_mask import DirectMaskShape
from stemwise.stage_settings import (
    BatchSettings,
    ContrastiveSettings,
    HeadsSettings,
    LengthenedSettings,
    MaskedSettings,
    PresenceSettings,
    PretrainingSettings,
    Section,
    SegmentSettings,
    StageSettings,
    TimbreSettings,
    TripletSettings,
)

__all__ = [
    "BatchSettings", "CascadeRecipe", "CleanRecipe", "ContrastiveSettings", "DirectMaskRecipe",
    "DirectRecipe", "HeadsSettings", "LengthenedSettings", "MaskedSettings", "PresenceSettings",
    "PretrainingSettings", "Recipe", "SegmentSettings", "StageSettings", "TimbreSettings",
    "TripletSettings", "load_recipe",
]  # fmt: skip


class Recipe(Section):
    """One training run; the methods' own recipes say which stages there are."""

    name: str = Field(description="Name of the model that comes out.", min_length=1)
    summary: str = Field(description="What the recipe is for, in a sentence.")
    method: str = Field(description="clean, cascade, direct, direct-reconst or direct-mask.")
    model: Any
    stages: tuple[str, ...] = Field(description="The stages in their order.", min_length=1)
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(
        description="Numbers used in the networks; 16-mixed becomes bf16-mixed on a CPU, and both "
        "become 32-true without AVX-512."
    )
    seed: int = Field(description="Seed of weights and batches.", ge=0)
    segments: SegmentSettings

    @model_validator(mode="after")
    def _stages_are_told(self) -> Self:
        for stage in self.stages:
            if getattr(self, stage, None) is None or not isinstance(getattr(self, stage), Section):
                raise ValueError(f"stage {stage!r} has no table [{stage}]")
            if isinstance(told := getattr(self, stage), TripletSettings) and told.plan == "listed":
                if stage != "triplets":
                    raise ValueError(f"{stage}: plan = listed is for Direct's triplets alone")
                if told.triplets_per_epoch % 2:
                    raise ValueError(f"{stage}: the length of a fixed list must be even")
        return self


class CleanRecipe(Recipe):
    """Extractors on clean stems, one run per part."""

    method: Literal["clean"]
    model: CleanShape
    clean: TripletSettings

    @model_validator(mode="after")
    def _alone(self) -> Self:
        if self.stages != ("clean",):
            raise ValueError("Clean has one stage: clean")
        if self.clean.separation:
            raise ValueError("Clean has nothing to separate: clean.separation = 0")
        return self


class CascadeRecipe(Recipe):
    """Separators, extractors on frozen separators, and both together; one run per part each."""

    method: Literal["cascade"]
    model: CascadeShape
    separation: TripletSettings
    features: TripletSettings
    finetuning: TripletSettings | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        order = ("separation", "features", "finetuning")
        if self.stages != order[: len(self.stages)] or len(self.stages) < 2:
            raise ValueError(f"Cascade's stages are {', '.join(order)}; the last may be left out")
        return self


class DirectRecipe(Recipe):
    """One encoder for all parts: pre-training on Clean vectors, then triplets; or contrast."""

    method: Literal["direct", "direct-reconst"]
    model: DirectShape
    teacher: CleanShape | None = None
    clean: TripletSettings | None = None
    pretraining: PretrainingSettings | None = None
    triplets: TripletSettings | None = None
    contrastive: ContrastiveSettings | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        paths = (("clean", "pretraining", "triplets"), ("triplets",), ("contrastive",))
        if self.stages not in paths:
            known = "; ".join(", ".join(path) for path in paths)
            raise ValueError(f"Direct's stages are one of: {known}")
        if "pretraining" in self.stages:
            if self.teacher is None:
                raise ValueError("pretraining needs the Clean networks' shape, [teacher]")
            if self.teacher.sample_rate_hz != self.model.sample_rate_hz:
                raise ValueError("teacher and model must have one sample rate")
        separates = bool(self.triplets and self.triplets.separation)
        if separates != (self.method == "direct-reconst"):
            raise ValueError("triplets.separation above 0 goes with method direct-reconst")
        if self.method == "direct-reconst":
            DirectReconst.check(self.model)
        if self.contrastive and (self.model.presence != "linear" or not self.model.n_mels):
            raise ValueError("the contrastive stage needs presence = linear and n_mels above 0")
        return self


class DirectMaskRecipe(Recipe):
    """Ours: one U-Net shares the mixture out, and an extractor per part reads its share."""

    method: Literal["direct-mask"]
    model: DirectMaskShape
    masked: MaskedSettings
    lengthened: LengthenedSettings | None = None
    presence: PresenceSettings | None = None
    heads: HeadsSettings | None = None

    @model_validator(mode="before")
    @classmethod
    def _lengthened_as_masked(cls, tree: Any) -> Any:
        tables = [tree.get(stage) for stage in ("masked", "lengthened")]
        if not all(isinstance(table, dict) for table in tables):
            return tree
        masked = {key: value for key, value in tables[0].items() if key != "begin_with"}
        return tree | {"lengthened": masked | {"separation_only_steps": 0} | tables[1]}

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        wanted = ("masked", "presence") if self.model.presence == "linear" else ("masked",)
        told = tuple(stage for stage in self.stages if stage != "lengthened")
        in_place = "lengthened" not in self.stages[:1] + self.stages[2:]
        if told not in (wanted, (*wanted, "heads")) or not in_place:
            kind, known = self.model.presence, ", ".join(wanted)
            raise ValueError(
                f"with model.presence = {kind} the stages are: {known}; lengthened may follow "
                "masked, and heads may be the last"
            )
        return self


_KINDS: dict[str, type[Recipe]] = {
    "clean": CleanRecipe,
    "cascade": CascadeRecipe,
    "direct": DirectRecipe,
    "direct-reconst": DirectRecipe,
    "direct-mask": DirectMaskRecipe,
}


def load_recipe(path: Path, overrides: Iterable[str] = ()) -> Any:
    """Return the recipe in `path`, its base resolved and `overrides` applied.

    Args:
        path: a TOML file.
        overrides: ``table.key=value`` with value in TOML, for example ``triplets.margin=0.3``.

    Returns:
        A `CleanRecipe`, `CascadeRecipe`, `DirectRecipe` or `DirectMaskRecipe`.

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
            parsed = _of_text(key, value)
        tree = _merged(tree, parsed)
    kind = _KINDS.get(str(tree.get("method")))
    if kind is None:
        raise RecipeError(
            f"{path}: method is {tree.get('method')!r}; choose from {', '.join(_KINDS)}"
        )
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise RecipeError(f"{path}: {_explained(error, kind)}") from error


def _of_text(key: str, value: str) -> dict[str, Any]:
    """Return the table of a value that is a bare word, as the shell leaves it."""
    try:
        return tomllib.loads(f"{key} = {json.dumps(value)}")
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"override {key}={value} is not of the form table.key=value") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"recipe {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"recipe {path} is not TOML: {error}") from error


def _merged(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    both = dict(base)
    for key, value in top.items():
        old = both.get(key)
        nested = isinstance(value, dict) and isinstance(old, dict)
        both[key] = _merged(old, value) if nested else value  # type: ignore[arg-type]
    return both


def _explained(error: ValidationError, kind: type[Recipe]) -> str:
    """Return the first fault in one line, with the nearest spelling of an unknown key."""
    faults = error.errors()  # a misspelt key is missing, too: tell the spelling
    fault = next((told for told in faults if told["type"] == "extra_forbidden"), faults[0])
    where = ".".join(map(str, fault["loc"]))
    if fault["type"] == "value_error":
        message = str(fault["ctx"]["error"])
        return f"{where}: {message}" if where else message
    if fault["type"] == "missing":
        return f"{where} is missing"
    if fault["type"] != "extra_forbidden":
        return f"{where}: {fault['msg']} (got {fault['input']!r})"
    table: Any = kind
    for name in fault["loc"][:-1]:
        annotation = table.model_fields[name].annotation
        options = getattr(annotation, "__args__", (annotation,))
        table = next(option for option in options if hasattr(option, "model_fields"))
    known = list(table.model_fields)
    close = difflib.get_close_matches(str(fault["loc"][-1]), known, n=1, cutoff=0)
    return f"unknown key {where}; did you mean {close[0]}?"
