"""The figures of a report, as SVG or PNG.

Conventions: Okabe and Ito's colours and viridis, which the colour-blind and a grey printer tell
apart, with a second mark beside each colour (hatching, sign, number). Figures stand on a light
ground. Nothing global is set. Names are shortened; where the font lacks a script, boxes are drawn.

Reference: Okabe, Ito, "Color universal design", 2008.
"""

import base64
import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from stemwise.evaluation.exhibits import Confusion, Points, Separated
from stemwise.layout import place
from stemwise.parts import PARTS
from stemwise.reports.markdown import (
    NOTHING,
    decibel,
    find,
    parts_of,
    percent,
    printable,
    with_interval,
)

__all__ = ["Picture", "draw_confusion", "draw_points", "draw_scores", "draw_spectrograms"]

LONGEST_NAME = 18
MOST_NAMES = 40  # of songs, along an axis or in a legend
MOST_NUMBERS = 12  # rows or columns of a matrix with a number in each cell
RANGE_DB = 80.0
_DPI = 120
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
_SIGNS = "os^DvPX"
_BAR = 0.27
_BARS = (
    ("MES-Normal", "normal", "accuracy", "interval", "#0072B2", ""),
    ("MES-Pseudo", "pseudo", "accuracy", "interval", "#009E73", "///"),
    ("leakage", "pseudo", "leakage", "leakage_interval", "#D55E00", "..."),
)


@dataclass(frozen=True)
class Picture:
    """A figure: what it is called, what it shows in words, its bytes and their kind."""

    title: str
    alt: str
    data: bytes
    kind: Literal["svg+xml", "png"]

    @property
    def uri(self) -> str:
        """The bytes as a data URI."""
        return f"data:image/{self.kind};base64,{base64.b64encode(self.data).decode()}"


def draw_scores(report: Mapping[str, Any]) -> Picture:
    """Draw MES-Normal, MES-Pseudo and leakage of each part with their intervals, and chance.

    Where a score has no value, "–" stands in place of its bar.
    """
    parts = parts_of(report)
    figure = _figure(max(5.0, 1.4 * len(parts) + 1.2), 3.6)
    axes = figure.subplots()
    told = []
    for p, part in enumerate(parts):
        for k, (_, key, score, interval, colour, hatch) in enumerate(_BARS):
            found = find(report, key, part) or {}
            x = p + (k - 1) * _BAR
            _draw_bar(axes, x, found.get(score), found.get(interval), colour, hatch)
            if score == "accuracy" and percent(found.get("chance")) != NOTHING:
                _draw_chance(axes, x, found["chance"])
        told.append(f"{part}: " + ", ".join(
            f"{name} {with_interval(find(report, key, part, score), find(report, key, part, ends))}"
            for name, key, score, ends, _, _ in _BARS
        ))  # fmt: skip
    axes.set_xticks(range(len(parts)), parts)
    axes.set_xlim(-0.6, max(len(parts), 1) - 0.4)
    axes.set_ylim(0, 100)
    axes.set_ylabel("%")
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    names: list[Patch | Line2D] = [
        Patch(facecolor=colour, hatch=hatch, edgecolor="white", label=name)
        for name, _, _, _, colour, hatch in _BARS
    ]
    names.append(Line2D([], [], color="black", linewidth=1.6, label="chance"))
    figure.legend(handles=names, loc="outside upper center", ncols=len(names), frameon=False)
    alt = f"Bars by part, in percent, with intervals of 95 %. {'; '.join(told)}."
    return Picture("Scores by part", alt, _bytes(figure, "svg"), "svg+xml")


def _draw_bar(
    axes: Axes,
    x: float,
    value: float | None,
    interval: Sequence[float | None] | None,
    colour: str,
    hatch: str,
) -> None:
    if value is None or percent(value) == NOTHING:
        axes.text(x, 0.8, NOTHING, ha="center", va="bottom", fontsize=8, color=colour)
        return
    axes.bar(x, 100 * value, 0.9 * _BAR, color=colour, hatch=hatch, edgecolor="white", linewidth=0)
    ends = [end for end in interval or () if end is not None and np.isfinite(end)]
    if len(ends) == 2:
        reach = np.maximum([[value - ends[0]], [ends[1] - value]], 0)
        axes.errorbar(x, 100 * value, 100 * reach, color="#222222", capsize=2.5, linewidth=1.1)


def _draw_chance(axes: Axes, x: float, chance: float) -> None:
    for colour, width in (("white", 3.2), ("black", 1.6)):
        ends = (x - _BAR / 2, x + _BAR / 2)
        axes.plot(ends, (100 * chance,) * 2, color=colour, linewidth=width, solid_capstyle="butt",
                  zorder=3, clip_on=False)  # fmt: skip


def draw_confusion(part: str, confusion: Confusion) -> Picture:
    """Draw of one part who was taken for whom, and the share of right votes by background.

    A pair of target and background without a segment is grey. Up to 12 rows and columns, cells bear
    their number; up to 40, the songs their names.
    """
    rows, columns = len(confusion.targets), len(confusion.backgrounds)
    wide = min(max(columns, 8), 24)
    figure = _figure(3.4 + 0.3 * (min(max(rows, 6), 24) + wide), 1.7 + 0.27 * min(max(rows, 6), 30))
    left, right = figure.subplots(1, 2, width_ratios=[min(max(rows, 6), 24), wide])
    votes = _draw_matrix(left, confusion.votes, None, "d")
    _name_axes(left, confusion.targets, confusion.targets, "voted to be", "target")
    _draw_scale(figure, votes, left, "segments")
    shares = _draw_matrix(right, 100 * confusion.right, 100.0, ".0f")
    _name_axes(right, confusion.backgrounds, confusion.targets, "background", "target")
    _draw_scale(figure, shares, right, "right votes, %")
    left.set_title(f"{part}: votes", fontsize=9)
    right.set_title(f"{part}: right votes by background", fontsize=9)
    return Picture(part, _confusion_in_words(part, confusion), _bytes(figure, "svg"), "svg+xml")


def _confusion_in_words(part: str, confusion: Confusion) -> str:
    votes = np.array(confusion.votes)
    total = int(votes.sum())
    share = percent(votes.trace() / total) if total else NOTHING
    alt = f"{part}: {total} segments of {len(votes)} targets, {share} % voted right"
    np.fill_diagonal(votes, 0)
    if votes.any():
        row, column = np.unravel_index(votes.argmax(), votes.shape)
        one, other = (printable(confusion.targets[i]) for i in (row, column))
        alt += f"; most often wrong: {one} taken for {other}, {votes[row, column]} segments"
    return f"{alt}. Beside it, right votes by target and background."


def _draw_matrix(axes: Axes, values: NDArray[Any], most: float | None, form: str) -> QuadMesh:
    """Draw a matrix, its first row at the top, from 0 to `most` (None: its largest value)."""
    seen = np.ma.masked_invalid(np.asarray(values, np.float64))
    top = most if most is not None else max(float(seen.max()) if seen.count() else 0.0, 1.0)
    viridis = colormaps["viridis"].with_extremes(bad="#d9d9d9")
    mesh = axes.pcolormesh(seen, cmap=viridis, vmin=0, vmax=top, edgecolors="white", linewidth=0.4)
    axes.invert_yaxis()
    if max(seen.shape, default=0) <= MOST_NUMBERS:
        for (row, column), value in np.ndenumerate(np.ma.filled(seen, np.nan)):
            if np.isfinite(value):
                text = format(int(value) if form == "d" else value, form)
                colour = "black" if value > 0.6 * top else "white"
                axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=6,
                          color=colour)  # fmt: skip
    return mesh


def _draw_scale(
    figure: Figure, drawn: ScalarMappable, beside: Any, label: str, **looks: Any
) -> None:
    bar = figure.colorbar(drawn, ax=beside, **looks)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=7)


def _name_axes(
    axes: Axes, columns: Sequence[str], rows: Sequence[str], across: str, down: str
) -> None:
    for axis, names, label in ((axes.xaxis, columns, across), (axes.yaxis, rows, down)):
        some = len(names) <= MOST_NAMES
        axis.set_ticks(np.arange(len(names)) + 0.5 if some else [],
                       labels=[_short(name) for name in names] if some else [])  # fmt: skip
        axis.set_label_text(label if some else f"{label} ({len(names)} songs)", fontsize=8)
        axis.set_tick_params(labelsize=6.5, length=0)
    axes.tick_params(axis="x", labelrotation=90)


def draw_points(part: str, points: Points) -> Picture:
    """Draw segments by one part's numbers on a plane, with a colour and a sign for each song."""
    places = place(points.block.astype(np.float64))
    named = len(points.names) <= MOST_NAMES
    figure = _figure(6.2 if named else 4.4, 3.8)
    axes = figure.subplots()
    for song, name in enumerate(points.names):
        here = places[points.songs == song]
        sign = _SIGNS[(song + song // len(_COLOURS)) % len(_SIGNS)]
        axes.scatter(here[:, 0], here[:, 1], s=28, color=_COLOURS[song % len(_COLOURS)],
                     marker=sign, linewidth=0.4, edgecolor="white", label=_short(name))  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])
    axes.margins(0.08)
    axes.set_title(part, fontsize=9)
    if named and points.names:
        figure.legend(loc="outside right center", fontsize=7, frameon=False, title="song",
                      title_fontsize=7, ncols=1 + len(points.names) // 21)  # fmt: skip
    alt = (
        f"Map of {len(places)} segments in which {part} sounds, of {len(points.names)} songs: "
        f"{', '.join(printable(name) for name in points.names)}."
    )
    return Picture(part, alt, _bytes(figure, "svg"), "svg+xml")


def draw_spectrograms(separated: Mapping[str, Separated]) -> Picture:
    """Draw of each part mixture, reference and estimate in a row, all on one scale of 80 dB."""
    shown = [(part, separated[part]) for part in PARTS if part in separated]
    levels = [level for _, one in shown for level in _levels(one)]
    peaks = [level[np.isfinite(level)].max() for level in levels if np.isfinite(level).any()]
    top = float(max(peaks, default=0.0))
    figure = _figure(9.5, 1.75 * len(shown) + 0.7)
    grid = figure.subplots(len(shown), 3, squeeze=False)
    told = []
    for row, (part, one) in zip(grid, shown, strict=True):
        sdr = decibel(one.sdr_db)
        sdr = f"SDR {sdr} dB" if sdr != NOTHING else f"SDR {NOTHING}"
        titles = (f"{part}: mixture ({_short(one.song)})", "reference stem", f"separated, {sdr}")
        for axes, level, title in zip(row, _levels(one), titles, strict=True):
            image = axes.imshow(
                np.nan_to_num(level, nan=top - RANGE_DB, neginf=top - RANGE_DB, posinf=top),
                origin="lower", aspect="auto", cmap="viridis", vmin=top - RANGE_DB, vmax=top,
                extent=(0, one.seconds, 0, one.sample_rate_hz / 2000),
            )  # fmt: skip
            axes.set_title(title, fontsize=8)
            axes.tick_params(labelsize=7)
            axes.label_outer()
        row[0].set_ylabel("kHz", fontsize=8)
        told.append(f"{part} ({printable(one.song)}): {sdr}")
    for axes in grid[-1]:
        axes.set_xlabel("seconds", fontsize=8)
    _draw_scale(figure, image, grid, "dB (0 is a full-scale sine)", extend="min", aspect=45)
    alt = f"Spectrograms of mixture, reference stem and separated stem. {'; '.join(told)}."
    return Picture("Mixture, reference, estimate", alt, _bytes(figure, "png"), "png")


def _levels(one: Separated) -> tuple[NDArray[np.float32], ...]:
    return one.mixture_db, one.reference_db, one.estimate_db


def _short(name: str) -> str:
    """Return `name`, shortened, with the signs that matplotlib reads as formulas made plain.

    What goes is the middle: names of one collection often begin alike.
    """
    name = printable(name)
    if len(name) > LONGEST_NAME:
        half = LONGEST_NAME // 2
        name = name[: half - 1] + "…" + name[-half:]
    return name.replace("$", r"\$")


def _figure(width_inches: float, height_inches: float) -> Figure:
    figure = Figure(figsize=(width_inches, height_inches), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _bytes(figure: Figure, form: Literal["svg", "png"]) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():  # scripts that the font lacks are drawn as boxes
        warnings.filterwarnings("ignore", r"Glyph .* missing from font", UserWarning)
        figure.savefig(
            file, format=form, dpi=_DPI, metadata={"Date": None} if form == "svg" else {}
        )
    return file.getvalue()
