"""The command line: every command parses, calls one function and prints.

Results go to stdout, progress to stderr. Exit 0: done; 1: a known error, in one line; 2: wrong
usage; 3: done, but some files failed. Heavy imports happen inside the commands, so that ``--help``
stays fast.
"""

import sys
from typing import Annotated

import typer

from stemwise import __version__
from stemwise.errors import StemwiseError

app = typer.Typer(
    name="stemwise",
    help="Find music that sounds alike one instrument at a time.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(no_args_is_help=True, help="Make and check corpora.")
recipe_app = typer.Typer(no_args_is_help=True, help="Look at recipes.")
app.add_typer(data_app, name="data")
app.add_typer(recipe_app, name="recipe")

EXIT_SOME_FAILED = 3


def main() -> None:
    """Run the command line; known errors print one line and set the exit code."""
    try:
        app()
    except StemwiseError as error:
        print(f"stemwise: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("stemwise: interrupted", file=sys.stderr)
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
