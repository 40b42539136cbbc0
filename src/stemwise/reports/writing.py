"""A report on disk: report.json, and the same as Markdown and as a page with figures.

The page, report.html, holds everything it shows: no script, no other file, no network. The format
of report.json is named by its key "format"; what is not a finite number is null.
"""

import json
import math
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from stemwise.errors import UsageError
from stemwise.evaluation.exhibits import Exhibits
from stemwise.reports.markdown import headline, opening, report_lines, report_tables
from stemwise.reports.plots import (
    Picture,
    draw_confusion,
    draw_points,
    draw_scores,
    draw_spectrograms,
)

__all__ = ["FORMAT", "find_reports", "load_report", "report_lines", "write_report"]

FORMAT = "stemwise-report-1"
REPORT = "report.json"
KINDS = ("json", "md", "html")
_SHAPE = {"model": dict, "corpus": dict, "normal": dict, "pseudo": dict,
          "split": str, "protocol": str}  # fmt: skip


def write_report(report: Mapping[str, Any], exhibits: Exhibits, folder: Path) -> dict[str, Path]:
    """Write report.json, report.md and report.html; each appears whole or not at all.

    Args:
        report: the numbers, of the format ``FORMAT``.
        exhibits: the arrays that the page draws.
        folder: made if it is not there; reports in it are overwritten.

    Returns:
        The path of each file by its kind: "json", "md", "html".
    """
    report = _finite(report)
    texts = (
        json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n",
        "\n".join(report_lines(report)) + "\n",
        _page(report, exhibits),
    )
    folder.mkdir(parents=True, exist_ok=True)
    paths = {kind: folder / f"report.{kind}" for kind in KINDS}
    for path, text in zip(paths.values(), texts, strict=True):
        _write_whole(path, text)
    return paths


def find_reports(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """Read the reports of runs, report.json files, and folders that hold reports at any depth.

    Raises:
        UsageError: a path holds no report, or one that cannot be read.
    """
    found: dict[Path, dict[str, Any]] = {}
    for path in paths:
        inside = sorted(path.rglob(REPORT)) if path.is_dir() else []
        for file in inside or [path]:
            found.setdefault(file.resolve(), load_report(file))
    return list(found.values())


def load_report(path: Path) -> dict[str, Any]:
    """Read a report from report.json or from the folder that holds it.

    Raises:
        UsageError: no such file, or it is no report of the format ``FORMAT``.
    """
    path = path / REPORT if path.is_dir() else path
    try:
        found = json.loads(path.read_text("utf-8"), parse_constant=lambda name: None)
    except OSError as error:
        raise UsageError(
            f"no report can be read at {path} ({error.strerror}); give a {REPORT} or its folder"
        ) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON ({error}); give a {REPORT}") from error
    told = found.get("format") if isinstance(found, dict) else None
    if told != FORMAT:
        raise UsageError(
            f"{path} is of the format {told!r}, not {FORMAT!r}; make it again with: stemwise "
            "evaluate"
        )
    for key, kind in _SHAPE.items():
        if not isinstance(found.get(key), kind):
            raise UsageError(
                f"{path} has no {key!r}, though it says {FORMAT!r}; make it again with: stemwise "
                "evaluate"
            )
    return dict(found)


def _finite(thing: Any) -> Any:
    """Return a copy of `thing` as JSON has it: tuples are lists, numbers without a value None."""
    if isinstance(thing, Mapping):
        return {str(key): _finite(value) for key, value in thing.items()}
    if isinstance(thing, list | tuple):
        return [_finite(value) for value in thing]
    return None if isinstance(thing, float) and not math.isfinite(thing) else thing


def _write_whole(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(text.encode("utf-8", "replace"))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _page(report: Mapping[str, Any], exhibits: Exhibits) -> str:
    page = resources.files("stemwise.reports").joinpath("page.html").read_text("utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    scores, *more, provenance = report_tables(report)
    return environment.from_string(page).render(
        title=headline(report),
        opening=opening(report),
        scores=scores,
        chart=draw_scores(report),
        tables=more,
        galleries=_galleries(exhibits),
        provenance=provenance,
    )


def _galleries(exhibits: Exhibits) -> list[tuple[str, str, list[Picture]]]:
    """Return the page's sections of figures: heading, what it shows, figures."""
    confusions = [draw_confusion(part, shown) for part, shown in exhibits.confusions.items()]
    points = [draw_points(part, shown) for part, shown in exhibits.points.items()]
    spectrograms = [draw_spectrograms(exhibits.separated)] if exhibits.separated else []
    sections = [
        (
            "Who is taken for whom",
            "One gallery of MES-Pseudo. Left: how many segments of the target in a row were voted "
            "to be that of a column. Right: the share of right votes by the background that the "
            "target was heard in; where a column is dark, that background misleads.",
            confusions,
        ),
        (
            "Maps",
            "Segments of a few real pieces by one part's numbers, placed by t-SNE; a colour and a "
            "sign for each song. Nearness is a hint.",
            points,
        ),
        (
            "Spectrograms",
            "One segment for each part: what the model heard, the true stem, what it made of it.",
            spectrograms,
        ),
    ]
    return [section for section in sections if section[2]]
