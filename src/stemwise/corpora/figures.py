"""Rhythms, motifs and figures: the material that makes a part recognisable as its song's.

Conventions: a rhythm is the rising steps (sixteenths) of one bar; a stroke is one gesture of a
player at a step; a figure is one or two bars of strokes that a part repeats over the chords. Each
part of a song owns three figures: one for verses and two kindred ones for choruses and bridges.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from stemwise.corpora.dice import Dice
from stemwise.corpora.harmony import Chord, voice
from stemwise.corpora.outline import Bar, Meter, Outline

__all__ = [
    "Event", "Figure", "Hand", "Line", "Moment", "Stroke", "draw_contour", "draw_rhythm", "pulse",
    "spell", "strokes", "two_bars", "unfold", "variants", "vary_rhythm",
]  # fmt: skip

_HIGHEST_PITCH = 103
_CELLS = {
    16: (
        "x--x--x---------", "x-----x---------", "x--x--x-x--x--x-", "x--x--x---x-x---",
        "x---x--x--x-x---", "x-x---x-x-x---x-", "--x---x---x---x-", "x--x----x--x----",
        "x-----x-----x---", "x---x-x---x-x---", "x-xx--x-x-xx--x-", "--x-x---x---x-x-",
        "x------x--x-----", "x-x-x---x-x-x---", "x--xx--xx--xx---", "----x--x----x-x-",
    ),
    12: (
        "x---x---x---", "x-----x-----", "x---x-x-x---", "x--x--x--x--", "x-x-x---x-x-",
        "--x---x---x-", "x-----x---x-", "x-x---x-x---",
    ),
}  # fmt: skip


class Event(NamedTuple):
    """A note before it is timed: steps from the start of the song; velocity may leave 1..127."""

    start_step: float
    length_steps: float
    pitch: int
    velocity: float
    delay_seconds: float = 0.0


@dataclass(frozen=True)
class Line:
    """What one instrument plays: events, pedal spans in steps, and its own feel for time."""

    name: str
    program: int
    events: list[Event]
    style: dict[str, Any]
    is_drum: bool = False
    pedal_steps: list[tuple[int, int]] = field(default_factory=list)
    lag_seconds: float = 0.0
    spread_seconds: float = 0.004


@dataclass(frozen=True)
class Stroke:
    """A gesture at a step in the bar: its `role` and `tone` are the player's own words."""

    step: int
    role: str
    tone: int = 0
    accent: float = 1.0


Figure = tuple[tuple[Stroke, ...], ...]


class Moment(NamedTuple):
    """A stroke at its place in the song: start, longest useful length, chord, bar."""

    start_step: int
    length_steps: float
    stroke: Stroke
    chord: Chord
    bar: Bar


@dataclass(frozen=True)
class Hand:
    """A player's reach: the voicing and lowest pitch of chords, of the bass and of the melody."""

    voicing: str
    chord_low_pitch: int
    bass_low_pitch: int
    melody_low_pitch: int
    doubles: bool = False

    def pitches(self, stroke: Stroke, chord: Chord, *, lift_semitones: int = 0) -> list[int]:
        """Return the pitches of a stroke of role chord, tone (of the voicing), bass or melody.

        All but the bass are lifted; what would then be shrill falls back by octaves.
        """
        if stroke.role == "bass":
            return [chord.degree_pitch(stroke.tone, low_pitch=self.bass_low_pitch)]
        if stroke.role == "melody":
            pitch = chord.degree_pitch(stroke.tone, low_pitch=self.melody_low_pitch)
            pitches = [pitch, pitch + 12] if self.doubles else [pitch]
        else:
            voiced = voice(chord, self.voicing, low_pitch=self.chord_low_pitch)
            octave, place = divmod(stroke.tone, 1 if stroke.role == "chord" else len(voiced))
            chosen = voiced if stroke.role == "chord" else [voiced[place]]
            pitches = [pitch + 12 * octave for pitch in chosen]
        lifted = [pitch + lift_semitones for pitch in pitches]
        folds = [max(0, -((_HIGHEST_PITCH - pitch) // 12)) for pitch in lifted]
        return sorted({pitch - 12 * fold for pitch, fold in zip(lifted, folds, strict=True)})


def spell(text: str, mark: str = "x") -> tuple[int, ...]:
    """Return the steps at which a written pattern such as ``x--x`` has `mark`."""
    return tuple(step for step, letter in enumerate(text) if letter == mark)


def pulse(meter: Meter, every_steps: int, first: int = 0) -> tuple[int, ...]:
    """Return the steps of an even pulse through a bar."""
    return tuple(range(first, meter.steps, every_steps))


def draw_rhythm(dice: Dice, outline: Outline, count: int, *, syncopation: float) -> tuple[int, ...]:
    """Draw a rhythm of about `count` onsets: a well-worn cell, bent a little, or a new one.

    `syncopation` in 0..1 moves the weight from the beats to what lies between them.
    """
    meter, grid = outline.meter, outline.grid_steps
    if dice.chance(0.4):
        cells = [spell(cell) for cell in _CELLS[meter.steps]]
        near = [cell for cell in cells if abs(len(cell) - count) <= 1]
        near = [cell for cell in near if all(step % grid == 0 for step in cell)]
        if near:
            return vary_rhythm(dice, dice.pick(near), outline, dice.whole(0, 1))
    places = pulse(meter, grid)
    weights = []
    for step in places:
        on_beat, on_eighth = step in meter.beats, step % 2 == 0
        weight = 1.1 - syncopation if on_beat else 0.35 + 0.6 * syncopation
        weights.append(weight if on_eighth else 0.15 + 0.5 * syncopation)
    weights[0] = 2.5 - 1.5 * syncopation
    return tuple(dice.sample(places, count, weights))


def vary_rhythm(
    dice: Dice, rhythm: Sequence[int], outline: Outline, changes: int
) -> tuple[int, ...]:
    """Return `rhythm` with some onsets added, dropped or moved; the first one stays."""
    steps = list(rhythm)
    grid = outline.grid_steps
    for _ in range(changes):
        kind, place = dice.pick(("add", "drop", "move")), dice.random()
        free = [step for step in pulse(outline.meter, grid) if step not in steps]
        later = steps[1:]
        if kind == "add" and free:
            steps.append(free[int(place * len(free))])
        elif later and ((kind == "drop" and len(later) > 2) or kind == "move"):
            old = later[int(place * len(later))]
            target = old + dice.pick((-grid, grid))
            if kind == "drop" or target in free:
                steps.remove(old)
            if kind == "move" and target in free:
                steps.append(target)
        steps.sort()
    return tuple(steps)


def draw_contour(
    dice: Dice, rhythm: Sequence[int], meter: Meter, *, leap: float, span: int
) -> tuple[int, ...]:
    """Draw a melody's degrees, one per onset, within `span` degrees above the chord's root.

    On the beats the melody rests on chord tones; `leap` in 0..1 is the share of wide intervals.
    """
    anchors = [degree for degree in (0, 2, 4, 7, 9, 11) if degree <= span]
    degree = dice.pick(anchors)
    drift = dice.pick((-1, 1))
    contour = []
    for step in rhythm:
        width = dice.whole(2, 4) if dice.chance(leap) else dice.pick((0, 1, 1, 2))
        if dice.chance(0.3):
            drift = -drift
        degree += drift * width
        if not 0 <= degree <= span:
            drift = -drift
            degree = max(0, min(span, degree))
        if step in meter.beats:
            degree = min(anchors, key=lambda anchor: (abs(anchor - degree), anchor))
        contour.append(degree)
    return tuple(contour)


def strokes(
    rhythm: Sequence[int], role: str, tones: Sequence[int] = (0,), accents: Sequence[float] = (1.0,)
) -> tuple[Stroke, ...]:
    """Return one stroke per onset of `rhythm`, taking `tones` and `accents` in turn."""
    return tuple(
        Stroke(step, role, tones[i % len(tones)], accents[i % len(accents)])
        for i, step in enumerate(rhythm)
    )


def two_bars(dice: Dice, outline: Outline, bar: Sequence[Stroke], *, answer: float) -> Figure:
    """Return `bar` alone or, with probability `answer`, followed by a bar that answers it."""
    if not dice.chance(answer):
        return (tuple(bar),)
    return (tuple(bar), _vary(dice, bar, outline, dice.whole(1, 3)))


def _vary(dice: Dice, bar: Sequence[Stroke], outline: Outline, changes: int) -> tuple[Stroke, ...]:
    """Return a kindred bar: onsets bent by `vary_rhythm`, tones kept where the onset is kept."""
    rhythm = vary_rhythm(dice, sorted({stroke.step for stroke in bar}), outline, changes)
    varied: list[Stroke] = []
    for step in rhythm:
        kept = [stroke for stroke in bar if stroke.step == step]
        source = [stroke for stroke in bar if stroke.step <= step] or list(bar)
        varied += kept or [replace(source[-1], step=step)]
    return tuple(varied)


def variants(dice: Dice, outline: Outline, figure: Figure) -> tuple[Figure, Figure, Figure]:
    """Return the figures of verse, chorus and bridge: the first as it is, the others bent a bit."""
    changes = (dice.pick((0, 1, 2), (3, 4, 2)), dice.pick((0, 1, 2), (3, 3, 2)))
    chorus, bridge = (
        tuple(_vary(dice, bar, outline, count) for bar in figure) for count in changes
    )
    return figure, chorus, bridge


def unfold(
    outline: Outline,
    figures: Sequence[Figure],
    *,
    on_tonic: bool = False,
    anticipates: bool = False,
) -> Iterator[Moment]:
    """Yield the strokes of `figures` through the song, each with its chord and longest length.

    A stroke lasts until the next one of its bar or the end of its chord. `on_tonic` holds to the
    key's own chord throughout; `anticipates` lets the last eighth of a bar take the next chord.
    """
    steps = outline.meter.steps
    for bar in outline.bars():
        figure = figures[bar.section.variant]
        line = figure[bar.index_in_section % len(figure)]
        onsets = sorted({stroke.step for stroke in line})
        following = dict(zip(onsets, [*onsets[1:], steps], strict=True))
        for stroke in line:
            start = bar.first_step + stroke.step
            early = anticipates and steps - 2 <= stroke.step and start + 2 < outline.steps
            heard = start + 2 if early else start
            end = bar.first_step + following[stroke.step]
            if on_tonic:
                chord = outline.tonic_chord
            else:
                chord = outline.chords[heard]
                end = min(end, outline.chord_ends[heard])
            yield Moment(start, float(end - start), stroke, chord, bar)
