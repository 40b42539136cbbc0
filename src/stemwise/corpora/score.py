"""Notes and controllers of a MIDI file, per instrument, in seconds; and the excerpt to render.

A *voice* is what one program plays on one channel of one track. Controllers, pitch bends and
channel pressure belong to a channel, so every voice of that channel gets them. Drums are channel 10
(index 9). Bank selects and program changes are left out: the sound is drawn elsewhere.
"""

import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import mido  # type: ignore[import-untyped]
import numpy as np

from stemwise.errors import CorpusError
from stemwise.parts import PARTS, program_part

__all__ = [
    "BEND",
    "PRESSURE",
    "TAIL_SECONDS",
    "Control",
    "Note",
    "Score",
    "Voice",
    "by_part",
    "densest_stretch",
    "excerpt",
    "fold_tempo",
    "read_score",
    "tempo_bpm",
    "transposed",
]

DRUM_CHANNEL = 9
DEFAULT_BEAT_SECONDS = 0.5
TEMPO_RANGE_BPM = (60.0, 200.0)
TAIL_SECONDS = 1.5
_BANK_SELECTS = (0, 32)
_MODE_MESSAGES = 120


class Note(NamedTuple):
    """A note: start and end in seconds, pitch and velocity 0..127."""

    start_seconds: float
    end_seconds: float
    pitch: int
    velocity: int


class Control(NamedTuple):
    """A controller change: `number` 0..127, or ``BEND`` (-8192..8191) or ``PRESSURE``."""

    at_seconds: float
    number: int
    value: int


BEND = -1
PRESSURE = -2


@dataclass(frozen=True)
class Voice:
    """What one program plays on one channel of one track."""

    part: str
    program: int
    notes: tuple[Note, ...]
    controls: tuple[Control, ...]


@dataclass(frozen=True)
class Score:
    """All voices of a piece, its tempo changes as (seconds, bpm), and when its last note ends."""

    voices: tuple[Voice, ...]
    tempos: tuple[tuple[float, float], ...]
    end_seconds: float


def read_score(midi: bytes, *, bass_by_track_name: bool = False) -> Score:
    """Read a standard MIDI file.

    Args:
        midi: The file's bytes.
        bass_by_track_name: Count tracks named ``Bass...`` or ``Walk...`` as bass whatever their
            program, as the accompaniment generator MMA needs.

    Raises:
        CorpusError: The file is damaged, or holds no note.
    """
    try:
        file = mido.MidiFile(file=io.BytesIO(midi), clip=True)
    except (EOFError, IndexError, KeyError, OSError, TypeError, ValueError) as error:
        raise CorpusError(f"damaged MIDI file ({error or type(error).__name__})") from None
    if file.type == 2 or not 0 < file.ticks_per_beat < 0x8000:
        raise CorpusError("a MIDI file with independent tracks or SMPTE time is not supported")
    messages = [
        (tick, number, message)
        for number, track in enumerate(file.tracks)
        for tick, message in _absolute(track)
    ]
    messages.sort(key=lambda item: item[0])  # stable: the order inside a track stays
    clock = _Clock(messages, file.ticks_per_beat)
    bass_tracks = {
        number
        for number, track in enumerate(file.tracks)
        if bass_by_track_name and track.name.strip().lower().startswith(("bass", "walk"))
    }
    voices = _voices(messages, clock, bass_tracks)
    if not voices:
        raise CorpusError("the MIDI file holds no note")
    end_seconds = max(note.end_seconds for voice in voices for note in voice.notes)
    return Score(voices, clock.tempos(), end_seconds)


def _absolute(track: mido.MidiTrack) -> list[tuple[int, mido.Message]]:
    tick, messages = 0, []
    for message in track:
        tick += message.time
        messages.append((tick, message))
    return messages


class _Clock:
    """Ticks to seconds through the tempo changes of all tracks."""

    def __init__(
        self, messages: Sequence[tuple[int, int, mido.Message]], ticks_per_beat: int
    ) -> None:
        changes = {0: DEFAULT_BEAT_SECONDS}
        for tick, _, message in messages:
            if message.type == "set_tempo" and message.tempo > 0:
                changes[tick] = message.tempo * 1e-6
        self._ticks = np.array(list(changes), dtype=np.int64)
        self._beat_seconds = np.array(list(changes.values()))
        self._tick_seconds = self._beat_seconds / ticks_per_beat
        spans = np.diff(self._ticks) * self._tick_seconds[:-1]
        self._seconds = np.concatenate([[0.0], np.cumsum(spans)])

    def __call__(self, tick: int) -> float:
        i = int(np.searchsorted(self._ticks, tick, side="right")) - 1
        return float(self._seconds[i] + (tick - self._ticks[i]) * self._tick_seconds[i])

    def tempos(self) -> tuple[tuple[float, float], ...]:
        return tuple(
            (float(at), 60.0 / float(beat))
            for at, beat in zip(self._seconds, self._beat_seconds, strict=True)
        )


def _voices(
    messages: Sequence[tuple[int, int, mido.Message]], clock: _Clock, bass_tracks: set[int]
) -> tuple[Voice, ...]:
    program = [0] * 16
    sounding: dict[tuple[int, int, int], list[tuple[float, int, int]]] = defaultdict(list)
    notes: dict[tuple[int, int, int], list[Note]] = defaultdict(list)  # (track, channel, program)
    controls: list[list[Control]] = [[] for _ in range(16)]
    last_seconds = 0.0

    def end(track: int, channel: int, pitch: int, at_seconds: float) -> None:
        for start, velocity, voice in sounding.pop((track, channel, pitch), []):
            if at_seconds > start:
                notes[track, channel, voice].append(Note(start, at_seconds, pitch, velocity))

    for tick, track, message in messages:
        if message.is_meta or not hasattr(message, "channel"):
            continue
        at, channel = clock(tick), message.channel
        last_seconds = at
        if message.type == "note_on" and message.velocity > 0:
            key = (track, channel, message.note)
            sounding[key].append((at, message.velocity, program[channel]))
        elif message.type in ("note_on", "note_off"):
            end(track, channel, message.note, at)
        elif message.type == "program_change":
            program[channel] = message.program
        elif message.type == "control_change":
            if message.control not in _BANK_SELECTS and message.control < _MODE_MESSAGES:
                controls[channel].append(Control(at, message.control, message.value))
        elif message.type == "pitchwheel":
            controls[channel].append(Control(at, BEND, message.pitch))
        elif message.type == "aftertouch":
            controls[channel].append(Control(at, PRESSURE, message.value))
    for track, channel, pitch in list(sounding):
        end(track, channel, pitch, last_seconds)
    return tuple(
        Voice(
            part="bass"
            if track in bass_tracks and channel != DRUM_CHANNEL
            else program_part(number, is_drum=channel == DRUM_CHANNEL),
            program=number,
            notes=tuple(sorted(played)),
            controls=tuple(controls[channel]),
        )
        for (track, channel, number), played in sorted(notes.items())
    )


def by_part(score: Score) -> dict[str, tuple[Voice, ...]]:
    """Return the voices of each part that plays, in part order."""
    grouped = {part: tuple(v for v in score.voices if v.part == part) for part in PARTS}
    return {part: voices for part, voices in grouped.items() if voices}


def densest_stretch(score: Score, *, seconds: float) -> float:
    """Return where the stretch of `seconds` starts in which most parts play, in seconds.

    Every second in which a part has a note counts 1 for that part; the earliest best stretch wins,
    and it starts at its first note.
    """
    length = int(np.ceil(score.end_seconds)) + 1
    playing = np.zeros((len(PARTS), length), dtype=bool)  # (I, whole seconds)
    for voice in score.voices:
        row = playing[PARTS.index(voice.part)]
        for note in voice.notes:
            row[int(note.start_seconds) : int(np.ceil(note.end_seconds))] = True
    total = np.concatenate([[0], np.cumsum(playing.sum(axis=0))])
    window = max(1, int(seconds))
    best = int(np.argmax(total[window:] - total[:-window])) if length > window else 0
    onsets = [n.start_seconds for v in score.voices for n in v.notes if n.start_seconds >= best]
    return min(onsets, default=0.0)


def excerpt(score: Score, *, start_seconds: float, seconds: float) -> Score:
    """Return the stretch of `score` from `start_seconds`, at most `seconds` long, moved to 0.

    Notes that began earlier are left out, notes that last longer are cut; controllers set earlier
    take effect at 0. The tempo changes start with the one in force.
    """
    stop_seconds = start_seconds + seconds
    voices = []
    for voice in score.voices:
        notes = tuple(
            Note(
                n.start_seconds - start_seconds,
                min(n.end_seconds, stop_seconds) - start_seconds,
                n.pitch,
                n.velocity,
            )
            for n in voice.notes
            if start_seconds <= n.start_seconds < stop_seconds
        )
        controls = tuple(
            Control(max(0.0, c.at_seconds - start_seconds), c.number, c.value)
            for c in voice.controls
            if c.at_seconds < stop_seconds
        )
        if notes:
            voices.append(replace(voice, notes=notes, controls=controls))
    if not voices:
        raise CorpusError(f"no note starts between {start_seconds:.1f} and {stop_seconds:.1f} s")
    earlier = [tempo for tempo in score.tempos if tempo[0] <= start_seconds]
    later = [
        (at - start_seconds, bpm) for at, bpm in score.tempos if start_seconds < at < stop_seconds
    ]
    end_seconds = max(note.end_seconds for voice in voices for note in voice.notes)
    return Score(tuple(voices), ((0.0, earlier[-1][1]), *later), end_seconds)


def transposed(score: Score, *, semitones: int, tempo_factor: float) -> Score:
    """Return `score` with every part but the drums moved by `semitones`, played faster by a factor.

    A note that would leave 0..127 keeps its pitch.
    """

    def move(voice: Voice) -> Voice:
        shift = 0 if voice.part == "drums" else semitones
        notes = tuple(
            Note(
                n.start_seconds / tempo_factor,
                n.end_seconds / tempo_factor,
                n.pitch + shift if 0 <= n.pitch + shift <= 127 else n.pitch,
                n.velocity,
            )
            for n in voice.notes
        )
        controls = tuple(c._replace(at_seconds=c.at_seconds / tempo_factor) for c in voice.controls)
        return replace(voice, notes=notes, controls=controls)

    return Score(
        tuple(move(voice) for voice in score.voices),
        tuple((at / tempo_factor, bpm * tempo_factor) for at, bpm in score.tempos),
        score.end_seconds / tempo_factor,
    )


def tempo_bpm(score: Score) -> float:
    """Return the tempo that lasts longest in `score`, folded into 60..200 bpm."""
    lasting: Mapping[float, float] = defaultdict(float)
    ends = [at for at, _ in score.tempos[1:]] + [score.end_seconds]
    for (at, bpm), end_seconds in zip(score.tempos, ends, strict=True):
        lasting[bpm] += max(0.0, end_seconds - at)  # type: ignore[index]
    return fold_tempo(max(lasting, key=lambda bpm: lasting[bpm]))


def fold_tempo(bpm: float) -> float:
    """Return `bpm` halved or doubled until it lies in 60..200; it must be above 0."""
    if not 0 < bpm < float("inf"):
        raise ValueError(f"a tempo is above 0 bpm, got {bpm}")
    low_bpm, high_bpm = TEMPO_RANGE_BPM
    while bpm > high_bpm:
        bpm /= 2
    while bpm < low_bpm:
        bpm *= 2
    return bpm
