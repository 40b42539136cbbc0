"""Index with Ray: the files go to an actor pool, which writes the vectors; this process commits.

1. The index (`stemwise.library.indexing`) decides which files must be read, as on one machine; so a
   run that was stopped goes on where it was.
2. These are dealt out in units to a pool of actors by Ray Data, up to a million files at a time.
   An actor reads, decodes and embeds, and writes Lance fragments beside the table
   (`stemwise.scale.workers`). Ray gives the units of a dead actor or machine to others.
3. The reports come back here, without vectors. Every five minutes or 100,000 files the fragments
   are committed as one version, then the rows of pieces and errors.
4. Files whose content another unit was embedding wait for it. If it failed there, they are tried
   by themselves in another pass.

A report is dropped, and its files read again, if a content in it was committed in the meantime: so
no content has its segments twice, whatever Ray repeats.

Vectors made on a CPU are those of one machine, bit for bit. On a GPU they differ by rounding.
"""

import json
import math
import os
import warnings
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from stemwise.errors import CatalogueError, UsageError, extra
from stemwise.library.candidates import needs_indexes
from stemwise.library.collection import Listing
from stemwise.library.embed import FileEmbedding, FileMatch
from stemwise.library.engines import FileStored, Found
from stemwise.library.lease import check_lease
from stemwise.library.places import Place
from stemwise.library.store import Store
from stemwise.library.tables import reason_of
from stemwise.models.checkpoint import Model
from stemwise.scale.indexes import build_indexes, compact
from stemwise.scale.listing import find_music
from stemwise.scale.workers import Claims, Embedder, Target, outcome

with extra("scale"):
    import lance
    import ray
    import ray.data
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

__all__ = ["RayEngine", "connect"]

FILES_PER_UNIT = 256
FILES_PER_ROUND = 1_000_000
_UNITS_PER_ACTOR = 4  # at least, if there are files enough, so that none waits long at the end


def connect(address: str | None = None) -> None:
    """Join the Ray cluster at `address`, or the one that Ray finds, or start one here.

    Stays with the one that this process has joined already. Ray's reports to its makers stay off
    unless the environment turns them on, and Ray Data prints nothing of its own: the caller shows
    the progress.

    Raises:
        UsageError: there is no cluster at `address`.
    """
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        with warnings.catch_warnings():  # Ray starts other programs, which is no harm to Lance
            warnings.filterwarnings("ignore", message="lance")
            ray.init(address=address, log_to_driver=False, logging_level="error")
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"no Ray cluster at {address or 'this machine'}: {reason}") from error


@dataclass
class RayEngine:
    """An engine for `stemwise.library.catalogue.Catalogue.index`; connects when it is first used.

    Attributes:
        address: of the cluster: ``auto``, ``HOST:6379`` or ``ray://HOST:10001``; None: as Ray finds
            it, or a cluster of this machine alone.
        actors: in the pool; None: as many as the cluster has room for.
        gpus: of each actor; 0.25 lets four share one, 0 means that it computes on the CPU.
        memory_bytes: that Ray sets aside for each actor, so that a machine takes no more of them
            than fit.
        lists: texts with a path a line, to be indexed beside the folders.
        batch: segments that an actor sends through the model at once; None: one on a CPU, as many
            as fit on a GPU.
        files_per_unit: at most.
    """

    address: str | None = None
    actors: int | None = None
    gpus: float = 0.0
    memory_bytes: int | None = None
    lists: Sequence[Path | str] = ()
    batch: int | None = None
    files_per_unit: int = FILES_PER_UNIT
    files_per_commit: int | None = 100_000
    seconds_per_commit: float | None = 300.0
    _committed: set[str] = field(default_factory=set, repr=False)

    def find(
        self, paths: Iterable[Path | str], exclude: Iterable[str], *, by_content: bool
    ) -> Listing:
        """Return the music files at and under `paths`, here and elsewhere, and in the lists."""
        if self.lists:
            connect(self.address)
        return find_music(paths, exclude, self.lists, by_content=by_content)

    def embed(
        self,
        files: Sequence[Path],
        store: Store,
        model: Model,
        jobs: int | None,
        known: Mapping[str, Any],
    ) -> Generator[Found, None, None]:
        """Yield one result per file, as units are done; `jobs` are the threads of an actor."""
        if not files:
            return
        connect(self.address)
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        claims = ray.remote(Claims).options(num_cpus=0, scheduling_strategy=here).remote(set(known))
        pool = _Pool(self, store, ray.put(model), claims, jobs or 1)
        waiting = list(files)
        try:
            while waiting:
                again: list[Path] = []
                for first in range(0, len(waiting), FILES_PER_ROUND):
                    some = waiting[first : first + FILES_PER_ROUND]
                    yield from _settled(pool.reports(some), known, again)
                waiting = again
        except ray.exceptions.RayError as error:
            raise CatalogueError(
                f"the cluster has failed: {str(error).strip().splitlines()[-1]}; what was done is "
                "kept: run the same command again"
            ) from error
        finally:
            ray.kill(claims)

    def store(self, store: Store, files: Sequence[FileEmbedding | FileStored]) -> None:
        """Commit the fragments of `files` that are not committed yet, as one version."""
        names = dict.fromkeys(file.fragment for file in files if isinstance(file, FileStored))
        new = [name for name in names if name not in self._committed]
        fragments = [
            lance.FragmentMetadata.from_json(json.dumps(each))
            for name in new
            for each in json.loads(name)
        ]
        if fragments:
            if isinstance(store.directory, Place):
                check_lease(store.directory)
            try:
                segments = lance.dataset(store.uri("segments"))
                added = lance.LanceOperation.Append(fragments)
                lance.LanceDataset.commit(segments.uri, added, read_version=segments.version)
            except (ValueError, RuntimeError, OSError) as error:
                raise CatalogueError(
                    f"the catalogue in {store.directory} cannot be written: {reason_of(error)}; "
                    "what was written before is safe: run the same command again"
                ) from error
            self._committed.update(new)

    def tidy(self, store: Store) -> None:
        """Merge small files, and forget old versions."""
        connect(self.address)
        compact(store)
        store.tidy()

    def keep_indexes(self, store: Store) -> None:
        """Build the search indexes of a catalogue that has become large, on the cluster."""
        if needs_indexes(store.table("segments")):
            connect(self.address)
            build_indexes(store)


@dataclass(frozen=True)
class _Pool:
    """The actors, and what they need to know."""

    engine: RayEngine
    store: Store
    model: Any  # a reference to it
    claims: Any
    threads: int
    _numbers: Iterator[int] = field(default_factory=count)

    def reports(self, files: Sequence[Path]) -> Iterator[tuple[Sequence[Path], list[Found]]]:
        """Yield the files of each unit and what was made of them, each unit once."""
        engine, size = self.engine, self._size()
        most = min(engine.files_per_unit, math.ceil(len(files) / (size * _UNITS_PER_ACTOR)))
        units = {
            next(self._numbers): files[first : first + most] for first in range(0, len(files), most)
        }
        rows = [{"unit": k, "files": [str(path) for path in unit]} for k, unit in units.items()]
        segments = lance.dataset(self.store.uri("segments"))
        target = Target(segments.uri, segments.schema, segments.data_storage_version)
        options: dict[str, Any] = {"num_cpus": self.threads, "num_gpus": engine.gpus or None}
        if engine.memory_bytes:
            options["memory"] = engine.memory_bytes
        done = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            Embedder,
            fn_constructor_args=(
                self.model,
                target,
                self.claims,
                self.threads,
                engine.gpus,
                engine.batch,
            ),
            compute=ray.data.ActorPoolStrategy(size=min(size, len(rows))),
            **options,
        )
        for row in done.iter_rows():
            unit = units.pop(row["unit"], None)
            if unit is not None:
                yield unit, outcome(row["report"])

    def _size(self) -> int:
        """Return how many actors the cluster has room for, or as many as were asked for."""
        if self.engine.actors:
            return self.engine.actors
        there = ray.cluster_resources()
        room = int(there.get("CPU", 1) // self.threads)
        if self.engine.gpus:
            room = min(room, int(there.get("GPU", 0) / self.engine.gpus))
        if room < 1:
            raise UsageError(
                f"the cluster has no room for an actor with {self.threads} cores and "
                f"{self.engine.gpus:g} GPUs; it has {there.get('CPU', 0):g} and "
                f"{there.get('GPU', 0):g}"
            )
        return room


def _settled(
    reports: Iterator[tuple[Sequence[Path], list[Found]]],
    known: Mapping[str, Any],
    again: list[Path],
) -> Iterator[Found]:
    """Yield results whose content is known or new; put files that must be read again in `again`."""
    held: dict[str, list[FileMatch]] = {}
    for unit, results in reports:
        stored = [result for result in results if isinstance(result, FileStored)]
        if any(file.content in known for file in stored):
            again += unit
            continue
        for result in results:
            if isinstance(result, FileMatch):
                held.setdefault(result.content, []).append(result)
            else:
                yield result
        new = {r.content for r in results if isinstance(r, FileStored | FileMatch)}
        for content in new & known.keys():
            yield from held.pop(content, [])
    again += [match.path for matches in held.values() for match in matches]
