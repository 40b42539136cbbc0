"""The command line: every command parses, calls one function and prints.

Results go to stdout, progress to stderr. Exit 0: done; 1: a known error, in one line; 2: wrong
usage; 3: done, but some files failed. Heavy imports happen inside the commands, so that ``--help``
stays fast.
"""

import sys
from typing import Annotated

import typer

from stemwise import __version__, console
from stemwise.cli_catalogue import AsJson, catalogue_app, collection_app
from stemwise.cli_data import data_app
from stemwise.cli_research import recipe_app, research_app
from stemwise.cli_search import search_app
from stemwise.cli_web import web_app
from stemwise.errors import StemwiseError

app = typer.Typer(
    name="stemwise",
    help="Find music that sounds alike one instrument at a time.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(collection_app)
app.add_typer(search_app)
app.add_typer(web_app)
app.add_typer(catalogue_app, name="catalogue")
app.add_typer(data_app, name="data")
models_app = typer.Typer(no_args_is_help=True, help="Look at models.")
app.add_typer(models_app, name="models")
app.add_typer(recipe_app, name="recipe")
app.add_typer(research_app)


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


@models_app.command("list")
def models_list(as_json: AsJson = False) -> None:
    """List the models that come with Stemwise."""
    from stemwise.models.checkpoint import load_model, shipped_models

    console.print_models({path: load_model(path) for path in shipped_models().values()}, as_json)


if __name__ == "__main__":
    main()
