"""Which files are music, on object storage and in long lists.

Below a URI the rules of `stemwise.library.collection` hold as far as they can: extensions, globs,
names that begin with a dot, ``.notmusic``; there are no links. A list is a text, here or elsewhere,
with an absolute path or a URI a line; what it names is taken whatever it is called. The machines of
the cluster look its lines up, so these must be readable from all of them.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import fs

from stemwise.audio import EXTENSIONS
from stemwise.errors import UsageError, extra
from stemwise.library.collection import (
    MARKER,
    Listing,
    PassedOver,
    Reason,
    exclusion,
    music_files,
)
from stemwise.library.places import Place, filesystem_of, place_of

with extra("scale"):
    import ray.data

__all__ = ["find_music"]

_ONLY_COUNTED = (Reason.NOT_MUSIC, Reason.HIDDEN, Reason.EXCLUDED)
_ABSENT, _NO_PATH = -1, -2  # in place of a size
State = tuple[int, int]  # size in bytes, modification time in ns


def find_music(
    paths: Iterable[Path | str],
    exclude: Iterable[str] = (),
    lists: Iterable[Path | str] = (),
    *,
    by_content: bool = False,
) -> Listing:
    """Return the music at and under `paths` and in `lists`, and what was passed over.

    Raises:
        UsageError: a path or list is not there, a glob is none, a storage cannot be reached; or
            files elsewhere are to be looked into for what they hold.
    """
    globs = list(exclude)
    here: list[Path | str] = []
    elsewhere: list[Place] = []
    states: dict[Path, State] = {}
    counts: Counter[Reason] = Counter()
    passed_over: list[PassedOver] = []
    for path in paths:
        place = place_of(path)
        if not isinstance(place, Place):
            here.append(path)
        else:
            elsewhere.append(place)
    if elsewhere and by_content:
        raise UsageError(f"{elsewhere[0]} is searched by extensions alone; leave out --by-content")
    listed = music_files(here, globs, by_content=by_content)
    entries = [_below(place, globs) for place in elsewhere]
    entries += [_in_list(place_of(text)) for text in lists]
    for entry in chain.from_iterable(entries):
        if isinstance(entry, PassedOver):
            counts[entry.reason] += 1
            if entry.reason not in _ONLY_COUNTED:
                passed_over.append(entry)
        else:
            states[entry[0]] = entry[1]
    files = sorted({*listed.files, *states})
    counts.update(listed.counts)
    return Listing(tuple(files), counts, (*listed.passed_over, *passed_over), states)


def _below(top: Place, globs: Sequence[str]) -> Iterator[tuple[Path, State] | PassedOver]:
    """Yield the music at and under `top`, and what is passed over."""
    storage, inner = filesystem_of(top)
    try:
        itself = storage.get_file_info(inner)
        if itself.type == fs.FileType.File:
            yield top, _state(itself)
            return
        infos = storage.get_file_info(fs.FileSelector(inner, recursive=True))
    except OSError as error:
        raise UsageError(f"{top} cannot be listed: {str(error).splitlines()[0]}") from error
    spec = exclusion(globs)
    files = [info for info in infos if info.type == fs.FileType.File]
    names = [info.path[len(inner) :].lstrip("/") for info in files]
    marked = {name.removesuffix(MARKER) for name in names if os.path.basename(name) == MARKER}
    for folder in sorted(marked):
        yield PassedOver(top / folder, Reason.MARKED)
    for info, name in zip(files, names, strict=True):
        path = top / name
        parts = name.split("/")
        if any("/".join((*parts[:k], "")).lstrip("/") in marked for k in range(len(parts))):
            continue
        if any(part.startswith(".") for part in parts):
            yield PassedOver(path, Reason.HIDDEN)
        elif spec is not None and spec.match_file(name):
            yield PassedOver(path, Reason.EXCLUDED)
        elif os.path.splitext(name)[1].lower() not in EXTENSIONS:
            yield PassedOver(path, Reason.NOT_MUSIC)
        elif str(path) != f"{top}/{name}":
            yield PassedOver(path, Reason.UNREADABLE, f"its name {name!r} is none of a path")
        else:
            yield path, _state(info)


def _in_list(text: Path) -> Iterator[tuple[Path, State] | PassedOver]:
    """Yield the files that the lines of `text` name, as the machines of the cluster see them."""
    storage, inner = filesystem_of(text)
    try:
        lines = ray.data.read_text(inner, filesystem=storage)
        looked_up = lines.map_batches(_look_up, batch_format="pyarrow", batch_size=10_000)
        for batch in looked_up.iter_batches(batch_format="pyarrow", batch_size=None):
            for row in batch.to_pylist():
                if row["size"] >= 0:
                    yield place_of(row["path"]), (row["size"], row["mtime"])
                else:
                    absent = row["size"] == _ABSENT
                    reason = Reason.VANISHED if absent else Reason.UNREADABLE
                    yield PassedOver(_shown(row["path"]), reason)
    except (OSError, ValueError) as error:
        raise UsageError(f"{text} cannot be read: {str(error).splitlines()[0]}") from error


def _look_up(batch: pa.Table) -> pa.Table:
    """Return size and modification time of the files that a batch of lines names."""
    names = [line.strip() for line in batch["text"].to_pylist() if line.strip()]
    found: list[Any] = []
    for name in names:
        try:
            storage, inner = filesystem_of(_named(name))
            info = storage.get_file_info(inner)
            there = info.type == fs.FileType.File
            found.append((name, *(_state(info) if there else (_ABSENT, 0))))
        except (OSError, UsageError):
            found.append((name, _NO_PATH, 0))
    kinds = (pa.string(), pa.int64(), pa.int64())
    columns = zip(*found, strict=True) if found else ((), (), ())
    arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    return pa.table(arrays, names=["path", "size", "mtime"])


def _named(line: str) -> Path:
    """Return what a line of a list names; `UsageError` if that is not absolute, or no place."""
    place = place_of(line)
    if not isinstance(place, Place) and not line.lower().startswith(("/", "file:/")):
        raise UsageError(f"{line} is not absolute")
    return place


def _shown(line: str) -> Path:
    """Return what a line names; if that is nothing, the line as it is."""
    try:
        return _named(line)
    except UsageError:
        return Path(line)


def _state(info: fs.FileInfo) -> State:
    return int(info.size or 0), int(info.mtime_ns or 0)
