"""What the commands of search print; see `stemwise.console`."""

import dataclasses
from typing import TYPE_CHECKING, Any

from stemwise.clock import clock
from stemwise.console import print_object, print_table, remark

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stemwise.library.duplicates import Duplicates
    from stemwise.library.hubs import Hubness
    from stemwise.library.journey import Step
    from stemwise.library.matches import Match, Passage, SearchResult

__all__ = [
    "match_object",
    "print_duplicates",
    "print_hubs",
    "print_journey",
    "print_matches",
    "tell_search",
]

_DECIMALS = 6
_PASSAGES_SHOWN = 3


def print_matches(result: "SearchResult", as_json: bool, explain: bool = False) -> None:
    """Print the matches of a search as a table, or as one JSON object a line."""
    tell_search(result)
    ranked = list(enumerate(result.matches, start=1))
    for rank, match in ranked if as_json else ():
        print_object(match_object(rank, match, explain) | {"kind": result.kind})
    if as_json or not ranked:
        return
    parts = result.parts
    print_table(
        ["#", "alike", *parts, "query → match", "title", "artist", "path"],
        (
            [rank, f"{m.similarity:.3f}",
             *(f"{m.parts[part].similarity:.3f}" if part in m.parts else "" for part in parts),
             f"{clock(m.best.query_seconds)} → {clock(m.best.match_seconds)}",
             m.piece.title, m.piece.artist, _path(m)]
            for rank, m in ranked
        ),
    )  # fmt: skip
    for rank, match in ranked if explain else ():
        _print_reasons(rank, match)


def tell_search(result: "SearchResult") -> None:
    """Say on stderr what a search left out, and how far its answer can be trusted."""
    for asked in result.asked:
        if asked.absent_parts:
            remark(f"no {' or '.join(asked.absent_parts)} sounds in {asked.name}: left out")
    if result.same_recording:
        names = ", ".join(str(piece.path) for piece in result.same_recording)
        remark(f"the same recording in another file, left out: {names}")
    if result.over_limit:
        remark(f"{result.over_limit} nearer pieces left out: their artist has enough matches")
    if result.kind == "probable":
        remark("probable: a nearer piece may have been missed; --exact compares all, and is slower")
    if not result.searched:
        remark("no piece of the catalogue has these parts and passes the filters")


def match_object(rank: int, match: "Match", explain: bool = False) -> dict[str, Any]:
    """Return a match as plain values for JSON."""
    piece = match.piece
    shown = {
        "rank": rank,
        "id": piece.id,
        "title": piece.title,
        "artist": piece.artist,
        "path": str(piece.path),
        "paths": [str(path) for path in match.paths],
        "same_recording": [str(copy.path) for copy in match.same_recording],
        "similarity": match.similarity,
        "distance": match.distance,
        "parts": {part: one.similarity for part, one in match.parts.items()},
        "best": dataclasses.asdict(match.best),
        "passages": [dataclasses.asdict(passage) for passage in match.passages],
    }
    if explain:
        shown["examples"] = [dataclasses.asdict(example) for example in match.examples]
    rounded: dict[str, Any] = _rounded(shown)
    return rounded


def print_duplicates(found: "Sequence[Duplicates]", as_json: bool) -> None:
    """Print recordings of which there are several files, with a number for each recording."""
    for group in found if as_json else ():
        print_object(
            {
                "identical": group.identical,
                "distance": round(group.distance, _DECIMALS),
                "ids": [piece.id for piece in group.pieces],
                "paths": [str(piece.path) for piece in group.pieces],
            }
        )
    if not found:
        remark("no recording is there twice")
    elif not as_json:
        print_table(
            ["#", "how", "length", "id", "path"],
            (
                [number, "same bytes" if group.identical else f"distance {group.distance:.4f}",
                 clock(piece.duration_seconds), piece.id, piece.path]
                for number, group in enumerate(found, start=1)
                for piece in group.pieces
            ),
        )  # fmt: skip


def print_journey(steps: "Sequence[Step]", as_json: bool) -> None:
    """Print the pieces of a journey in their order, each with its distance from the one before."""
    parts = sorted({part for step in steps for part in step.parts})
    for number, step in enumerate(steps, start=1) if as_json else ():
        piece = step.piece
        shown = {"step": number, "id": piece.id, "title": piece.title, "artist": piece.artist}
        shown |= {"path": str(piece.path), "distance": step.distance, "parts": step.parts}
        print_object(_rounded(shown))
    if not as_json:
        print_table(
            ["#", "distance", *parts, "title", "artist", "path"],
            (
                [number, "" if step.distance is None else f"{step.distance:.3f}",
                 *(f"{step.parts[part]:.3f}" if part in step.parts else "" for part in parts),
                 step.piece.title, step.piece.artist, step.piece.path]
                for number, step in enumerate(steps, start=1)
            ),
        )  # fmt: skip


def print_hubs(rows: "Sequence[tuple[Hubness, Hubness]]", as_json: bool) -> None:
    """Print per part how unevenly pieces are found: by plain distances, and with hubs put back."""
    for plain, scaled in rows if as_json else ():
        one = {"part": plain.part, "pieces": plain.pieces, "plain": dataclasses.asdict(plain),
               "scaled": dataclasses.asdict(scaled)}  # fmt: skip
        print_object(_rounded(one))
    if not as_json:
        print_table(
            ["part", "pieces", "skewness", "with hubs put back", "never found",
             "with hubs put back", "largest hub"],
            (
                [plain.part, plain.pieces, f"{plain.skewness:.2f}", f"{scaled.skewness:.2f}",
                 f"{plain.never:.1%}", f"{scaled.never:.1%}",
                 f"{plain.hub} (in {plain.largest:.1%} of the lists)"]
                for plain, scaled in rows
            ),
        )  # fmt: skip


def _path(match: "Match") -> str:
    more = len(match.paths) + len(match.same_recording) - 1
    return f"{match.piece.path}" + (f" (+{more} more of this recording)" if more else "")


def _print_reasons(rank: int, match: "Match") -> None:
    print(f"\n#{rank} {match.piece.title}: distance {match.distance:.3f}")
    for example in match.examples:
        verb = "away from" if example.away else "near to"
        print(f"  {verb} {example.name}: distance {example.distance:.3f}, "
              f"alike {example.similarity:.3f}")  # fmt: skip
        for part, one in example.parts.items():
            print(f"    {part}: distance {one.distance:.3f}, alike {one.similarity:.3f}, "
                  f"presence {one.presence:.2f}")  # fmt: skip
        nearest = sorted(example.passages, key=lambda passage: passage.distance)
        told = [_met(passage) for passage in nearest[:_PASSAGES_SHOWN]]
        print(f"    nearest of {len(nearest)} passages: {', '.join(told)}")


def _met(passage: "Passage") -> str:
    times = f"{clock(passage.query_seconds)} → {clock(passage.match_seconds)}"
    return f"{times} ({passage.distance:.3f})"


def _rounded(value: Any) -> Any:
    """Return `value` with all floats rounded."""
    if isinstance(value, float):
        return round(value, _DECIMALS)
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    return value
