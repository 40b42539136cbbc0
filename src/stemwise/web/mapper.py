"""The process that makes a map: ``python -m stemwise.web.mapper MEANS.npy PLACES.npy``."""

import os
import sys
from pathlib import Path

import numpy as np

from stemwise.layout import place

__all__ = ["main"]

LOWEST_PRIORITY = 19


def main(means: Path, places: Path) -> None:
    """Write the places (P, 2) of the points (P, D) in `means` to `places`."""
    os.nice(LOWEST_PRIORITY)
    np.save(places, place(np.load(means, allow_pickle=False)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
