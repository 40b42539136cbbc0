"""Everyone else: one or two instruments that are neither drums, bass, piano nor guitar.

Conventions: strokes carry the roles of `figures.Hand`. The first instrument is of any family; a
second one differs in family, so that pads meet tunes and stabs meet counter lines.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

from stemwise.corpora.dice import Dice
from stemwise.corpora.figures import (
    Event,
    Figure,
    Hand,
    Line,
    draw_contour,
    draw_rhythm,
    pulse,
    strokes,
    two_bars,
    unfold,
    variants,
)
from stemwise.corpora.outline import Outline

__all__ = ["play_residuals"]


@dataclass(frozen=True)
class _Style:
    """All that tells this instrument's playing from another's."""

    family: str
    program: int
    figures: tuple[Figure, Figure, Figure]
    hand: Hand
    gate: float
    level: float
    on_tonic: bool
    anticipates: bool
    lag_seconds: float
    spread_seconds: float


def _pad(dice: Dice, outline: Outline) -> Figure:
    """Draw long chords: one to three a bar, begun where this song begins them."""
    half = outline.meter.half_step
    rhythm = dice.pick(((0,), (0, half), (0, 6), (0, half + 2), (2,), (0, 4, half), (half - 2,)))
    tones = dice.pick(((0,), (0,), (0, 1), (1, 0)))
    return two_bars(dice, outline, strokes(rhythm, "chord", tones), answer=0.6)


def _tune(dice: Dice, outline: Outline) -> Figure:
    """Draw a melody: a motif and its answer."""
    rhythm = draw_rhythm(dice, outline, dice.whole(3, 8), syncopation=dice.between(0.1, 0.9))
    span = dice.pick((5, 7, 9, 11))
    tones = draw_contour(dice, rhythm, outline.meter, leap=dice.between(0, 0.6), span=span)
    return two_bars(dice, outline, strokes(rhythm, "melody", tones, (1.0, 0.9)), answer=0.8)


def _stab(dice: Dice, outline: Outline) -> Figure:
    """Draw short chords in unexpected places."""
    rhythm = draw_rhythm(dice, outline, dice.whole(2, 5), syncopation=dice.between(0.5, 1.0))
    return two_bars(dice, outline, strokes(rhythm, "chord", (0,), (1.0, 0.9)), answer=0.7)


def _arpeggiator(dice: Dice, outline: Outline) -> Figure:
    """Draw an arpeggiator: an order of tones on a quick pulse, with holes at times."""
    rhythm = pulse(outline.meter, outline.grid_steps if outline.tempo_bpm < 118 else 2)
    if dice.chance(0.6):
        holes = [dice.pick(rhythm[1:]) for _ in range(dice.whole(1, 4))]
        rhythm = tuple(step for step in rhythm if step not in holes)
    order = [dice.whole(0, 5) for _ in range(dice.pick((3, 4, 5, 6, 8)))]
    return two_bars(dice, outline, strokes(rhythm, "tone", order, (1.0, 0.8)), answer=0.2)


def _counter(dice: Dice, outline: Outline) -> Figure:
    """Draw a slow line, two to four notes a bar."""
    rhythm = draw_rhythm(dice, outline, dice.whole(2, 4), syncopation=dice.between(0, 0.5))
    tones = draw_contour(dice, rhythm, outline.meter, leap=0.2, span=7)
    return two_bars(dice, outline, strokes(rhythm, "melody", tones), answer=0.7)


def _ostinato(dice: Dice, outline: Outline) -> Figure:
    """Draw a cell that keeps turning."""
    rhythm = draw_rhythm(dice, outline, dice.whole(5, 9), syncopation=dice.between(0.3, 1.0))
    tones = tuple(dice.pick((0, 1, 2, 4, 5, 7, 9)) for _ in range(dice.whole(3, len(rhythm))))
    return two_bars(dice, outline, strokes(rhythm, "melody", tones, (1.0, 0.8)), answer=0.3)


_Draw = Callable[[Dice, Outline], Figure]
# How each family is drawn: builder, weight, note lengths, lowest pitches, programs.
_FAMILIES: dict[
    str, tuple[_Draw, float, tuple[float, float], tuple[int, int], tuple[int, ...]]
] = {
    "pad": (_pad, 4, (0.9, 1.0), (48, 67),
            (16, 18, 19, 48, 49, 50, 51, 52, 53, 54, 88, 89, 90, 91, 92, 94, 95)),
    "tune": (_tune, 4, (0.6, 1.0), (57, 74),
             (22, 40, 56, 64, 65, 66, 68, 71, 72, 73, 75, 78, 79, 80, 81, 82, 85, 11)),
    "stab": (_stab, 3, (0.2, 0.7), (50, 66), (16, 17, 18, 61, 62, 63, 55, 80, 81, 48)),
    "arpeggiator": (_arpeggiator, 3, (0.4, 1.0), (50, 74),
                    (8, 9, 10, 12, 13, 46, 80, 81, 84, 87, 98, 45)),
    "counter": (_counter, 2, (0.85, 1.0), (48, 69), (40, 41, 42, 48, 57, 60, 66, 68, 70, 71, 53)),
    "ostinato": (_ostinato, 3, (0.4, 1.0), (52, 72),
                 (8, 11, 12, 13, 14, 45, 46, 80, 81, 104, 107, 108, 114)),
}  # fmt: skip
_VOICINGS = ("close", "close", "open", "shell", "ninth", "sixth", "doubled", "octave", "tenth")


def _draw_style(dice: Dice, outline: Outline, taken: str) -> _Style:
    """Draw one instrument of one song, of another family than `taken`."""
    weights = {name: row[1] for name, row in _FAMILIES.items() if name != taken}
    family = dice.name(weights)
    draw, _, gates, registers, programs = _FAMILIES[family]
    low_pitch = dice.whole(*registers)
    return _Style(
        family=family,
        program=dice.pick(programs),
        figures=variants(dice, outline, draw(dice, outline)),
        hand=Hand(
            voicing=dice.pick(_VOICINGS),
            chord_low_pitch=low_pitch,
            bass_low_pitch=low_pitch,
            melody_low_pitch=low_pitch,
            doubles=dice.chance(0.2),
        ),
        gate=dice.between(*gates),
        level=dice.between(65, 105),
        on_tonic=family == "ostinato" and dice.chance(0.5),
        anticipates=dice.chance(0.2),
        lag_seconds=dice.between(-0.008, 0.014),
        spread_seconds=dice.between(0.001, 0.009),
    )


def _play(dice: Dice, outline: Outline, style: _Style, name: str) -> Line:
    """Play the outline on one instrument."""
    events = []
    for moment in unfold(
        outline, style.figures, on_tonic=style.on_tonic, anticipates=style.anticipates
    ):
        level = style.level * moment.stroke.accent + 3.0 * dice.spread()
        length = max(0.5, moment.length_steps * style.gate)
        for pitch in style.hand.pitches(moment.stroke, moment.chord):
            velocity = level + 2.0 * dice.spread()
            events.append(Event(moment.start_step, length, pitch, velocity))
    return Line(
        name=name,
        program=style.program,
        events=events,
        style=asdict(style),
        lag_seconds=style.lag_seconds,
        spread_seconds=style.spread_seconds,
    )


def play_residuals(dice: Dice, outline: Outline) -> list[Line]:
    """Draw one or two instruments and play the outline."""
    lines: list[Line] = []
    for number in range(dice.pick((1, 2), (45, 55))):
        taken = str(lines[0].style["family"]) if lines else ""
        style = _draw_style(dice, outline, taken)
        lines.append(_play(dice, outline, style, f"residuals-{number + 1}"))
    return lines
