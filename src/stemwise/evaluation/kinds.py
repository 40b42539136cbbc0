"""By what a score is told apart: instrument, soundfont, tempo.

The instrument is the family of General MIDI programs that play a part, for drums the kind of kit;
"several" where programs of one stem are of different families. Corpora of recordings tell neither
instrument nor soundfont.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stemwise.corpora.bank import BankPiece
from stemwise.scores.interval import interval

__all__ = ["kind_scores", "kinds_of"]

_FAMILIES = (
    "piano", "chromatic percussion", "organ", "guitar", "bass", "strings", "ensemble", "brass",
    "reed", "pipe", "synth lead", "synth pad", "synth effects", "ethnic", "percussive", "effects",
)  # fmt: skip
_LAST_OF_PART: Mapping[str, tuple[tuple[int, str], ...]] = {  # the last program of each family
    "drums": ((23, "acoustic kit"), (31, "electronic kit"), (127, "jazz or orchestral kit")),
    "bass": ((32, "acoustic bass"), (37, "electric bass"), (39, "synth bass")),
    "piano": ((3, "acoustic piano"), (5, "electric piano"), (7, "harpsichord or clavinet")),
    "guitar": ((25, "acoustic guitar"), (28, "clean electric guitar"), (31, "driven guitar")),
}
_TEMPI_BPM = (
    (90, "below 90 bpm"), (120, "90 to 119 bpm"), (150, "120 to 149 bpm"),
    (float("inf"), "150 bpm and above"),
)  # fmt: skip
_TEMPI = [name for _, name in _TEMPI_BPM]


def kinds_of(piece: BankPiece, rendering: Mapping[str, Any], part: str) -> dict[str, str]:
    """Return what is known of a part of a piece: its "instrument", "soundfont" and "tempo".

    Args:
        piece: of the bank.
        rendering: how it was made, as in `stemwise.corpora.piece.Piece`.
        part: one of the five parts.
    """
    found = {}
    sound = rendering.get(part)
    if isinstance(sound, Mapping) and sound.get("programs") and sound.get("soundfont"):
        names = {_instrument(part, int(program)) for program in sound["programs"].values()}
        found["instrument"] = names.pop() if len(names) == 1 else "several"
        found["soundfont"] = str(sound["soundfont"])
    if piece.tempo_bpm is not None:
        found["tempo"] = next(name for end, name in _TEMPI_BPM if piece.tempo_bpm < end)
    return found


def kind_scores(
    right: NDArray[np.bool_],
    leaked: NDArray[np.bool_] | None,
    targets: NDArray[np.int64],
    kinds: Mapping[int, Mapping[str, str]],
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the score over the queries of each kind: what is asked, kind, score.

    Args:
        right: (Q,) whether each query was.
        leaked: (Q,) whether it was taken in by its background; None if not asked.
        targets: (Q,) the song that each query's part is from.
        kinds: what is known of a song's part, by the song's number.
    """
    report: dict[str, dict[str, dict[str, Any]]] = {}
    for asked in ("instrument", "soundfont", "tempo"):
        labels = np.array([kinds[int(song)].get(asked, "") for song in targets])
        known = set(labels.tolist()) - {""}
        for kind in sorted(known, key=_TEMPI.index if asked == "tempo" else None):
            here = labels == kind
            report.setdefault(asked, {})[kind] = {
                "accuracy": float(right[here].mean()),
                "interval": interval(right[here], targets[here]),
                "leakage": None if leaked is None else float(leaked[here].mean()),
                "queries": int(here.sum()),
                "songs": len(np.unique(targets[here])),
            }
    return report


def _instrument(part: str, program: int) -> str:
    for last, name in _LAST_OF_PART.get(part, ()):
        if program <= last:
            return name
    return _FAMILIES[program // 8]
