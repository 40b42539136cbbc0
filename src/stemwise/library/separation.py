"""One part of a piece alone, to be listened to.

A model separates windows of its segments' length. They overlap by a second, in which one fades into
the next, so that no seam is heard. Memory is that of one window.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from stemwise.models.checkpoint import Model
from stemwise.parts import index

__all__ = ["separated"]

Wave = NDArray[np.float32]
OVERLAP_SECONDS = 1.0


def separated(blocks: Iterable[Wave], model: Model, part: str, skip: int = 0) -> Iterator[Wave]:
    """Yield the sound of `part` in `blocks` (N,) of a mixture, as many samples as these have.

    Args:
        blocks: mono, at the model's rate.
        model: one that separates.
        part: which part.
        skip: so many samples are left out at the start, and hardly cost anything; the others are
            what they are without that.

    Raises:
        UsageError: there is no such part.
        ModelError: the model does not separate.
    """
    number = index(part)
    size = round(model.segment_seconds * model.sample_rate_hz)
    overlap = min(round(OVERLAP_SECONDS * model.sample_rate_hz), size // 2)
    step = size - overlap
    begin = step * max(0, skip // step - 1)  # one window early, as it fades into the next
    windows = _separated(_without(blocks, begin), model, number, size, overlap)
    yield from _without(windows, skip - begin)


def _separated(
    blocks: Iterable[Wave], model: Model, number: int, size: int, overlap: int
) -> Iterator[Wave]:
    fade = np.linspace(0, 1, overlap, dtype=np.float32)
    held = np.zeros(0, np.float32)
    before: Wave | None = None  # the end of the last window, which is to fade
    for block in blocks:
        held = np.concatenate([held, block])
        while len(held) > size:
            found = _faded(_part(held[:size], model, number), before, fade)
            yield found[: size - overlap]
            before, held = found[size - overlap :], held[size - overlap :]
    if len(held):
        whole = np.pad(held, (0, size - len(held)))
        yield _faded(_part(whole, model, number), before, fade)[: len(held)]


def _without(blocks: Iterable[Wave], count: int) -> Iterator[Wave]:
    """Yield `blocks` without the first `count` samples."""
    for block in blocks:
        if len(block) > count:
            yield block[count:]
        count = max(0, count - len(block))


def _faded(window: Wave, before: Wave | None, fade: Wave) -> Wave:
    """Return `window`, into which the end of the one before fades."""
    if before is None:
        return window
    start = before * (1 - fade) + window[: len(fade)] * fade
    return np.concatenate([start, window[len(fade) :]])


@torch.inference_mode()
def _part(window: Wave, model: Model, number: int) -> Wave:
    device = next(model.parameters()).device
    mixture = torch.tensor(window, device=device)[None]
    found: Wave = model.separate(mixture)[0, number].cpu().numpy()
    return found
