"""Which files of a collection are music, and what else was there.

Conventions: everything found is either a file to index or was passed over for one `Reason`. An
entry is a file, a link, something special, or a folder that was not searched; ``found`` counts
entries, so that ``found = files + the sum of the counts``. Paths are absolute; links in them are
kept.

How folders are searched:

1. A folder with a file ``.notmusic`` is passed over, as are names that begin with a dot and what
   the globs exclude. Globs are those of a ``.gitignore`` that lies in the folder that was named.
2. A file is music by its extension or, if asked, by its content, as mutagen knows it: MPEG audio,
   MP4, FLAC, Ogg, WAV, AIFF, WavPack, Monkey's Audio, Musepack, True Audio, WMA, DSD.
3. Links come last, so that a real name wins over a link to it. A linked folder is searched
   wherever it lies, unless it was searched before or holds the collection itself.
4. Pipes, sockets and devices are never opened. A folder that cannot be listed stops nothing.

Memory: the paths, one number for each file and folder, and one folder's names at a time.
"""

import contextlib
import os
import stat
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import mutagen
import pathspec
from mutagen.smf import SMF

from stemwise.audio import EXTENSIONS, open_file
from stemwise.errors import AudioError, UsageError

__all__ = ["MARKER", "Listing", "PassedOver", "Reason", "exclusion", "music_files", "walk"]

MARKER = ".notmusic"


class Reason(StrEnum):
    """Why an entry is not indexed."""

    NOT_MUSIC = "not music"
    HIDDEN = "hidden"
    EXCLUDED = "excluded by a glob"
    MARKED = "folder with a file .notmusic"
    SAME_FILE = "another name of a file found already"
    SAME_FOLDER = "leads to a folder searched already, or to one above"
    BROKEN_LINK = "link that leads nowhere"
    SPECIAL = "neither a file nor a folder"
    UNREADABLE = "cannot be read"
    VANISHED = "gone while folders were searched"


_ONLY_COUNTED = frozenset((Reason.NOT_MUSIC, Reason.HIDDEN, Reason.EXCLUDED))


@dataclass(frozen=True)
class PassedOver:
    """An entry that is not indexed, and why."""

    path: Path
    reason: Reason
    detail: str = ""  # what the system said, if it said something

    def __str__(self) -> str:
        """Return one line: path, reason and detail."""
        return f"{self.path}: {self.reason}" + (f" ({self.detail})" if self.detail else "")


@dataclass(frozen=True)
class Listing:
    """What was found; ``found = len(files) + sum(counts.values())``."""

    files: tuple[Path, ...]  # the music, sorted, each once
    counts: Mapping[Reason, int]  # entries passed over, by reason
    passed_over: tuple[PassedOver, ...]  # those that are not merely hidden, excluded or no music
    # of files elsewhere: size in bytes, modification time in ns
    states: Mapping[Path, tuple[int, int]] = field(default_factory=dict)

    @property
    def found(self) -> int:
        """The number of entries."""
        return len(self.files) + sum(self.counts.values())

    @property
    def unseen(self) -> tuple[Path, ...]:
        """Files and folders of which nothing is known now: what lay there may be there still."""
        unknown = (Reason.UNREADABLE, Reason.VANISHED)
        return tuple(entry.path for entry in self.passed_over if entry.reason in unknown)


def music_files(
    paths: Iterable[Path | str], exclude: Iterable[str] = (), *, by_content: bool = False
) -> Listing:
    """Return the music files named by `paths` and under them, and what was passed over.

    Args:
        paths: folders, searched to any depth, and files. A file that is named itself is taken
            whatever it is called and holds.
        exclude: globs as in a ``.gitignore`` (``live/``, ``*.tmp.mp3``, ``/demos``, ``!keep.mp3``),
            from the folder that was named; they bind below it only.
        by_content: look into files whose extension is not that of music.

    Raises:
        UsageError: a path is neither a file nor a folder, or a glob is none.
    """
    files: list[str] = []
    counts: Counter[Reason] = Counter()
    passed_over: list[PassedOver] = []
    for entry in walk(paths, exclude, by_content=by_content):
        if isinstance(entry, Path):
            files.append(str(entry))
        else:
            counts[entry.reason] += 1
            if entry.reason not in _ONLY_COUNTED:
                passed_over.append(entry)
    return Listing(tuple(map(Path, sorted(files))), counts, tuple(passed_over))


def walk(
    paths: Iterable[Path | str], exclude: Iterable[str] = (), *, by_content: bool = False
) -> Iterator[Path | PassedOver]:
    """Yield what `music_files` collects, entry by entry, as folders are read.

    The order follows from the names alone: files named; then, folder by folder, its files and what
    lies in its folders; then links.
    """
    spec = exclusion(exclude)
    files, folders = _tops(paths)
    search = _Search(spec, by_content, set(files), folders)
    for name in files:
        yield search.taken(name)
    for top in folders:
        yield from search.folder(top, top)
    yield from search.linked()


def exclusion(exclude: Iterable[str]) -> pathspec.GitIgnoreSpec | None:
    """Return what matches the globs `exclude`; None if there are none.

    Raises:
        UsageError: one of them is no glob.
    """
    globs = [glob for glob in exclude if glob.strip() and not glob.startswith("#")]
    for glob in globs:
        try:
            (pattern,) = pathspec.GitIgnoreSpec.from_lines([glob]).patterns
            understood = pattern.include is not None
        except ValueError:
            understood = False
        if not understood:
            raise UsageError(
                f"{glob!r} is no glob to exclude files by; write it as in a .gitignore, "
                "such as live/ or *.tmp.mp3"
            )
    return pathspec.GitIgnoreSpec.from_lines(globs) if globs else None


def _tops(paths: Iterable[Path | str]) -> tuple[list[str], list[str]]:
    """Return the files and the folders that `paths` name, absolute, each once."""
    files: dict[str, None] = {}
    folders: dict[str, None] = {}
    for path in paths:
        top = os.path.abspath(path)
        try:
            mode = os.stat(top).st_mode
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise UsageError(f"{path} is neither a file nor a folder: {reason}") from None
        if stat.S_ISDIR(mode):
            folders[top] = None
        elif stat.S_ISREG(mode):
            files[top] = None
        else:
            raise UsageError(f"{path} is neither a file nor a folder; name one of these")
    return list(files), list(folders)


class _Search:
    """What was seen so far, so that no file is taken and no folder searched twice."""

    def __init__(
        self,
        spec: pathspec.GitIgnoreSpec | None,
        by_content: bool,
        named: set[str],
        tops: Iterable[str],
    ) -> None:
        self.spec = spec
        self.by_content = by_content
        self.named = named  # files that were named themselves: settled before
        self.files: set[int] = set()
        self.folders: set[int] = set()
        self.above: set[int] = set()  # folders that hold those that were named
        for folder in (above for top in tops for above in Path(os.path.realpath(top)).parents):
            with contextlib.suppress(OSError):  # gone since
                self.above.add(_identity(os.stat(folder)))
        self.links: deque[tuple[str, str]] = deque()  # (link, top that its globs start from)

    def folder(self, folder: str, top: str) -> Iterator[Path | PassedOver]:
        """Yield what is in `folder` and below it, or that it is passed over."""
        pending = [folder]
        while pending:
            here = pending.pop()
            names = self.listed(here)
            if isinstance(names, PassedOver):
                yield names
                continue
            inner: list[str] = []
            for entry in names:
                if entry.path not in self.named:
                    settled = self.entry(entry, top, inner)
                    if settled is not None:
                        yield settled
            pending += reversed(inner)

    def listed(self, folder: str) -> list[os.DirEntry[str]] | PassedOver:
        """Return the entries of `folder`, sorted, or why it is passed over."""
        try:
            here = _identity(os.stat(folder))
            if here in self.folders:
                return PassedOver(Path(folder), Reason.SAME_FOLDER)
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            return _unseen(folder, error)
        self.folders.add(here)
        if any(entry.name == MARKER for entry in found):
            return PassedOver(Path(folder), Reason.MARKED)
        return found

    def entry(
        self, entry: os.DirEntry[str], top: str, inner: list[str]
    ) -> Path | PassedOver | None:
        """Return what becomes of `entry`; None if it is put off: a folder to `inner`, or a link."""
        path = Path(entry.path)
        if entry.name.startswith("."):
            return PassedOver(path, Reason.HIDDEN)
        try:
            is_folder = entry.is_dir(follow_symlinks=False)
            if self.excluded(entry.path, top, is_folder=is_folder):
                return PassedOver(path, Reason.EXCLUDED)
            if is_folder:
                inner.append(entry.path)
                return None
            if entry.is_symlink():
                self.links.append((entry.path, top))
                return None
            if not entry.is_file(follow_symlinks=False):
                return PassedOver(path, Reason.SPECIAL)
        except OSError as error:
            return _unseen(entry.path, error)
        return self.file(entry.path)

    def excluded(self, path: str, top: str, *, is_folder: bool) -> bool:
        """Tell whether the globs exclude `path`, which lies under `top`."""
        if self.spec is None:
            return False
        return self.spec.match_file(os.path.relpath(path, top) + ("/" if is_folder else ""))

    def file(self, name: str) -> Path | PassedOver:
        """Return the regular file `name` if it is music that was not found before, or why not."""
        if os.path.splitext(name)[1].lower() not in EXTENSIONS:
            try:
                if not (self.by_content and _holds_music(name)):
                    return PassedOver(Path(name), Reason.NOT_MUSIC)
            except AudioError as error:
                return PassedOver(Path(name), Reason.UNREADABLE, str(error.__cause__ or error))
        return self.taken(name)

    def taken(self, name: str) -> Path | PassedOver:
        """Return the file `name` unless it was found under another name, or has gone."""
        try:
            here = _identity(os.stat(name))
        except OSError as error:
            return _unseen(name, error)
        if here in self.files:
            return PassedOver(Path(name), Reason.SAME_FILE)
        self.files.add(here)
        return Path(name)

    def linked(self) -> Iterator[Path | PassedOver]:
        """Yield what the links lead to, and the links found there."""
        while self.links:
            link, top = self.links.popleft()
            try:
                target = os.stat(link)
            except PermissionError as error:
                yield _unseen(link, error)
                continue
            except OSError as error:  # nothing there, or links in a circle
                yield PassedOver(Path(link), Reason.BROKEN_LINK, error.strerror or str(error))
                continue
            if stat.S_ISDIR(target.st_mode):
                if _identity(target) in self.above:
                    yield PassedOver(Path(link), Reason.SAME_FOLDER)
                else:
                    yield from self.folder(link, top)
            elif stat.S_ISREG(target.st_mode):
                yield self.file(link)
            else:
                yield PassedOver(Path(link), Reason.SPECIAL)


def _identity(status: os.stat_result) -> int:
    """Return one number per file or folder of this machine."""
    return status.st_dev << 64 | status.st_ino


def _unseen(path: str, error: OSError) -> PassedOver:
    gone = isinstance(error, FileNotFoundError | NotADirectoryError)
    reason = Reason.VANISHED if gone else Reason.UNREADABLE
    return PassedOver(Path(path), reason, error.strerror or str(error))


def _holds_music(name: str) -> bool:
    """Tell whether mutagen knows the content of `name` as music; `AudioError` if unreadable."""
    with open_file(name) as file:
        try:
            known = mutagen.File(file)
        except Exception:  # a damaged file takes many forms; none of them is known music
            return False
    return known is not None and not isinstance(known, SMF)
