"""The keyboard player: one family of playing per song, in a register and voicing of its own.

Conventions: strokes carry the roles of `figures.Hand`; the left hand plays role ``bass``.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

from stemwise.corpora.dice import Dice
from stemwise.corpora.figures import (
    Event,
    Figure,
    Hand,
    Line,
    Stroke,
    draw_contour,
    draw_rhythm,
    pulse,
    strokes,
    two_bars,
    unfold,
    variants,
)
from stemwise.corpora.outline import Outline

__all__ = ["play_piano"]


@dataclass(frozen=True)
class _Style:
    """All that tells this keyboard player's playing from another's."""

    family: str
    program: int
    figures: tuple[Figure, Figure, Figure]
    hand: Hand
    gate: float
    level: float
    left_level: float
    roll_seconds: float
    pedals: bool
    on_tonic: bool
    anticipates: bool
    chorus_lift_semitones: int
    lag_seconds: float
    spread_seconds: float


def _left_hand(dice: Dice, outline: Outline, chance: float) -> tuple[Stroke, ...]:
    """Draw a sparse left hand, or none."""
    if not dice.chance(chance):
        return ()
    half = outline.meter.half_step
    rhythm = dice.pick(((0,), (0, half), (0, half - 2), (0, 6, half + 2)))
    return strokes(rhythm, "bass", dice.pick(((0,), (0, 4), (0, 7), (0, 4, 7))))


def _blocks(dice: Dice, outline: Outline) -> Figure:
    """Draw block chords on a rhythm."""
    if dice.chance(0.4):
        rhythm = pulse(outline.meter, dice.pick((2, 4)))
    else:
        rhythm = draw_rhythm(dice, outline, dice.whole(3, 6), syncopation=dice.between(0, 0.6))
    accents = tuple(dice.pick((1.0, 0.9, 0.75)) for _ in range(3))
    bar = [*strokes(rhythm, "chord", (0,), accents), *_left_hand(dice, outline, 0.6)]
    return two_bars(dice, outline, bar, answer=0.4)


def _comping(dice: Dice, outline: Outline) -> Figure:
    """Draw chords between the beats, two bars in question and answer."""
    rhythm = draw_rhythm(dice, outline, dice.whole(3, 6), syncopation=dice.between(0.6, 1.0))
    bar = [*strokes(rhythm, "chord", (0,), (1.0, 0.8)), *_left_hand(dice, outline, 0.3)]
    return two_bars(dice, outline, bar, answer=0.8)


def _arpeggio(dice: Dice, outline: Outline) -> Figure:
    """Draw a broken chord in an order and on a pulse of the song's own."""
    quick = outline.grid_steps == 1 and outline.tempo_bpm < 110
    rhythm = pulse(outline.meter, dice.pick((1, 2) if quick else (2,)))
    if dice.chance(0.3):
        rhythm = draw_rhythm(dice, outline, dice.whole(5, 8), syncopation=0.5)
    order = dice.pick(
        ((0, 1, 2, 3), (0, 2, 1, 2), (3, 2, 1, 0), (0, 1, 2, 3, 4, 3, 2, 1), (0, 2, 4, 3, 2, 1),
         (2, 0, 1), (0, 3, 1), (4, 2, 3, 1))
    )  # fmt: skip
    bar = [*strokes(rhythm, "tone", order, (1.0, 0.8)), *_left_hand(dice, outline, 0.5)]
    return two_bars(dice, outline, bar, answer=0.15)


def _stride(dice: Dice, outline: Outline) -> Figure:
    """Draw bass notes on strong beats and chords on the weak ones, the chords at times doubled."""
    meter = outline.meter
    low = [step for step in meter.beats if step not in meter.backbeats]
    high = list(meter.backbeats)
    if dice.chance(0.5):
        high.append(dice.pick(meter.backbeats) + 2)
    if dice.chance(0.4):
        low.append(meter.steps - 2)
    tones = dice.pick(((0, 4), (0, -3), (0, 7), (0, 2)))
    bar = [*strokes(sorted(low), "bass", tones), *strokes(high, "chord", (0,), (0.85, 0.7))]
    return two_bars(dice, outline, bar, answer=0.3)


def _tune(dice: Dice, outline: Outline) -> Figure:
    """Draw a melody of two bars, over a sparse left hand."""
    rhythm = draw_rhythm(dice, outline, dice.whole(4, 8), syncopation=dice.between(0.1, 0.9))
    tones = draw_contour(dice, rhythm, outline.meter, leap=dice.between(0, 0.6), span=9)
    bar = [*strokes(rhythm, "melody", tones), *_left_hand(dice, outline, 0.7)]
    return two_bars(dice, outline, bar, answer=0.8)


def _ostinato(dice: Dice, outline: Outline) -> Figure:
    """Draw a short cell that keeps turning, whatever the chords do."""
    count = dice.whole(5, 8)
    rhythm = draw_rhythm(dice, outline, count, syncopation=dice.between(0.3, 0.9))
    tones = tuple(dice.pick((0, 2, 4, 5, 7, 8, 9)) for _ in range(dice.whole(3, count)))
    return two_bars(dice, outline, strokes(rhythm, "melody", tones, (1.0, 0.8)), answer=0.2)


def _ballad(dice: Dice, outline: Outline) -> Figure:
    """Draw a broken left hand under few chords."""
    left = pulse(outline.meter, 2 if outline.tempo_bpm < 150 else 4)
    tones = dice.pick(((0, 4, 7), (0, 4, 7, 9), (0, 4, 9, 4), (0, 7, 4), (0, 4, 8, 9)))
    right = draw_rhythm(dice, outline, dice.whole(1, 3), syncopation=dice.between(0, 0.5))
    bar = [*strokes(left, "bass", tones, (0.9, 0.75)), *strokes(right, "chord")]
    return two_bars(dice, outline, bar, answer=0.3)


def _montuno(dice: Dice, outline: Outline) -> Figure:
    """Draw broken octaves and tones between the beats."""
    rhythm = draw_rhythm(dice, outline, dice.whole(6, 9), syncopation=0.9)
    line = []
    for step in rhythm:
        role, tone = dice.pick((("tone", 0), ("tone", 1), ("tone", 2), ("chord", 0)))
        line.append(Stroke(step, role, tone))
        if dice.chance(0.5) and role == "tone":
            line.append(Stroke(step, role, tone + 3))
    return two_bars(dice, outline, line, answer=0.7)


_Draw = Callable[[Dice, Outline], Figure]
# How each family is drawn: builder, weight, note lengths as shares of the room, pedal chance.
_FAMILIES: dict[str, tuple[_Draw, float, tuple[float, float], float]] = {
    "blocks": (_blocks, 4, (0.3, 1.0), 0.3),
    "comping": (_comping, 3, (0.2, 0.9), 0.05),
    "arpeggio": (_arpeggio, 4, (0.4, 1.0), 0.6),
    "stride": (_stride, 2, (0.3, 0.7), 0.1),
    "tune": (_tune, 3, (0.6, 1.0), 0.3),
    "ostinato": (_ostinato, 3, (0.3, 1.0), 0.2),
    "ballad": (_ballad, 2, (0.8, 1.0), 0.8),
    "montuno": (_montuno, 2, (0.4, 0.9), 0.05),
}
_VOICINGS = ("close", "close", "open", "shell", "ninth", "sixth", "doubled", "octave", "tenth")


def _draw_style(dice: Dice, outline: Outline) -> _Style:
    """Draw the keyboard player of one song."""
    family = dice.name({name: row[1] for name, row in _FAMILIES.items()})
    draw, _, gates, pedal = _FAMILIES[family]
    figure = draw(dice, outline)
    register = dice.whole(50, 72)
    return _Style(
        family=family,
        program=dice.pick(range(8), (5, 4, 3, 2, 4, 4, 2, 3)),
        figures=variants(dice, outline, figure),
        hand=Hand(
            voicing=dice.pick(_VOICINGS),
            chord_low_pitch=register,
            bass_low_pitch=dice.whole(31, 43),
            melody_low_pitch=min(78, register + dice.pick((0, 7, 12))),
            doubles=dice.chance(0.35),
        ),
        gate=dice.between(*gates),
        level=dice.between(65, 108),
        left_level=dice.between(60, 95),
        roll_seconds=dice.pick((0.0, 0.004, 0.02), (5, 3, 1)),
        pedals=dice.chance(pedal),
        on_tonic=family == "ostinato" and dice.chance(0.6),
        anticipates=dice.chance(0.6 if family in ("comping", "montuno") else 0.15),
        chorus_lift_semitones=dice.pick((0, 12), (4, 1)),
        lag_seconds=dice.between(-0.008, 0.012),
        spread_seconds=dice.between(0.002, 0.008),
    )


def _pedal_spans(outline: Outline) -> list[tuple[int, int]]:
    """Return the spans in steps through which the pedal is down: one for each chord or bar."""
    spans = []
    for bar in outline.bars():
        end = bar.first_step + outline.meter.steps
        down = bar.first_step
        while down < end:
            up = min(end, outline.chord_ends[down])
            spans.append((down, up))
            down = up
    return spans


def play_piano(dice: Dice, outline: Outline) -> list[Line]:
    """Draw a keyboard player and play the outline."""
    style = _draw_style(dice, outline)
    events = []
    for moment in unfold(
        outline, style.figures, on_tonic=style.on_tonic, anticipates=style.anticipates
    ):
        stroke = moment.stroke
        lift = style.chorus_lift_semitones if moment.bar.section.variant == 1 else 0
        left = stroke.role == "bass"
        level = (style.left_level if left else style.level) * stroke.accent + 3.0 * dice.spread()
        length = max(0.5, moment.length_steps * style.gate)
        pitches = style.hand.pitches(stroke, moment.chord, lift_semitones=lift)
        for place, pitch in enumerate(pitches):
            velocity = level + 2.0 * dice.spread()
            delay = place * style.roll_seconds
            events.append(Event(moment.start_step, length, pitch, velocity, delay))
    return [
        Line(
            name="piano",
            program=style.program,
            events=events,
            style=asdict(style),
            pedal_steps=_pedal_spans(outline) if style.pedals else [],
            lag_seconds=style.lag_seconds,
            spread_seconds=style.spread_seconds,
        )
    ]
