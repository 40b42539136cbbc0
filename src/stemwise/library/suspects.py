"""Files that bring the whole process down, found out after it has happened.

A decoder written in C can crash on a damaged file, and no exception tells which one it was. So the
names of the files being read are noted in the file ``reading`` of the catalogue. An index that
finds such a note was preceded by one that died: it first reads the files named there in a process
of their own, and records those that kill that too as errors. A run that was merely killed costs the
next one a few seconds by this, and no file is blamed for it.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from stemwise.audio import stream
from stemwise.errors import StemwiseError

__all__ = ["Journal", "find_killers", "read_all"]

_RATE_HZ = 22050
_BLOCK_SECONDS = 10.0


class Journal:
    """The note of what is being read; one line of JSON, [name, begun], for each change."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "reading"

    def left(self) -> set[str]:
        """Return the names that the last run had begun and not ended."""
        names: set[str] = set()
        with contextlib.suppress(OSError, ValueError):  # the last line may be cut off
            for line in self.path.read_text(encoding="utf-8").splitlines():
                name, begun = json.loads(line)
                (names.add if begun else names.discard)(name)
        return names

    def begin(self, paths: Iterable[Path]) -> Iterator[Path]:
        """Yield `paths`, each noted before it is handed out."""
        for path in paths:
            self._note(path, begun=True)
            yield path

    def end(self, path: Path) -> None:
        """Note that `path` was read."""
        self._note(path, begun=False)

    def clear(self) -> None:
        """Forget everything: no file is being read."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)

    def _note(self, path: Path, *, begun: bool) -> None:
        # A full disk is told of where rows are written; without a note nothing is lost.
        with contextlib.suppress(OSError), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([str(path), begun]) + "\n")


def find_killers(paths: Sequence[Path]) -> dict[Path, str]:
    """Return those of `paths` that kill a process which reads them, and what it died of."""
    killers: dict[Path, str] = {}
    rest = list(paths)
    while rest:
        done = subprocess.run(
            [sys.executable, "-c", "from stemwise.library.suspects import read_all; read_all()"],
            input="\n".join(json.dumps(str(path)) for path in rest),
            capture_output=True,
            text=True,
            check=False,
        )
        begun = len(done.stdout.splitlines())
        if done.returncode >= 0 or not begun:  # it lived, or could not even begin
            break
        killer = rest[begun - 1]
        how = signal.Signals(-done.returncode).name
        killers[killer] = f"{killer} crashes its decoder ({how}); export it again"
        rest = rest[begun:]
    return killers


def read_all() -> None:
    """Decode the files named on standard input, a JSON text a line; print a line before each."""
    for line in sys.stdin.read().splitlines():
        os.write(sys.stdout.fileno(), b"begun\n")
        with contextlib.suppress(StemwiseError):
            for _ in stream(Path(json.loads(line)), _RATE_HZ, _BLOCK_SECONDS):
                pass
