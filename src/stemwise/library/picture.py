"""A picture of a collection: one map per part, side by side, pieces labelled by title."""

import warnings
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from stemwise.errors import UsageError
from stemwise.library.catalogue import Catalogue
from stemwise.library.map import map_coordinates
from stemwise.parts import PARTS

__all__ = ["draw_map"]

LONGEST_LABEL = 18
MOST_LABELS = 150
_PANEL_INCHES = 4.5
_DPI = 120


def draw_map(catalogue: Catalogue, path: Path) -> int:
    """Draw the maps of all five parts to the PNG file `path`; return the number of pieces.

    A piece in which a part does not sound is left out of that panel, and the panel's title says how
    many are. Beyond 150 pieces, points carry no labels. The file appears whole or not at all.

    Raises:
        UsageError: the catalogue holds no piece, or `path` does not end in .png.
    """
    if path.suffix.lower() != ".png":
        raise UsageError(f"a map is a PNG file, but {path.name} does not end in .png")
    pieces = catalogue.vectors().pieces
    if not pieces:
        raise UsageError(f"the catalogue in {catalogue.directory} holds no piece to draw")
    titles = {piece.id: _label(piece.title) for piece in pieces}
    figure = Figure(figsize=(_PANEL_INCHES * len(PARTS), _PANEL_INCHES), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, part in zip(figure.subplots(1, len(PARTS)), PARTS, strict=True):
        ids, places = map_coordinates(catalogue, part)
        silent = len(pieces) - len(ids)
        axes.set_title(f"{part} ({silent} without)" if silent else part)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.margins(0.15)
        axes.scatter(places[:, 0], places[:, 1], s=14)
        for name, place in zip(ids, places, strict=True):
            if len(ids) <= MOST_LABELS:
                axes.annotate(titles[name], place, (3, 3), textcoords="offset points", fontsize=6)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with warnings.catch_warnings():  # scripts that the font lacks are drawn as boxes
        warnings.filterwarnings("ignore", r"Glyph .* missing from font", UserWarning)
        figure.savefig(partial, format="png", dpi=_DPI)
    partial.replace(path)
    return len(pieces)


def _label(title: str) -> str:
    """Return `title`, shortened, with the signs that matplotlib reads as formulas made plain."""
    short = title if len(title) <= LONGEST_LABEL else title[: LONGEST_LABEL - 1] + "…"
    return short.replace("$", r"\$")
