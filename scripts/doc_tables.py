"""Tables of the documents that are made from the reports of the shipped models, by `make docs`.

Each prints Markdown where a document calls it between cog's marks.
"""

import json
from pathlib import Path
from typing import Any

from stemwise.models.checkpoint import load_model
from stemwise.parts import PARTS
from stemwise.reports.markdown import percent, with_interval

__all__ = ["by_instrument", "by_tempo", "scores"]

RESULTS = Path(__file__).parents[1] / "benchmarks" / "open" / "results"
SHIPPED = ("stemwise", "compact")
FEWEST_SONGS = 8


def report_of(model: str) -> dict[str, Any]:
    """Return the report of a shipped model; `ValueError` if it is of other weights."""
    report: dict[str, Any] = json.loads((RESULTS / f"{model}.json").read_text())
    shipped, scored = load_model(model).fingerprint, report["model"]["fingerprint"]
    if shipped != scored:
        raise ValueError(f"{model} is shipped with weights {shipped}, the report is of {scored}")
    return report


def _whole(told: dict[str, Any]) -> str:
    """Return a score and its interval in whole percent."""
    return with_interval(told["accuracy"], told["interval"], lambda share: f"{100 * share:.0f}")


def scores(model: str) -> None:
    """Print the scores of a shipped model on the open benchmark, a row per part."""
    report = report_of(model)
    print(
        "| part | MES-Normal | chance | MES-Pseudo (95 % interval) | chance | leakage "
        "| presence AUC |\n|---|---|---|---|---|---|---|"
    )
    for part in PARTS:
        normal, pseudo = report["normal"][part], report["pseudo"][part]
        print(
            f"| {part} | {percent(normal['accuracy'])} | {percent(normal['chance'])} "
            f"| {with_interval(pseudo['accuracy'], pseudo['interval'])} "
            f"| {percent(pseudo['chance'])} | {percent(pseudo['leakage'])} "
            f"| {normal['presence_auc']:.2f} |"
        )


def by_instrument() -> None:
    """Print MES-Pseudo by what plays the part, where songs are not too few."""
    first, second = (_kinds(report_of(model), "instrument") for model in SHIPPED)
    print("| part | played by | songs | `stemwise` | `compact` |\n|---|---|---|---|---|")
    for part in PARTS:
        for kind, told in first[part].items():
            if told["songs"] >= FEWEST_SONGS:
                cells = f"{_whole(told)} | {_whole(second[part][kind])}"
                print(f"| {part} | {kind} | {told['songs']} | {cells} |")


def by_tempo(model: str) -> None:
    """Print MES-Pseudo by the target's tempo, a row per part."""
    kinds = _kinds(report_of(model), "tempo")
    names = list(kinds[PARTS[0]])
    print(f"| `{model}`, by tempo | {' | '.join(names)} |\n|{'---|' * (len(names) + 1)}")
    for part in PARTS:
        cells = [_whole(told) for told in kinds[part].values()]
        print(f"| {part} | {' | '.join(cells)} |")


def _kinds(report: dict[str, Any], what: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Return for each part MES-Pseudo by kind of target."""
    return {part: report["pseudo"][part]["kinds"][what] for part in PARTS}
