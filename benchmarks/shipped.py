"""Train a shipped model again, from nothing, in the sittings that made it.

    python benchmarks/shipped.py compact|stemwise [--band data/band] [--joined data/band_songbook]
        [--runs runs] [--share 1.0]

Each sitting is a `stemwise train` of the model's recipe that goes on from the weights of the one
before, rounded to half precision as they were shipped; what is done is not done again, and what was
stopped goes on. The last run, ``runs/NAME-sitting-N``, holds ``NAME.safetensors``. Corpora, commits
and times are in docs/model-card.md; ``--share 0.01`` takes a hundredth of the steps, to see that it
runs.
"""

import argparse
import subprocess
import sys
from pathlib import Path

RECIPES = Path(__file__).parents[1] / "recipes"
ON = {  # of every sitting but the first
    "stages": '["masked", "presence"]', "masked.separation_only_steps": 0, "masked.mixtures": 12,
    "segments.seconds": 8.0, "segments.hop_seconds": 4.0,
}  # fmt: skip
NARROW = {"model.mask_channels": [8, 16, 32, 64, 96]}
STEPS = ("masked.steps", "lengthened.steps", "masked.separation_only_steps")
SITTINGS = {  # model: whether the corpus is the joined one, and what is told beside the recipe
    "stemwise": [
        (False, {"masked.steps": 8000, "masked.separation_only_steps": 2000,
                 "lengthened.steps": 600}),
        (False, {"masked.steps": 5000, "masked.learning_rate": 1e-3,
                 "masked.muon_learning_rate": 1e-2, "masked.warmup_steps": 50}),
        (True, {"masked.steps": 7500, "masked.learning_rate": 7e-4,
                "masked.muon_learning_rate": 7e-3, "masked.warmup_steps": 100}),
    ],
    "compact": [
        (False, {"masked.steps": 14000, "masked.separation_only_steps": 3000,
                 "lengthened.steps": 1000, **NARROW}),
        (False, {"masked.steps": 14000, "masked.learning_rate": 1e-3,
                 "masked.muon_learning_rate": 1e-2, "masked.warmup_steps": 50, **NARROW}),
        (True, {"masked.steps": 4500, "masked.learning_rate": 1e-3,
                "masked.muon_learning_rate": 1e-2, "masked.warmup_steps": 100}),
        (True, {"masked.steps": 7000, "masked.learning_rate": 7e-4,
                "masked.muon_learning_rate": 7e-3, "masked.warmup_steps": 100}),
    ],
}  # fmt: skip


def main():
    """Train the sittings that are not done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=SITTINGS)
    parser.add_argument("--band", type=Path, default=Path("data/band"))
    parser.add_argument("--joined", type=Path, default=Path("data/band_songbook"))
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--share", type=float, default=1.0, help="of the steps, in 0 to 1")
    told = parser.parse_args()
    before = None
    for number, (joined, settings) in enumerate(SITTINGS[told.model], start=1):
        settings = settings if before is None else {**ON, **settings, "masked.begin_with": before}
        run = told.runs / f"{told.model}-sitting-{number}"
        words = ["train", RECIPES / f"{told.model}.toml", "--bank", "disk", "--run", run,
                 "--corpus", told.joined if joined else told.band]  # fmt: skip
        for name, value in settings.items():
            if name in STEPS and value:
                value = max(1, round(told.share * value))
            words += ["--set", f"{name}={value}"]
        before = run / f"{told.model}.safetensors"
        print("stemwise", *words, flush=True)
        subprocess.run([sys.executable, "-m", "stemwise.cli", *map(str, words)], check=True)


if __name__ == "__main__":
    main()
