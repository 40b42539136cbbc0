"""Where files and catalogues lie: on this machine's disks, or elsewhere, named by a URI.

Conventions: a `Place` is a path elsewhere, such as ``s3://music/albums/song.flac``. It is taken
apart and put together like any path, and its text is the URI. Keys are taken as they are written,
never decoded; one that no path can hold (``a//b``, ``a/./b``) is no place.

Storage is reached through pyarrow (s3, gs, abfs, hdfs), and whatever pyarrow does not know through
fsspec, if that knows it. Keys and addresses come from the environment, as those systems document
it (``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``, …).
"""

import errno
import os
import re
from functools import lru_cache
from pathlib import Path, PosixPath
from typing import Any

import fsspec
from pyarrow import fs

from stemwise.errors import UsageError

__all__ = ["Place", "exists", "fetch", "filesystem_of", "place_of", "read_text", "write_text"]

_BYTES_AT_A_TIME = 1 << 20

_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)", re.DOTALL)


class Place(PosixPath):
    """A path elsewhere; its text is a URI. What needs a file of this machine fails on it."""

    def __str__(self) -> str:
        return super().__str__().replace(":/", "://", 1)

    def mkdir(self, *args: Any, **kwargs: Any) -> None:
        """Raise `OSError`: there are no folders elsewhere, and none is to be made here instead."""
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))


def place_of(path: Path | str) -> Path:
    """Return a `Place` for a URI, an absolute path for all else.

    A URI may have lost a slash, as ``str(Path("s3://a/b"))`` does.

    Raises:
        UsageError: a URI that names no bucket, or that no path can hold.
    """
    if isinstance(path, Place):
        return path
    text = str(path)
    found = _URI.fullmatch(text)
    if found is None:
        return Path(os.path.abspath(text))
    scheme, rest = found[1].lower(), found[2].rstrip("/")
    if scheme == "file":
        return Path("/", rest)
    place = Place(f"{scheme}:/{rest}")
    if not rest or str(place) != f"{scheme}://{rest}" or ".." in place.parts:
        raise UsageError(
            f"{text} names no place: write SCHEME://BUCKET/PATH without empty or dotted parts"
        )
    return place


def filesystem_of(place: Path) -> tuple[fs.FileSystem, str]:
    """Return the storage that holds `place`, and the path in it; made once per bucket.

    Raises:
        UsageError: no library that is installed knows the scheme.
    """
    if not isinstance(place, Place):
        return _LOCAL, str(place)
    scheme, bucket = place.parts[0].removesuffix(":"), place.parts[1]
    storage, base = _storage(scheme, bucket)
    return storage, "/".join((base, *place.parts[2:]))


def exists(path: Path, *, follow: bool = False) -> bool:
    """Tell whether something is there; with `follow` not if it is a link that leads nowhere."""
    if not isinstance(path, Place):
        return os.path.exists(path) if follow else os.path.lexists(path)
    storage, inner = filesystem_of(path)
    return bool(storage.get_file_info(inner).type != fs.FileType.NotFound)


def fetch(place: Path, copy: Path) -> None:
    """Copy the file `place` to `copy` on this machine; `OSError` if it cannot be read or written.

    The copy appears whole or not at all.
    """
    storage, inner = filesystem_of(place)
    partial = copy.with_name("partial." + copy.name)
    try:
        with (
            storage.open_input_stream(inner, compression=None) as source,
            partial.open("wb") as target,
        ):
            while block := source.read(_BYTES_AT_A_TIME):
                target.write(block)
        partial.replace(copy)
    finally:
        partial.unlink(missing_ok=True)


def read_text(path: Path) -> str:
    """Return the text of a small file; `OSError` as usual, `FileNotFoundError` if it is absent."""
    storage, inner = filesystem_of(path)
    with storage.open_input_stream(inner, compression=None) as file:
        return bytes(file.read()).decode()


def write_text(place: Place, text: str) -> None:
    """Replace a small object elsewhere: readers find the old text or the new one."""
    storage, inner = filesystem_of(place)
    with storage.open_output_stream(inner, compression=None) as file:
        file.write(text.encode())


@lru_cache
def _storage(scheme: str, bucket: str) -> tuple[fs.FileSystem, str]:
    """Return the storage behind ``scheme://bucket`` and the path of the bucket in it."""
    uri = f"{scheme}://{bucket}"
    try:
        storage, base = fs.FileSystem.from_uri(uri)
        return storage, base
    except (ValueError, NotImplementedError):  # a scheme, or an option, unknown to pyarrow
        pass
    try:
        found, base = fsspec.core.url_to_fs(uri)
    except (ValueError, ImportError) as error:
        raise UsageError(f"{uri} cannot be reached: {error}") from error
    return fs.PyFileSystem(fs.FSSpecHandler(found)), base.rstrip("/")


_LOCAL = fs.LocalFileSystem()
