"""Reports side by side, in the shape of the paper's Tables I to III.

Those are MES-Normal, MES-Pseudo and SDR; leakage is added. Conventions:

- Reports share a table only if they are of the same corpus (by its digest), split, protocol, groups
  and length of segments. A report that names no digest stands alone.
- Runs of one recipe that differ in nothing but their seed are one row: mean and standard deviation
  (of a sample) over the seeds. Their commits may differ; the lines below the tables name them. Two
  runs of one recipe with one seed differ in something else, so that then none are put together.
- Order: baselines, Clean, Cascade, Direct, Direct-Reconst; within a method by name.
- Bold is the best of a column among models that hear the mixture: neither baselines, nor what hears
  the stems.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from stemwise.errors import UsageError
from stemwise.parts import PARTS
from stemwise.reports.markdown import (
    NOTHING,
    Table,
    count,
    decibel,
    find,
    markdown_lines,
    markdown_text,
    parts_of,
    percent,
    printable,
    with_interval,
)
from stemwise.reports.paper import PAPER, PAPER_HEARS_STEMS

__all__ = ["table_lines", "table_rows"]

Report = Mapping[str, Any]
_DATA = ("split", "protocol", "groups", "segment_seconds")  # with the corpus: what one table holds
_SAME_RUN = (
    "recipe",
    "settings",
    "method",
    "sample_rate_hz",
    "parameters",
)  # of runs that seeds tell apart
METHODS = ("baseline", "clean", "cascade", "direct", "direct-reconst", "direct-mask")
# Table: key of the report, score, its interval, sign of the better.
SCORES = {
    "MES-Normal": ("normal", "accuracy", "interval", 1),
    "MES-Pseudo": ("pseudo", "accuracy", "interval", 1),
    "Leakage": ("pseudo", "leakage", "leakage_interval", -1),
    "SDR": ("sdr", "sdr_db", "interval_db", 1),
}
CAPTIONS = {
    "MES-Normal": "MES-Normal, %",
    "MES-Pseudo": "MES-Pseudo, %",
    "Leakage": "Leakage, % (less is better)",
    "SDR": "SDR, dB",
}
HEARS_STEMS = " (hears the stems)"
HOW_TO_READ = (
    "After ±: the standard deviation over seeds. In brackets: the 95 % interval of a single run. "
    "Bold: the best of the models that hear the mixture. MES-Normal alone rewards leakage."
)
PAPER_HEADING = "The paper's own figures, on Slakh2100: other data, not to be compared cell by cell"
PAPER_NOTE = (
    "– is a cell that the paper leaves blank or fills with a dash: Cascade has no residuals, and "
    "of Direct, from H24, no MES-Pseudo for piano is told. MES-Pseudo of Clean is not reported. "
    "H22, H24: quoted by the paper from Hashizume et al., arXiv 2211.07863 and 2404.06682."
)


def table_lines(reports: Sequence[Report], *, paper: bool = False) -> list[str]:
    """Return reports side by side as lines of Markdown.

    Args:
        reports: as `stemwise.reports.writing.load_report` returns them, in any order.
        paper: add the paper's own tables, which are of other data, as a block of their own.

    Raises:
        UsageError: two reports are of the same model on the same data.
    """
    lines = ["# Methods side by side"]
    for group in _groups(reports):
        rows = _group_rows(group)
        lines += ["", f"## {markdown_text(_data_in_words(_data(group[0])))}", "", HOW_TO_READ]
        for name in dict.fromkeys(row["table"] for row in rows):
            own = [row for row in rows if row["table"] == name]
            lines += markdown_lines(_laid_out(name, own, _columns(group)), level=3)
        lines += ["", "Rows:", "", *_sources(rows)]
    return lines + (_paper_lines() if paper else [])


def table_rows(reports: Sequence[Report], *, paper: bool = False) -> list[dict[str, Any]]:
    """Return the rows of `table_lines` as objects for JSON, one for each row of each table.

    "cells" is by part: value, deviation over the seeds or interval, chance, number of runs with a
    value, best of the column or not. MES and leakage are shares in 0..1, SDR is in dB; the paper's
    MES, if asked for, is in percent as printed. "data" and "unit" say so.

    Raises:
        UsageError: two reports are of the same model on the same data.
    """
    rows = [row for group in _groups(reports) for row in _group_rows(group)]
    return rows + (_paper_rows() if paper else [])


def _groups(reports: Sequence[Report]) -> list[list[Report]]:
    """Return the reports that may share a table, groups in the order in which they begin."""
    groups: dict[tuple[Any, ...], list[Report]] = {}
    for k, report in enumerate(reports):
        digest = find(report, "corpus", "digest") or k
        key = (digest, *(report.get(name) for name in _DATA))
        groups.setdefault(key, []).append(report)
    for group in groups.values():
        _check_no_twins(group)
    return list(groups.values())


def _check_no_twins(group: Sequence[Report]) -> None:
    seen = set()
    for report in group:
        model = report["model"]
        who = model.get("fingerprint") or (model.get("method"), model.get("name"))
        if who in seen:
            raise UsageError(
                f"two reports are of the model {printable(model.get('name'))} on the same data "
                f"({_data_in_words(_data(report))}); give one of them"
            )
        seen.add(who)


def _group_rows(group: Sequence[Report]) -> list[dict[str, Any]]:
    pools = _pools(group)
    rows = []
    for name, (key, *_) in SCORES.items():
        own = [
            _row(name, pool) | {"method": method}
            for method, pool in pools
            if any(find(report, key) for report in pool)
        ]
        own = [
            row for row in own if any(cell["value"] is not None for cell in row["cells"].values())
        ]
        _mark_best(name, own)
        rows += own
    return rows


def _pools(group: Sequence[Report]) -> list[tuple[str, list[Report]]]:
    """Return the rows of a table in their order: a name that no other has, and the runs in it."""
    pools: dict[Any, list[Report]] = {}
    for k, report in enumerate(group):
        model = report["model"]
        told = model.get("recipe") is not None and model.get("seed") is not None
        key = tuple(model.get(name) for name in _SAME_RUN) if told else k
        pools.setdefault(key, []).append(report)
    split = []
    for pool in pools.values():
        seeds = [report["model"].get("seed") for report in pool]
        split += [pool] if len(set(seeds)) == len(seeds) else [[report] for report in pool]
    named = sorted(((_pool_name(pool), pool) for pool in split), key=_order)
    names = [name for name, _ in named]
    return [
        (f"{name}, {_distinction(pool)}" if names.count(name) > 1 else name, pool)
        for name, pool in named
    ]


def _pool_name(pool: Sequence[Report]) -> str:
    names = {printable(report["model"].get("name")) for report in pool}
    return names.pop() if len(names) == 1 else printable(pool[0]["model"]["recipe"])


def _distinction(pool: Sequence[Report]) -> str:
    model = pool[0]["model"]
    return printable(model.get("fingerprint") or model.get("recipe") or model.get("method"))


def _order(named: tuple[str, Sequence[Report]]) -> tuple[int, str]:
    method = named[1][0]["model"].get("method")
    return METHODS.index(method) if method in METHODS else len(METHODS), named[0]


def _hears_stems(report: Report) -> bool:
    model = report["model"]
    return bool(model.get("takes_stems", model.get("method") == "clean"))


def _data(report: Report) -> dict[str, Any]:
    corpus = {name: find(report, "corpus", name) for name in ("name", "digest")}
    return {
        "corpus": corpus["name"],
        "digest": corpus["digest"],
        **{name: report.get(name) for name in _DATA},
    }


def _data_in_words(data: Mapping[str, Any]) -> str:
    words = [f"{data['corpus']} ({data['digest'] or 'digest unknown'})", f"{data['split']} split"]
    words.append(str(data["protocol"]))
    words += [f"{data['groups']} groups"] if data["groups"] is not None else []
    seconds = data["segment_seconds"]
    return printable(", ".join(words + ([f"segments of {seconds} s"] if seconds else [])))


def _row(table: str, pool: Sequence[Report]) -> dict[str, Any]:
    models = [report["model"] for report in pool]
    minutes = [m["core_minutes"] for m in models if m.get("core_minutes") is not None]
    return {
        "table": table,
        "unit": "dB" if table == "SDR" else "share",
        "data": _data(pool[0]),
        "method": "",
        "kind": models[0].get("method"),
        "hears_stems": _hears_stems(pool[0]),
        "runs": len(pool),
        "seeds": sorted(m["seed"] for m in models if m.get("seed") is not None),
        "cells": {part: _cell(table, part, pool) for part in PARTS
                  if any(part in parts_of(report) for report in pool)},
        "core_minutes": float(np.mean(minutes)) if minutes else None,
        "parameters": models[0].get("parameters"),
        "recipe": models[0].get("recipe"),
        "sample_rate_hz": models[0].get("sample_rate_hz"),
        "commits": list(dict.fromkeys(m["commit"] for m in models if m.get("commit"))),
        "fingerprints": [m["fingerprint"] for m in models if m.get("fingerprint")],
    }  # fmt: skip


def _cell(table: str, part: str, pool: Sequence[Report]) -> dict[str, Any]:
    key, score, interval, _ = SCORES[table]
    found = [find(report, key, part) or {} for report in pool]
    values = [one[score] for one in found if one.get(score) is not None]
    chances = [one["chance"] for one in found if one.get("chance") is not None]
    return {
        "value": float(np.mean(values)) if values else None,
        "deviation": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "interval": found[0].get(interval) if len(pool) == 1 else None,
        "chance": float(np.mean(chances)) if chances and score == "accuracy" else None,
        "runs": len(values),
        "best": False,
    }


def _mark_best(table: str, rows: Sequence[dict[str, Any]]) -> None:
    """Mark the best cell of each part, and what is told by the same digits, if there are rivals."""
    sign, form = SCORES[table][3], _form(table)
    for part in PARTS:
        rivals = [
            row["cells"][part] for row in rows
            if not row["hears_stems"] and row["kind"] != "baseline"
            and row["cells"].get(part, {}).get("value") is not None
        ]  # fmt: skip
        if len(rivals) > 1:
            best = max(rivals, key=lambda cell: sign * cell["value"])
            for cell in rivals:
                cell["best"] = form(cell["value"]) == form(best["value"])


def _form(table: str) -> Any:
    return decibel if table == "SDR" else percent


def _columns(group: Sequence[Report]) -> list[str]:
    return [part for part in PARTS if any(part in parts_of(report) for report in group)]


def _laid_out(name: str, rows: Sequence[Mapping[str, Any]], parts: Sequence[str]) -> Table:
    lines, bold = [], set()
    for r, row in enumerate(rows):
        cells = [row["cells"].get(part) for part in parts]
        bold |= {(r, k + 2) for k, cell in enumerate(cells) if cell and cell["best"]}
        lines.append((
            row["method"] + (HEARS_STEMS if row["hears_stems"] else ""),
            str(len(row["seeds"]) or NOTHING),
            *(_cell_in_words(name, cell, row["runs"]) for cell in cells),
            count(row["core_minutes"]),
            count(row["parameters"]),
        ))  # fmt: skip
    columns = ("method", "seeds", *parts, "core-min", "parameters")
    return Table(CAPTIONS[name], columns, tuple(lines), _notes(name, rows), frozenset(bold))


def _cell_in_words(table: str, cell: Mapping[str, Any] | None, runs: int) -> str:
    if cell is None or cell["value"] is None:
        return NOTHING
    form = _form(table)
    if runs == 1:
        return with_interval(cell["value"], cell["interval"], form)
    of = f", {cell['runs']} of {runs} runs" if cell["runs"] < runs else ""
    spread = f" ± {form(cell['deviation'])}" if cell["deviation"] is not None else ""
    return f"{form(cell['value'])}{spread}{of}"


def _notes(name: str, rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    rates = {row["method"]: row["sample_rate_hz"] for row in rows}
    if name == "SDR" and len(set(rates.values())) > 1:
        told = ", ".join(f"{method} {rate} Hz" for method, rate in rates.items())
        return (f"Each at its model's rate, so not quite the same task: {told}.",)
    chance = {
        part: percent(cell["chance"])
        for row in rows for part, cell in row["cells"].items() if cell["chance"] is not None
    }  # fmt: skip
    if len(set(chance.values())) == 1:
        return (f"Chance: {min(chance.values())}.",)
    told = ", ".join(f"{part} {share}" for part, share in chance.items())
    return (f"Chance: {told}.",) if chance else ()


def _sources(rows: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    """Yield for each method its recipe, seeds, commits and fingerprints, as a Markdown list."""
    told = {}
    for row in rows:
        facts = [
            ("recipe", [row["recipe"]] if row["recipe"] is not None else []),
            ("seeds" if len(row["seeds"]) > 1 else "seed", row["seeds"]),
            ("trained at commits" if len(row["commits"]) > 1 else "trained at", row["commits"]),
            (
                "fingerprints" if len(row["fingerprints"]) > 1 else "fingerprint",
                row["fingerprints"],
            ),
        ]
        words = "; ".join(f"{name} {', '.join(map(str, found))}" for name, found in facts if found)
        told[row["method"]] = words or str(row["kind"])
    return [f"- {markdown_text(method)}: {markdown_text(words)}" for method, words in told.items()]


def _paper_rows() -> list[dict[str, Any]]:
    return [
        {
            "table": table,
            "unit": "dB" if table == "SDR" else "percent",
            "data": "the paper, Slakh2100",
            "method": method,
            "hears_stems": method in PAPER_HEARS_STEMS,
            "cells": {
                part: {"value": None if told is None else float(told)}
                for part, told in zip(PARTS, cells, strict=True)
            },
        }
        for table, rows in PAPER.items()
        for method, cells in rows.items()
    ]


def _paper_lines() -> list[str]:
    lines = ["", f"## {PAPER_HEADING}"]
    for table, rows in PAPER.items():
        laid_out = tuple(
            (method + (HEARS_STEMS if method in PAPER_HEARS_STEMS else ""),
             *(told or NOTHING for told in cells))
            for method, cells in rows.items()
        )  # fmt: skip
        caption = f"{CAPTIONS[table]}, of the paper"
        lines += markdown_lines(Table(caption, ("method", *PARTS), laid_out), level=3)
    return [*lines, "", PAPER_NOTE]
