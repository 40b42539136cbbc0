"""The Clean vectors that Direct's pre-training aims at, computed once and kept.

Reference: section II-B of the paper.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from stemwise.models.cascade import Clean
from stemwise.parts import BLOCK_DIMENSIONS, PARTS
from stemwise.recipe import PretrainingSettings
from stemwise.sampling import Plan, subset_rows
from stemwise.training.batches import Aims, Source, SubsetBatches

__all__ = ["clean_vectors", "pretraining_aims"]

SEGMENTS_AT_A_TIME = 32


def clean_vectors(
    clean: Clean, source: Source, rows: NDArray[np.int64], path: Path, device: torch.device,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Aims:  # fmt: skip
    """Return the Clean vectors of segments, from `path` as far as they are there already.

    Args:
        clean: trained extractors; moved to `device`.
        source: the bank and the segments.
        rows: (S,) segments, counted over all pieces of the source's segments, ascending.
        path: a ``.npy`` file; one that a stopped run left is gone on with.
        device: where to compute.
        progress: called with (segments done, segments in all).
    """
    shape = (len(rows), len(PARTS), BLOCK_DIMENSIONS)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        partial = path.with_suffix(".partial")
        np.lib.format.open_memmap(partial, "w+", np.float32, shape).fill(np.nan)
        partial.replace(path)
    vectors = np.lib.format.open_memmap(path, "r+")
    todo = np.flatnonzero(np.isnan(vectors[:, 0, 0]))
    clean = clean.to(device).eval()
    for first in range(0, len(todo), SEGMENTS_AT_A_TIME):
        chosen = todo[first : first + SEGMENTS_AT_A_TIME]
        stems = torch.as_tensor(source.bank.gather(_plan(source, rows[chosen])))[:, 0]
        with torch.inference_mode():
            vectors[chosen] = clean.embed(stems.to(device)).cpu().numpy()
        progress(len(rows) - len(todo) + first + len(chosen), len(rows))
    vectors.flush()
    return Aims(rows, np.array(vectors))


def pretraining_aims(
    networks: Sequence[Clean], settings: PretrainingSettings, sources: Mapping[str, Source],
    folder: Path, device: torch.device, *, show: bool = False,
) -> dict[str, Aims]:  # fmt: skip
    """Return the aims of pre-training for "train" and "valid".

    Args:
        networks: trained Clean networks, of one part each.
        settings: of the stage; they say which segments take part.
        sources: of both splits.
        folder: of the stage; the vectors are kept there, one file per split and process.
        device: where to compute.
        show: a bar.
    """
    parts = tuple(part for network in networks for part in network.shape.parts)
    clean = Clean(networks[0].shape.model_copy(update={"parts": parts}))
    state: dict[str, torch.Tensor] = {}
    for network in networks:
        state |= network.state_dict()
    clean.load_state_dict(state)
    train, songs = sources["train"], settings.songs or None
    chosen = subset_rows(train.segments, train.seed, songs, settings.segments_per_song)
    checked = SubsetBatches(sources["valid"], settings, epoch=0, items=settings.valid_items)
    rows = {"train": np.sort(chosen), "valid": checked.rows()}
    aims = {}
    for split, source in sources.items():
        path = folder / f"clean-{split}-{source.rank}.npy"
        with tqdm(total=len(rows[split]), desc=f"Clean vectors, {split}", disable=not show) as bar:

            def advance(done: int, _: int, bar: Any = bar) -> None:
                bar.update(done - bar.n)

            aims[split] = clean_vectors(clean, source, rows[split], path, device, advance)
    return aims


def _plan(source: Source, rows: NDArray[np.int64]) -> Plan:
    """Return the plan of whole segments, (B, 1, 5)."""
    segments = source.segments
    shape = (len(rows), 1, len(PARTS))
    return Plan(
        np.broadcast_to(segments.pieces[segments.rows[rows]][:, None, None], shape),
        np.broadcast_to(segments.starts[rows][:, None, None], shape),
        np.zeros(shape),
        segments.length_samples,
    )
