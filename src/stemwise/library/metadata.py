"""What all vectors of a catalogue have in common: the file ``catalogue.json``.

It names the live model by its fingerprint, and by that the live tables. Whoever replaces it
switches the catalogue from one set of tables to another, at once and wholly: it is written beside,
brought to the disk, and renamed.
"""

import json
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from stemwise.errors import CatalogueError
from stemwise.library.places import Place, read_text, write_text

__all__ = [
    "FORMAT",
    "Generation",
    "Metadata",
    "format_of",
    "read_metadata",
    "write_metadata",
]

FORMAT = 2
_FILE = "catalogue.json"


class Generation(BaseModel):
    """The model that makes one set of vectors."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model: str  # a shipped model's name, or the path of a checkpoint
    fingerprint: str
    segment_seconds: float


class Metadata(Generation):
    """A catalogue's live generation, and the one that a rebuild is making."""

    format: int
    created: str  # ISO 8601, UTC
    rebuild: Generation | None = None


def format_of(directory: Path) -> int | None:
    """Return the number of the catalogue's format; None if `directory` holds none.

    Raises:
        CatalogueError: ``catalogue.json`` cannot be read.
    """
    written = _read(directory)
    return None if written is None else _format(directory, written)


def read_metadata(directory: Path) -> Metadata | None:
    """Return what ``catalogue.json`` in `directory` says; None if it is not there.

    Raises:
        CatalogueError: it cannot be read, is damaged or of another format.
    """
    written = _read(directory)
    if written is None:
        return None
    number = _format(directory, written)
    if number < FORMAT:
        raise CatalogueError(
            f"{directory} has format {number}, and this version of Stemwise reads format {FORMAT}; "
            f"bring it up to date with: stemwise catalogue migrate --catalogue {directory}"
        )
    if number > FORMAT:
        raise CatalogueError(
            f"{directory} has format {number}, made by a newer version of Stemwise; this one reads "
            f"format {FORMAT}: update Stemwise, or index into another catalogue"
        )
    try:
        return Metadata.model_validate(written)
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise CatalogueError(f"{directory / _FILE} is damaged: {reason}") from error


def write_metadata(directory: Path, metadata: Metadata) -> None:
    """Replace ``catalogue.json`` in `directory`, wholly or not at all, even if power is cut.

    Raises:
        CatalogueError: it cannot be written.
    """
    partial = directory / f"{_FILE}.partial"
    text = metadata.model_dump_json(indent=1) + "\n"
    try:
        if isinstance(directory, Place):
            write_text(directory / _FILE, text)
            return
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(directory / _FILE)
        folder = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise CatalogueError(
            f"{directory / _FILE} cannot be written: {error.strerror or error}; what was there is "
            "safe"
        ) from error


def _read(directory: Path) -> dict[str, object] | None:
    try:
        written = json.loads(read_text(directory / _FILE))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CatalogueError(
            f"{directory / _FILE} is damaged or cannot be read: {error}"
        ) from error
    if not isinstance(written, dict):
        raise CatalogueError(f"{directory / _FILE} is damaged: it holds no table")
    return written


def _format(directory: Path, written: dict[str, object]) -> int:
    number = written.get("format")
    if not isinstance(number, int) or number < 1:
        raise CatalogueError(f"{directory / _FILE} is damaged: its format is {number!r}")
    return number
