"""What the command line draws: progress on stderr, tables on stdout."""

import dataclasses
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from stemwise.clock import clock

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from stemwise.library.indexing import IndexSummary
    from stemwise.library.migrations import Migration
    from stemwise.library.rebuilding import RebuildSummary
    from stemwise.library.status import Status
    from stemwise.library.tables import Failure
    from stemwise.library.verification import Finding
    from stemwise.models.checkpoint import Model
    from stemwise.models.layers import Layer

__all__ = [
    "Mover",
    "print_errors",
    "print_findings",
    "print_index",
    "print_migration",
    "print_models",
    "print_object",
    "print_rebuild",
    "print_recipe",
    "print_record",
    "print_status",
    "print_table",
    "progress",
    "remark",
]

PIPE_WIDTH = 200
MOST_PASSED_OVER = 5


class Mover(Protocol):
    """Moves a bar on: steps done, steps in all, and the hours of music heard if that is known."""

    def __call__(self, done: int, total: int, hours: float = 0.0) -> None:
        """Move the bar."""


class _Rate(ProgressColumn):
    """Steps per second, and hours of music per minute."""

    def render(self, task: Task) -> Text:
        return Text(_rate(task.speed, task.fields["hours"], task.elapsed))


def _rate(speed: float | None, hours: float, seconds: float | None) -> str:
    steps = f"{speed:.1f}/s" if speed else ""
    music = f"{60 * hours / seconds:.1f} h of music/min" if hours and seconds else ""
    return ", ".join(filter(None, [steps, music]))


@contextmanager
def progress(unit: str) -> Iterator[Mover]:
    """Show a bar on stderr while the block runs, with rate and time left; yields what moves it.

    Away from a terminal, a line is written at every tenth of the way instead.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(console, unit)
        return
    columns = (
        TextColumn(unit), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        _Rate(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(unit, total=None, hours=0.0)

        def move(done: int, total: int, hours: float = 0.0) -> None:
            bar.update(task, completed=done, total=total, hours=hours)

        yield move


def _lines(console: Console, unit: str) -> Mover:
    """Return what writes a line at every tenth of the way."""
    told, first = -1, 0
    began = time.monotonic()

    def tell(done: int, total: int, hours: float = 0.0) -> None:
        nonlocal told, first
        tenth = 10 * done // max(total, 1)
        if tenth <= told:
            return
        first = done if told < 0 else first
        told = tenth
        seconds = max(time.monotonic() - began, 1e-3)
        speed = (done - first) / seconds
        left = f"{clock((total - done) / speed)} left" if speed and done < total else ""
        rest = ", ".join(filter(None, [_rate(speed, hours, seconds), left]))
        console.print(f"{done}/{total} {unit}" + (f" ({rest})" if rest else ""), highlight=False)

    return tell


def remark(text: str) -> None:
    """Say something beside the results, or that there are none, in one line on stderr."""
    print(f"stemwise: {_printable(text)}", file=sys.stderr)


def print_object(value: Any) -> None:
    """Print a dataclass or a mapping as one line of JSON; paths become text."""
    record = dataclasses.is_dataclass(value) and not isinstance(value, type)
    plain = dataclasses.asdict(value) if record else value
    print(json.dumps(plain, default=str))  # not valid Unicode in a path is escaped here


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print `rows` below the names of `columns`; away from a terminal, in wide lines."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=any(columns))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_printable(str(cell))) for cell in row))
    console.print(table)


def print_index(summary: "IndexSummary", as_json: bool) -> None:
    """Print what an index did."""
    if as_json:
        print_object(summary)
    else:
        counts = ("added", "updated", "moved", "unchanged", "failed", "vanished", "left",
                  "forgotten")  # fmt: skip
        told = [f"{getattr(summary, name)} {name}" for name in counts if getattr(summary, name)]
        rate = _rate(summary.found / max(summary.seconds, 1e-3), summary.hours, summary.seconds)
        print(f"{summary.found} files: {', '.join(told) or 'nothing to do'}"
              f" ({summary.seconds:.1f} s, {rate or 0})", flush=True)  # fmt: skip
    if summary.missing:
        remark(f"{summary.missing} known files are no longer there; their vectors are kept")
    for folder in summary.spared:
        remark(f"{folder} is empty or cannot be read; is its drive mounted? What is known of it is "
               "kept; to forget it: stemwise index --prune-empty")  # fmt: skip
    for line in summary.passed_over[:MOST_PASSED_OVER]:
        remark(f"passed over: {line}")
    if more := len(summary.passed_over[MOST_PASSED_OVER:]):
        remark(f"passed over: {more} more; see --json")
    if summary.left:
        remark(f"{summary.left} files are left for the next index")
    if summary.failed:
        remark(f"{summary.failed} files failed; see: stemwise errors")


def print_rebuild(summary: "RebuildSummary", as_json: bool) -> None:
    """Print what a rebuild did."""
    if as_json:
        print_object(summary)
    else:
        counts = ("embedded", "taken_over", "failed", "missing", "left")
        told = [f"{getattr(summary, name)} {name}" for name in counts if getattr(summary, name)]
        print(
            f"{summary.known} files: {', '.join(told)} ({summary.seconds:.1f} s)".replace("_", " ")
        )
    if summary.missing:
        remark(f"{summary.missing} files are no longer there: they wait without vectors for an "
               "index that finds them")  # fmt: skip
    if summary.failed:
        remark(f"{summary.failed} files failed; see: stemwise errors")
    remark("searches use the new vectors now" if summary.switched else
           "searches use the old vectors; go on with: stemwise index --rebuild")  # fmt: skip


def print_status(status: "Status", as_json: bool) -> None:
    """Print a catalogue's figures, and how they add up."""
    print_record(status, as_json)
    if not as_json:
        shown = f"{status.pieces} pieces + {status.copies} copies + {status.waiting} waiting"
        print(f"\n{status.files} files = {shown} + {status.errors} errors; "
              f"{status.missing} more are missing")  # fmt: skip


def print_findings(findings: "Sequence[Finding]", as_json: bool) -> None:
    """Print what is wrong with a catalogue, a line for each."""
    for finding in findings:
        if as_json:
            print_object(finding)
        else:
            print(_printable(str(finding)))
    if not findings:
        remark("the catalogue is whole")


def print_migration(migration: "Migration", as_json: bool) -> None:
    """Print from which format to which a catalogue was brought."""
    if as_json:
        print_object(migration)
    elif migration.before == migration.after:
        print(f"{migration.path} has format {migration.after} already")
    else:
        print(f"{migration.path}: format {migration.before} → {migration.after}")


def print_record(record: Any, as_json: bool) -> None:
    """Print a dataclass as a table of names and values, or as one JSON object."""
    if as_json:
        print_object(record)
    else:
        values = (
            (name, f"{v:.2f}" if isinstance(v, float) else v) for name, v in vars(record).items()
        )
        print_table(["", ""], values)


def print_errors(failures: "Sequence[Failure]", as_json: bool) -> None:
    """Print the files that could not be read, and why."""
    for failure in failures if as_json else ():
        print_object({"path": failure.path, "reason": failure.reason})
    if not as_json and failures:
        print_table(["reason"], ([failure.reason] for failure in failures))
    elif not failures:
        remark("no file failed")


def print_models(models: "Mapping[Path, Model]", as_json: bool) -> None:
    """Print models by the path of their file."""
    for path, model in models.items() if as_json else ():
        print_object(_model_record(path, model))
    if not as_json and models:
        records = [_model_record(path, model) for path, model in models.items()]
        print_table(list(records[0]), (list(record.values()) for record in records))
    elif not models:
        remark("no model comes with this installation; give a safetensors file with --model")


def print_recipe(
    recipe: dict[str, Any], layers: "list[Layer]", counts: dict[str, int], as_json: bool
) -> None:
    """Print a resolved recipe, its layers' sizes and its numbers of parameters."""
    if as_json:
        shown = [dataclasses.asdict(layer) for layer in layers]
        print_object({"recipe": recipe, "layers": shown, "parameters": counts})
        return
    tables = {name: value for name, value in recipe.items() if isinstance(value, dict)}
    for name, value in recipe.items():
        if name not in tables:
            print(f"{name} = {json.dumps(value, ensure_ascii=False)}")
    for table, fields in tables.items():
        print(f"\n[{table}]")
        for name, value in fields.items():
            print(f"{name} = {json.dumps(value, ensure_ascii=False)}")
    print()
    rows = ([x.name, x.kind, "x".join(map(str, x.size)), f"{x.parameters:,}"] for x in layers)
    print_table(["layer", "kind", "size", "parameters"], rows)
    print("\nparameters: " + ", ".join(f"{name} {count:,}" for name, count in counts.items()))


def _model_record(path: "Path", model: "Model") -> dict[str, Any]:
    return {
        "name": path.stem,
        "fingerprint": model.fingerprint,
        "sample_rate_hz": model.sample_rate_hz,
        "segment_seconds": model.segment_seconds,
        "parameters": sum(parameter.numel() for parameter in model.network.parameters()),
        "path": str(path),
    }


def _printable(text: str) -> str:
    """Return `text` with control characters and broken Unicode shown as replacement signs."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
