"""Music files to vectors: one embedding, five presences and a level per segment.

Conventions: S segments of a file, as `stemwise.audio.segments` cuts them; embeddings (S, 5, 128)
float32 with blocks of length 1; presence (S, 5) float32 in 0..1; levels in dBFS.

A **silent segment**, one whose samples span less than 1e-4 from lowest to highest (digital silence,
a constant), gets presence 0 for every part and an embedding of zeros, whatever the model says.

The vectors of a file are a function of the file and the model alone. Each segment goes through the
model by itself, from memory aligned by torch, on one thread; many files are embedded side by side.
So neither the neighbours in a batch nor the number of threads or jobs change a single bit.
"""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Container, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stemwise.audio import RANGE_THRESHOLD, cut, level_db, open_file, stream
from stemwise.errors import AudioError, ModelError, StemwiseError, UsageError
from stemwise.library.collection import music_files
from stemwise.library.tags import Tags
from stemwise.models.checkpoint import Model
from stemwise.parts import BLOCK_DIMENSIONS, PARTS

__all__ = [
    "FileEmbedding",
    "FileFailure",
    "FileMatch",
    "content_hash",
    "describe_segment",
    "embed_file",
    "embed_files",
    "embed_to_archive",
    "one_thread",
    "save_vectors",
]

UNIT_TOLERANCE = 1e-3
_FILES_AHEAD_PER_JOB = 16


@dataclass(frozen=True)
class FileEmbedding:
    """What a model makes of one file; S segments."""

    path: Path
    content: str  # hash of the file's bytes: blake2b, 16 bytes, 32 hex digits
    duration_seconds: float
    start_seconds: NDArray[np.float64]  # (S,)
    embeddings: NDArray[np.float32]  # (S, 5, 128)
    presence: NDArray[np.float32]  # (S, 5), 0..1
    level_db: NDArray[np.float32]  # (S,)

    @property
    def segments(self) -> int:
        """The number of segments, S."""
        return len(self.start_seconds)


@dataclass(frozen=True)
class FileFailure:
    """A file that could not be embedded, and why, in one line."""

    path: Path
    reason: str
    unread: bool = False  # its bytes could not be read: nothing is known of what it holds now


@dataclass(frozen=True)
class FileMatch:
    """A file whose content was known already, so that it was not decoded."""

    path: Path
    content: str
    tags: Tags | None = None  # if they were read with it


FileResult = FileEmbedding | FileMatch | FileFailure


class _StoppedError(Exception):
    """Nobody waits for the result any more."""


def content_hash(path: Path | str) -> str:
    """Return the hash of the bytes of `path`: 32 hex digits. `AudioError` if it cannot be read."""
    with open_file(path) as file:
        try:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
        except OSError as error:
            raise AudioError(f"{path} cannot be read: {error.strerror}") from error


def embed_file(path: Path | str, model: Model) -> FileEmbedding:
    """Return the vectors of the whole file at `path`.

    Memory grows only with the vectors, 2.6 kB per segment, not with the sound.

    Raises:
        AudioError: the file cannot be decoded, or is shorter than a second.
        ModelError: the model's blocks are not of length 1.
    """
    with one_thread():
        return _embed(Path(path), content_hash(path), model, Event())


def embed_files(
    paths: Iterable[Path],
    model: Model,
    jobs: int | None = None,
    known: Container[str] = frozenset(),
    *,
    in_order: bool = True,
) -> Generator[FileEmbedding | FileMatch | FileFailure, None, None]:
    """Embed many files side by side; yield one result per path.

    Args:
        paths: the files.
        model: used by all workers at once.
        jobs: files at a time; the number of cores if None.
        known: content hashes that need no vectors: such a file gives a `FileMatch`.
        in_order: yield in the order of `paths`; else whatever is done first, so that no core waits
            behind a long file.

    A file that fails gives a `FileFailure` and stops nothing. At most 16 results per job wait for
    the caller, so memory stays bounded. Closing the iterator stops the workers within a segment.
    """
    jobs = jobs or len(os.sched_getaffinity(0))
    threads = torch.get_num_threads()
    waiting: deque[Future[FileResult]] = deque()
    stop = Event()
    pool = ThreadPoolExecutor(jobs, "embed", initializer=torch.set_num_threads, initargs=(1,))
    try:
        for path in paths:
            waiting.append(pool.submit(_embed_or_fail, path, model, known, stop))
            if len(waiting) > _FILES_AHEAD_PER_JOB * jobs:
                yield _next(waiting, in_order).result()
        while waiting:
            yield _next(waiting, in_order).result()
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
        # The workers' setting is their own, but it is also what threads started later begin with.
        torch.set_num_threads(threads)


def _next(waiting: "deque[Future[FileResult]]", in_order: bool) -> "Future[FileResult]":
    """Take one out of `waiting`: the first, or the first that is done."""
    if not in_order:
        wait(waiting, return_when=FIRST_COMPLETED)
        waiting.rotate(-next(k for k, future in enumerate(waiting) if future.done()))
    return waiting.popleft()


def embed_to_archive(
    paths: Sequence[Path | str],
    model: Model,
    archive: Path,
    jobs: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[FileFailure]:
    """Embed the music files at and under `paths` into `archive`; return those that failed.

    Raises:
        UsageError: a path is neither a file nor a folder, or there is no music file.
        AudioError: every file failed; no archive is written.
    """
    files = music_files(paths).files
    if not files:
        raise UsageError(f"no music file in {', '.join(map(str, paths))}")
    embeddings, failures = [], []
    for done, result in enumerate(embed_files(files, model, jobs), start=1):
        if isinstance(result, FileEmbedding):
            embeddings.append(result)
        elif isinstance(result, FileFailure):
            failures.append(result)
        progress(done, len(files))
    if not embeddings:
        raise AudioError(f"none of {len(files)} files can be embedded: {failures[0].reason}")
    save_vectors(archive, embeddings, fingerprint=model.fingerprint)
    return failures


def save_vectors(path: Path, embeddings: Sequence[FileEmbedding], *, fingerprint: str) -> None:
    """Write the vectors of many files, segment by segment, to a NumPy archive at `path`.

    Arrays, S segments of all files in their order: ``embeddings`` (S, 5, 128) float32, ``presence``
    (S, 5) float32, ``level_db`` (S,) float32, ``path`` (S,) text, ``start_seconds`` (S,) float64;
    and ``fingerprint``, text. The file appears whole or not at all.
    """
    parts = len(PARTS)
    arrays: dict[str, Any] = {
        "embeddings": _joined(embeddings, "embeddings", (0, parts, BLOCK_DIMENSIONS), np.float32),
        "presence": _joined(embeddings, "presence", (0, parts), np.float32),
        "level_db": _joined(embeddings, "level_db", (0,), np.float32),
        "start_seconds": _joined(embeddings, "start_seconds", (0,), np.float64),
        "path": np.array([str(e.path) for e in embeddings for _ in e.start_seconds], dtype=np.str_),
        "fingerprint": np.array(fingerprint),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _joined(
    embeddings: Sequence[FileEmbedding], name: str, empty: tuple[int, ...], dtype: type
) -> NDArray[np.generic]:
    return np.concatenate([np.zeros(empty, dtype), *(getattr(e, name) for e in embeddings)])


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread in this thread, and put back what was set."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _embed_or_fail(path: Path, model: Model, known: Container[str], stop: Event) -> FileResult:
    try:
        before = _state(path)
        content = content_hash(path)
    except AudioError as error:
        return FileFailure(path, str(error), unread=True)
    try:
        if content in known:
            return FileMatch(path, content)
        found = _embed(path, content, model, stop)
        if _state(path) != before:
            raise AudioError(f"{path} changed while it was read; the next index reads it again")
    except AudioError as error:
        return FileFailure(path, str(error))
    except (StemwiseError, _StoppedError):
        raise
    except Exception as error:  # one odd file must not stop the others: record it
        return FileFailure(path, f"{path} failed unexpectedly: {type(error).__name__}: {error}")
    return found


def _state(path: Path) -> tuple[int, int] | None:
    """Return size and modification time; None if the file has gone."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _embed(path: Path, content: str, model: Model, stop: Event) -> FileEmbedding:
    lengths: list[int] = []

    def blocks() -> Iterator[NDArray[np.float32]]:
        for block in stream(path, model.sample_rate_hz, model.segment_seconds):
            lengths.append(len(block))
            yield block

    starts, levels, embeddings, presences = [], [], [], []
    for start_seconds, wave in cut(
        blocks(), model.sample_rate_hz, model.segment_seconds, name=str(path)
    ):
        if stop.is_set():
            raise _StoppedError
        embedding, presence = describe_segment(wave, model)
        if not (np.isfinite(embedding).all() and np.isfinite(presence).all()):
            raise AudioError(
                f"{path} gives vectors that are not finite near {start_seconds:.0f} s: its samples "
                "are too extreme; export it again"
            )
        starts.append(start_seconds)
        levels.append(level_db(wave))
        embeddings.append(embedding)
        presences.append(presence)
    return FileEmbedding(
        path=path,
        content=content,
        duration_seconds=sum(lengths) / model.sample_rate_hz,
        start_seconds=np.array(starts, np.float64),
        embeddings=np.stack(embeddings),
        presence=np.stack(presences),
        level_db=np.array(levels, np.float32),
    )


@torch.inference_mode()
def describe_segment(
    wave: NDArray[np.float32], model: Model
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return embedding (5, 128) and presence (5,) of one segment (N,); zeros for silence.

    Raises:
        ModelError: the model reads stems, or its blocks are not of length 1.
    """
    if np.ptp(wave) < RANGE_THRESHOLD:
        return np.zeros((len(PARTS), BLOCK_DIMENSIONS), np.float32), np.zeros(
            len(PARTS), np.float32
        )
    if model.takes_stems:
        raise ModelError(
            f"model {model.name} reads stems, and music files are mixtures: choose another method"
        )
    device = next(model.parameters()).device
    mixture = torch.tensor(wave, device=device)[None]
    embedding, presence = model.describe(mixture)
    vectors: NDArray[np.float32] = embedding[0].cpu().numpy()
    lengths = np.linalg.norm(vectors, axis=-1)
    if np.abs(lengths - 1).max() > UNIT_TOLERANCE:  # not so if a length is no number
        span = f"{lengths.min():.3g} to {lengths.max():.3g}"
        raise ModelError(
            f"model {model.name} gives blocks of length {span}; search needs length 1: "
            "choose a model with unit_blocks"
        )
    return vectors, presence[0].cpu().numpy()
