"""What finds and embeds the files of an index: this machine's threads, or a cluster.

An index (`stemwise.library.indexing`) decides which files are to be read and what becomes of them;
an engine reads them. This machine hands vectors over in memory. A cluster's machines write them
where the catalogue lies, as Lance fragments, and hand over their names, which are then committed.
"""

import os
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from stemwise.errors import UsageError
from stemwise.library.candidates import keep_indexes
from stemwise.library.collection import Listing, music_files
from stemwise.library.embed import FileEmbedding, FileFailure, FileMatch, embed_files
from stemwise.library.places import Place, place_of
from stemwise.library.store import Store
from stemwise.library.suspects import Journal, find_killers
from stemwise.library.tags import Tags
from stemwise.models.checkpoint import Model
from stemwise.parts import PARTS

__all__ = ["Engine", "FileStored", "Found", "ThisMachine", "segment_rows"]

WORTH_A_PROCESS = 32  # files per job: a process takes as long to start as some ten songs


@dataclass(frozen=True)
class FileStored:
    """A file that was embedded, and whose segments lie in a fragment to be committed."""

    path: Path
    content: str  # as in FileEmbedding
    duration_seconds: float
    segments: int
    tags: Tags
    fragment: str  # of many files; as Lance's FragmentMetadata writes itself, in JSON


Found = FileEmbedding | FileStored | FileMatch | FileFailure


class Engine(Protocol):
    """Who reads the files. The caller of all but `find` has the catalogue's lock."""

    @property
    def files_per_commit(self) -> int | None:
        """After how many files to commit; None: as `stemwise.library.indexing` does."""

    @property
    def seconds_per_commit(self) -> float | None:
        """After how long to commit; None: as `stemwise.library.indexing` does."""

    def find(
        self, paths: Iterable[Path | str], exclude: Iterable[str], *, by_content: bool
    ) -> Listing:
        """Return the music files at and under `paths`; `UsageError` if one is not there."""

    def embed(
        self,
        files: Sequence[Path],
        store: Store,
        model: Model,
        jobs: int | None,
        known: Mapping[str, Any],
    ) -> Generator[Found, None, None]:
        """Yield one result per file, in any order; each is taken before the next is made.

        No two have the same content and new segments: `known` holds the contents, also of results
        that were taken. What is closed stops soon.
        """

    def store(self, store: Store, files: Sequence[FileEmbedding | FileStored]) -> None:
        """Commit the segments of `files`."""

    def tidy(self, store: Store) -> None:
        """Merge what many commits have left behind."""

    def keep_indexes(self, store: Store) -> None:
        """Build the search indexes of a catalogue that has become large."""


class ThisMachine:
    """Threads of this process, or processes of their own, for files of this machine."""

    files_per_commit = None
    seconds_per_commit = None

    def find(
        self, paths: Iterable[Path | str], exclude: Iterable[str], *, by_content: bool
    ) -> Listing:
        """Return the music files at and under `paths`; `UsageError` if one is not there."""
        given = list(paths)
        if elsewhere := [place for path in given if isinstance(place := place_of(path), Place)]:
            raise UsageError(f"{elsewhere[0]} is not on this machine; add: --engine ray")
        return music_files(given, exclude, by_content=by_content)

    def embed(
        self,
        files: Sequence[Path],
        store: Store,
        model: Model,
        jobs: int | None,
        known: Mapping[str, Any],
    ) -> Generator[Found, None, None]:
        """Yield what threads make of `files`, as they are done.

        Files that killed the last run come first, as failures (`stemwise.library.suspects`). Many
        files are worth a process for each job.
        """
        jobs = jobs or len(os.sched_getaffinity(0))
        journal = Journal(store.directory)
        left = journal.left()
        killers = find_killers([path for path in files if str(path) in left])
        journal.clear()
        for path, reason in killers.items():
            yield FileFailure(path, reason)
        good = journal.begin(path for path in files if path not in killers)
        on_cpu = next(model.parameters()).device.type == "cpu"
        processes = on_cpu and jobs > 1 and len(files) - len(killers) >= WORTH_A_PROCESS * jobs
        results = embed_files(good, model, jobs, known=known, in_order=False, processes=processes)
        try:
            for result in results:
                yield result
                journal.end(result.path)
        finally:
            results.close()
            journal.clear()

    def store(self, store: Store, files: Sequence[FileEmbedding | FileStored]) -> None:
        """Commit the segments of `files`."""
        held = [file for file in files if isinstance(file, FileEmbedding)]
        store.append("segments", segment_rows(held, store.table("segments").schema))

    def tidy(self, store: Store) -> None:
        """Merge what many commits have left behind."""
        store.tidy()

    def keep_indexes(self, store: Store) -> None:
        """Build the search indexes of a catalogue that has become large."""
        keep_indexes(store.table("segments"))


def segment_rows(files: Sequence[FileEmbedding], wanted: pa.Schema) -> pa.Table:
    """Return the segments of `files` as rows of a table with the schema `wanted`."""
    if not files:
        return wanted.empty_table()
    contents = [file.content for file in files for _ in file.start_seconds]
    columns = {"content": pa.array(contents, pa.string())}
    columns["start_seconds"] = pa.array(np.concatenate([file.start_seconds for file in files]))
    columns["level_db"] = pa.array(np.concatenate([file.level_db for file in files]))
    for i, part in enumerate(PARTS):
        kind = wanted.field(part).type
        block = np.concatenate([file.embeddings[:, i] for file in files])
        flat = pa.array(block.ravel().astype(kind.value_type.to_pandas_dtype()))
        columns[part] = pa.FixedSizeListArray.from_arrays(flat, kind.list_size)
        presence = np.concatenate([file.presence[:, i] for file in files])
        columns[f"presence_{part}"] = pa.array(presence)
    return pa.table(columns, schema=wanted)
