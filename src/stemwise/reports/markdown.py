"""The numbers of a report as tables of text, and tables as Markdown.

Conventions: shares are in percent with one decimal, ratios in dB with two; "–" is what has no
value: null, missing or not finite. "(a to b)" after a score is its 95 % interval.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stemwise.parts import PARTS

__all__ = [
    "NOTHING", "Table", "count", "decibel", "find", "headline", "markdown_lines", "markdown_text",
    "opening", "parts_of", "percent", "printable", "report_lines", "report_tables", "with_interval",
]  # fmt: skip

NOTHING = "–"
NORMAL_REWARDS_LEAKAGE = (
    "MES-Normal alone rewards leakage: hearing the other parts raises it. Read it beside "
    "MES-Pseudo and leakage."
)
WHICH_SDR = "museval's framewise SDR; not comparable with BSS Eval's 512-tap SDR."
_MARKDOWN_SIGNS = str.maketrans({sign: f"\\{sign}" for sign in "\\`*[]<>|"})


@dataclass(frozen=True)
class Table:
    """A table of plain text, its first column the name of the row.

    Attributes:
        caption: what it shows.
        columns: headings.
        rows: cells, as many as there are columns.
        notes: sentences below it.
        bold: (row, column) of the cells to stress.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    bold: frozenset[tuple[int, int]] = frozenset()


def find(report: Mapping[str, Any], *path: str) -> Any:
    """Return what lies at a path of keys; None where a key is missing or null on the way."""
    here: Any = report
    for key in path:
        here = here.get(key) if isinstance(here, Mapping) else None
    return here


def percent(share: float | None) -> str:
    """Return a share in 0..1 in percent, one decimal, without the sign; "–" for no value."""
    return _decimal(share, 1, 100)


def decibel(ratio_db: float | None) -> str:
    """Return a ratio in dB, two decimals, without the unit; "–" for no value."""
    return _decimal(ratio_db, 2)


def count(number: float | None) -> str:
    """Return a whole number with commas between the thousands; "–" for no value."""
    return _decimal(number, 0)


def _decimal(number: float | None, digits: int, factor: float = 1) -> str:
    if number is None or not math.isfinite(number):
        return NOTHING
    return f"{factor * number:,.{digits}f}"


def with_interval(
    value: float | None,
    interval: Sequence[float | None] | None,
    form: Callable[[float | None], str] = percent,
) -> str:
    """Return a score and its interval, "92.1 (90.1 to 94.4)"; without one, the score alone."""
    ends = [form(end) for end in interval or ()]
    if form(value) == NOTHING or len(ends) != 2 or NOTHING in ends:
        return form(value)
    return f"{form(value)} ({ends[0]} to {ends[1]})"


def printable(text: object) -> str:
    """Return `text` in one line: what is no printable character becomes a space."""
    return "".join(sign if sign.isprintable() else " " for sign in str(text))


def markdown_text(text: object) -> str:
    """Return `text` in one line with the signs that Markdown or HTML would act upon made plain."""
    return printable(text).translate(_MARKDOWN_SIGNS)


def markdown_lines(table: Table, level: int = 2) -> list[str]:
    """Return a table as lines of Markdown, headed by its caption, each block after a blank line."""
    lines = ["", f"{'#' * level} {markdown_text(table.caption)}", ""]
    lines += [_line(map(markdown_text, table.columns)), "|---" * len(table.columns) + "|"]
    for r, row in enumerate(table.rows):
        cells = [markdown_text(cell) for cell in row]
        lines.append(_line(f"**{c}**" if (r, k) in table.bold else c for k, c in enumerate(cells)))
    for note in table.notes:
        lines += ["", markdown_text(note)]
    return lines


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def parts_of(report: Mapping[str, Any]) -> list[str]:
    """Return the parts that a report scores, in the order of ``PARTS``."""
    scored = {part for key in ("normal", "pseudo", "sdr") for part in report.get(key) or {}}
    return [part for part in PARTS if part in scored]


def headline(report: Mapping[str, Any]) -> str:
    """Return which model was scored on what: model, corpus, split, protocol."""
    return printable(
        f"{find(report, 'model', 'name')} on {find(report, 'corpus', 'name')}, "
        f"{report.get('split')} split, MES-Pseudo by {report.get('protocol')}"
    )


def report_lines(report: Mapping[str, Any]) -> list[str]:
    """Return a report as lines of Markdown: a headline, the scores, where they come from."""
    lines = [f"# {markdown_text(headline(report))}"]
    for sentence in opening(report):
        lines += ["", markdown_text(sentence)]
    for table in report_tables(report):
        lines += markdown_lines(table)
    return lines


def opening(report: Mapping[str, Any]) -> list[str]:
    """Return what a report says before its tables: the model's summary, the size of the data."""
    summary = find(report, "model", "summary")
    sizes = [("songs", count(report.get("songs"))), ("pieces", count(report.get("pieces")))]
    sizes += [("groups", count(report.get("groups")))]
    told = [f"{size} {noun}" for noun, size in sizes if size != NOTHING]
    seconds = _decimal(report.get("segment_seconds"), 1)
    told += [f"segments of {seconds} s"] if seconds != NOTHING else []
    return [*([str(summary)] if summary else []), *([", ".join(told) + "."] if told else [])]


def report_tables(report: Mapping[str, Any]) -> list[Table]:
    """Return the tables of a report: scores, hubness, SDR, kinds of sound, ABX, provenance."""
    tables = [_scores(report), _hubness(report)]
    if report.get("sdr"):
        tables.append(_sdr(report))
    return [*tables, *_kinds(report), *_abx(report), _provenance(report)]


def _scores(report: Mapping[str, Any]) -> Table:
    columns = (
        "part", "MES-Normal, %", "chance", "MES-Pseudo, %", "spread over groups", "chance",
        "leakage, %", "presence AUC", "presence Brier",
    )  # fmt: skip
    rows = []
    for part in parts_of(report):
        normal, pseudo = find(report, "normal", part) or {}, find(report, "pseudo", part) or {}
        rows.append((
            part,
            with_interval(normal.get("accuracy"), normal.get("interval")),
            percent(normal.get("chance")),
            with_interval(pseudo.get("accuracy"), pseudo.get("interval")),
            percent(pseudo.get("spread")),
            percent(pseudo.get("chance")),
            with_interval(pseudo.get("leakage"), pseudo.get("leakage_interval")),
            _decimal(normal.get("presence_auc"), 3),
            _decimal(normal.get("presence_brier"), 3),
        ))  # fmt: skip
    notes = (NORMAL_REWARDS_LEAKAGE, "In brackets: the interval of 95 %.")
    return Table("Scores by part", columns, tuple(rows), notes)


def _hubness(report: Mapping[str, Any]) -> Table:
    parts = parts_of(report)
    barred = any(find(report, "normal", part, "versions", "accuracy") is not None for part in parts)
    columns = ("part", *(("other versions, %", "chance") if barred else ()))
    rows = []
    for part in parts:
        versions = find(report, "normal", part, "versions") or {}
        hubs = find(report, "normal", part, "hubness") or {}
        score = with_interval(versions.get("accuracy"), versions.get("interval"))
        rows.append((
            part,
            *((score, percent(versions.get("chance"))) if barred else ()),
            _decimal(hubs.get("skewness"), 2),
            percent(hubs.get("largest")),
            percent(hubs.get("never")),
        ))  # fmt: skip
    note = "Other versions: MES-Normal with the query's own piece barred, where a song has several."
    return Table(
        "Other versions and hubness" if barred else "Hubness",
        (*columns, "hubness (skewness)", "largest hub, %", "never found, %"),
        tuple(rows),
        (note,) if barred else (),
    )


def _sdr(report: Mapping[str, Any]) -> Table:
    rows = []
    for part, sdr in ((part, find(report, "sdr", part)) for part in parts_of(report)):
        if sdr:
            rows.append((
                part,
                with_interval(sdr.get("sdr_db"), sdr.get("interval_db"), decibel),
                decibel(sdr.get("si_sdr_db")),
                count(sdr.get("segments")),
                count(sdr.get("dropped_windows")),
            ))  # fmt: skip
    columns = ("part", "SDR, dB", "SI-SDR, dB", "segments", "windows left out")
    return Table("Separation", columns, tuple(rows), (WHICH_SDR,))


def _kinds(report: Mapping[str, Any]) -> list[Table]:
    tables = []
    for asked in ("instrument", "soundfont", "tempo"):
        rows = []
        for part in parts_of(report):
            for kind, score in (find(report, "pseudo", part, "kinds", asked) or {}).items():
                rows.append((
                    part,
                    printable(kind),
                    with_interval(score.get("accuracy"), score.get("interval")),
                    percent(score.get("leakage")),
                    count(score.get("songs")),
                ))  # fmt: skip
        if rows:
            columns = ("part", asked, "MES-Pseudo, %", "leakage, %", "songs")
            note = "Of the target. The intervals of few songs are too narrow."
            tables.append(Table(f"MES-Pseudo by {asked}", columns, tuple(rows), (note,)))
    return tables


def _abx(report: Mapping[str, Any]) -> list[Table]:
    tables = []
    skipped = find(report, "abx", "skipped")
    for test, answers in (report.get("abx") or {}).items():
        if not isinstance(answers, Mapping) or not answers:
            continue
        criteria = list(dict.fromkeys(c for of_part in answers.values() for c in of_part or {}))
        rows = []
        for part, of_part in answers.items():
            cells = [printable(part)]
            for criterion in criteria:
                found = find(of_part or {}, criterion) or {}
                score = with_interval(found.get("agreement"), found.get("interval"))
                cells += [score, count(found.get("triplets"))]
            rows.append(tuple(cells))
        columns = [h for criterion in criteria for h in (f"{printable(criterion)}, %", "triplets")]
        note = "Share of triplets in which the model answers as the listeners do; a guess has 50 %."
        left_out = (f"{count(skipped)} triplets left out.",) if skipped else ()
        caption = f"Agreement with listeners, {printable(test)}"
        tables.append(Table(caption, ("part", *columns), tuple(rows), (note, *left_out)))
    return tables


_PROVENANCE = (
    ("model", ("model", "name")), ("method", ("model", "method")), ("recipe", ("model", "recipe")),
    ("seed", ("model", "seed")), ("commit of training", ("model", "commit")),
    ("parameters", ("model", "parameters")),
    ("core-minutes of training", ("model", "core_minutes")),
    ("sample rate, Hz", ("model", "sample_rate_hz")),
    ("fingerprint", ("model", "fingerprint")), ("corpus", ("corpus", "name")),
    ("digest of the corpus", ("corpus", "digest")), ("command", ("made", "command")),
    ("commit of evaluation", ("made", "commit")), ("date", ("made", "date")),
    ("machine", ("made", "machine")), ("device", ("made", "device")),
    ("stemwise", ("made", "stemwise")), ("torch", ("made", "torch")),
)  # fmt: skip


def _provenance(report: Mapping[str, Any]) -> Table:
    rows = []
    for name, path in _PROVENANCE:
        if path[1] not in (report.get(path[0]) or {}):
            continue
        value = find(report, *path)
        if path[-1] == "parameters":
            text = count(value)
        elif path[-1] == "core_minutes":
            text = _decimal(value, 1)
        else:
            text = NOTHING if value is None else printable(value)
        rows.append((name, text))
    return Table("Where the numbers come from", ("what", "value"), tuple(rows))
