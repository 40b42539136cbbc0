"""What the command line draws: progress on stderr, tables on stdout."""

import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

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
    from stemwise.library.search import Match, SearchResult
    from stemwise.library.tables import Failure
    from stemwise.models.checkpoint import Model
    from stemwise.models.layers import Layer

__all__ = [
    "match_object",
    "print_errors",
    "print_index",
    "print_matches",
    "print_models",
    "print_object",
    "print_recipe",
    "print_record",
    "print_table",
    "progress",
    "remark",
]

PIPE_WIDTH = 200


class _Rate(ProgressColumn):
    """Steps per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "")


@contextmanager
def progress(unit: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on stderr while the block runs; yields the call ``(done, total)`` that moves it.

    Away from a terminal, a line is written at every tenth of the way instead.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        told = -1

        def tell(done: int, total: int) -> None:
            nonlocal told
            tenth = 10 * done // max(total, 1)
            if tenth > told:
                told = tenth
                console.print(f"{done}/{total} {unit}", highlight=False)

        yield tell
        return
    columns = (
        TextColumn(unit), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        _Rate(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(unit, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


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


def print_matches(result: "SearchResult", as_json: bool) -> None:
    """Print the matches of a search as a table, or as one JSON object a line."""
    if result.absent_parts:
        remark(f"no {' or '.join(result.absent_parts)} sounds in {result.query}: left out")
    ranked = list(enumerate(result.matches, start=1))
    if as_json:
        for rank, match in ranked:
            print_object(match_object(rank, match))
        return
    if not ranked:
        remark("no piece of the catalogue has these parts")
        return
    parts = list(result.weights)
    print_table(
        ["#", "alike", *parts, "query → match", "title", "artist", "path"],
        (
            [rank, f"{m.similarity:.3f}", *(f"{m.parts[part]:.3f}" for part in parts),
             f"{clock(m.best.query_seconds)} → {clock(m.best.match_seconds)}",
             m.piece.title, m.piece.artist, m.piece.path]
            for rank, m in ranked
        ),
    )  # fmt: skip


def print_index(summary: "IndexSummary", as_json: bool) -> None:
    """Print what an index did."""
    if as_json:
        print_object(summary)
    else:
        counts = ("added", "updated", "moved", "unchanged", "failed")
        told = [f"{getattr(summary, name)} {name}" for name in counts if getattr(summary, name)]
        rate = summary.found / max(summary.seconds, 1e-3)
        print(f"{summary.found} files: {', '.join(told) or 'nothing to do'}"
              f" ({summary.seconds:.1f} s, {rate:.1f} files/s)")  # fmt: skip
    if summary.missing:
        remark(f"{summary.missing} known files are no longer there; their vectors are kept")
    if summary.failed:
        remark(f"{summary.failed} files failed; see: stemwise errors")


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
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "path": str(path),
    }


def match_object(rank: int, match: "Match") -> dict[str, Any]:
    """Return a match as plain values for JSON."""
    piece = match.piece
    return {
        "rank": rank,
        "id": piece.id,
        "title": piece.title,
        "artist": piece.artist,
        "path": str(piece.path),
        "paths": [str(path) for path in match.paths],
        "similarity": round(match.similarity, 6),
        "distance": round(match.distance, 6),
        "parts": {part: round(value, 6) for part, value in match.parts.items()},
        "best": _rounded(match.best),
        "passages": [_rounded(passage) for passage in match.passages],
    }


def _rounded(passage: Any) -> dict[str, Any]:
    parts = {part: round(value, 6) for part, value in passage.parts.items()}
    return dataclasses.asdict(passage) | {"distance": round(passage.distance, 6), "parts": parts}


def _printable(text: str) -> str:
    """Return `text` with control characters and broken Unicode shown as replacement signs."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
