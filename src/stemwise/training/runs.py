"""A run: the stages of a recipe in their order, each going on where an earlier sitting stopped.

A run folder holds the resolved recipe (``recipe.json``), where it was made (``run.json``), a folder
per stage (and part) with metrics, the checkpoint to resume from and ``weights.safetensors`` when
the stage is through, and in the end ``<name>.safetensors``.

A stage is known by its key, a hash of all that it depends on: the network, the settings, the
corpus, the seed, and the keys of the stages before it. A stage with the same key that a run beside
this one has finished is taken over: Direct and Direct-Reconst share their pre-training, and both
share the Clean networks with Clean itself.
"""

import json
import platform
import sys
from collections.abc import Callable
from pathlib import Path

import lightning
import torch

from stemwise import __version__
from stemwise.corpora.bank import Bank
from stemwise.errors import CorpusError, RecipeError
from stemwise.memory import keep_memory
from stemwise.models.checkpoint import Network, load_model, read_provenance, save_model
from stemwise.recipe import Recipe
from stemwise.training.assembly import network_of
from stemwise.training.batches import Gatherer
from stemwise.training.cost import Cost
from stemwise.training.fitting import fit
from stemwise.training.setting import Setting
from stemwise.training.units import Unit, keys_of, units_of

__all__ = ["train"]

Announce = Callable[[str], None]


def train(
    recipe: Recipe, bank: Bank, run: Path, *, commit: str = "unknown", progress: bool = True,
    device: str = "auto", gatherer: Gatherer | None = None, workers: int = 0,
    resume: bool = False, announce: Announce = lambda line: None,
) -> Path:  # fmt: skip
    """Train by `recipe` in the folder `run`, going on where an earlier run of it stopped.

    Args:
        recipe: what to train.
        bank: stems at the recipe's rate.
        run: the run's folder; stages finished in the folders beside it are taken over.
        commit: of the code, for the record.
        progress: show bars.
        device: "auto", "cpu" or "cuda".
        gatherer: where training reads its sound, if not from `bank` itself (a bank on a device).
        workers: processes that prepare batches beside this one.
        resume: refuse to begin anew.
        announce: told in a line which stage begins, or is taken over.

    Returns:
        The path of the trained model, ``run/<name>.safetensors``.

    Raises:
        CorpusError: the bank's rate is not the recipe's, it holds too few songs, or the run is of
            another recipe.
    """
    rate_hz = recipe.model.sample_rate_hz
    if bank.sample_rate_hz != rate_hz:
        raise CorpusError(
            f"the bank is at {bank.sample_rate_hz} Hz, but the recipe wants {rate_hz} Hz; prepare "
            "one at that rate"
        )
    setting = Setting(bank, gatherer or bank, device, workers, progress)
    _claim(run, recipe, bank, commit, resume, setting.rank)
    keep_memory()
    keys = keys_of(recipe, bank)
    units = units_of(recipe)
    weights: dict[Unit, Path] = {}
    for number, unit in enumerate(units, start=1):
        told = f"stage {number} of {len(units)}, {unit.folder}"
        found = _finished(unit, keys[unit], run)
        if setting.rank == 0:
            announce(f"{told}: {'training' if found is None else f'finished in {found.parent}'}")
        if found is None:
            _begin(run / unit.folder, keys[unit], setting.rank)
            network, cost = fit(recipe, unit, weights, setting, run / unit.folder)
            setting.wait()  # until all have read the best checkpoint, which goes now
            if setting.rank == 0:
                _keep(network, cost, unit, keys[unit], run)
            setting.wait()
        weights[unit] = found or run / unit.folder / "weights.safetensors"
    path = run / f"{recipe.name}.safetensors"
    if setting.rank == 0:
        provenance = json.loads((run / "run.json").read_text())
        provenance["costs"] = {
            unit.folder: read_provenance(weights[unit]).get("cost") for unit in units
        }
        save_model(_assembled(recipe, units, weights), path, name=recipe.name,
                   provenance=provenance)  # fmt: skip
    return path


def _assembled(recipe: Recipe, units: list[Unit], weights: dict[Unit, Path]) -> Network:
    """Return the recipe's network with the weights of its last stage, all parts together."""
    network = network_of(recipe)
    state: dict[str, torch.Tensor] = {}
    for unit in units:
        if unit.stage == recipe.stages[-1]:
            state |= load_model(weights[unit]).network.state_dict()
    network.load_state_dict(state)
    return network


def _keep(network: Network, cost: Cost, unit: Unit, key: str, run: Path) -> None:
    """Write a finished stage's weights in full precision, then drop what resuming needed."""
    folder = run / unit.folder
    provenance = json.loads((run / "run.json").read_text())
    provenance |= {"stage": unit.folder, "key": key, "cost": cost.state_dict()}
    save_model(network, folder / "weights.safetensors", name=unit.folder, provenance=provenance,
               half=False)  # fmt: skip
    for name in ("last.ckpt", "best.ckpt"):
        (folder / name).unlink(missing_ok=True)


def _begin(folder: Path, key: str, rank: int) -> None:
    """Note whose stage the folder holds; refuse one that was stopped under another key."""
    note = folder / "key"
    if note.exists() and note.read_text() != key:
        raise CorpusError(
            f"{folder} holds a stage that was stopped with another corpus or other earlier stages; "
            "choose another run folder, or delete that one"
        )
    folder.mkdir(parents=True, exist_ok=True)
    if rank == 0:
        note.write_text(key)


def _finished(unit: Unit, key: str, run: Path) -> Path | None:
    """Return the weights of a stage that this run, or one beside it, has finished."""
    for home in (run, *sorted(p for p in run.absolute().parent.iterdir() if p.is_dir())):
        path = home / unit.folder / "weights.safetensors"
        if path.is_file() and read_provenance(path).get("key") == key:
            return path
    return None


def _claim(run: Path, recipe: Recipe, bank: Bank, commit: str, resume: bool, rank: int) -> None:
    """Write what the run is made of; refuse a folder that holds a run of another recipe."""
    resolved = run / "recipe.json"
    if resume and not resolved.exists():
        raise RecipeError(f"{run} holds no run to resume; start it without --resume")
    text = recipe.model_dump_json(indent=1)
    if resolved.exists() and resolved.read_text() != text:
        raise CorpusError(f"{run} holds a run of another recipe; choose another folder")
    run.mkdir(parents=True, exist_ok=True)
    if rank:
        return
    facts = {
        "recipe": recipe.model_dump(mode="json"),
        "commit": commit,
        "versions": {
            "stemwise": __version__,
            "torch": torch.__version__,
            "lightning": lightning.__version__,
            "python": platform.python_version(),
        },
        "corpus": str(bank.directory.parent),
        "pieces": len(bank.pieces),
        "command": sys.argv[1:],
    }
    for path, content in ((run / "run.json", json.dumps(facts, indent=1)), (resolved, text)):
        partial = path.with_suffix(".partial")
        partial.write_text(content)
        partial.replace(path)
