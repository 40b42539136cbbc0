"""The options of commands that can work on a cluster, and how they end; see `stemwise.cli`."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from stemwise import console
from stemwise.errors import UsageError

if TYPE_CHECKING:
    from stemwise.library.engines import Engine

__all__ = ["Actors", "Address", "EngineName", "Gpus", "Lists", "Memory", "cluster", "is_cluster",
           "stopping_well"]  # fmt: skip

EngineName = Annotated[
    str | None, typer.Option("--engine", help="ray: on a cluster, see docs/scale.md.")
]
Address = Annotated[str | None, typer.Option(help="Of the Ray cluster: auto, HOST:6379.")]
Actors = Annotated[int | None, typer.Option(min=1, help="Processes; default: what fits.")]
Gpus = Annotated[float, typer.Option(min=0, help="GPUs of each process, such as 0.25.")]
Memory = Annotated[float | None, typer.Option(min=0.1, help="GB set aside for each process.")]
Lists = Annotated[
    list[Path] | None,
    typer.Option("--list", help="Text with a path or URI a line, for a cluster; repeatable."),
]

EXIT_INTERRUPTED = 130


def is_cluster(name: str | None, *options: object) -> bool:
    """Tell whether the engine called `name` is a cluster; only such a one has `options`."""
    if name is None and any(options):
        raise UsageError(
            "--address, --actors, --gpus, --memory and --list are for a cluster; add: --engine ray"
        )
    if name not in (None, "ray"):
        raise UsageError(f"there is no engine {name!r}; write: --engine ray, or leave it out")
    return name is not None


def cluster(
    name: str | None,
    address: str | None,
    actors: int | None,
    gpus: float,
    memory: float | None,
    lists: list[Path] | None,
) -> "Engine | None":
    """Return the engine called `name`; None for this machine's threads."""
    if not is_cluster(name, address, actors, gpus, memory, lists):
        return None
    from stemwise.scale.engine import RayEngine

    memory_bytes = int(memory * 1e9) if memory else None
    return RayEngine(address, actors, gpus, memory_bytes, lists or [])


@contextmanager
def stopping_well() -> Iterator[None]:
    """Say after Ctrl-C or SIGTERM that nothing is lost, and end with the exit code of the first."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    except KeyboardInterrupt:
        console.remark("interrupted; what was done is kept, and the same command goes on")
        raise typer.Exit(EXIT_INTERRUPTED) from None


def _interrupt(number: int, frame: Any) -> NoReturn:
    """Treat SIGTERM like Ctrl-C, so that what was done is written."""
    raise KeyboardInterrupt
