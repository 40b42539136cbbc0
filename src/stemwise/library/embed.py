"""Music files to vectors: one embedding, five presences and a level per segment.

Conventions: S segments of a file, as `stemwise.audio.segments` cuts them; embeddings (S, 5, 128)
float32 with blocks of length 1; presence (S, 5) float32 in 0..1; levels in dBFS.

The vectors of a file are a function of the file and the model alone. Its segments go through the
model sixteen at a time, on one thread; many files are embedded side by side. So neither other files
nor the number of threads or jobs change a single bit. Only on a GPU do segments of several files go
together (`stemwise.library.description`).
"""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Container, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import numpy as np
import torch
from numpy.typing import NDArray

from stemwise.audio import cut, level_db, open_file, stream
from stemwise.errors import AudioError, StemwiseError
from stemwise.library.description import Described, Describer, describer
from stemwise.library.processes import DiedError, Processes, StoppedError
from stemwise.library.tags import Tags
from stemwise.models.checkpoint import Model

__all__ = [
    "FileEmbedding",
    "FileFailure",
    "FileMatch",
    "content_hash",
    "embed_file",
    "embed_files",
    "one_thread",
]

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
_Embed = Callable[[Path, str, Event], FileEmbedding]  # a file of this content, until stopped


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
    with one_thread(), describer(model) as alone:
        return _embed(Path(path), content_hash(path), alone, Event())


def embed_files(
    paths: Iterable[Path],
    model: Model,
    jobs: int | None = None,
    known: Container[str] = frozenset(),
    *,
    in_order: bool = True,
    batch: int = 1,
    processes: bool = False,
) -> Generator[FileEmbedding | FileMatch | FileFailure, None, None]:
    """Embed many files side by side; yield one result per path.

    Args:
        paths: the files.
        model: used by all workers at once.
        jobs: files at a time; the number of cores if None.
        known: content hashes that need no vectors: such a file gives a `FileMatch`.
        in_order: yield in the order of `paths`; else whatever is done first, so that no core waits
            behind a long file.
        batch: segments that go through the model at once, of whichever files; with more than one,
            two files a job are read, since one waits for the model.
        processes: each job has a process of its own, of 0.3 GB and a second to start, and the next
            file is hashed while it works: less time for many files, the same vectors. Not with more
            than one in `batch`.

    A file that fails gives a `FileFailure` and stops nothing. At most 16 results per job wait for
    the caller, so memory stays bounded. Closing the iterator stops the workers within a segment.
    """
    jobs = jobs or len(os.sched_getaffinity(0))
    threads = torch.get_num_threads()
    waiting: deque[Future[FileResult]] = deque()
    stop = Event()
    apart = processes and batch == 1
    workers = 2 * jobs if apart or batch > 1 else jobs
    pool = ThreadPoolExecutor(workers, "embed", initializer=torch.set_num_threads, initargs=(1,))
    with _in_processes(model, jobs) if apart else _in_threads(model, batch) as embed:
        try:
            for path in paths:
                waiting.append(pool.submit(_embed_or_fail, path, embed, known, stop))
                if len(waiting) > _FILES_AHEAD_PER_JOB * jobs:
                    yield _next(waiting, in_order).result()
            while waiting:
                yield _next(waiting, in_order).result()
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
            # The workers' setting is their own, but also what threads started later begin with.
            torch.set_num_threads(threads)


@contextmanager
def _in_threads(model: Model, batch: int) -> Iterator[_Embed]:
    """Hold what embeds a file in the thread that asks."""
    with describer(model, batch) as network:
        yield lambda path, content, stop: _embed(path, content, network, stop)


@contextmanager
def _in_processes(model: Model, jobs: int) -> Iterator[_Embed]:
    """Hold what embeds a file in one of `jobs` processes."""
    processes = Processes(_embed_elsewhere, model, jobs)

    def embed(path: Path, content: str, stop: Event) -> FileEmbedding:
        try:
            found: FileEmbedding = processes.call((path, content), stop)
        except DiedError as error:
            raise AudioError(
                f"{path} brought down the process that read it, which {error}"
            ) from error
        return found

    try:
        yield embed
    finally:
        processes.close()


def _embed_elsewhere(model: Model, path: Path, content: str) -> FileEmbedding:
    with one_thread(), describer(model) as alone:
        return _embed(path, content, alone, Event())


def _next(waiting: "deque[Future[FileResult]]", in_order: bool) -> "Future[FileResult]":
    """Take one out of `waiting`: the first, or the first that is done."""
    if not in_order:
        wait(waiting, return_when=FIRST_COMPLETED)
        waiting.rotate(-next(k for k, future in enumerate(waiting) if future.done()))
    return waiting.popleft()


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread in this thread, and put back what was set."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _embed_or_fail(path: Path, embed: _Embed, known: Container[str], stop: Event) -> FileResult:
    try:
        before = _state(path)
        content = content_hash(path)
    except AudioError as error:
        return FileFailure(path, str(error), unread=True)
    try:
        if content in known:
            return FileMatch(path, content)
        found = embed(path, content, stop)
        if _state(path) != before:
            raise AudioError(f"{path} changed while it was read; the next index reads it again")
    except AudioError as error:
        return FileFailure(path, str(error))
    except (StemwiseError, StoppedError):
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


def _embed(path: Path, content: str, network: Describer, stop: Event) -> FileEmbedding:
    model = network.model
    lengths: list[int] = []

    def blocks() -> Iterator[NDArray[np.float32]]:
        for block in stream(path, model.sample_rate_hz, model.segment_seconds):
            lengths.append(len(block))
            yield block

    starts: list[float] = []
    levels: list[float] = []
    waiting: list[NDArray[np.float32]] = []
    asked: list[Future[Described]] = []
    for start_seconds, wave in cut(
        blocks(), model.sample_rate_hz, model.segment_seconds, name=str(path)
    ):
        if stop.is_set():
            raise StoppedError
        starts.append(start_seconds)
        levels.append(float(level_db(wave)))
        waiting.append(wave)
        if len(waiting) == network.at_once:
            asked.append(network.ask(np.stack(waiting)))
            waiting.clear()
    if waiting:
        asked.append(network.ask(np.stack(waiting)))
    described = zip(*(future.result() for future in asked), strict=True)
    embeddings, presences = (np.concatenate(numbers) for numbers in described)
    for start_seconds, embedding, presence in zip(starts, embeddings, presences, strict=True):
        if not (np.isfinite(embedding).all() and np.isfinite(presence).all()):
            raise AudioError(
                f"{path} gives vectors that are not finite near {start_seconds:.0f} s: its samples "
                "are too extreme; export it again"
            )
    return FileEmbedding(
        path=path,
        content=content,
        duration_seconds=sum(lengths) / model.sample_rate_hz,
        start_seconds=np.array(starts, np.float64),
        embeddings=embeddings,
        presence=presences,
        level_db=np.array(levels, np.float32),
    )
