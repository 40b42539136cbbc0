"""How long a training step of the compact recipe takes, with and without glibc keeping memory.

    python benchmarks/training_step.py

Runs itself twice, in turn, on made noise; prints milliseconds per step and their ratio.
"""

import subprocess
import sys
import time
from pathlib import Path

import torch

from stemwise import losses
from stemwise.memory import keep_memory
from stemwise.models.direct import Direct
from stemwise.recipe import load_recipe

RECIPE = Path(__file__).parents[1] / "recipes" / "compact" / "contrast.toml"
STEPS = 15


def milliseconds_per_step():
    recipe = load_recipe(RECIPE)
    network = Direct(recipe.model)
    network.to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters())
    count = recipe.contrastive.mixtures
    mixture = torch.randn(count, round(recipe.segments.seconds * recipe.model.sample_rate_hz))
    labels = torch.arange(count // 2).repeat(2)[:, None].expand(count, 5)
    for step in range(STEPS + 3):
        if step == 3:
            start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16):
            embedding, _ = network(mixture)
            loss = losses.contrastive(embedding.float(), labels, temperature=0.1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return (time.perf_counter() - start) / STEPS * 1000


def main():
    if len(sys.argv) > 1:
        if sys.argv[1] == "kept":
            keep_memory()
        print(milliseconds_per_step())
        return
    taken = {}
    for how in ("default", "kept"):
        done = subprocess.run(
            [sys.executable, __file__, how], capture_output=True, text=True, check=True
        )
        taken[how] = float(done.stdout)
    print(f"training step, compact recipe, without reading: {taken['default']:.0f} ms by default, "
          f"{taken['kept']:.0f} ms with memory kept, {taken['default'] / taken['kept']:.1f} times as fast")  # fmt: skip  # noqa: E501


if __name__ == "__main__":
    main()
