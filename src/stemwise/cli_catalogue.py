"""Commands that make a catalogue and look after it; see `stemwise.cli`."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import platformdirs
import typer

from stemwise import console
from stemwise.errors import EXIT_SOME_FAILED, UsageError

if TYPE_CHECKING:
    from stemwise.library.catalogue import Catalogue
    from stemwise.library.engines import Engine
    from stemwise.models.checkpoint import Model

__all__ = ["AsJson", "CataloguePath", "Jobs", "catalogue_app", "catalogue_path", "collection_app"]

CataloguePath = Annotated[
    Path | None,
    typer.Option("--catalogue", envvar="STEMWISE_CATALOGUE", help="Folder of the catalogue."),
]
Jobs = Annotated[int | None, typer.Option(min=1, help="Files at a time; default: the CPU cores.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]

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

collection_app = typer.Typer()
catalogue_app = typer.Typer(no_args_is_help=True, help="Check and convert a catalogue.")


def catalogue_path(given: Path | None) -> Path:
    """Return the catalogue's folder: what was given, or the one under the user's data."""
    return given or Path(platformdirs.user_data_dir("stemwise")) / "catalogue"


@collection_app.command()
def index(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="DIR...", help="Folders or files.")
    ] = None,
    catalogue: CataloguePath = None,
    jobs: Jobs = None,
    model: Annotated[
        str | None, typer.Option(help="Name or file; default: the catalogue's own, or compact.")
    ] = None,
    retry: Annotated[bool, typer.Option(help="Try files again that failed before.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Open so many files at most.")] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Glob to pass over, as in .gitignore; repeatable.")
    ] = None,
    by_content: Annotated[
        bool, typer.Option("--by-content", help="Look into files that are not named like music.")
    ] = False,
    prune: Annotated[
        bool, typer.Option(help="Forget pieces whose file has gone, unless its drive has.")
    ] = False,
    prune_empty: Annotated[
        bool, typer.Option(help="Forget also those of folders that are empty or gone.")
    ] = False,
    rebuild: Annotated[
        bool, typer.Option(help="Make all vectors anew with --model; then search with these.")
    ] = False,
    watch: Annotated[bool, typer.Option(help="Go on, and index whatever changes.")] = False,
    nice: Annotated[int, typer.Option(min=0, max=19, help="Give way to other programs.")] = 0,
    engine: EngineName = None,
    address: Address = None,
    actors: Actors = None,
    gpus: Gpus = 0.0,
    memory: Memory = None,
    lists: Lists = None,
    as_json: AsJson = False,
) -> None:
    """Bring the catalogue up to date with music folders; stop it at any time."""
    from stemwise.library.catalogue import Catalogue
    from stemwise.library.search import prepare
    from stemwise.models.checkpoint import load_model

    named = [*(paths or []), *(lists or [])]
    _check_choices(named, rebuild, watch, limit, prune or prune_empty, exclude, by_content)
    cluster = _cluster(engine, address, actors, gpus, memory, lists, rebuild or watch)
    os.nice(nice)
    signal.signal(signal.SIGTERM, _interrupt)
    store = Catalogue.open(catalogue_path(catalogue), create=not rebuild)
    if rebuild:
        again = store.metadata.rebuild
        _rebuild(store, model or (again.model if again else None), jobs, retry, limit, as_json)
        return
    loaded = load_model(model or store.model_source or "compact")
    with _stopping_well(), console.progress("files") as progress:
        summary = store.index(
            paths or [], loaded, jobs, progress, retry=retry, limit=limit, prune=prune,
            prune_empty=prune_empty, exclude=exclude or [], by_content=by_content, engine=cluster,
        )  # fmt: skip
    console.print_index(summary, as_json)
    if cluster is None:
        prepare(store)
    if watch:
        _watch(store, paths or [], loaded, jobs, prune, exclude or [], as_json)
    elif summary.failed:
        raise typer.Exit(EXIT_SOME_FAILED)


@collection_app.command()
def status(catalogue: CataloguePath = None, as_json: AsJson = False) -> None:
    """Show what the catalogue holds: files = pieces + copies + waiting + errors."""
    from stemwise.library.catalogue import Catalogue

    console.print_status(Catalogue.open(catalogue_path(catalogue)).status(), as_json)


@collection_app.command()
def errors(catalogue: CataloguePath = None, as_json: AsJson = False) -> None:
    """List the files that could not be indexed, and why; try again with index --retry."""
    from stemwise.library.catalogue import Catalogue

    console.print_errors(Catalogue.open(catalogue_path(catalogue)).errors(), as_json)


@catalogue_app.command()
def verify(
    catalogue: CataloguePath = None,
    repair: Annotated[
        bool, typer.Option(help="Remove what is wrong; index again to fill the gaps.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check that the catalogue is whole; exit 1 with a line for each finding if it is not."""
    from stemwise.library.catalogue import Catalogue

    store = Catalogue.open(catalogue_path(catalogue))
    findings = store.verify(repair=repair)
    console.print_findings(findings, as_json)
    if findings and repair:
        findings = store.verify()
        rest = f"{len(findings)} findings cannot be" if findings else "all is"
        console.remark(
            f"{rest} repaired; {store.status().waiting} files wait for: stemwise index FOLDER"
        )
    if findings:
        raise typer.Exit(1)


@catalogue_app.command()
def migrate(catalogue: CataloguePath = None, as_json: AsJson = False) -> None:
    """Bring a catalogue of an older version to the present format, keeping its vectors."""
    from stemwise.library.migrations import migrate as bring_up_to_date

    console.print_migration(bring_up_to_date(catalogue_path(catalogue)), as_json)


def _check_choices(
    paths: list[Path] | None,
    rebuild: bool,
    watch: bool,
    limit: int | None,
    prune: bool,
    exclude: list[str] | None,
    by_content: bool,
) -> None:
    """Raise `UsageError` for options that do not go together."""
    if rebuild and (paths or watch or prune or exclude or by_content):
        raise UsageError(
            "--rebuild goes over the files that the catalogue knows; it takes no folder and none "
            "of --watch, --prune, --prune-empty, --exclude, --by-content"
        )
    if not rebuild and not paths:
        raise UsageError("no folder given; write: stemwise index FOLDER")
    if watch and limit:
        raise UsageError("--watch indexes all that changes; leave out --limit")
    if watch and by_content:
        raise UsageError(
            "--watch sees by its name whether a new file is music; leave out --by-content"
        )


def _cluster(
    name: str | None,
    address: str | None,
    actors: int | None,
    gpus: float,
    memory: float | None,
    lists: list[Path] | None,
    alone: bool,
) -> "Engine | None":
    """Return the engine called `name`; None for this machine's threads."""
    if name is None:
        if address or actors or gpus or memory or lists:
            raise UsageError(
                "--address, --actors, --gpus, --memory and --list are for a cluster; add: "
                "--engine ray"
            )
        return None
    if name != "ray":
        raise UsageError(f"there is no engine {name!r}; write: --engine ray, or leave it out")
    if alone:
        raise UsageError("--rebuild and --watch run on this machine; leave out --engine")
    from stemwise.scale.engine import RayEngine

    memory_bytes = int(memory * 1e9) if memory else None
    return RayEngine(address, actors, gpus, memory_bytes, lists or [])


def _rebuild(
    store: "Catalogue",
    source: str | None,
    jobs: int | None,
    retry: bool,
    limit: int | None,
    as_json: bool,
) -> None:
    """Rebuild `store`, print what was done, and end with the exit code."""
    from stemwise.library.search import prepare
    from stemwise.models.checkpoint import load_model

    if source is None:
        raise UsageError("--rebuild needs to know with which model: add --model NAME-OR-FILE")
    with _stopping_well(), console.progress("files") as progress:
        summary = store.rebuild(load_model(source), jobs, progress, retry=retry, limit=limit)
    console.print_rebuild(summary, as_json)
    if summary.switched:
        prepare(store)
    if summary.failed:
        raise typer.Exit(EXIT_SOME_FAILED)


def _watch(
    store: "Catalogue",
    paths: list[Path],
    model: "Model",
    jobs: int | None,
    prune: bool,
    exclude: list[str],
    as_json: bool,
) -> None:
    """Index what changes until Ctrl-C or SIGTERM, which end it well."""
    from stemwise.library.watching import watch

    console.remark(f"watching {', '.join(map(str, paths))}; stop with Ctrl-C")
    try:
        for number, summary in enumerate(
            watch(store, paths, model, jobs, prune=prune, exclude=exclude)
        ):
            if number or summary.found != summary.unchanged + summary.failed:
                console.print_index(summary, as_json)
    except KeyboardInterrupt:
        console.remark("stopped")


@contextmanager
def _stopping_well() -> Iterator[None]:
    """Say after Ctrl-C that nothing is lost, and end with its exit code."""
    try:
        yield
    except KeyboardInterrupt:
        console.remark("interrupted; what was done is kept, and the same command goes on")
        raise typer.Exit(EXIT_INTERRUPTED) from None


def _interrupt(number: int, frame: Any) -> NoReturn:
    """Treat SIGTERM like Ctrl-C, so that what was done is written."""
    raise KeyboardInterrupt
