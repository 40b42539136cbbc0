"""The drummer: one groove per song, with kindred forms for chorus and bridge, fills and crashes.

Conventions: General MIDI drum notes; patterns are written as one letter per sixteenth, ``x`` a
stroke and ``o`` a ghost note.
"""

from dataclasses import asdict, dataclass, replace

from stemwise.corpora.dice import Dice
from stemwise.corpora.figures import Event, Line, draw_rhythm, pulse, spell, vary_rhythm
from stemwise.corpora.outline import Bar, Outline

__all__ = ["play_drums"]

_GROOVES = {
    16: {
        "rock": ("x-------x-x-----", "----x-------x---"),
        "rock-push": ("x-----x-x-------", "----x-------x---"),
        "funk": ("x-x---x---x--x--", "----x--o-o--x--o"),
        "funk-late": ("x--x------x--x--", "----x--o-o-o-x--"),
        "shuffle": ("x-------x-----x-", "----x-o-----x-o-"),
        "bossa": ("x-----x-x-----x-", "x--x--x---x--x--"),
        "songo": ("x--x--x----x--x-", "--x-o-x---x-o-x-"),
        "tumbao": ("------x-----x-x-", "----x--x----x--x"),
        "disco": ("x---x---x---x---", "----x-------x---"),
        "house": ("x---x---x---x---", "----x--o----x-o-"),
        "half-time": ("x-----x---------", "--------x-------"),
        "trap": ("x--x--x------x--", "--------x-------"),
        "break": ("x---------x-----", "----x--x-o--x---"),
        "break-late": ("x-x-------xx----", "----x--o-x----x-"),
        "ballad": ("x---------------", "--------x-------"),
        "one-drop": ("--------x-------", "--------x--o----"),
        "steppers": ("x---x---x---x---", "--------x-------"),
        "motown": ("x-----x-x-----x-", "x---x---x---x---"),
        "train": ("x---x---x---x---", "ooxooxoxooxoxoxo"),
        "tribal": ("x--x--x-x--x--x-", "------x-------x-"),
        "hip-hop": ("x--x----x-x-----", "----x--o----x---"),
        "new-orleans": ("x--x--x---x-x---", "o-oxo-ox-oxoo-xo"),
        "surf": ("x---x-x-x---x-x-", "----x-x-----x---"),
    },
    12: {
        "waltz": ("x-----------", "----x---x---"),
        "waltz-push": ("x-----x-----", "----x-----x-"),
        "slow-three": ("x---------x-", "--------x---"),
        "lilt": ("x---x-----x-", "------x-----"),
        "roll": ("x-----------", "------x---o-"),
        "march-six": ("x-----x---x-", "--o---x-o-x-"),
    },
}
_KEEPERS = {
    42: 30, 51: 16, 70: 7, 82: 6, 44: 5, 41: 7, 54: 7, 53: 6, 56: 4, 37: 3, 59: 4, 69: 5, 47: 3,
}  # fmt: skip
_KEEPER_CELLS = ("x-xx", "x--x", "xx-x", "xxx-", "x-x-", "--x-", "--xx", "x---")
_COLOURS = (39, 54, 56, 60, 61, 62, 63, 64, 67, 75, 76, 77, 81, 80)
_FILLS = {
    "toms-down": (50, 48, 47, 45, 43, 41), "snare-roll": (38,), "toms-up": (41, 45, 48, 50),
    "snare-toms": (38, 48, 38, 45, 38, 43), "kick-snare": (36, 38), "bongos": (60, 61, 63, 64),
    "none": (),
}  # fmt: skip


@dataclass(frozen=True)
class _Groove:
    """One bar: the steps of each voice of the kit."""

    kick: tuple[int, ...]
    snare: tuple[int, ...]
    ghosts: tuple[int, ...]
    keeper_pitch: int
    keeper: tuple[int, ...]
    open_hat: tuple[int, ...]
    colour: tuple[int, ...]


@dataclass(frozen=True)
class _Style:
    """All that tells this drummer's playing from another's."""

    family: str
    verse: _Groove
    chorus: _Groove
    bridge: _Groove
    answer_kick: tuple[int, ...]
    kick_pitch: int
    snare_pitch: int
    colour_pitch: int
    keeper_accents: tuple[float, ...]
    levels: tuple[float, float, float, float]
    fill: str
    fill_rhythm: tuple[int, ...]
    crash_pitch: int
    crash_chance: float
    lag_seconds: float
    spread_seconds: float


def _draw_keeper(dice: Dice, outline: Outline) -> tuple[int, ...]:
    """Draw the steps of the time-keeping hand: an even pulse, a cell per beat, or a rhythm."""
    meter, grid = outline.meter, outline.grid_steps
    kind = dice.name({"eighths": 3, "cell": 3, "quarters": 1, "sixteenths": 1.2, "rhythm": 2})
    if kind == "rhythm":
        count = dice.whole(4, meter.steps // grid - 1)
        return draw_rhythm(dice, outline, min(count, 10), syncopation=dice.between(0.1, 0.9))
    if kind == "cell":
        cell = spell(dice.pick(_KEEPER_CELLS))
        return tuple(
            step for step in range(meter.steps) if step % 4 in cell and step % grid == 0
        ) or pulse(meter, 2)
    fast = outline.tempo_bpm >= 116
    return pulse(meter, {"quarters": 4, "eighths": 2}.get(kind, 2 if fast else grid))


def _draw_groove(dice: Dice, outline: Outline) -> tuple[str, _Groove]:
    """Draw the groove of the verses, from the library or new, and its family's name."""
    meter = outline.meter
    family = dice.pick([*_GROOVES[meter.steps], "own", "own", "own"])
    if family == "own":
        kick = draw_rhythm(dice, outline, dice.whole(2, 5), syncopation=dice.between(0.1, 0.8))
        snare = meter.backbeats if dice.chance(0.5) else (meter.half_step,)
        snare = vary_rhythm(dice, snare, outline, dice.whole(0, 2))
        ghosts: tuple[int, ...] = ()
    else:
        written_kick, written_snare = _GROOVES[meter.steps][family]
        kick = vary_rhythm(dice, spell(written_kick), outline, dice.pick((0, 1, 2, 3)))
        snare = vary_rhythm(dice, spell(written_snare), outline, dice.pick((0, 0, 0, 1)))
        ghosts = spell(written_snare, "o")
    if dice.chance(0.4):
        ghosts = draw_rhythm(dice, outline, dice.whole(1, 4), syncopation=1.0)
    open_hat: tuple[int, ...] = ()
    if dice.chance(0.3):
        open_hat = pulse(meter, 4, 2) if dice.chance(0.3) else (dice.pick(pulse(meter, 2)),)
    colour: tuple[int, ...] = ()
    if dice.chance(0.5):
        colour = draw_rhythm(dice, outline, dice.whole(2, 7), syncopation=dice.between(0.2, 1))
    keeper_pitch = dice.pick(list(_KEEPERS), list(_KEEPERS.values()))
    keeper = _draw_keeper(dice, outline)
    ghosts = tuple(step for step in ghosts if step not in snare)
    return family, _Groove(kick, snare, ghosts, keeper_pitch, keeper, open_hat, colour)


def _draw_kin(dice: Dice, outline: Outline, groove: _Groove) -> _Groove:
    """Draw a kindred groove for another kind of section: one or two habits changed."""
    kin = replace(groove, kick=vary_rhythm(dice, groove.kick, outline, dice.whole(0, 1)))
    if dice.chance(0.2):
        kin = replace(kin, keeper_pitch=dice.pick(list(_KEEPERS), list(_KEEPERS.values())))
    if dice.chance(0.25):
        steps = draw_rhythm(dice, outline, dice.whole(1, 2), syncopation=1.0)
        kin = replace(kin, open_hat=steps)
    return kin


def _draw_style(dice: Dice, outline: Outline) -> _Style:
    """Draw the drummer of one song."""
    family, verse = _draw_groove(dice, outline)
    fill_count = dice.whole(3, 7 if outline.tempo_bpm < 130 else 5)
    fill_start = dice.pick((0, outline.meter.half_step, outline.meter.steps - 4), (1, 3, 2))
    fill_steps = draw_rhythm(dice, outline, 2 * fill_count, syncopation=dice.between(0, 0.7))
    return _Style(
        family=family,
        verse=verse,
        chorus=_draw_kin(dice, outline, verse),
        bridge=_draw_kin(dice, outline, verse),
        answer_kick=vary_rhythm(dice, verse.kick, outline, dice.pick((0, 1, 2), (4, 3, 2))),
        kick_pitch=dice.pick((36, 35)),
        snare_pitch=dice.pick((38, 40, 37, 39), (8, 5, 4, 2)),
        colour_pitch=dice.pick(_COLOURS),
        keeper_accents=tuple(dice.pick((1.0, 0.85, 0.7, 0.55)) for _ in range(4)),
        levels=(
            dice.between(85, 115), dice.between(80, 118),
            dice.between(50, 100), dice.between(25, 50),
        ),
        fill=dice.pick(list(_FILLS)),
        fill_rhythm=tuple(step for step in fill_steps if step >= fill_start),
        crash_pitch=dice.pick((49, 57, 55, 52)),
        crash_chance=dice.pick((0.1, 0.6, 1.0)),
        lag_seconds=dice.between(-0.006, 0.008),
        spread_seconds=dice.between(0.001, 0.006),
    )  # fmt: skip


def _play_bar(dice: Dice, style: _Style, groove: _Groove, bar: Bar) -> list[Event]:
    """Play one bar of the groove, with the fill at the end of a section."""
    fill = style.fill_rhythm if bar.closes_section and _FILLS[style.fill] else ()
    stop = fill[0] if fill else 10_000
    kick_level, snare_level, keeper_level, ghost_level = style.levels
    answers = bar.section.variant == 0 and bar.index_in_section % 2 == 1
    kick = style.answer_kick if answers else groove.kick
    accents = style.keeper_accents
    hits = [(step, style.kick_pitch, kick_level) for step in kick]
    hits += [(step, style.snare_pitch, snare_level) for step in groove.snare if step < stop]
    hits += [(step, 38, ghost_level) for step in groove.ghosts if step < stop]
    hits += [(step, 46, keeper_level) for step in groove.open_hat if step < stop]
    hits += [(step, style.colour_pitch, keeper_level * 0.9) for step in groove.colour]
    hits += [
        (step, groove.keeper_pitch, keeper_level * accents[step // 2 % len(accents)])
        for step in groove.keeper
        if step < stop and not (groove.keeper_pitch == 42 and step in groove.open_hat)
    ]
    path = _FILLS[style.fill]
    for place, step in enumerate(fill):
        pitch = path[place * len(path) // len(fill)] if len(path) > 2 else path[place % len(path)]
        hits.append((step, pitch, snare_level * (0.75 + 0.25 * place / len(fill))))
    if bar.index_in_section == 0 and bar.first_step > 0 and dice.chance(style.crash_chance):
        hits.append((0, style.crash_pitch, kick_level))
    if dice.chance(0.08):
        hits.append((dice.pick((6, 7, 10, 11)), style.kick_pitch, kick_level * 0.8))
    return [
        Event(bar.first_step + step, 0.9, pitch, velocity + 2.5 * dice.spread())
        for step, pitch, velocity in hits
    ]


def play_drums(dice: Dice, outline: Outline) -> list[Line]:
    """Draw a drummer and play the outline on one kit."""
    style = _draw_style(dice, outline)
    grooves = (style.verse, style.chorus, style.bridge)
    events: list[Event] = []
    for bar in outline.bars():
        events += _play_bar(dice, style, grooves[bar.section.variant], bar)
    return [
        Line(
            name="drums",
            program=0,
            events=events,
            style=asdict(style),
            is_drum=True,
            lag_seconds=style.lag_seconds,
            spread_seconds=style.spread_seconds,
        )
    ]
