"""Segments through a model: a few of one file, or those of several files together.

Conventions: waves (N,) or (B, N) of one segment; embeddings (5, 128) with blocks of length 1,
presences (5,) in 0..1.

A **silent segment**, one whose samples span less than 1e-4 from lowest to highest (digital silence,
a constant), gets presence 0 for every part and an embedding of zeros, whatever the model says.

On a CPU sixteen consecutive segments of a file go through the model at once, so that no other file
changes a bit of them (docs/decisions/0002-one-file-one-thread.md). That would leave a GPU idle:
there, what threads ask for while the device works goes through it together next, so that nothing
ever waits for a batch to fill. Neighbours from other files change the last bits.
"""

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from queue import Empty, Queue
from threading import Thread
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from stemwise.audio import RANGE_THRESHOLD, cut
from stemwise.errors import ModelError
from stemwise.models.checkpoint import Model
from stemwise.parts import BLOCK_DIMENSIONS, PARTS

__all__ = ["MOST_AT_ONCE", "Described", "Describer", "batch_that_fits", "describe_segment",
           "describe_segments", "describe_wave", "describer"]  # fmt: skip

UNIT_TOLERANCE = 1e-3
MOST_AT_ONCE = 256
SPARSELY = 64  # one sample in so many is enough to hear that most segments sound
AT_ONCE_ON_CPU = 16  # more gain nothing
_SHARE_OF_MEMORY = 0.5  # the rest is for weights, and for what other processes take unasked

Floats = NDArray[np.float32]
Described = tuple[Floats, Floats]


class Describer(Protocol):
    """What takes segments, from many threads at once."""

    model: Model
    at_once: int  # segments of one file that are best asked for together

    def ask(self, waves: Floats) -> "Future[Described]":
        """Return what will be embeddings (B, 5, 128) and presences (B, 5) of segments (B, N)."""


@contextmanager
def describer(model: Model, most: int = 1) -> Iterator[Describer]:
    """Hold a describer that sends up to `most` segments of several files through `model` at once.

    With 1, what is asked goes through by itself, in the thread that asks.
    """
    if most == 1:
        yield _Alone(model)
        return
    together = _Together(model, most)
    try:
        yield together
    finally:
        together.close()


def batch_that_fits(model: Model, share: float = 1.0) -> int:
    """Return how many segments may go through `model` at once: 1 on a CPU.

    On a GPU it is as many as fit into half of its memory, if `share` of that is ours, 256 at most;
    two segments are sent through the model to see what they take.
    """
    device = next(model.parameters()).device
    if device.type != "cuda":
        return 1
    size = round(model.segment_seconds * model.sample_rate_hz)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    with torch.inference_mode():
        model.describe(torch.zeros(2, size, device=device))
    each = (torch.cuda.max_memory_allocated(device) - before) / 2
    ours = _SHARE_OF_MEMORY * share * torch.cuda.get_device_properties(device).total_memory
    return int(min(max(ours // max(each, 1), 1), MOST_AT_ONCE))


def describe_segment(wave: Floats, model: Model) -> Described:
    """Return embedding (5, 128) and presence (5,) of one segment (N,); zeros for silence.

    Raises:
        ModelError: the model reads stems, or its blocks are not of length 1.
    """
    embeddings, presences = describe_segments(wave[None], model)
    return embeddings[0], presences[0]


def describe_wave(
    wave: Floats, model: Model, *, name: str
) -> tuple[NDArray[np.float64], Floats, Floats]:
    """Return starts in seconds (S,), embeddings (S, 5, 128) and presences (S, 5) of sound (N,).

    It is cut as a music file is (`stemwise.audio.segments`).

    Args:
        wave: at the model's rate.
        model: as of `describe_segment`.
        name: what an error calls the sound.

    Raises:
        AudioError: shorter than a second.
        ModelError: as `describe_segment`.
    """
    size = round(model.segment_seconds * model.sample_rate_hz)
    blocks = (wave[first : first + size] for first in range(0, len(wave), size))
    found = [
        (start_seconds, *describe_segment(one, model))
        for start_seconds, one in cut(
            blocks, model.sample_rate_hz, model.segment_seconds, name=name
        )
    ]
    starts, embeddings, presences = zip(*found, strict=True)
    return np.array(starts), np.stack(embeddings), np.stack(presences)


@torch.inference_mode()
def describe_segments(waves: Floats, model: Model) -> Described:
    """Return embeddings (B, 5, 128) and presences (B, 5) of segments (B, N); zeros for silence.

    Raises:
        ModelError: the model reads stems, or its blocks are not of length 1.
    """
    embeddings = np.zeros((len(waves), len(PARTS), BLOCK_DIMENSIONS), np.float32)
    presences = np.zeros((len(waves), len(PARTS)), np.float32)
    sounding = _sounding(waves)
    if not sounding.any():
        return embeddings, presences
    if model.takes_stems:
        raise ModelError(
            f"model {model.name} reads stems, and music files are mixtures: choose another method"
        )
    device = next(model.parameters()).device
    heard = np.require(waves if sounding.all() else waves[sounding], requirements=["C", "W"])
    embedding, presence = model.describe(torch.as_tensor(heard, device=device))
    vectors: Floats = embedding.cpu().numpy()
    lengths = np.linalg.norm(vectors, axis=-1)
    if np.any(np.abs(lengths - 1) > UNIT_TOLERANCE):  # not so if a length is no number
        span = f"{lengths.min():.3g} to {lengths.max():.3g}"
        raise ModelError(
            f"model {model.name} gives blocks of length {span}; search needs length 1: "
            "choose a model with unit_blocks"
        )
    embeddings[sounding], presences[sounding] = vectors, presence.cpu().numpy()
    return embeddings, presences


def _sounding(waves: Floats) -> NDArray[np.bool_]:
    """Tell which segments (B, N) are not silent; one that holds a sample that is none is not."""
    if (np.ptp(waves[:, ::SPARSELY], axis=-1) >= RANGE_THRESHOLD).all():
        return np.ones(len(waves), np.bool_)
    return ~np.asarray(np.ptp(waves, axis=-1) < RANGE_THRESHOLD)


class _Alone:
    """Describes what is asked by itself, in the thread that asks."""

    at_once = AT_ONCE_ON_CPU

    def __init__(self, model: Model) -> None:
        self.model = model

    def ask(self, waves: Floats) -> "Future[Described]":
        """Return embeddings and presences, at once."""
        future: Future[Described] = Future()
        future.set_result(describe_segments(waves, self.model))
        return future


class _Together:
    """Describes, in a thread of its own, what has been asked since it last looked."""

    at_once = 1  # it fills its batches by itself

    def __init__(self, model: Model, most: int) -> None:
        self.model = model
        self._most = most
        self._asked: Queue[tuple[Floats, Future[Described]] | None] = Queue(2 * most)
        self._thread = Thread(target=self._work, name="describe", daemon=True)
        self._thread.start()

    def ask(self, waves: Floats) -> "Future[Described]":
        """Return what will be embeddings and presences; waits if many others have asked."""
        future: Future[Described] = Future()
        self._asked.put((waves, future))
        return future

    def close(self) -> None:
        """End the thread, once it has answered; nobody may ask any more."""
        self._asked.put(None)
        self._thread.join()

    def _work(self) -> None:
        more = True
        while more:
            batch = [self._asked.get()]
            while batch[-1] is not None and len(batch) < self._most:
                try:
                    batch.append(self._asked.get_nowait())
                except Empty:
                    break
            more = batch[-1] is not None
            self._answer([asked for asked in batch if asked is not None])

    def _answer(self, batch: "list[tuple[Floats, Future[Described]]]") -> None:
        """Describe a batch; in halves if it fails, so that it fits, or one odd segment fails."""
        if not batch:
            return
        try:
            found = describe_segments(np.concatenate([waves for waves, _ in batch]), self.model)
        except Exception as error:  # whoever asked for it raises it
            if isinstance(error, ModelError) or len(batch) == 1:
                for _, future in batch:
                    future.set_exception(error)
                return
            half = len(batch) // 2
            if isinstance(error, torch.OutOfMemoryError):
                self._most = half
            self._answer(batch[:half])
            self._answer(batch[half:])
            return
        ends = np.cumsum([len(waves) for waves, _ in batch])[:-1]
        each = (np.split(numbers, ends) for numbers in found)
        for (_, future), embeddings, presences in zip(batch, *each, strict=True):
            future.set_result((embeddings, presences))
