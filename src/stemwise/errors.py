"""Everything that Stemwise raises on purpose.

::

    StemwiseError           one clear line: what is wrong, the value seen, what to do next
    ├── UsageError          the caller asked for something that cannot be (exit 2)
    ├── AudioError          a file cannot be decoded, or holds too little sound
    ├── CatalogueError      a catalogue is missing, damaged or busy
    │   ├── BusyError           another process is writing it
    │   └── FingerprintError    its vectors were made by another model
    ├── CorpusError         a corpus or bank is missing, incomplete or split wrongly
    ├── ModelError          a checkpoint is missing, damaged or of another kind
    ├── RecipeError         a recipe has an unknown key or a value out of range
    └── MissingExtraError   an optional dependency is not installed
"""

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = [
    "EXIT_SOME_FAILED",
    "AudioError",
    "BusyError",
    "CatalogueError",
    "CorpusError",
    "FingerprintError",
    "MissingExtraError",
    "ModelError",
    "RecipeError",
    "StemwiseError",
    "UsageError",
    "extra",
]

EXIT_SOME_FAILED = 3  # done, but some files failed


class StemwiseError(Exception):
    """Base of all errors raised on purpose; its text is one line for the user."""

    exit_code = 1


class UsageError(StemwiseError):
    """The caller asked for something that cannot be."""

    exit_code = 2


class AudioError(StemwiseError):
    """A file cannot be decoded, or holds too little sound."""


class CatalogueError(StemwiseError):
    """A catalogue is missing, damaged or busy."""


class BusyError(CatalogueError):
    """Another process is writing the catalogue."""


class FingerprintError(CatalogueError):
    """The catalogue's vectors were made by another model, front end or segmenting."""


class CorpusError(StemwiseError):
    """A corpus or bank is missing, incomplete or split wrongly."""


class ModelError(StemwiseError):
    """A checkpoint is missing, damaged or of another kind."""


class RecipeError(StemwiseError):
    """A recipe has an unknown key or a value out of range."""


class MissingExtraError(StemwiseError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"{package} is not installed; install it with: pip install 'stemwise[{extra}]'"
        )


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Turn a failed import inside the block into a line that names the extra to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "a package", name) from error
