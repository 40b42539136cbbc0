"""The bass player: one family of patterns per song, played on the chords' roots and scales.

Conventions: a stroke's tone is a degree of the chord's scale (0 root, 4 fifth, 7 octave); a stroke
of role ``approach`` leads into the next chord's root.
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
)
from stemwise.corpora.outline import Outline

__all__ = ["play_bass"]


@dataclass(frozen=True)
class _Style:
    """All that tells this bass player's playing from another's."""

    family: str
    program: int
    figures: tuple[Figure, Figure, Figure]
    low_pitch: int
    gate: float
    level: float
    on_tonic: bool
    anticipates: bool
    approach_chance: float
    approach_semitones: int
    rest_chance: float
    lag_seconds: float
    spread_seconds: float


def _roots(dice: Dice, outline: Outline) -> Figure:
    """Draw even roots, or roots on a rhythm, with an accent pattern."""
    accents = tuple(dice.pick((1.0, 0.9, 0.75)) for _ in range(4))
    if dice.chance(0.5):
        rhythm = pulse(outline.meter, 2 if outline.tempo_bpm > 85 else dice.pick((1, 2)))
    else:
        rhythm = draw_rhythm(dice, outline, dice.whole(4, 7), syncopation=dice.between(0, 0.8))
    tones = dice.pick(((0,), (0,), (0, 0, 0, 7), (0, 0, 0, 6), (0, 0, 0, 4)))
    return two_bars(dice, outline, strokes(rhythm, "degree", tones, accents), answer=0.4)


def _root_fifth(dice: Dice, outline: Outline) -> Figure:
    """Draw root and fifth on the strong beats, with a pickup of the song's own."""
    meter = outline.meter
    rhythm = sorted({0, meter.half_step, dice.pick(pulse(meter, 2)), dice.pick(pulse(meter, 2))})
    tones = (0, dice.pick((4, -3)), dice.pick((0, 4, 2)), dice.pick((0, 4, 7)))
    return two_bars(dice, outline, strokes(rhythm, "degree", tones), answer=0.4)


def _walking(dice: Dice, outline: Outline) -> Figure:
    """Draw two bars of walking beats, the last of which leads on, with a skip at times."""
    bars = []
    for _ in range(2):
        rhythm = sorted({*pulse(outline.meter, 4), *dice.sample((6, 10, 14), 1, (1, 1, 1))})
        rhythm = [step for step in rhythm if step < outline.meter.steps]
        tones = (0, *draw_contour(dice, rhythm[1:], outline.meter, leap=0.3, span=8))
        line = list(strokes(rhythm, "degree", tones))
        line[-1] = Stroke(rhythm[-1], "approach")
        bars.append(tuple(line))
    return tuple(bars)


def _riff(dice: Dice, outline: Outline) -> Figure:
    """Draw a syncopated riff with a contour of its own."""
    rhythm = draw_rhythm(dice, outline, dice.whole(4, 8), syncopation=dice.between(0.3, 1.0))
    tones = [dice.pick((0, 0, 2, 4, 6, 7, 9, -1, -3)) for _ in rhythm]
    tones[0] = dice.pick((0, 0, 0, 4, 7))
    accents = tuple(dice.pick((1.0, 0.85, 0.7)) for _ in rhythm)
    return two_bars(dice, outline, strokes(rhythm, "degree", tones, accents), answer=0.6)


def _octaves(dice: Dice, outline: Outline) -> Figure:
    """Draw disco octaves, even or galloping."""
    gallop = [step for step in range(outline.meter.steps) if step % 4 in (0, 2, 3)]
    rhythm = pulse(outline.meter, 2) if outline.grid_steps == 2 or dice.chance(0.6) else gallop
    tones = dice.pick(((0, 7), (0, 7), (0, 0, 7), (0, 7, 7), (0, 7, 4, 7), (0, 7, 6, 7)))
    return two_bars(dice, outline, strokes(rhythm, "degree", tones, (1.0, 0.85)), answer=0.2)


def _arpeggio(dice: Dice, outline: Outline) -> Figure:
    """Draw a broken chord in an order of the song's own."""
    order = dice.pick(((0, 2, 4, 7), (0, 4, 7, 4), (0, 4, 2, 4), (0, 7, 4, 2), (0, 4, 9, 7)))
    rhythm = pulse(outline.meter, dice.pick((2, 4) if outline.tempo_bpm < 150 else (4,)))
    if dice.chance(0.4):
        rhythm = draw_rhythm(dice, outline, dice.whole(4, 6), syncopation=0.4)
    return two_bars(dice, outline, strokes(rhythm, "degree", order), answer=0.3)


def _slap(dice: Dice, outline: Outline) -> Figure:
    """Draw thumbed roots, popped octaves and soft ghosts on the finest grid."""
    rhythm = draw_rhythm(dice, outline, dice.whole(6, 10), syncopation=0.9)
    line = []
    for step in rhythm:
        tone, accent = dice.pick(((0, 1.0), (0, 0.5), (7, 1.05), (6, 0.9), (9, 0.95), (4, 0.8)))
        line.append(Stroke(step, "degree", tone, accent))
    return two_bars(dice, outline, line, answer=0.6)


def _long(dice: Dice, outline: Outline) -> Figure:
    """Draw two to three long notes a bar."""
    second = dice.pick((outline.meter.half_step, outline.meter.half_step - 2, 10))
    rhythm = sorted({0, second, dice.pick((second, 6, outline.meter.steps - 2))})
    tones = (0, dice.pick((0, 4, 7, 2)), dice.pick((0, 4, 6)))
    return two_bars(dice, outline, strokes(rhythm, "degree", tones), answer=0.3)


def _tumbao(dice: Dice, outline: Outline) -> Figure:
    """Draw notes that fall between the beats and reach for the next chord early."""
    choices = ((6, 12), (3, 6, 14), (6, 14), (0, 6, 12), (3, 6, 12, 14))
    rhythm = dice.pick(choices) if outline.meter.steps == 16 else (4, 8, 10)
    tones = (dice.pick((4, 0)), dice.pick((7, 0, 4)), 0, dice.pick((0, 4)))
    return two_bars(dice, outline, strokes(rhythm, "degree", tones), answer=0.3)


def _dub(dice: Dice, outline: Outline) -> Figure:
    """Draw a short riff with a hole in it."""
    hole = dice.pick((0, outline.meter.half_step))
    drawn = draw_rhythm(dice, outline, 8, syncopation=0.5)
    rhythm = [step for step in drawn if not hole <= step < hole + 6] or [2, 4]
    tones = [dice.pick((0, 0, 4, 2, 7, -3)) for _ in rhythm]
    return two_bars(dice, outline, strokes(rhythm, "degree", tones), answer=0.5)


_Draw = Callable[[Dice, Outline], Figure]
# How each family is drawn: builder, weight, note lengths as shares of the room, programs.
_FAMILIES: dict[str, tuple[_Draw, float, tuple[float, float], tuple[int, ...]]] = {
    "roots": (_roots, 3, (0.4, 1.0), (33, 34, 38, 39)),
    "root-fifth": (_root_fifth, 2, (0.4, 0.95), (32, 33, 34)),
    "walking": (_walking, 2, (0.7, 0.95), (32, 32, 35, 33)),
    "riff": (_riff, 4, (0.3, 1.0), (33, 34, 36, 38, 39)),
    "octaves": (_octaves, 2, (0.3, 0.8), (33, 34, 37, 38, 39)),
    "pedal": (_roots, 1, (0.5, 1.0), (33, 34, 38, 39)),
    "arpeggio": (_arpeggio, 2, (0.5, 1.0), (33, 35, 38, 32)),
    "slap": (_slap, 2, (0.25, 0.6), (36, 37, 36, 37, 39)),
    "long": (_long, 2, (0.85, 1.0), (32, 35, 33, 39)),
    "tumbao": (_tumbao, 2, (0.6, 1.0), (32, 33, 35)),
    "dub": (_dub, 2, (0.4, 0.9), (33, 38, 39, 32)),
}


def _draw_style(dice: Dice, outline: Outline) -> _Style:
    """Draw the bass player of one song."""
    family = dice.name({name: row[1] for name, row in _FAMILIES.items()})
    draw, _, gates, programs = _FAMILIES[family]
    return _Style(
        family=family,
        program=dice.whole(32, 39) if dice.chance(0.3) else dice.pick(programs),
        figures=variants(dice, outline, draw(dice, outline)),
        low_pitch=dice.whole(28, 38),
        gate=dice.between(*gates),
        level=dice.between(75, 112),
        on_tonic=family == "pedal",
        anticipates=family == "tumbao" or dice.chance(0.2),
        approach_chance=dice.pick((0.0, 0.25, 0.8)),
        approach_semitones=dice.pick((-2, -1, 1, 2)),
        rest_chance=dice.pick((0.0, 0.0, 0.03)),
        lag_seconds=dice.between(-0.008, 0.015),
        spread_seconds=dice.between(0.002, 0.007),
    )


def _pitch(style: _Style, outline: Outline, moment: Moment, *, leads: bool) -> int:
    """Return the pitch of a stroke: a degree of its chord, or a step from the next root."""
    pitch = moment.chord.degree_pitch(moment.stroke.tone, low_pitch=style.low_pitch)
    upcoming = outline.chord_ends[moment.start_step]
    near = upcoming - moment.start_step <= 4 and upcoming < outline.steps
    if moment.stroke.role == "approach" or (leads and near and not style.on_tonic):
        target = outline.chords[min(upcoming, outline.steps - 1)] if near else moment.chord
        pitch = target.degree_pitch(0, low_pitch=style.low_pitch) + style.approach_semitones
    return pitch if pitch >= 23 else pitch + 12


def play_bass(dice: Dice, outline: Outline) -> list[Line]:
    """Draw a bass player and play the outline."""
    style = _draw_style(dice, outline)
    events = []
    moments = unfold(outline, style.figures, on_tonic=style.on_tonic, anticipates=style.anticipates)
    for moment in moments:
        rests, leads = dice.chance(style.rest_chance), dice.chance(style.approach_chance)
        if rests and moment.stroke.step > 0:
            continue
        pitch = _pitch(style, outline, moment, leads=leads and moment.stroke.step > 0)
        length = max(0.5, moment.length_steps * style.gate)
        velocity = style.level * moment.stroke.accent + 3.0 * dice.spread()
        events.append(Event(moment.start_step, length, pitch, velocity))
    return [
        Line(
            name="bass",
            program=style.program,
            events=events,
            style=asdict(style),
            lag_seconds=style.lag_seconds,
            spread_seconds=style.spread_seconds,
        )
    ]
