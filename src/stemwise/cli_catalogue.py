"""Commands that make vectors or a catalogue of them, and look after it; see `stemwise.cli`."""

import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import platformdirs
import typer

from stemwise import console
from stemwise.cli_cluster import (
    Actors,
    Address,
    EngineName,
    Gpus,
    Lists,
    Memory,
    cluster,
    stopping_well,
)
from stemwise.errors import EXIT_SOME_FAILED, UsageError

if TYPE_CHECKING:
    from stemwise.library.catalogue import Catalogue
    from stemwise.models.checkpoint import Model

__all__ = ["AsJson", "CataloguePath", "Jobs", "catalogue_app", "catalogue_path", "collection_app"]


CataloguePath = Annotated[
    Path | None,
    typer.Option(
        "--catalogue", envvar="STEMWISE_CATALOGUE", help="Folder or URI of the catalogue."
    ),
]
Jobs = Annotated[int | None, typer.Option(min=1, help="Files at a time; default: the CPU cores.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]

collection_app = typer.Typer()
catalogue_app = typer.Typer(no_args_is_help=True, help="Check and convert a catalogue.")


def catalogue_path(given: Path | None) -> Path:
    """Return the catalogue's folder or URI: what was given, or the one under the user's data."""
    from stemwise.library.places import place_of

    return place_of(given or Path(platformdirs.user_data_dir("stemwise")) / "catalogue")


@collection_app.command()
def index(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="DIR...", help="Folders or files.")
    ] = None,
    catalogue: CataloguePath = None,
    jobs: Jobs = None,
    model: Annotated[
        str | None,
        typer.Option(help="Name or file; default: the catalogue's own, or the best shipped."),
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
    from stemwise.models.checkpoint import DEFAULT_MODEL, load_model

    named = [*(paths or []), *(lists or [])]
    _check_choices(named, rebuild, watch, limit, prune or prune_empty, exclude, by_content)
    machines = cluster(engine, address, actors, gpus, memory, lists)
    if machines is not None and (rebuild or watch):
        raise UsageError("--rebuild and --watch run on this machine; leave out --engine")
    os.nice(nice)
    store = Catalogue.open(catalogue_path(catalogue), create=not rebuild)
    if rebuild:
        again = store.metadata.rebuild
        source = model or (again.model if again else None)
        _rebuild(store, source, jobs, retry, limit, as_json)
        return
    loaded = load_model(model or store.model_source or DEFAULT_MODEL)
    with stopping_well(), console.progress("files") as progress:
        summary = store.index(
            paths or [], loaded, jobs, progress, retry=retry, limit=limit, prune=prune,
            prune_empty=prune_empty, exclude=exclude or [], by_content=by_content, engine=machines,
        )  # fmt: skip
    console.print_index(summary, as_json)
    if machines is None:
        prepare(store)
    if watch:
        _watch(store, paths or [], loaded, jobs, prune, exclude or [], as_json)
    elif summary.failed:
        raise typer.Exit(EXIT_SOME_FAILED)


@collection_app.command()
def embed(
    output: Annotated[Path, typer.Option("-o", "--output", help="A NumPy archive, .npz.")],
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE|DIR...", help="Files or folders.")
    ] = None,
    jobs: Jobs = None,
    model: Annotated[
        str | None,
        typer.Option(help="A shipped model's name, or a file; default: the best shipped."),
    ] = None,
    engine: EngineName = None,
    address: Address = None,
    actors: Actors = None,
    gpus: Gpus = 0.0,
    memory: Memory = None,
    lists: Lists = None,
) -> None:
    """Write the vectors of music files, segment by segment, to a NumPy archive."""
    from stemwise.library.archive import embed_to_archive
    from stemwise.models.checkpoint import DEFAULT_MODEL, load_model

    machines = cluster(engine, address, actors, gpus, memory, lists)
    if not (paths or lists):
        raise UsageError("no file given; write: stemwise embed FILE|FOLDER -o vectors.npz")
    loaded = load_model(model or DEFAULT_MODEL)
    stopping = stopping_well() if machines is not None else nullcontext()
    with stopping, console.progress("files") as progress:
        failures = embed_to_archive(paths or [], loaded, output, jobs, progress, machines)
    for failure in failures:
        console.remark(failure.reason)
    if failures:
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
    with stopping_well(), console.progress("files") as progress:
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
