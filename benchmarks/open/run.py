"""The open benchmark: the paper's methods and ours on the band corpus, from nothing.

    python benchmarks/open/run.py [--corpus data/band] [--runs runs] [--first-seed] [--only NAME …]

Renders the corpus if it is not there, trains every recipe of ``GRID`` by `stemwise train`, scores
each and the baselines by `stemwise evaluate` on the test songs, copies the reports to ``results``
beside this file and writes the tables to ``results/README.md``. Whatever is finished is not done
again, and what was stopped goes on: run it again at any time. Stages that recipes share are trained
once.

The corpus takes about 25 minutes of two cores, a recipe up to an hour of them (``stemwise`` up to
four), the score of one model some minutes. docs/results.md says what came out; the shipped
models have heard the songbook besides (docs/data.md; ``benchmarks/shipped.py``).
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from stemwise.evaluation import BASELINES
from stemwise.recipe import load_recipe

HERE = Path(__file__).parent
RECIPES = HERE.parents[1] / "recipes"
RESULTS = HERE / "results"
SONGS = {"--train": 460, "--valid": 60, "--test": 136, "--seconds": 80}
RATE_HZ = 22050
GRID = (  # recipe, seeds: in an order in which early ones are worth having without the rest
    ("compact/clean", (0,)),
    ("compact/cascade_ft", (0, 1, 2)),
    ("compact/cascade", (0,)),
    ("compact/direct_da", (0,)),
    ("compact/direct_reconst", (0,)),
    ("compact/contrast", (0,)),
    ("compact/direct_mask", (0,)),
    ("stemwise", (0, 1)),
    ("compact", (0,)),
    ("stemwise_heads", (0,)),
    ("stemwise_adamw", (0, 1, 2)),
    ("compact/cascade_ft_normal", (0,)),
    ("compact/cascade_normal", (0,)),
    ("compact/direct", (0,)),
)


def stemwise(*words):
    """Run the command line and stop if it fails."""
    print("stemwise", *words, flush=True)
    subprocess.run([sys.executable, "-m", "stemwise.cli", *map(str, words)], check=True)


def score(name, candidate, corpus):
    """Evaluate a model unless its report is there; delete that to score anew."""
    kept = RESULTS / f"{name}.json"
    folder = Path("reports") / "open" / name
    if not kept.exists():
        stemwise("evaluate", candidate, "--corpus", corpus, "--output", folder)
        RESULTS.mkdir(exist_ok=True)
        shutil.copy(folder / "report.json", kept)


def train(recipe, seed, corpus, runs):
    """Train one recipe with one seed and return the run's folder."""
    path = RECIPES / f"{recipe}.toml"
    name = load_recipe(path).name
    run = runs / (f"{name}-seed{seed}" if seed else name)
    if not (run / f"{name}.safetensors").exists():
        stemwise("train", path, "--corpus", corpus, "--bank", "memory", "--run", run,
                 "--set", f"seed={seed}")  # fmt: skip
    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, default=Path("data/band"))
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--first-seed", action="store_true", help="leave the further seeds out")
    parser.add_argument("--only", nargs="*", help="these recipes alone")
    given = parser.parse_args()
    if not (given.corpus / f"bank-{RATE_HZ}").exists():
        settings = [word for pair in SONGS.items() for word in pair]
        stemwise("data", "band", given.corpus, *settings)
    for name in BASELINES:
        score(name, name, given.corpus)
    for seed in range(1 if given.first_seed else max(max(seeds) for _, seeds in GRID) + 1):
        for recipe, seeds in GRID:
            if seed in seeds and recipe in (given.only or [recipe]):
                run = train(recipe, seed, given.corpus, given.runs)
                score(run.name, run, given.corpus)
    table = subprocess.run(
        [sys.executable, "-m", "stemwise.cli", "table", *sorted(RESULTS.glob("*.json"))],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    head = "Made by `make benchmark`; see [docs/results.md](../../../docs/results.md).\n\n"
    (RESULTS / "README.md").write_text("# The open benchmark\n\n" + head + table)


if __name__ == "__main__":
    main()
