"""Steps per second of every stage of the recipes, and what reading sound naively would make of it.

    python benchmarks/recipes.py [RECIPE ...] [--paper] [--batch N] [--steps N]
                                 [--device auto|cpu|cuda] [--bank disk|memory|device]
                                 [--files flac|wav]

A corpus of made tones in noise is written and prepared as a bank. Each stage is then trained for a
few steps on real batches, in turn from the bank and "naively", as the authors' code reads: every
stem of every mixture anew from its file with ``librosa.load``. Both give the same batches, which is
checked on the first. A stage of which each part has its own networks is measured for one part; a
stage that equals an earlier row's (Direct-Reconst's pre-training, say) is left out.

See README.md beside this file for how to read the table.
"""

import argparse
import gc
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import librosa
import numpy as np
import soundfile
import torch

from stemwise.corpora.bank import FULL_SCALE, bank_of
from stemwise.corpora.piece import Piece, read_manifest, write_manifest
from stemwise.memory import keep_memory
from stemwise.parts import BLOCK_DIMENSIONS, PARTS
from stemwise.recipe import ContrastiveSettings, load_recipe
from stemwise.training import training_bank
from stemwise.training.assembly import network_of
from stemwise.training.batches import (
    Aims,
    ContrastiveBatches,
    Source,
    SubsetBatches,
    TripletBatches,
)  # fmt: skip
from stemwise.training.contrast import ContrastiveStage
from stemwise.training.setting import Setting
from stemwise.training.stages import DirectStage, PartStage, PretrainingStage
from stemwise.training.units import keys_of, units_of

RECIPES = Path(__file__).parents[1] / "recipes"
NAMES = ("clean", "cascade_ft", "direct_da", "direct_reconst", "contrast")  # steps that differ
SONGS, SECONDS = 12, 12.0  # contrast takes another song for every part: more songs
WARM_UP_STEPS = 1
HEAD = (f"{'recipe':<24} {'stage':<12} {'batch':>5} {'steps/s':>8} {'waiting %':>9} "
        f"{'naive steps/s':>13} {'ratio':>6}")  # fmt: skip


def tone(number, part, rate_hz):
    """Return a tone in noise, (N,); song and part tell its pitch."""
    rng = np.random.default_rng([number, part])
    samples = np.arange(round(SECONDS * rate_hz), dtype=np.float32)
    cycles_per_sample = 100 * 2 ** (part + rng.uniform(0, 0.9)) / rate_hz
    noise = rng.standard_normal(len(samples), np.float32)
    return 0.1 * np.sin(2 * np.pi * cycles_per_sample * samples) + 0.01 * noise


def write_corpus(folder, songs, rate_hz, kind):
    """Write `songs` training songs of five stems each, all of one tempo."""
    folder.mkdir()
    pieces = []
    for number in range(songs):
        stems = {}
        for i, part in enumerate(PARTS):
            path = folder / f"{number:03d}-{part}.{kind}"
            soundfile.write(path, tone(number, i, rate_hz), rate_hz, "PCM_16")
            stems[part] = (path,)
        name = f"made-{number:03d}"
        pieces.append(Piece(name, name, "train", 120.0, SECONDS, "made", "CC0-1.0", stems))
    write_manifest(folder, pieces, {"corpus": "made"})


class Files:
    """Reads as the authors do: each stem of a plan is loaded from its file when it is needed."""

    def __init__(self, corpus, rate_hz):
        self.pieces, self.rate_hz = read_manifest(corpus), rate_hz

    def gather(self, plan):
        """Return the stems of a plan, (B, V, I, N), as `Bank.gather`."""
        stems = np.zeros((*plan.pieces.shape, plan.length_samples), np.float32)
        for place in np.ndindex(plan.pieces.shape):
            if plan.pieces[place] < 0:
                continue
            for path in self.pieces[plan.pieces[place]].stems[PARTS[place[-1]]]:
                wave, _ = librosa.load(
                    path,
                    sr=self.rate_hz,
                    offset=(plan.starts[place] + 0.5) / self.rate_hz,  # librosa rounds down
                    duration=(plan.length_samples + 0.5) / self.rate_hz,
                )
                stems[place] += wave * np.float32(10 ** (plan.gains_db[place] / 20))
        return stems


def stage_of(recipe, unit):
    """Return the untrained stage of a unit, as `stemwise.training` builds it."""
    settings, network = getattr(recipe, unit.stage), network_of(recipe, unit)
    if unit.part is not None:
        return PartStage(network, settings, unit.part, recipe.seed, moving=unit.stage)
    if unit.stage == "triplets":
        return DirectStage(network, settings, recipe.seed)
    if unit.stage == "pretraining":
        return PretrainingStage(network, settings.learning_rate, recipe.seed)
    network.to(memory_format=torch.channels_last)
    return ContrastiveStage(network, settings, recipe.seed)


def batches_of(recipe, unit, source):
    """Return the training batches of a unit, with random aims in place of a teacher's."""
    settings = getattr(recipe, unit.stage)
    if unit.stage == "contrastive":
        return ContrastiveBatches(source, settings, epoch=0)
    if unit.stage == "pretraining":
        rows = np.arange(len(source.segments.rows))
        shape = (len(rows), len(PARTS), BLOCK_DIMENSIONS)
        aims = Aims(rows, np.random.default_rng(0).standard_normal(shape, np.float32))
        return SubsetBatches(source, settings, epoch=0, items=settings.items_per_epoch, aims=aims)
    part = None if unit.part is None else PARTS.index(unit.part)
    return TripletBatches(
        source, settings, epoch=0, items=settings.triplets_per_epoch, part=part,
        alone=unit.stage == "clean", stems=settings.separation > 0,
    )  # fmt: skip


def check_same(batch, naive, settings):
    """Raise if two batches differ by more than the bank's rounding to 16 bits."""
    deviation_db = getattr(settings, "gain_deviation_db", 0.0)
    loudest = 10 ** (2 * deviation_db / 20)  # gains are cut at two deviations
    rounding = 1.01 * loudest * len(PARTS) * 0.5 / FULL_SCALE
    if batch.keys() != naive.keys():
        raise SystemExit(f"the benchmark is void: batches hold {set(batch)} and {set(naive)}")
    for name, values in batch.items():
        error = (values.cpu().double() - naive[name].double()).abs().max().item()
        if not error <= (rounding if name in ("mixture", "stems") else 0):
            raise SystemExit(f"the benchmark is void: {name} of the two sides differs by {error}")


def stepper(stage, recipe, device):
    """Return what does one training step on a batch: forward, backward and update."""
    configured = stage.configure_optimizers()
    contrastive = isinstance(configured, dict)
    optimiser = configured["optimizer"] if contrastive else configured
    number_of = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
    number = number_of[recipe.precision]
    if number is torch.float16 and device.type == "cpu":
        number = torch.bfloat16  # as in training
    scaler = torch.amp.GradScaler(device.type, enabled=number is torch.float16)

    def step(batch):
        with torch.autocast(device.type, number, enabled=number is not None):
            terms = stage.losses(batch)
            total = torch.stack([stage.weights[name] * term for name, term in terms.items()]).sum()
        optimiser.zero_grad()
        scaler.scale(total).backward()
        if contrastive:
            scaler.unscale_(optimiser)
            torch.nn.utils.clip_grad_norm_(stage.parameters(), 1.0)
        scaler.step(optimiser)
        scaler.update()
        if contrastive:
            configured["lr_scheduler"]["scheduler"].step()

    return step


def clock(device):
    """Return the time in seconds at which the device has done all that it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def measure(sides, step, steps, device):
    """Take steps from each side in turn; return (seconds waiting, seconds in all) per side."""
    taken = np.zeros((len(sides), 2))

    def timed_step(batches, index):
        start = clock(device)
        batch = batches[index % len(batches)]
        batch = {name: values.to(device) for name, values in batch.items()}
        loaded = clock(device)
        step(batch)
        return loaded - start, clock(device) - start

    for index in range(WARM_UP_STEPS):
        timed_step(sides[0], index)
    for index in range(WARM_UP_STEPS, WARM_UP_STEPS + steps):
        for side, batches in enumerate(sides):
            taken[side] += timed_step(batches, index)
    return taken


def row_of(recipe, unit, sources, steps, device):
    """Return one line of the table."""
    settings = getattr(recipe, unit.stage)
    torch.manual_seed(recipe.seed)
    stage = stage_of(recipe, unit).to(device)
    sides = [batches_of(recipe, unit, source) for source in sources]
    check_same(*(batches[0] for batches in sides), settings)
    if device.type == "cuda":
        gc.collect()  # the stage before, which would count
        torch.cuda.reset_peak_memory_stats(device)
    taken = measure(sides, stepper(stage, recipe, device), steps, device)
    (waiting, whole), (_, naive_whole) = taken
    size = settings.mixtures if isinstance(settings, ContrastiveSettings) else settings.batch
    row = (f"{recipe.name:<24} {unit.stage:<12} {size:>5} {steps / whole:>8.2f} "
           f"{100 * waiting / whole:>9.1f} {steps / naive_whole:>13.2f} "
           f"{naive_whole / whole:>6.2f}")  # fmt: skip
    if device.type == "cuda":
        row += f" {torch.cuda.max_memory_allocated(device) / 1e9:>6.2f}"
    return row


def rows_of(recipes, rate_hz, corpus, told, device):
    """Yield the rows of recipes of one sample rate; the corpus is made in `corpus`."""
    songs = songs_for(recipes)
    print(f"making {songs} songs at {rate_hz} Hz", file=sys.stderr)
    write_corpus(corpus, songs, rate_hz, told.files)
    bank = bank_of(corpus, rate_hz)
    gatherers = (training_bank(bank, told.bank, told.device), Files(corpus, rate_hz))
    shown = set()
    for recipe in recipes:
        cut = recipe.segments
        segments = bank.segments("train", cut.seconds, cut.hop_seconds, cut.silence_rule)
        sources = [Source(gatherer, segments, recipe.seed) for gatherer in gatherers]
        keys, stages = keys_of(recipe, bank), set()
        for unit in units_of(recipe):
            if unit.stage not in stages and keys[unit] not in shown:
                yield row_of(recipe, unit, sources, told.steps, device)
            stages.add(unit.stage)
            shown.add(keys[unit])


def lowered(path, batch):
    """Return the recipe in `path`, its batches made `batch` where they are larger."""
    recipe = load_recipe(path)
    if batch is None:
        return recipe
    overrides = []
    for stage in recipe.stages:
        settings = getattr(recipe, stage)
        names = ("mixtures", "twins") if isinstance(settings, ContrastiveSettings) else ("batch",)
        overrides += [f"{stage}.{name}={min(batch, getattr(settings, name))}" for name in names]
    return load_recipe(path, overrides)


def songs_for(recipes):
    """Return how many songs the batches of all recipes need."""
    contrasts = [recipe.contrastive for recipe in recipes if "contrastive" in recipe.stages]
    return max([SONGS, *(len(PARTS) * settings.mixtures // 2 for settings in contrasts)])


def host(device):
    """Return what the numbers hold for, in a line."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    elif cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        name = lines[0].partition(": ")[2] if lines else name
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty=+"], cwd=Path(__file__).parent,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        commit = done.stdout.strip() or "unknown"
    except OSError:  # no git here
        commit = "unknown"
    return (f"host: torch {torch.__version__}, {torch.get_num_threads()} threads, "
            f"{device.type}: {name}, commit {commit}")  # fmt: skip


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="*", type=Path, metavar="RECIPE")
    parser.add_argument("--paper", action="store_true", help="the recipes of the paper's size")
    parser.add_argument("--batch", type=int, help="items (contrast: mixtures, even) at most")
    parser.add_argument("--steps", type=int, default=5, help="steps timed of each stage")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--bank", choices=("disk", "memory", "device"), default="disk")
    parser.add_argument("--files", choices=("flac", "wav"), default="flac", help="naive side's")
    told = parser.parse_args()
    if told.steps < 1:
        parser.error("--steps must be at least 1")
    if not told.recipes:
        paths = [RECIPES / ("paper" if told.paper else "compact") / f"{n}.toml" for n in NAMES]
        told.recipes = [path for path in paths if path.exists()]  # contrast: compact only
    return told


def main():
    told = arguments()
    recipes = [lowered(path, told.batch) for path in told.recipes]
    device = Setting(None, None, told.device).place
    keep_memory()
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = device.type == "cuda"
    print(host(device))
    print(f"bank: {told.bank}; naive side: {told.files}; {told.steps} steps of each, taken in turn")
    print(HEAD + ("     GB" if device.type == "cuda" else ""), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for rate_hz in dict.fromkeys(recipe.model.sample_rate_hz for recipe in recipes):
            own = [recipe for recipe in recipes if recipe.model.sample_rate_hz == rate_hz]
            for row in rows_of(own, rate_hz, Path(folder) / str(rate_hz), told, device):
                print(row, flush=True)


if __name__ == "__main__":
    main()
