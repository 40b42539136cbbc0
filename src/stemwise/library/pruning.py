"""Which known pieces may be forgotten because their file has gone, and which had better be kept.

A piece that is gone is forgotten only if its absence is no accident. It is spared if

- its folder, or the nearest folder above it that is still there, is *empty*: so looks the mount
  point of a drive that is not plugged in;
- no music at all is left in the folder that was given;
- a folder above it could not be read.

Whoever says so explicitly forgets pieces in the first two cases too, and those of a given folder
that is there no longer.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

__all__ = ["forgettable", "under"]


def under(name: str, tops: Iterable[str]) -> bool:
    """Tell whether the absolute path `name` is, or lies below, one of `tops`."""
    return any(name == top or name.startswith(top.rstrip(os.sep) + os.sep) for top in tops)


def forgettable(
    gone: Iterable[str],
    tops: Sequence[str],
    files: Iterable[Path],
    unseen: Iterable[Path] = (),
    *,
    even_if_empty: bool = False,
) -> tuple[set[str], tuple[Path, ...]]:
    """Return which of the paths `gone` may be forgotten, and the folders for which others may not.

    Args:
        gone: known files under `tops` that were not found.
        tops: the files and folders that were given, absolute.
        files: the music that was found there.
        unseen: files and folders that could not be read.
        even_if_empty: forget pieces of empty and vanished folders too.
    """
    found = [str(path) for path in files]
    locked = [str(path) for path in unseen]
    bare = {top for top in tops if not any(under(name, [top]) for name in found)}
    empty: dict[str, str | None] = {}
    forgotten: set[str] = set()
    spared: set[str] = set()
    for name in gone:
        reasons = [folder for folder in locked if under(name, [folder])]
        if not even_if_empty:
            reasons += [top for top in bare if under(name, [top])]
            folder = os.path.dirname(name)
            if folder not in empty:
                empty[folder] = _empty_above(folder)
            reasons += filter(None, [empty[folder]])
        spared.update(reasons[:1])
        if not reasons:
            forgotten.add(name)
    return forgotten, tuple(Path(folder) for folder in sorted(spared))


def _empty_above(folder: str) -> str | None:
    """Return the nearest folder at or above `folder` that is there, if it is empty."""
    while not os.path.isdir(folder):
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above
    try:
        with os.scandir(folder) as entries:
            return None if next(entries, None) else folder
    except OSError:
        return folder  # cannot be read: nothing is known of it
