"""From voices and sounds to stems: FluidSynth, effects, loudness, and FLAC files.

Levels follow Slakh2100: each stem is brought to -13 LUFS integrated (ITU-R BS.1770-4), then one
gain for all stems puts the peak of their sum at -1 dBFS. Departure: before that gain every part
gets its own level offset, because the parts of real mixes are not equally loud.

Audio is mono float32 (N,) in -1..1 at 44.1 kHz; events fall on FluidSynth's blocks of 64 samples.
The same arguments give the same samples, whatever was rendered before.
"""

import ctypes
import functools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pedalboard
import pyloudnorm
import scipy.signal
import soundfile
from pedalboard import Pedalboard  # type: ignore[attr-defined]

from stemwise.corpora.score import BEND, PRESSURE, Note, Voice
from stemwise.corpora.sounds import Sound
from stemwise.errors import CorpusError

try:  # after soundfile: whose libsndfile decodes .sf3 samples, hence their last bit, goes by it
    import fluidsynth
except ModuleNotFoundError:
    raise
except ImportError:  # pyfluidsynth is there, but finds no library
    raise CorpusError(
        "FluidSynth's library is not installed; install it with: apt-get install libfluidsynth3"
    ) from None

__all__ = [
    "SAMPLE_RATE_HZ",
    "SILENT_LUFS",
    "TARGET_LUFS",
    "Audio",
    "Synthesizer",
    "apply_effects",
    "balance",
    "loudness_lufs",
    "write_stem",
]

SAMPLE_RATE_HZ = 44100
TARGET_LUFS = -13.0
SILENT_LUFS = -70.0  # BS.1770's absolute gate: nothing below it counts as sound
PEAK = 10 ** (-1 / 20) - 3 / 32768  # -1 dBFS, less what rounding five stems to 16 bits can add
CHANNELS = 64
BLOCK_SAMPLES = 64
EFFECTS_RMS_DBFS = -20.0  # level at the chain's input: thresholds and drives then mean the same
FADE_SECONDS = 0.05

Audio: TypeAlias = npt.NDArray[np.float32]

# The acoustic kits of avldrums name their keys unlike General MIDI above 46: 48 is a hi-hat, 50, 52
# and 58 are choked cymbals; nothing lies outside 36..61. General MIDI's note to the nearest sound.
KIT_KEYS = {
    35: 36,
    48: 47,
    50: 47,
    52: 60,
    58: 61,
    60: 47,
    61: 45,
    62: 47,
    63: 47,
    64: 45,
    65: 47,
    66: 45,
    67: 56,
    68: 56,
    69: 61,
    70: 61,
    82: 61,
    80: 53,
    81: 53,
} | dict.fromkeys([*range(27, 35), *range(71, 80), *range(83, 88)], 37)


class Synthesizer:
    """FluidSynth with soundfonts that stay loaded between pieces.

    Its own reverb and chorus are off. A soundfont is loaded when first used (0.1 to 7 s). Every
    rendering gets a new FluidSynth that borrows the loaded soundfont: a used one keeps the order of
    its voices even when reset, and its next rendering would differ.
    """

    def __init__(self, soundfonts: Mapping[str, Path]) -> None:
        self._paths = dict(soundfonts)
        self._loaded: dict[str, int] = {}  # name to the address of FluidSynth's soundfont
        for level in range(1, 4):  # errors are raised here; warnings name every empty channel
            fluidsynth._fl.fluid_set_log_function(level, None, None)
        self._keeper = _new_synth()

    def close(self) -> None:
        """Free the soundfonts."""
        self._keeper.delete()

    def render(self, voices: Sequence[Voice], sound: Sound, *, samples: int) -> Audio:
        """Return the first `samples` of `voices` played with `sound`, as mono (N,).

        Raises `CorpusError` for more than 64 voices, or a preset that the soundfont lacks.
        """
        if len(voices) > CHANNELS:
            raise CorpusError(f"{len(voices)} voices in one part; at most {CHANNELS} can play")
        address = self._load(sound.soundfont)
        synth = _new_synth()
        font = _call("fluid_synth_add_sfont", synth, ctypes.c_void_p(address))
        try:
            return _play(synth, font, voices, sound, samples=samples)
        finally:
            _call("fluid_synth_remove_sfont", synth, ctypes.c_void_p(address))
            synth.delete()

    def _load(self, name: str) -> int:
        if name not in self._loaded:
            path = str(self._paths[name])
            identifier = self._keeper.sfload(path)
            if identifier < 0:
                raise CorpusError(f"FluidSynth cannot read the soundfont {path}")
            get = fluidsynth._fl.fluid_synth_get_sfont_by_id
            get.restype = ctypes.c_void_p
            self._loaded[name] = get(ctypes.c_void_p(self._keeper.synth), identifier)
        return self._loaded[name]


def _new_synth() -> Any:
    return fluidsynth.Synth(
        gain=0.3,
        samplerate=float(SAMPLE_RATE_HZ),
        channels=CHANNELS,
        **{"synth.reverb.active": 0, "synth.chorus.active": 0, "synth.cpu-cores": 1},
    )


def _call(name: str, synth: Any, *arguments: Any) -> int:
    """Call a function of FluidSynth's library that pyfluidsynth does not wrap."""
    return int(getattr(fluidsynth._fl, name)(ctypes.c_void_p(synth.synth), *arguments))


def _play(synth: Any, font: int, voices: Sequence[Voice], sound: Sound, *, samples: int) -> Audio:
    keys = KIT_KEYS if sound.bank == 0 and voices[0].part == "drums" else {}
    events: list[tuple[int, int, int, int, int]] = []
    for channel, voice in enumerate(voices):
        program = sound.programs[voice.program]
        if synth.program_select(channel, font, sound.bank, program) != 0:
            raise CorpusError(f"{sound.soundfont} has no preset {sound.bank}:{program}")
        _tune(synth, channel, sound.tuning_cents)
        events += _events(voice, channel, keys)
    events.sort(key=lambda event: event[:2])
    blocks = -(-samples // BLOCK_SAMPLES)
    stereo = np.zeros((2, blocks * BLOCK_SAMPLES), dtype=np.float32)  # (C, N)
    now = 0
    for block, order, channel, a, b in events:
        if block >= blocks:
            break
        if block > now:
            _run(synth, stereo, now, block)
            now = block
        _send(synth, order, channel, a, b)
    _run(synth, stereo, now, blocks)
    stereo[0] += stereo[1]
    stereo[0] *= 0.5
    return stereo[0, :samples]


def _tune(synth: Any, channel: int, cents: float) -> None:
    """Set the channel's tuning by registered parameters 2 (semitones) and 1 (fine)."""
    semitones = round(cents / 100)
    fine = round(8192 + 8192 * (cents / 100 - semitones))
    for parameter, value in ((2, (64 + semitones) << 7), (1, min(fine, 16383))):
        for number, data in ((101, 0), (100, parameter), (6, value >> 7), (38, value & 127)):
            synth.cc(channel, number, data)
    for number in (101, 100):
        synth.cc(channel, number, 127)


def _send(synth: Any, order: int, channel: int, a: int, b: int) -> None:
    if order == _OFF:
        synth.noteoff(channel, a)
    elif order == _ON:
        synth.noteon(channel, a, b)
    elif a == BEND:
        synth.pitch_bend(channel, b)
    elif a == PRESSURE:
        _call("fluid_synth_channel_pressure", synth, channel, b)
    else:
        synth.cc(channel, a, b)


def _run(synth: Any, stereo: Audio, block: int, end_block: int) -> None:
    """Fill `stereo` (C, N) from one block to another."""
    start, samples = block * BLOCK_SAMPLES, (end_block - block) * BLOCK_SAMPLES
    left, right = (ctypes.c_void_p(side.ctypes.data) for side in stereo)
    if samples:
        _call("fluid_synth_write_float", synth, samples, left, start, 1, right, start, 1)


_OFF, _CONTROL, _ON = range(3)


def _events(
    voice: Voice, channel: int, keys: Mapping[int, int]
) -> list[tuple[int, int, int, int, int]]:
    """Return (block, order, channel, a, b): at one block notes end, controls move, notes start."""
    per_block = SAMPLE_RATE_HZ / BLOCK_SAMPLES
    events = [
        (round(c.at_seconds * per_block), _CONTROL, channel, c.number, c.value)
        for c in voice.controls
    ]
    by_key: dict[int, list[Note]] = defaultdict(list)
    for note in voice.notes:
        by_key[keys.get(note.pitch, note.pitch)].append(note)
    for key, notes in by_key.items():
        notes.sort()
        starts = [round(note.start_seconds * per_block) for note in notes]
        for i, note in enumerate(notes):
            end = max(starts[i] + 1, round(note.end_seconds * per_block))
            if i + 1 < len(notes):  # a key that is struck again ends its earlier note
                end = min(end, starts[i + 1])
            events.append((starts[i], _ON, channel, key, note.velocity))
            events.append((end, _OFF, channel, key, 0))
    return events


def apply_effects(
    audio: Audio, effects: Sequence[Mapping[str, Any]], rate_hz: int = SAMPLE_RATE_HZ
) -> Audio:
    """Return `audio` (N,) through the chain, entered at -20 dBFS RMS; silence stays silence."""
    rms = float(np.sqrt(np.mean(np.square(audio, dtype=np.float64))))
    if not effects or rms == 0:
        return audio
    gain = 10 ** (EFFECTS_RMS_DBFS / 20) / rms
    board = Pedalboard([_plugin(effect) for effect in effects])
    wet: Audio = board((audio * gain).astype(np.float32), rate_hz, reset=True)
    return wet[: len(audio)]


def _plugin(effect: Mapping[str, Any]) -> Any:
    e = effect
    match e["effect"]:
        case "highpass":
            return pedalboard.HighpassFilter(e["cutoff_hz"])
        case "lowpass":
            return pedalboard.LowpassFilter(e["cutoff_hz"])
        case "compressor":
            return pedalboard.Compressor(
                e["threshold_db"], e["ratio"], e["attack_ms"], e["release_ms"]
            )
        case "drive":
            return pedalboard.Distortion(e["drive_db"])
        case "chorus":
            return pedalboard.Chorus(rate_hz=e["rate_hz"], depth=e["depth"], mix=e["mix"])
        case "phaser":
            return pedalboard.Phaser(rate_hz=e["rate_hz"], depth=e["depth"], mix=e["mix"])
        case "low_shelf":
            return pedalboard.LowShelfFilter(e["cutoff_hz"], e["gain_db"])
        case "peak":
            return pedalboard.PeakFilter(e["cutoff_hz"], e["gain_db"], e["q"])
        case "high_shelf":
            return pedalboard.HighShelfFilter(e["cutoff_hz"], e["gain_db"])
        case "delay":
            return pedalboard.Delay(e["delay_seconds"], e["feedback"], e["mix"])
        case "reverb":
            return pedalboard.Reverb(
                room_size=e["room"],
                damping=e["damping"],
                wet_level=e["wet"],
                dry_level=1 - e["wet"],
            )
    raise ValueError(f"unknown effect {e['effect']!r}")


def loudness_lufs(audio: Audio) -> float:
    """Return the integrated loudness (ITU-R BS.1770-4) of mono `audio` (N,).

    Blocks of 400 ms, 100 ms apart, gated at -70 LUFS and at 10 LU under the mean of what is left.
    -inf for silence and for less than 400 ms. The filters are pyloudnorm's, and so is the result,
    at a seventh of its time.
    """
    step = SAMPLE_RATE_HZ // 10
    steps = len(audio) // step
    if steps < 4:
        return -np.inf
    weighted = scipy.signal.sosfilt(_k_weighting(), audio[: steps * step].astype(np.float64))
    energy = np.square(weighted, out=weighted).reshape(steps, step).sum(axis=1)
    blocks = np.convolve(energy, np.ones(4), mode="valid") / (4 * step)  # mean squares
    kept = blocks[blocks >= 10 ** ((SILENT_LUFS + 0.691) / 10)]
    if not len(kept):
        return -np.inf
    kept = kept[kept > kept.mean() / 10]
    return float(-0.691 + 10 * np.log10(kept.mean()))


@functools.cache
def _k_weighting() -> npt.NDArray[np.float64]:
    """Return BS.1770's two filters as second-order sections (2, 6)."""
    filters = pyloudnorm.Meter(SAMPLE_RATE_HZ)._filters.values()
    return np.array([np.concatenate([f.b * f.passband_gain, f.a]) for f in filters])


def balance(
    stems: Mapping[str, Audio], *, lufs: Mapping[str, float], offsets_db: Mapping[str, float]
) -> dict[str, Audio]:
    """Return `stems` at one loudness plus their offsets, their sum's peak at -1 dBFS.

    Args:
        stems: Part to mono audio (N,), none silent.
        lufs: Part to the stem's integrated loudness.
        offsets_db: Part to level offset.

    No stem's own peak passes -1 dBFS either; the last 50 ms fade out.
    """
    ramp = np.linspace(1, 0, round(FADE_SECONDS * SAMPLE_RATE_HZ), dtype=np.float32)
    levelled = {}
    for part, audio in stems.items():
        gain_db = TARGET_LUFS - lufs[part] + offsets_db[part]
        levelled[part] = audio * np.float32(10 ** (gain_db / 20))
        levelled[part][len(audio) - len(ramp) :] *= ramp
    total = np.sum(list(levelled.values()), axis=0)
    peak = max(float(np.abs(audio).max()) for audio in (total, *levelled.values()))
    return {part: audio * np.float32(PEAK / peak) for part, audio in levelled.items()}


def write_stem(path: Path, audio: Audio) -> None:
    """Write mono `audio` (N,) as 16-bit FLAC; values are rounded, not dithered."""
    integers = np.clip(np.rint(audio * 32767), -32768, 32767).astype(np.int16)
    soundfile.write(path, integers, SAMPLE_RATE_HZ, subtype="PCM_16", format="FLAC")
