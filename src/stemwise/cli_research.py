"""The commands of research: recipes, training, scores; see `stemwise.cli`."""

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stemwise import console
from stemwise.errors import UsageError, extra

if TYPE_CHECKING:
    from stemwise.corpora.bank import Bank

__all__ = ["recipe_app", "research_app"]

recipe_app = typer.Typer(no_args_is_help=True, help="Look at recipes.")
research_app = typer.Typer()

Corpus = Annotated[Path, typer.Option(help="A corpus, as `stemwise data` makes it.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]


def _bank(corpus: Path, sample_rate_hz: int) -> "Bank":
    """Return the bank of `corpus` at the model's rate, prepared with progress if need be."""
    from stemwise.corpora.bank import bank_of, open_bank

    if os.environ.get("WORLD_SIZE", "1") != "1":  # one of several processes: it must be there
        return open_bank(corpus / f"bank-{sample_rate_hz}")
    with console.progress("pieces prepared") as progress:
        return bank_of(corpus, sample_rate_hz, progress)


def _commit() -> str:
    """Return the commit of the working directory, with a + if it has changes, or "unknown"."""
    command = ["git", "describe", "--always", "--dirty=+"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


@recipe_app.command("show")
def recipe_show(
    recipe: Annotated[Path, typer.Argument(help="A recipe, TOML.")],
    override: Annotated[list[str] | None, typer.Option("--set", help="table.key=value.")] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            min=0.5, max=600, help="Length the layers are shown for; default: as trained."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print the resolved recipe, the sizes of the layers and the numbers of parameters."""
    from stemwise.models.checkpoint import METHODS
    from stemwise.models.layers import layers_of, parameter_counts
    from stemwise.recipe import load_recipe

    resolved = load_recipe(recipe, override or [])
    whole = METHODS[resolved.method][0](resolved.model)
    first = {"parts": resolved.model.parts[:1]} if hasattr(resolved.model, "parts") else {}
    one = METHODS[resolved.method][0](resolved.model.model_copy(update=first))
    layers = layers_of(one, seconds or resolved.segments.seconds)
    console.print_recipe(
        resolved.model_dump(mode="json", exclude_none=True),
        layers,
        parameter_counts(whole),
        as_json,
    )


@research_app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe, TOML.")],
    corpus: Corpus,
    run: Annotated[
        Path | None,
        typer.Option(help="Folder of the run; an earlier one goes on. Default: runs/NAME."),
    ] = None,
    override: Annotated[list[str] | None, typer.Option("--set", help="table.key=value.")] = None,
    resume: Annotated[bool, typer.Option(help="Refuse to begin anew.")] = False,
    device: Device = "auto",
    bank: Annotated[
        str, typer.Option(help="Where the sound lies while training: disk, memory or device.")
    ] = "disk",
    workers: Annotated[int, typer.Option(min=0, help="Processes that prepare batches.")] = 0,
) -> None:
    """Train a model by a recipe; stop it at any time, and run it again to go on."""
    from stemwise.recipe import load_recipe

    with extra("train"):
        from stemwise.training import train as fit
        from stemwise.training import training_bank
    resolved = load_recipe(recipe, override or [])
    stored = _bank(corpus, resolved.model.sample_rate_hz)
    gatherer = training_bank(stored, bank, device)
    if bank == "device" and workers:
        raise UsageError("a bank on the device needs no workers; leave --workers out")
    folder = run or Path("runs") / resolved.name
    print(fit(resolved, stored, folder, commit=_commit(), device=device, gatherer=gatherer,
              workers=workers, resume=resume, announce=console.remark))  # fmt: skip


@research_app.command()
def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            help="A run's folder, a safetensors file, a shipped model's name, or a baseline: mfcc, "
            "stem-mel, chance."
        ),
    ],
    corpus: Annotated[
        Path | None,
        typer.Option(help="A corpus, as `stemwise data` makes it; default: the run's own."),
    ] = None,
    split: Annotated[
        str, typer.Option(help="valid (for choosing) or test (for telling).")
    ] = "test",
    protocol: Annotated[
        str | None,
        typer.Option(
            help="Pseudo-pieces: slakh-50, slakh-40, slakh-10x10 or pseudo-10x5; default: slakh-50 "
            "if its songs are there, else pseudo-10x5."
        ),
    ] = None,
    groups: Annotated[
        int | None, typer.Option(min=1, help="Groups of 15 songs at most, of pseudo-10x5.")
    ] = None,
    sdr_segments: Annotated[
        int, typer.Option(min=0, help="Ten-second segments to separate; 0: no SDR.")
    ] = 1000,
    abx: Annotated[
        Path | None,
        typer.Option(help="Folder of the Inst-Sim-ABX answers; the corpus must hold its songs."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder of the report. Default: report/SPLIT-PROTOCOL in the "
            "run, or reports/NAME/SPLIT-PROTOCOL.",
        ),
    ] = None,
    device: Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Score a model on held-out songs, and write a report (JSON, Markdown, HTML)."""
    with extra("train"):
        from stemwise import evaluation
        from stemwise.corpora.abx import load_abx
        from stemwise.reports.writing import report_lines, write_report
    candidate = evaluation.find_candidate(model, device)
    bank = _bank(corpus or candidate.corpus, candidate.sample_rate_hz)
    chosen = evaluation.choose_protocol(bank, split, protocol, groups)
    subject = candidate.subject(bank)
    answers = load_abx(abx).triplets if abx else ()
    scores, exhibits = evaluation.evaluate(
        bank, subject, split, chosen, sdr_segments, answers, console.progress
    )
    made = evaluation.about_run(_commit(), subject.device)
    report = {"model": candidate.about, "made": made} | scores
    folder = output or candidate.reports / f"{split}-{chosen.name}"
    paths = write_report(report, exhibits, folder)
    print(json.dumps(report) if as_json else "\n".join(report_lines(report)))
    console.remark(f"report: {paths['html']}")


@research_app.command()
def table(
    reports: Annotated[
        list[Path], typer.Argument(help="Runs that were evaluated, reports or their folders.")
    ],
    paper: Annotated[
        bool, typer.Option(help="Add the paper's own figures, which are on other data.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Lay reports side by side in the shape of the paper's Tables I to III."""
    with extra("train"):
        from stemwise.reports.table import table_lines, table_rows
        from stemwise.reports.writing import find_reports
    found = find_reports(reports)
    if as_json:
        for row in table_rows(found):
            print(json.dumps(row))
    else:
        print("\n".join(table_lines(found, paper=paper)))
