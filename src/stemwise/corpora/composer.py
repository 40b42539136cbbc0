"""Songs composed by rule: any number of pieces of band music, each with a style of its own.

Purpose: material on which "the same part, another song" can be learnt and tested without any
recording. A song has one tempo, meter, key, form and harmony, which all five parts follow; beyond
that, every part draws its own style from its own stream, independent of the other parts', and
keeps it: kindred figures return through the song, and another song has others.

Conventions: the stream of a part depends on the seed and the part only, so a change to one player
leaves the other parts as they were. Draws are plain arithmetic (see `dice`) and times are rounded
to the microsecond: the same seed gives the same notes on every platform.
"""

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pretty_midi

from stemwise.corpora.dice import Dice
from stemwise.corpora.figures import Event, Line
from stemwise.corpora.outline import STREAM, Outline, draw_outline
from stemwise.corpora.players.bass import play_bass
from stemwise.corpora.players.drums import play_drums
from stemwise.corpora.players.guitar import play_guitar
from stemwise.corpora.players.piano import play_piano
from stemwise.corpora.players.residuals import play_residuals
from stemwise.parts import PARTS

__all__ = ["MINIMUM_SECONDS", "Composition", "compose"]

MINIMUM_SECONDS = 15.0  # four bars at the slowest tempo
_SHORTEST_SECONDS = 0.03
_SUSTAIN_PEDAL = 64
_DRUM_ENDING = (36, 49)

_PLAYERS: dict[str, Callable[[Dice, Outline], list[Line]]] = {
    "drums": play_drums,
    "bass": play_bass,
    "piano": play_piano,
    "guitar": play_guitar,
    "residuals": play_residuals,
}


@dataclass(frozen=True)
class Composition:
    """A composed song; `styles` maps each part to JSON-able facts about how it is played."""

    midi: pretty_midi.PrettyMIDI
    tempo_bpm: float
    title: str
    styles: dict[str, dict[str, Any]]


def _jsonable(value: Any) -> Any:
    """Return `value` with its tuples as lists, as JSON would give it back."""
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    return value


def _arranged(line: Line, part: str, outline: Outline) -> list[tuple[Event, float]]:
    """Return the events that are heard, each with its section's energy, the last bar as an ending.

    Where the song holds its last chord, the last bar keeps what falls on its first step, held on.
    """
    bars = list(outline.bars())
    steps = outline.meter.steps
    last_step = bars[-1].first_step
    heard = []
    for event in line.events:
        section = bars[int(event.start_step) // steps].section
        if part in section.silent_parts:
            continue
        if outline.holds_last_chord and event.start_step >= last_step:
            if event.start_step > last_step:
                continue
            event = event._replace(length_steps=float(steps))
        heard.append((event, section.energy))
    if outline.holds_last_chord and line.is_drum:
        heard += [(Event(last_step, 4.0, pitch, 100.0), 1.0) for pitch in _DRUM_ENDING]
    return heard


def _timed(
    dice: Dice, line: Line, part: str, outline: Outline
) -> list[tuple[float, float, int, int]]:
    """Return (start and end in seconds, pitch, velocity) as played by a human hand.

    Notes struck together move together, give or take a little; notes of one pitch never overlap.
    """
    end_seconds = outline.seconds_at(outline.steps)
    jitter: dict[float, float] = {}
    by_pitch: dict[int, list[tuple[float, float, int]]] = defaultdict(list)
    for event, energy in _arranged(line, part, outline):
        step = event.start_step
        if step not in jitter:
            jitter[step] = line.lag_seconds + line.spread_seconds * dice.spread()
        shift = jitter[step] + event.delay_seconds + 0.3 * line.spread_seconds * dice.spread()
        start = max(0.0, outline.seconds_at(step) + shift)
        end = max(outline.seconds_at(step + event.length_steps) + shift, start + 0.05)
        velocity = round(event.velocity * (0.82 + 0.18 * energy))
        if 0 <= event.pitch <= 127 and start < end_seconds - _SHORTEST_SECONDS:
            span = (round(start, 6), round(min(end, end_seconds), 6))
            by_pitch[event.pitch].append((*span, max(10, min(127, velocity))))
    notes = []
    for pitch, spans in by_pitch.items():
        spans.sort()
        starts = [start for start, _, _ in spans[1:]]
        for (start, end, velocity), following in zip(spans, [*starts, math.inf], strict=True):
            stop = min(end, following)
            if stop - start >= _SHORTEST_SECONDS:
                notes.append((start, stop, pitch, velocity))
    return sorted(notes)


def _instrument(dice: Dice, line: Line, part: str, outline: Outline) -> pretty_midi.Instrument:
    """Return the MIDI track of a line."""
    track = pretty_midi.Instrument(program=line.program, is_drum=line.is_drum, name=line.name)
    track.notes = [
        pretty_midi.Note(velocity=velocity, pitch=pitch, start=start, end=end)
        for start, end, pitch, velocity in _timed(dice, line, part, outline)
    ]
    for down, up in line.pedal_steps:
        down_seconds = outline.seconds_at(down) + 0.02
        up_seconds = outline.seconds_at(up) - 0.02
        for value, seconds in ((127, down_seconds), (0, up_seconds)):
            change = pretty_midi.ControlChange(_SUSTAIN_PEDAL, value, round(seconds, 6))
            track.control_changes.append(change)
    return track


def compose(seed: int, *, seconds: float = 90.0) -> Composition:
    """Compose the song of `seed`, a whole number of bars that ends within `seconds`.

    The same seed and length give the same notes everywhere; another seed gives another song with
    other styles. Tracks are named by their part (``residuals-1``, ``residuals-2``). A negative
    seed, or fewer seconds than ``MINIMUM_SECONDS``, is a `ValueError`.
    """
    if seed < 0:
        raise ValueError(f"a seed is a whole number of at least 0, got {seed}")
    if not MINIMUM_SECONDS <= seconds < math.inf:
        raise ValueError(f"a song lasts at least {MINIMUM_SECONDS} seconds, got {seconds}")
    outline = draw_outline(seed, seconds=seconds)
    midi = pretty_midi.PrettyMIDI(initial_tempo=outline.tempo_bpm, resolution=480)
    meter = outline.meter
    midi.time_signature_changes.append(
        pretty_midi.TimeSignature(meter.numerator, meter.denominator, 0.0)
    )
    styles: dict[str, dict[str, Any]] = {}
    for number, part in enumerate(PARTS, start=1):
        lines = _PLAYERS[part](Dice(STREAM, seed, number, 0), outline)
        touch = Dice(STREAM, seed, number, 1)
        midi.instruments += [_instrument(touch, line, part, outline) for line in lines]
        facts = [_jsonable(line.style) for line in lines]
        styles[part] = facts[0] if part != "residuals" else {"instruments": facts}
    return Composition(midi, outline.tempo_bpm, f"composed-{seed:06d}", styles)
