"""Chords, progressions and voicings of the composed songs.

Conventions: a pitch is a MIDI note number (60 = middle C), a pitch class is 0..11 (0 = C), an
interval is in semitones above the chord's root, a degree counts steps of the chord's own scale
(0 = root, 2 = third, 4 = fifth, 7 = the octave). Numerals are relative to the major scale of the
tonic: capitals are major, small letters minor, ``b`` lowers the root by a semitone.
"""

from dataclasses import dataclass

from stemwise.corpora.dice import Dice

__all__ = ["MODES", "Chord", "chord_of", "draw_progression", "guitar_shape", "voice"]

MODES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
}

_PROGRESSIONS = {
    "major": (
        "I V vi IV", "I vi IV V", "vi IV I V", "I IV V IV", "I iii IV V", "ii V I vi", "I IV ii V",
        "I bVII IV I", "IV V iii vi", "I IV iv I", "I II IV I", "vi ii V I", "I III vi IV",
        "I V ii IV", "IV I V vi", "I bIII IV bVI", "I I IV V", "I bVI bVII I", "ii IV I V",
    ),
    "minor": (
        "i bVI bIII bVII", "i bVII bVI V", "i iv V i", "i bVI iv V", "i iv bVII bIII",
        "i bIII bVII iv", "i v bVI bVII", "i bVII bVI bVII", "iidim V i bVI", "i iv bVI V",
        "bVI bVII i i", "i i iv V", "i bIII iv bVI", "i IV bVI bVII", "iv i bVI V",
    ),
    "dorian": ("i IV i IV", "i ii bIII IV", "i bVII IV i", "i v IV IV", "IV i bIII bVII"),
    "mixolydian": ("I bVII IV I", "I v IV I", "I bVII I bVII", "bVI bVII I I", "I I bVII IV"),
    "lydian": ("I II I II", "I II iii II", "I V II I", "I vi II V"),
    "phrygian": ("i bII i bII", "i bII bIII bII", "i bvii bVI bII", "i i bII bvii"),
}  # fmt: skip

_NUMERALS = {"i": 0, "ii": 1, "iii": 2, "iv": 3, "v": 4, "vi": 5, "vii": 6}
_OPEN_STRINGS = (40, 45, 50, 55, 59, 64)


@dataclass(frozen=True)
class Chord:
    """A chord: root pitch class, its tones as intervals, and the seven intervals of its scale."""

    root: int
    tones: tuple[int, ...]
    scale: tuple[int, ...]

    def degree_pitch(self, degree: int, *, low_pitch: int) -> int:
        """Return the pitch of `degree`, counted from the lowest root at or above `low_pitch`."""
        octave, step = divmod(degree, 7)
        return low_pitch + (self.root - low_pitch) % 12 + 12 * octave + self.scale[step]


def chord_of(numeral: str, *, tonic: int, mode: str, seventh: bool) -> Chord:
    """Return the chord of a `numeral` in a key; a seventh is the one of the chord's scale.

    The chord's scale is the key's, with each tone foreign to the key put in the place of the
    neighbour that it alters (borrowed chords bend the scale, no more). A seventh that would be
    harsh, a major one over a minor third, is left out.
    """
    name = numeral.lstrip("b").removesuffix("dim")
    lowered = len(numeral) - len(numeral.lstrip("b"))
    root = (tonic + MODES["major"][_NUMERALS[name.lower()]] - lowered) % 12
    third, fifth = (4, 7) if name.isupper() else (3, 6 if numeral.endswith("dim") else 7)
    classes = [(tonic + interval) % 12 for interval in MODES[mode]]
    needed = [(root + interval) % 12 for interval in (0, third, fifth)]
    for tone in needed:
        if tone not in classes:
            free = [c for c in classes if c not in needed]
            side = 1 if lowered or third == 3 else -1  # a flat comes from above, a sharp from below
            nearest = next(c for c in ((tone + side) % 12, (tone - side) % 12) if c in free)
            classes[classes.index(nearest)] = tone
    scale = tuple(sorted((c - root) % 12 for c in classes))
    harsh = third == 3 and scale[6] == 11  # a major seventh over a minor third
    tones = (0, third, fifth, scale[6]) if seventh and not harsh else (0, third, fifth)
    return Chord(root, tones, scale)


def _diatonic(mode: str) -> list[str]:
    """Return the numerals of the seven triads of `mode`."""
    scale = MODES[mode]
    numerals = []
    for degree in range(7):
        third = (scale[(degree + 2) % 7] - scale[degree]) % 12
        fifth = (scale[(degree + 4) % 7] - scale[degree]) % 12
        shift = scale[degree] - MODES["major"][degree]  # -1, 0 or (lydian) 1 = the next, lowered
        root, flat = degree + (shift > 0), "b" * (shift != 0)
        name = list(_NUMERALS)[root]
        numerals.append(flat + (name.upper() if third == 4 else name + "dim" * (fifth == 6)))
    return numerals


def draw_progression(dice: Dice, mode: str) -> tuple[str, ...]:
    """Draw four numerals: a well-worn progression of `mode` or, one time in three, a new one."""
    if not dice.chance(0.34):
        return tuple(dice.pick(_PROGRESSIONS[mode]).split())
    triads = [numeral for numeral in _diatonic(mode) if not numeral.endswith("dim")]
    drawn = [triads[0] if dice.chance(0.7) else dice.pick(triads)]
    while len(drawn) < 4:
        drawn.append(dice.pick([numeral for numeral in triads if numeral != drawn[-1]]))
    return tuple(drawn)


def voice(chord: Chord, kind: str, *, low_pitch: int) -> list[int]:
    """Return the rising pitches of `chord` in a voicing of one `kind`, from `low_pitch` upwards.

    Close kinds take the inversion that fits the octave above `low_pitch`, so chords move little.
    """
    drawn = {
        "shell": (chord.scale[2], chord.scale[6]),
        "ninth": (*chord.tones[1:], chord.scale[1]),
        "sixth": (*chord.tones[:3], chord.scale[5]),
    }
    if kind in ("power", "octave", "tenth"):
        root = low_pitch + (chord.root - low_pitch) % 12
        offsets = {
            "power": (0, chord.tones[2], 12),
            "octave": (0, 12),
            "tenth": (0, chord.tones[2], 12 + chord.tones[1]),
        }
        return [root + offset for offset in offsets[kind]]
    intervals = drawn.get(kind, chord.tones)
    pitches = sorted(low_pitch + (chord.root + i - low_pitch) % 12 for i in intervals)
    if kind == "open":
        pitches = sorted([pitches[0], pitches[1] + 12, *pitches[2:]])
    elif kind == "doubled":
        pitches.append(pitches[0] + 12)
    return pitches


def guitar_shape(chord: Chord, *, position: int, capo: int) -> list[int]:
    """Return the pitches of a playable six-string shape, lowest string first, 3 to 6 of them.

    The root is the lowest sounding string. At `position` 0 the hand covers frets 0-3 (open
    chords), else the four frets from the root's, nearest to `position`; `capo` raises all strings.
    """
    strings = [pitch + capo for pitch in _OPEN_STRINGS]
    roots = [(s, (chord.root - strings[s]) % 12) for s in range(3)]
    if position == 0 and any(fret <= 3 for _, fret in roots):
        string, fret = next((s, f) for s, f in roots if f <= 3)
        first = 0
    else:
        string, fret = min(roots[:2], key=lambda pair: (abs(pair[1] - position), pair[0]))
        first = fret
    classes = {(chord.root + interval) % 12 for interval in chord.tones}
    shape = [strings[string] + fret]
    for pitch in strings[string + 1 :]:
        held = [pitch + f for f in range(first, first + 4) if (pitch + f) % 12 in classes]
        if held:
            shape.append(held[0] if held[0] > shape[-1] else held[-1])
    return sorted(set(shape))
