"""What all parts of a composed song share: time, key, form and chords.

Conventions: a step is a sixteenth note; a bar has 16 steps (4/4) or 12 (3/4, 6/8). Steps are
absolute (from the start of the song) unless called `step in bar`. Swing moves the middle of each
pair of eighths or sixteenths from 0.5 to `swing_ratio` of the pair.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from stemwise.corpora.dice import Dice
from stemwise.corpora.harmony import MODES, Chord, chord_of, draw_progression
from stemwise.parts import PARTS

__all__ = ["STREAM", "Bar", "Meter", "Outline", "Section", "draw_outline"]

STREAM = 740_913  # first word of every key of a draw: composed songs share no stream with others
_OUTLINE_STREAM = 0

_FORMS = (
    ("intro", "verse", "chorus", "verse", "chorus", "bridge", "chorus", "outro"),
    ("intro", "verse", "verse", "chorus", "verse", "chorus", "bridge", "chorus"),
    ("verse", "chorus", "verse", "chorus", "bridge", "chorus", "outro"),
    ("intro", "chorus", "verse", "chorus", "bridge", "verse", "chorus"),
    ("intro", "verse", "bridge", "chorus", "verse", "bridge", "chorus", "chorus"),
)
_VARIANTS = {"intro": 0, "verse": 0, "chorus": 1, "bridge": 2, "outro": 0}
_ENERGY = {"intro": 0.6, "verse": 0.75, "chorus": 1.0, "bridge": 0.85, "outro": 0.7}


@dataclass(frozen=True)
class Meter:
    """A time signature on the grid of sixteenths, with its beats as steps in the bar."""

    numerator: int
    denominator: int
    beats: tuple[int, ...]
    backbeats: tuple[int, ...]
    half_step: int

    @property
    def steps(self) -> int:
        """Steps per bar."""
        return 16 * self.numerator // self.denominator


_METERS = (
    Meter(4, 4, (0, 4, 8, 12), (4, 12), 8),
    Meter(3, 4, (0, 4, 8), (4, 8), 8),
    Meter(6, 8, (0, 6), (6,), 6),
)


@dataclass(frozen=True)
class Section:
    """A stretch of bars: `variant` says which form of its figures a part plays (0, 1 or 2)."""

    name: str
    variant: int
    energy: float
    bars: int
    silent_parts: frozenset[str]


@dataclass(frozen=True)
class Bar:
    """One bar: its section, its place there, and its first step in the song."""

    section: Section
    index_in_section: int
    first_step: int

    @property
    def closes_section(self) -> bool:
        """Whether the next bar belongs to another section."""
        return self.index_in_section == self.section.bars - 1


@dataclass(frozen=True)
class Outline:
    """The frame of a song; `chords` has one entry per step, `chord_ends` the step it holds to."""

    meter: Meter
    tempo_bpm: float
    swing_ratio: float
    swing_pair_steps: int
    tonic: int
    mode: str
    sections: tuple[Section, ...]
    chords: tuple[Chord, ...]
    chord_ends: tuple[int, ...]
    tonic_chord: Chord
    grid_steps: int
    holds_last_chord: bool

    @property
    def steps(self) -> int:
        """Steps in the song."""
        return len(self.chords)

    def seconds_at(self, step: float) -> float:
        """Return the time of a `step` in seconds, swing included."""
        pair, rest = divmod(step, self.swing_pair_steps)
        share = rest / self.swing_pair_steps
        if share < 0.5:
            share *= 2.0 * self.swing_ratio
        else:
            share = self.swing_ratio + (2.0 * share - 1.0) * (1.0 - self.swing_ratio)
        return (pair + share) * self.swing_pair_steps * 15.0 / self.tempo_bpm

    def bars(self) -> Iterator[Bar]:
        """Yield the bars in order."""
        first_step = 0
        for section in self.sections:
            for index in range(section.bars):
                yield Bar(section, index, first_step)
                first_step += self.meter.steps


def _draw_lengths(dice: Dice, bars: int) -> list[tuple[str, int]]:
    """Draw the form: names of sections with their bars, `bars` in all."""
    form = dice.pick(_FORMS)
    lengths = {name: dice.pick((4, 8), (1, 2)) for name in ("verse", "chorus", "bridge")}
    lengths |= {"intro": 4, "outro": 4}
    drawn: list[tuple[str, int]] = []
    while bars > 0:
        place = len(drawn) if len(drawn) < len(form) else 1 + len(drawn) % (len(form) - 1)
        length = min(lengths[form[place]], bars)
        if 0 < bars - length < 3:
            length = bars
        drawn.append((form[place], length))
        bars -= length
    return drawn


def _draw_silences(dice: Dice, form: list[tuple[str, int]]) -> list[set[str]]:
    """Draw the parts that rest in each section: up to three in an intro, else one at most.

    After the intro a part rests for a fifth of the bars at most, and no part rests in a chorus.
    """
    silent: list[set[str]] = [set() for _ in form]
    bars = sum(length for name, length in form if name != "intro")
    for part in PARTS:
        rests_early, rests_late, place = dice.chance(0.35), dice.chance(0.35), dice.random()
        if form[0][0] == "intro" and rests_early and len(silent[0]) < 3:
            silent[0].add(part)
        free = [
            i
            for i, (name, length) in enumerate(form)
            if name in ("verse", "bridge", "outro") and length <= bars / 5 and not silent[i]
        ]
        if rests_late and free:
            silent[free[int(place * len(free))]].add(part)
    return silent


def _draw_chords(dice: Dice, outline_key: tuple[int, str], meter: Meter) -> dict[str, list[Chord]]:
    """Draw the chords of each kind of section, one per step, to be repeated as needed."""
    tonic, mode = outline_key
    sevenths = dice.pick((0.0, 0.3, 0.9), (5, 3, 2))
    turnaround = dice.chance(0.5)
    steps_by_name: dict[str, list[Chord]] = {}
    for name in ("verse", "chorus", "bridge"):
        numerals = draw_progression(dice, mode)
        chords = [
            chord_of(numeral, tonic=tonic, mode=mode, seventh=dice.chance(sevenths))
            for numeral in numerals
        ]
        rate = dice.pick((1.0, 2.0, 0.5), (7, 2, 2))  # chords per bar
        steps: list[Chord] = []
        for bar in range(8):
            first = chords[int(bar * rate) % 4]
            second = chords[int(bar * rate + 1) % 4] if rate == 2.0 else first
            steps += [first] * meter.half_step + [second] * (meter.steps - meter.half_step)
        if turnaround:
            last = chord_of("V", tonic=tonic, mode=mode, seventh=sevenths > 0.5)
            steps[-meter.steps + meter.half_step :] = [last] * (meter.steps - meter.half_step)
        steps_by_name[name] = steps
    steps_by_name["intro"] = steps_by_name[dice.pick(("verse", "chorus"))]
    steps_by_name["outro"] = steps_by_name["chorus"]
    return steps_by_name


def _chord_ends(chords: list[Chord]) -> tuple[int, ...]:
    """Return for each step the first later step that has another chord."""
    ends = [len(chords)] * len(chords)
    for step in range(len(chords) - 2, -1, -1):
        ends[step] = ends[step + 1] if chords[step] == chords[step + 1] else step + 1
    return tuple(ends)


def draw_outline(seed: int, *, seconds: float) -> Outline:
    """Draw the frame of song `seed`, with as many whole bars as fit into `seconds`."""
    dice = Dice(STREAM, seed, _OUTLINE_STREAM)
    meter = dice.pick(_METERS, (84, 8, 8))
    tempo_bpm = float(round(dice.pick((dice.between(70, 112), dice.between(96, 180)))))
    swing = "straight" if meter.denominator == 8 else dice.name(
        {"straight": 6, "light": 1.2, "triplet": 1.6, "sixteenth": 1.2}
    )  # fmt: skip
    ratios = {"straight": (0.5, 0.5), "light": (0.53, 0.6), "triplet": (0.63, 0.667)}
    swing_ratio = dice.between(*ratios.get(swing, (0.53, 0.62)))
    tonic = dice.whole(0, 11)
    mode = dice.pick(tuple(MODES), (40, 30, 11, 11, 4, 4))
    chords_by_name = _draw_chords(dice, (tonic, mode), meter)
    form = _draw_lengths(dice, int(seconds / (meter.steps * 15.0 / tempo_bpm)))
    silent = _draw_silences(dice, form)
    chords: list[Chord] = []
    for name, bars in form:
        once = chords_by_name[name]
        chords += (once * (bars // 8 + 1))[: bars * meter.steps]
    return Outline(
        meter=meter,
        tempo_bpm=tempo_bpm,
        swing_ratio=swing_ratio,
        swing_pair_steps=2 if swing == "sixteenth" else 4,
        tonic=tonic,
        mode=mode,
        sections=tuple(
            Section(name, _VARIANTS[name], _ENERGY[name], bars, frozenset(rests))
            for (name, bars), rests in zip(form, silent, strict=True)
        ),
        chords=tuple(chords),
        chord_ends=_chord_ends(chords),
        tonic_chord=chord_of(
            "I" if MODES[mode][2] == 4 else "i", tonic=tonic, mode=mode, seventh=False
        ),
        grid_steps=2 if meter.denominator == 8 or swing == "triplet" or tempo_bpm >= 132 else 1,
        holds_last_chord=dice.chance(0.7),
    )
