"""The command line: every command parses, calls one function and prints.

Results go to stdout, progress to stderr. Exit 0: done; 1: a known error, in one line; 2: wrong
usage; 3: done, but some files failed. Heavy imports happen inside the commands, so that ``--help``
stays fast.
"""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stemwise import __version__, console
from stemwise.errors import MissingExtraError, StemwiseError

if TYPE_CHECKING:
    from stemwise.corpora.bank import Bank

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


@contextmanager
def _extra(name: str) -> Iterator[None]:
    """Turn a failed import inside the block into a line that names the extra to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "a package", name) from error


def _bank(corpus: Path, sample_rate_hz: int) -> "Bank":
    """Return the bank of `corpus` at the model's rate, prepared with progress if need be."""
    from stemwise.corpora.bank import bank_of

    with console.progress("pieces prepared") as progress:
        return bank_of(corpus, sample_rate_hz, progress)


def _commit() -> str:
    """Return the commit of the working directory, with a + if it has changes, or "unknown"."""
    command = ["git", "describe", "--always", "--dirty=+"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


@data_app.command("band")
def data_band(
    out: Annotated[Path, typer.Argument(help="Folder of the corpus; an earlier run goes on.")],
    train: Annotated[int, typer.Option(help="Songs to train on.")] = 400,
    valid: Annotated[int, typer.Option(help="Songs to validate on.")] = 60,
    test: Annotated[int, typer.Option(help="Songs to test on.")] = 136,
    renderings: Annotated[int, typer.Option(help="Takes of each training song.")] = 1,
    composed_share: Annotated[
        float | None, typer.Option(help="Share of composed songs, 0..1; default: fill up only.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="Length of the longest piece, 6..3600.")] = 90.0,
    seed: Annotated[int, typer.Option(help="Seed of every draw.")] = 0,
    jobs: Annotated[
        int | None, typer.Option(help="Processes, 0.8 GB of memory each; default: the CPU cores.")
    ] = None,
    midi: Annotated[
        Path | None, typer.Option(help="A further MIDI collection: folder or zip with index.csv.")
    ] = None,
    soundfonts: Annotated[
        str | None, typer.Option(help="Soundfonts to draw from, NAME,NAME; default: all known.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Render a corpus of stems from MIDI and composed songs; run it again to go on."""
    with _extra("render"):
        from stemwise.corpora.band import BandSettings, make_band
    names = tuple(soundfonts.split(",")) if soundfonts else None
    settings = BandSettings(
        train, valid, test, renderings, composed_share, seconds, seed, midi, names
    )
    with console.progress("pieces rendered") as progress:
        report = make_band(
            out,
            settings,
            jobs=jobs or os.cpu_count() or 1,
            report=lambda r: progress(r.done + r.failed, r.total),
        )
    print(json.dumps({"corpus": str(out)} | dataclasses.asdict(report)) if as_json else report)
    if report.failed:
        raise typer.Exit(EXIT_SOME_FAILED)


@data_app.command("check")
def data_check(
    corpus: Annotated[Path, typer.Argument(help="A corpus, as `stemwise data` makes it.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check a corpus: manifest, splits by song, stem files and their headers; exit 1 if bad."""
    from stemwise.corpora.piece import check_audio, check_pieces, read_manifest, summary

    pieces = read_manifest(corpus)
    problems = check_pieces(pieces) + check_audio(pieces)
    totals = summary(pieces)
    if as_json:
        print(json.dumps({"corpus": str(corpus), "splits": totals, "problems": problems}))
    else:
        for split, total in totals.items():
            stems = ", ".join(f"{part} {number}" for part, number in total["stems"].items())
            print(f"{split}: {total['pieces']} pieces of {total['songs']} songs, "
                  f"{total['hours']} h; stems: {stems}")
        print("\n".join(problems) if problems else "no problems")
    if problems:
        raise typer.Exit(1)


@recipe_app.command("show")
def recipe_show(
    recipe: Annotated[Path, typer.Argument(help="A recipe, TOML.")],
    override: Annotated[list[str] | None, typer.Option("--set", help="table.key=value.")] = None,
) -> None:
    """Print the resolved recipe as JSON, with the number of parameters."""
    from stemwise.models.direct import Direct
    from stemwise.recipe import load_recipe

    resolved = load_recipe(recipe, override or [])
    parameters = sum(p.numel() for p in Direct(resolved.model).parameters())
    print(json.dumps(resolved.model_dump(mode="json") | {"parameters": parameters}, indent=1))


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe, TOML.")],
    corpus: Annotated[Path, typer.Option(help="A corpus, as `stemwise data` makes it.")],
    run: Annotated[Path, typer.Option(help="Folder of the run; an earlier one goes on.")],
    override: Annotated[list[str] | None, typer.Option("--set", help="table.key=value.")] = None,
) -> None:
    """Train a model by a recipe; stop it at any time, and run it again to go on."""
    from stemwise.recipe import load_recipe

    with _extra("train"):
        from stemwise.training import train as fit
    resolved = load_recipe(recipe, override or [])
    bank = _bank(corpus, resolved.model.sample_rate_hz)
    print(fit(resolved, bank, run, commit=_commit()))


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="A shipped model's name, or a safetensors file.")],
    corpus: Annotated[Path, typer.Option(help="A corpus, as `stemwise data` makes it.")],
    split: Annotated[str, typer.Option(help="valid (for choosing) or test (for telling).")] = "test",
    groups: Annotated[int | None, typer.Option(help="Groups of 15 songs at most.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Score a model on held-out songs: MES-Normal, MES-Pseudo, leakage, presence."""
    from stemwise.models.checkpoint import load_model

    with _extra("train"):
        from stemwise.evaluation import Pseudo10x5, report_lines
        from stemwise.evaluation import evaluate as score
    loaded = load_model(model)
    bank = _bank(corpus, loaded.sample_rate_hz)
    with console.progress("groups") as progress:
        report = score(bank, loaded.describe, split, Pseudo10x5(groups=groups), progress=progress)
    report = {"model": loaded.name, "fingerprint": loaded.fingerprint} | report
    print(json.dumps(report) if as_json else "\n".join(report_lines(report)))
