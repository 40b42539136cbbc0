"""What runs on the machines of a cluster: an actor that embeds files, and one that shares them out.

A **unit** is a list of files that one task embeds and writes as Lance fragments of its own. If the
machine dies, Ray gives the unit to another actor, which does all of it again: what the first has
written is named by nobody, and Lance's clean-up removes it.

Files with the same bytes are embedded once: who has hashed a file asks `Claims` whether anybody
else has that content. A claim belongs to a unit, so that its second attempt gets the same answers.

A file that kills the process that decodes it (a decoder in C can crash) would kill every actor that
meets it. So from its second attempt on, the files of a unit are first read in processes of their
own (`stemwise.library.suspects`), and after the fifth its files are recorded as errors.
"""

import json
import pickle
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any

import pyarrow as pa

from stemwise import __version__
from stemwise.errors import StemwiseError, UsageError, extra
from stemwise.library.description import batch_that_fits
from stemwise.library.embed import FileEmbedding, FileFailure, FileMatch, embed_files
from stemwise.library.engines import FileStored, Found, segment_rows
from stemwise.library.places import Place, fetch, place_of
from stemwise.library.suspects import find_killers
from stemwise.library.tags import Tags, read_tags
from stemwise.models.checkpoint import Model

with extra("scale"):
    import ray
    from lance_ray.fragment import write_fragment

__all__ = ["Claims", "Embedder", "Target", "outcome"]

MOST_ATTEMPTS = 5
_READ_TOGETHER = 16
_LONGEST_NAME = 200  # bytes; a file system takes 255


@dataclass(frozen=True)
class Target:
    """Where fragments go."""

    uri: str  # of the table "segments"
    schema: pa.Schema
    storage_version: str  # of its files
    version: str = __version__  # of Stemwise on the machine that asked


class Claims:
    """Who embeds which content, and how often a unit was begun; an actor for all workers."""

    def __init__(self, known: Iterable[str]) -> None:
        self._owners: dict[str, int | None] = dict.fromkeys(known)
        self._failed: set[str] = set()
        self._attempts: dict[int, int] = {}

    def begin(self, unit: int) -> int:
        """Return which attempt at `unit` this is, from 1."""
        self._attempts[unit] = self._attempts.get(unit, 0) + 1
        return self._attempts[unit]

    def claim(self, unit: int, content: str) -> bool:
        """Tell whether `unit` is to embed `content`; whose every copy is tried if one failed."""
        if content in self._failed:
            return True
        return self._owners.setdefault(content, unit) == unit

    def fail(self, contents: Sequence[str]) -> None:
        """Note contents that could not be embedded."""
        self._failed.update(contents)


class _Asked:
    """The contents that a unit need not embed, as `embed_files` asks for them."""

    def __init__(self, claims: Any, unit: int) -> None:
        self._claims, self._unit = claims, unit
        self._lock = Lock()
        self.own: set[str] = set()

    def __contains__(self, content: object) -> bool:
        with self._lock:
            if content in self.own:  # a second copy in this unit
                return True
            mine = ray.get(self._claims.claim.remote(self._unit, content))
            if mine:
                self.own.add(str(content))
            return not mine


class Embedder:
    """Makes reports of units; one per actor, with the model in memory.

    With a GPU, or a part of one, segments of several files go through the model together; how many
    follows from the memory that this part has, if `batch` does not say it.
    """

    def __init__(
        self,
        model: Any,
        target: Target,
        claims: Any,
        threads: int,
        gpus: float = 0.0,
        batch: int | None = None,
    ) -> None:
        """Take the model from the object store; `UsageError` if versions differ."""
        if target.version != __version__:
            raise UsageError(
                f"a machine of the cluster has Stemwise {__version__}, and the one that asks has "
                f"{target.version}; install the same on all"
            )
        self._model: Model = ray.get(model).to("cuda" if gpus else "cpu")
        self._batch = batch or batch_that_fits(self._model, min(gpus, 1.0))
        self._target, self._claims, self._threads = target, claims, threads

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Embed the files of a unit and write their segments; return what `outcome` reads."""
        try:
            report: Any = self._embed(int(row["unit"]), [place_of(name) for name in row["files"]])
        except StemwiseError as error:
            report = error
        return {"unit": int(row["unit"]), "report": pickle.dumps(report)}

    def _embed(self, unit: int, files: Sequence[Path]) -> list[Found]:
        attempt = ray.get(self._claims.begin.remote(unit))
        if attempt > MOST_ATTEMPTS:
            reason = f"the process that read it among {len(files)} files died {MOST_ATTEMPTS} times"
            return [FileFailure(path, f"{path}: {reason}", unread=True) for path in files]
        asked = _Asked(self._claims, unit)
        with tempfile.TemporaryDirectory(prefix="stemwise-") as folder:
            copies = _Copies(Path(folder))
            good = copies.fetched(files) if attempt == 1 else copies.harmless(files)
            made = embed_files(
                good, self._model, self._threads, asked, in_order=False, batch=self._batch
            )
            results = [copies.settled(result) for result in made]
        embedded = [result for result, _ in results if isinstance(result, FileEmbedding)]
        failed = asked.own - {file.content for file in embedded}
        if failed:
            ray.get(self._claims.fail.remote(sorted(failed)))
        fragment = self._write(embedded)
        return [_stored(result, tags, fragment) for result, tags in results] + copies.failures

    def _write(self, files: list[FileEmbedding]) -> str:
        """Write the segments of `files`; return the fragments in JSON."""
        if not files:
            return "[]"
        written = write_fragment(
            [segment_rows(files, self._target.schema)],
            self._target.uri,
            schema=self._target.schema,
            data_storage_version=self._target.storage_version,
        )
        return json.dumps([fragment.to_json() for fragment, _ in written])


class _Copies:
    """Files of this machine that stand for those of a unit: themselves, or copies that pass."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.failures: list[Found] = []
        self._names: dict[Path, Path] = {}  # copy -> what it is a copy of

    def fetched(self, files: Iterable[Path]) -> Iterator[Path]:
        """Yield a path of this machine for each of `files`; those that cannot be read fail."""
        for path in files:
            local = path
            try:
                if isinstance(path, Place):
                    local = _fetch(path, self.folder / f"{len(self._names)}")
            except OSError as error:
                reason = f"{path} cannot be read: {str(error).splitlines()[0]}"
                self.failures.append(FileFailure(path, reason, unread=True))
                continue
            self._names[local] = path
            yield local

    def harmless(self, files: Iterable[Path]) -> Iterator[Path]:
        """Yield what `fetched` does, but for files that kill a process that decodes them."""
        paths = self.fetched(files)
        while some := list(islice(paths, _READ_TOGETHER)):
            killers = find_killers(some)
            for path in some:
                if path in killers:
                    self.failures.append(self.named(FileFailure(path, killers[path])))
                else:
                    yield path

    def settled(self, result: Any) -> tuple[Any, Tags | None]:
        """Return `result` by the name of its file, and the file's tags; remove the copy."""
        local, name = result.path, self._names[result.path]
        tags = None
        if not isinstance(result, FileFailure):
            tags = read_tags(local)
            if tags.title == local.stem:
                tags = replace(tags, title=name.stem)
        if local != name:
            local.unlink(missing_ok=True)
        return self.named(result), tags

    def named(self, result: Any) -> Any:
        """Return `result` by the name of its file."""
        local, name = result.path, self._names[result.path]
        if isinstance(result, FileFailure):
            return replace(result, path=name, reason=result.reason.replace(str(local), str(name)))
        return replace(result, path=name)


def outcome(report: bytes) -> list[Found]:
    """Return what an `Embedder` has made of a unit; raise what stopped it."""
    found = pickle.loads(report)
    if isinstance(found, StemwiseError):
        raise found
    return list(found)


def _stored(result: Any, tags: Tags | None, fragment: str) -> Found:
    """Return `result` without its vectors."""
    if isinstance(result, FileEmbedding):
        assert tags is not None
        return FileStored(
            result.path, result.content, result.duration_seconds, result.segments, tags, fragment
        )
    if isinstance(result, FileMatch):
        return replace(result, tags=tags)
    assert isinstance(result, FileFailure)
    return result


def _fetch(place: Place, folder: Path) -> Path:
    """Copy `place` into `folder`, which is made; return the copy."""
    folder.mkdir(exist_ok=True)
    suffix = place.suffix if len(place.suffix.encode()) < 20 else ""
    fits = len(place.name.encode()) <= _LONGEST_NAME
    copy = folder / (place.name if fits else f"music{suffix}")
    fetch(place, copy)
    return copy
