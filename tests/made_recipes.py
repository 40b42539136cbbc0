"""The recipes as they are, but for sizes: small networks, short segments, three steps a stage."""

from pathlib import Path

import torch

from made_corpus import RATE_HZ
from stemwise.recipe import load_recipe

RECIPES = Path(__file__).parents[1] / "recipes"
COMPACT = RECIPES / "compact"
OURS = {
    "contrastive": ("mask_layer=3", "separated_mixtures=2"),
    "masked": ("separation_only_steps=1",),
    "lengthened": ("seconds=1.5", "hop_seconds=0.5"),
}


def small_overrides(path, rate_hz=RATE_HZ, parts=("bass",), epochs=1, batch=2):
    """Return the --set values that make the recipe in `path` small."""
    recipe = load_recipe(path)
    items = 3 * batch + 2 if "listed" in path.read_text() else 3 * batch
    words = ["segments.seconds=1.0", "segments.hop_seconds=0.5", "precision='32-true'"]
    for table in ("model", "teacher"):
        shape = getattr(recipe, table, None)
        if shape is None:
            continue
        words += [f"{table}.sample_rate_hz={rate_hz}", f"{table}.n_fft=256",
                  f"{table}.hop_samples=128", f"{table}.channels=[4, 6, 8, 10]"]  # fmt: skip
        words += [f"{table}.n_mels=32"] if shape.n_mels else []
        words += [f"{table}.parts={list(parts)}"] if hasattr(shape, "parts") else []
    for key in ("separator_channels", "mask_channels"):
        words += [f"model.{key}=[4, 6, 8, 8]"] if hasattr(recipe.model, key) else []
    for stage in recipe.stages:
        if stage in OURS:
            sizes = ("mixtures=4", "steps=3", "steps_per_epoch=3", "warmup_steps=1", *OURS[stage])
            words += [f"{stage}.{key}" for key in sizes]
            words += [f"{stage}.twins=2"] if getattr(recipe, stage).twins else []
            continue
        if stage == "heads":
            sizes = ("draws=2", "mixtures=4", "heard_in=2", "hop_seconds=0.5")
            words += ["model.segment_seconds=2.0", *(f"heads.{key}" for key in sizes)]
            continue
        counts = (f"triplets_per_epoch={items}", f"valid_triplets={batch}")
        if stage in ("pretraining", "presence"):
            counts = (f"items_per_epoch={items}", f"valid_items={batch}")
        if stage == "pretraining":
            counts = (*counts, "segments_per_song=3")
        words += [f"{stage}.{key}" for key in (f"batch={batch}", f"epochs={epochs}", *counts)]
    return words


def small_recipe(path, *words, **sizes):
    """Return the recipe in `path` made small, then changed by `words`."""
    return load_recipe(path, [*small_overrides(path, **sizes), *words])


def learn_by_heart(stage, batch, steps, optimiser=None):
    """Take `steps` on one batch; return the losses by name, before the first and the last."""
    optimiser = optimiser or torch.optim.Adam(stage.parameters(), 3e-3)
    stage.train()
    history = []
    for step in range(steps):
        torch.manual_seed(step)
        terms = stage.losses(batch)
        total = sum(stage.weights[name] * value for name, value in terms.items())
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        history.append({name: value.item() for name, value in terms.items()})
    return history[0], history[-1]
