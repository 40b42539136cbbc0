"""The guitarist: strums, picks, riffs or scratches on six-string shapes.

Conventions: a stroke of role ``down`` or ``up`` strums the shape, ``scratch`` mutes it, ``string``
picks one of its strings, ``power`` plays root and fifth, ``melody`` a degree of the chord's scale.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

from stemwise.corpora.dice import Dice
from stemwise.corpora.figures import (
    Event,
    Figure,
    Line,
    Moment,
    Stroke,
    draw_contour,
    draw_rhythm,
    pulse,
    strokes,
    two_bars,
    unfold,
    variants,
    vary_rhythm,
)
from stemwise.corpora.harmony import guitar_shape, voice
from stemwise.corpora.outline import Outline

__all__ = ["play_guitar"]

_MUTED_STEPS = 0.6


@dataclass(frozen=True)
class _Style:
    """All that tells this guitarist's playing from another's."""

    family: str
    program: int
    figures: tuple[Figure, Figure, Figure]
    position: int
    capo: int
    top_strings: int
    lead_low_pitch: int
    double_stop: int
    gate: float
    level: float
    strum_seconds: float
    on_tonic: bool
    anticipates: bool
    lag_seconds: float
    spread_seconds: float


def _strummed(rhythm: tuple[int, ...], grid: int, accents: tuple[float, ...]) -> list[Stroke]:
    """Return strums with the hand's swing: down on the even places of the grid, up on the odd."""
    return [
        Stroke(
            step,
            "up" if step // grid % 2 else "down",
            accent=accents[i % len(accents)] * (0.85 if step // grid % 2 else 1.0),
        )
        for i, step in enumerate(rhythm)
    ]


def _strum(dice: Dice, outline: Outline) -> Figure:
    """Draw a strumming pattern: the hand never stops, and misses the strings at times."""
    grid = 2 if outline.tempo_bpm > 96 else outline.grid_steps
    count = dice.whole(5, 8 if grid == 2 else 11)
    drawn = draw_rhythm(dice, outline, count, syncopation=dice.between(0.2, 0.8))
    rhythm = tuple(sorted({step - step % grid for step in drawn}))
    accents = tuple(dice.pick((1.0, 0.85, 0.7)) for _ in range(4))
    return two_bars(dice, outline, _strummed(rhythm, grid, accents), answer=0.5)


def _picking(dice: Dice, outline: Outline) -> Figure:
    """Draw picked strings, the thumb on the lowest."""
    quick = outline.grid_steps == 1 and outline.tempo_bpm < 95
    rhythm = pulse(outline.meter, dice.pick((1, 2)) if quick else 2)
    if dice.chance(0.5):
        rhythm = draw_rhythm(dice, outline, dice.whole(5, 8), syncopation=dice.between(0.2, 0.7))
    tones = [dice.whole(1, 5) for _ in range(dice.pick((3, 4, 6, 8)))]
    tones[0] = 0
    bar = strokes(rhythm, "string", tones, (1.0, 0.8, 0.85))
    if dice.chance(0.4):
        bar += (Stroke(0, "string", 4),)
    return two_bars(dice, outline, bar, answer=0.3)


def _power(dice: Dice, outline: Outline) -> Figure:
    """Draw a riff of power chords, some of them palm-muted."""
    if dice.chance(0.4):
        rhythm = pulse(outline.meter, 2)
    else:
        rhythm = draw_rhythm(dice, outline, dice.whole(4, 9), syncopation=dice.between(0.2, 0.9))
    tones = [dice.pick((0, 0, 1, 1)) for _ in rhythm]  # 1 = muted
    accents = [0.8 if tone else 1.0 for tone in tones]
    return two_bars(dice, outline, strokes(rhythm, "power", tones, accents), answer=0.5)


def _scratch(dice: Dice, outline: Outline) -> Figure:
    """Draw sixteenths, most of them muted, a few ringing."""
    ringing = draw_rhythm(dice, outline, dice.whole(2, 5), syncopation=dice.between(0.5, 1.0))
    muted = draw_rhythm(dice, outline, dice.whole(3, 8), syncopation=0.6)
    bar = [
        Stroke(step, ("up" if step % 2 else "down") if step in ringing else "scratch")
        for step in sorted({*ringing, *muted})
    ]
    return two_bars(dice, outline, bar, answer=0.5)


def _lead(dice: Dice, outline: Outline) -> Figure:
    """Draw a riff or tune on one or two strings."""
    rhythm = draw_rhythm(dice, outline, dice.whole(5, 9), syncopation=dice.between(0.2, 0.9))
    tones = draw_contour(dice, rhythm, outline.meter, leap=dice.between(0, 0.7), span=9)
    return two_bars(dice, outline, strokes(rhythm, "melody", tones, (1.0, 0.85)), answer=0.8)


def _skank(dice: Dice, outline: Outline) -> Figure:
    """Draw short chords off the beat."""
    meter = outline.meter
    choices = [meter.backbeats, pulse(meter, 4, 2), pulse(meter, 4, 2)]
    choices.append(tuple(sorted({*meter.backbeats, meter.backbeats[-1] + 2})))
    choices.append(tuple(sorted({*pulse(meter, 4, 2), meter.steps - 1})))
    choices.append((2, *(step for step in meter.beats if step > 0)))
    rhythm = vary_rhythm(dice, sorted(dice.pick(choices)), outline, dice.whole(0, 2))
    bar = [Stroke(step, dice.pick(("down", "up"))) for step in rhythm]
    return two_bars(dice, outline, bar, answer=0.5)


def _held(dice: Dice, outline: Outline) -> Figure:
    """Draw ringing chords with a note or two picked after them."""
    bar = [Stroke(dice.pick((0, 0, 2)), "down")]
    bar += [
        Stroke(step, "string", dice.whole(2, 5), 0.85)
        for step in draw_rhythm(dice, outline, dice.whole(2, 4), syncopation=0.7)
        if step > 2
    ]
    return two_bars(dice, outline, bar, answer=0.6)


_Draw = Callable[[Dice, Outline], Figure]
# How each family is drawn: builder, weight, note lengths as shares of the room, programs.
_FAMILIES: dict[str, tuple[_Draw, float, tuple[float, float], tuple[int, ...]]] = {
    "strum": (_strum, 4, (0.5, 1.0), (24, 25, 25, 26, 27)),
    "picking": (_picking, 4, (0.8, 1.0), (24, 25, 26, 27)),
    "power": (_power, 3, (0.6, 1.0), (29, 30, 28)),
    "scratch": (_scratch, 2, (0.3, 0.8), (27, 28, 26)),
    "lead": (_lead, 4, (0.5, 1.0), (26, 27, 29, 30, 24)),
    "skank": (_skank, 2, (0.2, 0.6), (27, 28, 26, 25)),
    "held": (_held, 2, (0.9, 1.0), (27, 26, 29, 25)),
}


def _draw_style(dice: Dice, outline: Outline) -> _Style:
    """Draw the guitarist of one song."""
    family = dice.name({name: row[1] for name, row in _FAMILIES.items()})
    draw, _, gates, programs = _FAMILIES[family]
    return _Style(
        family=family,
        program=dice.whole(24, 31) if dice.chance(0.2) else dice.pick(programs),
        figures=variants(dice, outline, draw(dice, outline)),
        position=dice.pick((0, 0, 3, 5, 7, 9)),
        capo=dice.pick((0, 0, 0, 1, 2, 3, 4)),
        top_strings=dice.whole(3, 6),
        lead_low_pitch=dice.whole(45, 64),
        double_stop=dice.pick((0, 0, 0, -2, 2)),
        gate=dice.between(*gates),
        level=dice.between(70, 112),
        strum_seconds=dice.between(0.004, 0.018),
        on_tonic=family == "lead" and dice.chance(0.3),
        anticipates=dice.chance(0.15),
        lag_seconds=dice.between(-0.008, 0.014),
        spread_seconds=dice.between(0.002, 0.008),
    )


def _pitches(style: _Style, moment: Moment) -> list[int]:
    """Return the pitches of a stroke in the order the pick meets them."""
    stroke, chord = moment.stroke, moment.chord
    if stroke.role == "melody":
        second = stroke.tone + style.double_stop
        pitches = [chord.degree_pitch(stroke.tone, low_pitch=style.lead_low_pitch)]
        if style.double_stop:
            pitches.append(chord.degree_pitch(second, low_pitch=style.lead_low_pitch))
        return pitches
    if stroke.role == "power":
        return voice(chord, "power", low_pitch=40 + style.capo)
    shape = guitar_shape(chord, position=style.position, capo=style.capo)
    if stroke.role == "string":
        return [shape[stroke.tone % len(shape)]]
    shape = shape[-style.top_strings :]
    return shape[::-1][:4] if stroke.role == "up" else shape


def play_guitar(dice: Dice, outline: Outline) -> list[Line]:
    """Draw a guitarist and play the outline."""
    style = _draw_style(dice, outline)
    events = []
    for moment in unfold(
        outline, style.figures, on_tonic=style.on_tonic, anticipates=style.anticipates
    ):
        stroke = moment.stroke
        muted = stroke.role == "scratch" or (stroke.role == "power" and stroke.tone == 1)
        length = _MUTED_STEPS if muted else max(0.5, moment.length_steps * style.gate)
        softness = 0.55 if stroke.role == "scratch" else 1.0
        level = style.level * stroke.accent * softness + 3.0 * dice.spread()
        pace_seconds = style.strum_seconds * (0.8 + 0.4 * dice.random())
        for place, pitch in enumerate(_pitches(style, moment)):
            velocity = level + 2.0 * dice.spread()
            delay = place * pace_seconds
            events.append(Event(moment.start_step, length, pitch, velocity, delay))
    return [
        Line(
            name="guitar",
            program=style.program,
            events=events,
            style=asdict(style),
            lag_seconds=style.lag_seconds,
            spread_seconds=style.spread_seconds,
        )
    ]
