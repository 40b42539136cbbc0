"""The command line: every command parses, calls one function and prints.

Results go to stdout, progress to stderr. Exit 0: done; 1: a known error, in one line; 2: wrong
usage; 3: done, but some files failed. Heavy imports happen inside the commands, so that ``--help``
stays fast.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import platformdirs
import typer

from stemwise import __version__, console
from stemwise.cli_data import data_app
from stemwise.cli_research import recipe_app, research_app
from stemwise.clock import read_clock
from stemwise.errors import EXIT_SOME_FAILED, StemwiseError, extra
from stemwise.parts import parse_weights

if TYPE_CHECKING:
    pass

app = typer.Typer(
    name="stemwise",
    help="Find music that sounds alike one instrument at a time.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(data_app, name="data")
models_app = typer.Typer(no_args_is_help=True, help="Look at models.")
app.add_typer(models_app, name="models")
app.add_typer(recipe_app, name="recipe")
app.add_typer(research_app)

CataloguePath = Annotated[
    Path | None,
    typer.Option("--catalogue", envvar="STEMWISE_CATALOGUE", help="Folder of the catalogue."),
]
Jobs = Annotated[int | None, typer.Option(min=1, help="Files at a time; default: the CPU cores.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]


def main() -> None:
    """Run the command line; known errors print one line and set the exit code."""
    try:
        app()
    except StemwiseError as error:
        console.remark(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        console.remark("interrupted")
        sys.exit(130)


def _print_version(value: bool) -> None:
    if value:
        print(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Find music that sounds alike one instrument at a time."""


def _catalogue_path(given: Path | None) -> Path:
    """Return the catalogue's folder: what was given, or the one under the user's data."""
    return given or Path(platformdirs.user_data_dir("stemwise")) / "catalogue"


@app.command()
def index(
    paths: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders or files.")],
    catalogue: CataloguePath = None,
    jobs: Jobs = None,
    model: Annotated[
        str | None, typer.Option(help="Name or file; default: the catalogue's own, or compact.")
    ] = None,
    retry: Annotated[bool, typer.Option(help="Try files again that failed before.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the catalogue up to date with music folders; stop it at any time."""
    from stemwise.library.catalogue import Catalogue
    from stemwise.models.checkpoint import load_model

    store = Catalogue.open(_catalogue_path(catalogue), create=True)
    source = model or store.model_source or "compact"
    with console.progress("files") as progress:
        summary = store.index(
            paths, load_model(source), jobs, progress, retry=retry, model_source=source
        )
    console.print_index(summary, as_json)
    if summary.failed:
        raise typer.Exit(EXIT_SOME_FAILED)


@app.command()
def status(catalogue: CataloguePath = None, as_json: AsJson = False) -> None:
    """Show what the catalogue holds."""
    from stemwise.library.catalogue import Catalogue

    figures = Catalogue.open(_catalogue_path(catalogue)).status()
    console.print_record(figures, as_json)


@app.command()
def errors(catalogue: CataloguePath = None, as_json: AsJson = False) -> None:
    """List the files that could not be indexed, and why."""
    from stemwise.library.catalogue import Catalogue

    failures = Catalogue.open(_catalogue_path(catalogue)).errors()
    console.print_errors(failures, as_json)


@app.command()
def similar(
    query: Annotated[str, typer.Argument(metavar="FILE|ID", help="A file, an id or a title.")],
    part: Annotated[
        str | None, typer.Option(help="Parts and weights: drums=1,bass=0.5; default: all five.")
    ] = None,
    start: Annotated[str | None, typer.Option("--from", help="Stretch: 42, 0:42, 1:02:03.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="End of the stretch.")] = None,
    number: Annotated[int, typer.Option("-n", "--number", min=1, help="Matches at most.")] = 20,
    catalogue: CataloguePath = None,
    as_json: AsJson = False,
) -> None:
    """Find the pieces and passages most like one, in the parts you choose."""
    from stemwise.library.catalogue import Catalogue
    from stemwise.library.search import similar as search

    weights = parse_weights(part) if part is not None else None
    start_seconds, end_seconds = (read_clock(t) if t is not None else None for t in (start, end))
    store = Catalogue.open(_catalogue_path(catalogue))
    result = search(store, query, weights, start_seconds, end_seconds, number)
    console.print_matches(result, as_json)


@app.command()
def embed(
    paths: Annotated[list[Path], typer.Argument(metavar="FILE|DIR...", help="Files or folders.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="A NumPy archive, .npz.")],
    jobs: Jobs = None,
    model: Annotated[str, typer.Option(help="A shipped model's name, or its file.")] = "compact",
) -> None:
    """Write the vectors of music files, segment by segment, to a NumPy archive."""
    from stemwise.library.embed import embed_to_archive
    from stemwise.models.checkpoint import load_model

    with console.progress("files") as progress:
        failures = embed_to_archive(paths, load_model(model), output, jobs, progress)
    for failure in failures:
        console.remark(failure.reason)
    if failures:
        raise typer.Exit(EXIT_SOME_FAILED)


@app.command("map")
def draw(
    output: Annotated[Path, typer.Option("-o", "--output", help="A picture, .png.")],
    catalogue: CataloguePath = None,
) -> None:
    """Draw the catalogue as five maps, one per part."""
    with extra("map"):
        from stemwise.library.picture import draw_map
    from stemwise.library.catalogue import Catalogue

    pieces = draw_map(Catalogue.open(_catalogue_path(catalogue)), output)
    print(f"{output}: {pieces} pieces")


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of music.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="For the catalogue and the map.")],
    query: Annotated[str | None, typer.Option(help="Id or title; default: the fullest.")] = None,
    number: Annotated[int, typer.Option("-n", "--number", min=1, help="Matches each.")] = 5,
) -> None:
    """Index a folder, ask one piece what sounds alike part by part, and draw the map."""
    with extra("map"):
        from stemwise.library.tour import tour

    with console.progress("files") as progress:
        seen = tour(folder, output, query, number, progress)
    console.print_index(seen.summary, as_json=False)
    for name, result in seen.results.items():
        weights = ",".join(f"{part}={weight:g}" for part, weight in result.weights.items())
        print(f"\nnearest to {result.query} by {name} ({weights})")
        console.print_matches(result, as_json=False)
    for part in seen.silent:
        console.remark(f"no {part} sounds in this piece")
    print(f"\nmap of the collection, part by part: {seen.picture}")


@models_app.command("list")
def models_list(as_json: AsJson = False) -> None:
    """List the models that come with Stemwise."""
    from stemwise.models.checkpoint import load_model, shipped_models

    console.print_models({path: load_model(path) for path in shipped_models().values()}, as_json)


if __name__ == "__main__":
    main()
