"""The draw of a part's sound: soundfont, programs, tuning, level and effects.

A draw is a pure function of its generator, and a generator follows from words (seed, piece, part):
nothing depends on the process or on the order of the work. Soundfonts that are `held_out` are drawn
in the test split only, so that a test hears sounds that no training piece has.

Levels in dB, frequencies in Hz, times in seconds unless a name says otherwise.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stemwise.errors import CorpusError, UsageError

__all__ = [
    "SOUNDFONTS",
    "Sound",
    "SoundFont",
    "draw_effects",
    "draw_sound",
    "find_soundfonts",
    "generator",
]

SOUNDFONT_FOLDERS = (
    Path("/usr/share/sounds/sf2"),
    Path("/usr/share/sounds/sf3"),
    Path("/usr/share/soundfonts"),
    Path("/usr/lib/lv2/avldrums.lv2"),
    Path("/usr/local/share/soundfonts"),
)
_GENERAL_KITS = (0, 8, 16, 24, 25, 32, 40)  # General MIDI level 2: Standard, Room, ..., Brush
_VARIED_KITS = (*range(0, 20), 24, 25, *range(32, 37), 40, 41, 42)
# Guitar: 24, 25 acoustic, 26-28 and 31 clean, 29 and 30 driven (three in ten).
_GUITAR_PROGRAMS = {24: 0.17, 25: 0.2, 26: 0.12, 27: 0.15, 28: 0.06, 29: 0.14, 30: 0.13, 31: 0.03}


@dataclass(frozen=True)
class SoundFont:
    """A soundfont that Debian packages.

    Attributes:
        name: How manifests and ``--soundfonts`` call it.
        files: Names under which it may lie in a soundfont folder.
        package: Debian's package.
        licence: Its licence.
        weight: How often it plays the melodic parts, relative to the others; 0 for a drum kit.
        drum_weight: How often it plays the drums.
        kits: Drum presets in bank 128; empty for a kit in bank 0, program 0.
        held_out: Drawn in the test split only.
    """

    name: str
    files: tuple[str, ...]
    package: str
    licence: str
    weight: float
    drum_weight: float
    kits: tuple[int, ...]
    held_out: bool = False


SOUNDFONTS = (
    SoundFont("TimGM6mb", ("TimGM6mb.sf2",), "timgm6mb-soundfont", "GPL-2", 3, 2, _GENERAL_KITS),
    SoundFont("FluidR3_GM", ("FluidR3_GM.sf2",), "fluid-soundfont-gm", "MIT", 5, 4, _VARIED_KITS),
    SoundFont("OPL3", ("OPL-3_FM_128M.sf2",), "opl3-soundfont", "CC-BY-SA-4.0", 1.5, 0.7, (0,)),
    SoundFont(
        "Black_Pearl",
        ("Black_Pearl_4_LV2.sf2",),
        "avldrums.lv2-soundfont",
        "CC-BY-SA-3.0",
        0,
        3,
        (),
    ),
    SoundFont(
        "MuseScore_General",
        ("MuseScore_General_Lite.sf3", "MuseScore_General.sf3"),
        "musescore-general-soundfont-small",
        "MIT",
        6,
        3,
        _VARIED_KITS,
        held_out=True,
    ),
    SoundFont(
        "Red_Zeppelin",
        ("Red_Zeppelin_4_LV2.sf2",),
        "avldrums.lv2-soundfont",
        "CC-BY-SA-3.0",
        0,
        3,
        (),
        held_out=True,
    ),
)


@dataclass(frozen=True)
class Sound:
    """How one part of one piece is played.

    Attributes:
        soundfont: Name of a `SoundFont`.
        bank: MIDI bank of its presets: 128 for drums, else 0.
        programs: The MIDI file's program to the one that plays instead.
        tuning_cents: All notes are moved by this.
        offset_db: Level against the piece's other parts, after all have one loudness.
        effects: The effects in order, each ``{"effect": name, parameter: value, ...}``.
    """

    soundfont: str
    bank: int
    programs: Mapping[int, int]
    tuning_cents: float
    offset_db: float
    effects: tuple[Mapping[str, Any], ...]


def generator(*words: object) -> np.random.Generator:
    """Return a random generator that follows from `words` alone."""
    text = "\x1f".join(str(word) for word in words)
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16]))


def find_soundfonts(
    names: Iterable[str] | None = None, *, folders: Sequence[Path] = SOUNDFONT_FOLDERS
) -> dict[str, Path]:
    """Return name to file of the soundfonts `names` (all by default).

    Raises `UsageError` for an unknown name and `CorpusError` for one that is not installed, naming
    Debian's package.
    """
    known = {font.name: font for font in SOUNDFONTS}
    found = {}
    for name in known if names is None else names:
        if name not in known:
            raise UsageError(f"unknown soundfont {name!r}; choose from {', '.join(known)}")
        font = known[name]
        places = [folder / file for folder in folders for file in font.files]
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            raise CorpusError(
                f"soundfont {name} is not installed; install it with: apt-get install "
                f"{font.package} (or leave it out with --soundfonts)"
            )
        found[name] = path
    if not any(font.weight for font in SOUNDFONTS if font.name in found and not font.held_out):
        raise UsageError("no soundfont plays the melodic parts in training; add TimGM6mb")
    return found


def draw_sound(
    random: np.random.Generator,
    *,
    part: str,
    programs: Iterable[int],
    split: str,
    soundfonts: Iterable[str],
) -> Sound:
    """Draw how `part` sounds in a piece of `split`.

    Args:
        random: The source of the draw.
        part: One of the five parts.
        programs: The programs that the MIDI file asks for.
        split: ``train``, ``valid`` or ``test``; held-out soundfonts play in ``test`` only.
        soundfonts: Names of the soundfonts to draw from.
    """
    names = set(soundfonts)
    usable = [f for f in SOUNDFONTS if f.name in names and (split == "test" or not f.held_out)]
    weights = np.array([f.drum_weight if part == "drums" else f.weight for f in usable])
    font = usable[random.choice(len(usable), p=weights / weights.sum())]
    if part == "drums":
        kit = _draw_kit(random, font)
        drawn = dict.fromkeys(sorted(set(programs)), kit)
        tuning_cents = float(np.clip(random.normal(0, 40), -120, 120))
    else:
        drawn = {p: _draw_program(random, part, p) for p in sorted(set(programs))}
        tuning_cents = float(np.clip(random.normal(0, 4), -12, 12))
    return Sound(
        soundfont=font.name,
        bank=128 if part == "drums" and font.kits else 0,
        programs=drawn,
        tuning_cents=round(tuning_cents, 2),
        offset_db=round(float(np.clip(random.normal(0, 3), -6, 6)), 2),
        effects=draw_effects(random, part, driven=bool({29, 30} & set(drawn.values()))),
    )


def _draw_kit(random: np.random.Generator, font: SoundFont) -> int:
    """Draw a kind of kit first, then its variation: else the many Standard kits prevail."""
    if not font.kits:
        return 0
    kinds = [kit for kit in font.kits if kit in _GENERAL_KITS]
    kind = int(random.choice(kinds))
    following = [k for k in _GENERAL_KITS if k > kind]
    end = following[0] if following else 128
    return int(random.choice([kit for kit in font.kits if kind <= kit < end]))


def _draw_program(random: np.random.Generator, part: str, program: int) -> int:
    if part == "guitar":
        choices = list(_GUITAR_PROGRAMS)
        return int(random.choice(choices, p=list(_GUITAR_PROGRAMS.values())))
    first = {"piano": 0, "bass": 32}.get(part, program - program % 8)
    return first + int(random.integers(8))


_DRY_CHANCE = 0.12
_SHAPING_CHANCES = {"low_shelf": 0.6, "peak": 0.7, "high_shelf": 0.6}
_OPTIONAL = ("highpass", "compressor", "drive", "chorus", "phaser", "lowpass", "delay", "reverb")
_CHANCES = {  # of the optional effects, in their order
    "drums": (0.1, 0.6, 0.15, 0.0, 0.04, 0.12, 0.0, 0.6),
    "bass": (0.1, 0.7, 0.35, 0.15, 0.05, 0.25, 0.0, 0.15),
    "piano": (0.2, 0.4, 0.1, 0.2, 0.08, 0.1, 0.06, 0.65),
    "guitar": (0.3, 0.4, 0.35, 0.25, 0.15, 0.12, 0.15, 0.6),
    "residuals": (0.2, 0.3, 0.06, 0.2, 0.08, 0.15, 0.12, 0.7),
}
_EQ_HZ: Mapping[str, tuple[tuple[float, float], ...]] = {  # low shelf, peak, high shelf
    "drums": ((60, 150), (250, 5000), (5000, 10000)),
    "bass": ((60, 150), (250, 1500), (1500, 5000)),
    "piano": ((120, 300), (400, 4000), (3000, 9000)),
    "guitar": ((120, 300), (400, 4000), (2500, 8000)),
    "residuals": ((120, 300), (300, 5000), (3000, 9000)),
}
_DRIVE_DB = {
    "drums": (3, 12),
    "bass": (4, 20),
    "piano": (2, 12),
    "guitar": (6, 26),
    "residuals": (2, 10),
}
_LOWPASS_HZ = {
    "drums": (4000, 12000),
    "bass": (700, 4000),
    "piano": (2500, 9000),
    "guitar": (2500, 8000),
    "residuals": (2500, 9000),
}
_WET = {
    "drums": (0.03, 0.3),
    "bass": (0.03, 0.12),
    "piano": (0.04, 0.4),
    "guitar": (0.04, 0.4),
    "residuals": (0.05, 0.5),
}


def draw_effects(
    random: np.random.Generator, part: str, *, driven: bool
) -> tuple[Mapping[str, Any], ...]:
    """Draw the chain; every number is drawn whether used or not, so one chance moves no other."""

    def log_uniform(low: float, high: float) -> float:
        return float(np.exp(random.uniform(np.log(low), np.log(high))))

    uniform = random.uniform
    settings: dict[str, dict[str, float]] = {
        "highpass": {"cutoff_hz": log_uniform(40, 90 if part in ("drums", "bass") else 250)},
        "compressor": {
            "threshold_db": uniform(-30, -14),
            "ratio": uniform(1.5, 6),
            "attack_ms": log_uniform(1, 30),
            "release_ms": log_uniform(40, 300),
        },
        "drive": {"drive_db": uniform(*_DRIVE_DB[part])},
        "chorus": {
            "rate_hz": uniform(0.3, 2),
            "depth": uniform(0.1, 0.4),
            "mix": uniform(0.2, 0.5),
        },
        "phaser": {
            "rate_hz": uniform(0.1, 1.5),
            "depth": uniform(0.2, 0.7),
            "mix": uniform(0.2, 0.5),
        },
        "low_shelf": {"cutoff_hz": log_uniform(*_EQ_HZ[part][0]), "gain_db": uniform(-6, 6)},
        "peak": {
            "cutoff_hz": log_uniform(*_EQ_HZ[part][1]),
            "gain_db": uniform(-9, 9),
            "q": log_uniform(0.5, 2),
        },
        "high_shelf": {"cutoff_hz": log_uniform(*_EQ_HZ[part][2]), "gain_db": uniform(-9, 7)},
        "lowpass": {"cutoff_hz": log_uniform(*_LOWPASS_HZ[part])},
        "delay": {
            "delay_seconds": uniform(0.08, 0.45),
            "feedback": uniform(0.1, 0.4),
            "mix": uniform(0.08, 0.25),
        },
        "reverb": {
            "room": uniform(0.1, 0.9),
            "damping": uniform(0.2, 0.9),
            "wet": log_uniform(*_WET[part]),
        },
    }
    chances = dict(zip(_OPTIONAL, _CHANCES[part], strict=True)) | _SHAPING_CHANCES
    if driven:
        chances["drive"] = 0.1
    dry = uniform(0, 1) < _DRY_CHANCE
    played = {name: uniform(0, 1) < chances[name] for name in settings}
    return tuple(
        {"effect": name} | {key: round(float(value), 4) for key, value in setting.items()}
        for name, setting in settings.items()
        if played[name] and not dry
    )
