"""Songs that a computer sings: what a corpus rendered from MIDI lacks, as residuals.

A singer's syllables are said by the speech synthesiser eSpeak NG, or are recordings of a person,
and the vocoder WORLD sings them: each note is a syllable whose vowel is held, at the pitch of a
melody with glides and vibrato. Singers differ in language, voice, range, size of the throat,
vibrato and breath; some sing in harmony, or as a choir, and some speak in the song's rhythm. Melody
and words come back, as in songs: phrases in the order of a form.

Conventions: pitches are MIDI numbers; a frame of WORLD is 5 ms.

References: Morise, Yokomori and Ozawa, "WORLD: a vocoder-based high-quality speech synthesis system
for real-time applications", IEICE Transactions 2016; eSpeak NG, https://github.com/espeak-ng.
"""

import io
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyworld
import soundfile
import soxr
from numpy.typing import NDArray

from stemwise.audio import EXTENSIONS, load
from stemwise.errors import AudioError, CorpusError

__all__ = ["RATE_HZ", "Person", "Singer", "Song", "cast", "compose", "leveled", "people_in", "sing"]

RATE_HZ = 22050  # eSpeak's
FRAME_SECONDS = 0.005
LANGUAGES = (
    "af", "ca", "cs", "da", "de", "en-gb", "en-us", "es", "et", "fi", "fr-fr", "hr", "hu", "id",
    "it", "la", "lt", "lv", "nb", "nl", "pl", "pt-br", "ro", "sk", "sl", "sq", "sv", "sw", "tr",
)  # fmt: skip
LOW_VOICES = (
    "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "klatt", "klatt2", "klatt4", "klatt6", "croak",
    "grandpa", "Andy", "Gene", "Lee", "Max", "Denis", "Alex",
)  # fmt: skip
HIGH_VOICES = (
    "f1", "f2", "f3", "f4", "f5", "klatt3", "klatt5", "grandma", "Annie", "anika", "belinda",
    "linda", "steph", "steph2", "steph3", "Alicia", "Andrea", "aunty",
)  # fmt: skip
CONSONANTS = ("l", "m", "n", "d", "b", "r", "s", "v", "t", "k", "f", "p", "g", "j", "")
VOWELS = ("a", "e", "i", "o", "u")
SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9), (0, 3, 5, 7, 10))
FORMS = ((0, 0, 1, 0), (0, 1, 0, 1), (0, 1, 2, 1), (0, 0, 1, 1), (0, 1, 0, 2))
RHYTHMS = (0.5, 0.5, 0.5, 1.0, 1.0, 1.5, 2.0, 0.25)  # beats
PHRASE_BEATS = 8.0
LEVEL = 0.1  # root mean square of a song where it is sung
KINDS = {"alone": 0.5, "harmony": 0.15, "choir": 0.1, "spoken": 0.25}
RECORDED = 0.6  # of the singers, where there are people
FEWEST_RECORDINGS = 8  # of a person
SHORTEST_SECONDS, LONGEST_SECONDS = 0.1, 1.5  # of a recording, without the silence around it
GLIDE_SECONDS = 0.06
RELEASE_SECONDS = 0.06


@dataclass(frozen=True)
class Person:
    """Who was recorded: a name, and the files, a syllable or a word each."""

    name: str
    recordings: tuple[Path, ...]


@dataclass(frozen=True)
class Singer:
    """Who sings.

    Attributes:
        voice: of eSpeak, language+variant, or a person's name.
        lowest: note of the range; it spans an octave and a half.
        throat: formants are at this multiple of what they are as spoken.
        vibrato_cents: depth.
        vibrato_hz: rate.
        breath: how much of the noise is heard, 1 as spoken.
        syllables: that the words are made of; of a person, recordings.
    """

    voice: str
    lowest: int
    throat: float
    vibrato_cents: float
    vibrato_hz: float
    breath: float
    syllables: tuple[str | Path, ...]


@dataclass(frozen=True)
class Song:
    """What is sung: phrases of notes, and the order in which they come.

    Attributes:
        tempo_bpm: beats per minute.
        phrases: notes (start in beats, length in beats, degree of the scale, syllable).
        form: phrases in their order, again and again.
        scale: semitones above the key.
        rest_beats: after a phrase.
    """

    tempo_bpm: float
    phrases: tuple[tuple[tuple[float, float, int, int], ...], ...]
    form: tuple[int, ...]
    scale: tuple[int, ...]
    rest_beats: float


def people_in(folder: Path) -> tuple[list[Person], list[str]]:
    """Return who was recorded, a person to each folder in `folder`, and what is wrong with a file.

    Left out are files without a tenth of a second of sound, or that cannot be decoded, and people
    with fewer than eight files. Raises `CorpusError` if nobody is left.
    """
    people, problems = [], []
    for own in sorted(path for path in folder.glob("*") if path.is_dir()):
        kept = []
        for path in sorted(p for p in own.rglob("*") if p.suffix.lower() in EXTENSIONS):
            try:
                if len(_trimmed(load(path, RATE_HZ))) >= SHORTEST_SECONDS * RATE_HZ:
                    kept.append(path)
                else:
                    problems.append(f"{path}: less than {SHORTEST_SECONDS:g} s of sound")
            except AudioError as error:
                problems.append(str(error))
        if len(kept) >= FEWEST_RECORDINGS:
            people.append(Person(own.name, tuple(kept)))
    if not people:
        raise CorpusError(
            f"{folder} has no folder of {FEWEST_RECORDINGS} or more recordings of a voice; wanted "
            "is a folder for each person, such as in /usr/share/klettres (Debian's klettres-data)"
        )
    return people, problems


def cast(chance: np.random.Generator, people: Sequence[Person] = ()) -> Singer:
    """Draw a singer, one of the people or a voice of eSpeak NG."""
    low = bool(chance.random() < 0.5)
    count = int(chance.integers(8, 16))
    if people and chance.random() < RECORDED:
        person = people[int(chance.integers(len(people)))]
        drawn = chance.permutation(len(person.recordings))[:count]
        voice = person.name
        syllables: tuple[str | Path, ...] = tuple(person.recordings[k] for k in sorted(drawn))
        lowest = _register(syllables) + int(chance.integers(-5, 6))
    else:
        voice = f"{chance.choice(LANGUAGES)}+{chance.choice(LOW_VOICES if low else HIGH_VOICES)}"
        pairs = {f"{chance.choice(CONSONANTS)}{chance.choice(VOWELS)}" for _ in range(count)}
        syllables = tuple(sorted(pairs))
        lowest = int(chance.integers(40, 53) if low else chance.integers(53, 64))
    return Singer(
        voice=voice,
        lowest=lowest,
        throat=float(chance.uniform(0.9, 1.12)),
        vibrato_cents=float(chance.uniform(0, 60)),
        vibrato_hz=float(chance.uniform(4.5, 6.8)),
        breath=float(chance.uniform(0.5, 3.0)),
        syllables=syllables,
    )


def compose(chance: np.random.Generator, singer: Singer) -> Song:
    """Draw a song for a singer."""
    phrases = []
    for _ in range(3):
        notes, place, degree = [], float(chance.choice([0.0, 0.0, 0.5, 1.0])), 0
        while place < PHRASE_BEATS - 0.5:
            length = min(float(chance.choice(RHYTHMS)), PHRASE_BEATS - place)
            degree = int(np.clip(degree + chance.integers(-2, 3), 0, 7))
            syllable = int(chance.integers(len(singer.syllables)))
            notes.append((place, length, degree, syllable))
            place += length
        phrases.append(tuple(notes))
    return Song(
        tempo_bpm=float(chance.uniform(65, 150)),
        phrases=tuple(phrases),
        form=FORMS[chance.integers(len(FORMS))],
        scale=SCALES[chance.integers(len(SCALES))],
        rest_beats=float(chance.choice([0.0, 0.5, 1.0, 2.0])),
    )


def sing(
    singer: Singer, song: Song, seconds: float, chance: np.random.Generator
) -> NDArray[np.float32]:
    """Return the song, (N,) at `RATE_HZ`, sung alone, in harmony, as a choir, or spoken.

    Raises `CorpusError` if eSpeak NG is not installed, `AudioError` if a recording is gone.
    """
    kind = chance.choice(list(KINDS), p=list(KINDS.values()))
    if kind == "spoken":
        return leveled(_speech(singer, song, seconds))
    voices = [(singer, 0)]
    if kind == "harmony":
        voices.append((replace(singer, throat=singer.throat * chance.uniform(0.96, 1.04)), 2))
    if kind == "choir":
        voices += [
            (replace(singer, throat=singer.throat * chance.uniform(0.9, 1.1)), step)
            for step in (0, 2, 4)
        ]
    return leveled(
        np.sum([_one_voice(who, song, seconds, step, chance) for who, step in voices], axis=0)
    )


def leveled(total: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return a song at the level of all songs, clipped at full scale."""
    sung = np.abs(total) > 1e-3 * np.abs(total).max()
    level = np.sqrt(np.mean(np.square(total[sung])))
    return np.clip(np.asarray(total * (LEVEL / level), np.float32), -1, 1)


def _notes(song: Song, seconds: float) -> Iterator[tuple[float, float, int, int]]:
    """Yield start and length in seconds, degree and syllable of every note."""
    beat = 60 / song.tempo_bpm
    place, number = 0.0, 0
    while place < seconds:
        for start, length, degree, syllable in song.phrases[song.form[number % len(song.form)]]:
            if place + start * beat < seconds:
                yield place + start * beat, length * beat, degree, syllable
        place += (PHRASE_BEATS + song.rest_beats) * beat
        number += 1


def _speech(singer: Singer, song: Song, seconds: float) -> NDArray[np.float64]:
    """Return the song spoken: a word for each note, as it was said, faster from a small throat."""
    words = [
        syllable if isinstance(syllable, Path) else f"{syllable}{singer.syllables[k - 1]}"
        for k, syllable in enumerate(singer.syllables)
    ]
    said = [soxr.resample(_said(singer, word), RATE_HZ * singer.throat, RATE_HZ) for word in words]
    total = np.zeros(round(seconds * RATE_HZ))
    for start, _, _, syllable in _notes(song, seconds):
        word = said[syllable]
        first = round(start * RATE_HZ)
        there = total[first : first + len(word)]
        there += word[: len(there)]
    return total


def _one_voice(
    singer: Singer, song: Song, seconds: float, step: int, chance: np.random.Generator
) -> NDArray[np.float64]:
    """Return one voice, `step` degrees of the scale above the melody."""
    spoken = [_spoken(singer, syllable) for syllable in singer.syllables]
    frames = round(seconds / FRAME_SECONDS)
    bins = spoken[0][0].shape[1]
    pitch = np.zeros(frames)
    envelope = np.full((frames, bins), 1e-12)
    noise = np.ones((frames, bins))
    loud = np.zeros(frames)
    late = chance.uniform(-0.02, 0.02) / FRAME_SECONDS
    for start, length, degree, syllable in _notes(song, seconds):
        first = max(0, round(start / FRAME_SECONDS + late + chance.normal(0, 2)))
        count = min(round(length / FRAME_SECONDS), frames - first)
        if count < 10:
            continue
        own, airy, voiced = _held(spoken[syllable], count)
        rows = slice(first, first + count)
        envelope[rows], noise[rows] = own, airy
        note = singer.lowest + _semitones(song.scale, degree + step)
        pitch[rows] = np.where(voiced, note, 0)
        release = min(count, round(RELEASE_SECONDS / FRAME_SECONDS))
        gain = np.full(count, 10 ** (chance.normal(0, 2) / 20))
        gain[-release:] *= np.linspace(1, 0, release)
        loud[rows] = gain
    hertz = _intoned(pitch, singer, chance)
    airy = np.clip(noise * singer.breath, 1e-6, 1)
    wave = pyworld.synthesize(hertz, envelope, airy, RATE_HZ, FRAME_SECONDS * 1000)
    gains = np.interp(np.arange(len(wave)), np.arange(frames) * FRAME_SECONDS * RATE_HZ, loud)
    return np.asarray(wave * gains)[: round(seconds * RATE_HZ)]


def _intoned(
    pitch: NDArray[np.float64], singer: Singer, chance: np.random.Generator
) -> NDArray[np.float64]:
    """Return the fundamental in Hz, 0 where there is none: glides, vibrato and a little drift."""
    frames = len(pitch)
    voiced = pitch > 0
    if not voiced.any():
        return np.zeros(frames)
    line = np.interp(np.arange(frames), np.flatnonzero(voiced), pitch[voiced])
    width = round(GLIDE_SECONDS / FRAME_SECONDS)
    line = np.convolve(np.pad(line, width, mode="edge"), np.hanning(2 * width + 1), "same")
    line = line[width:-width] / np.hanning(2 * width + 1).sum()
    times = np.arange(frames) * FRAME_SECONDS
    changes = np.append(0, np.flatnonzero(np.diff(pitch)) + 1)
    since = times - times[changes[np.searchsorted(changes, np.arange(frames), "right") - 1]]
    swell = np.clip((since - 0.15) / 0.3, 0, 1)
    line = line + singer.vibrato_cents / 100 * swell * np.sin(2 * np.pi * singer.vibrato_hz * times)
    drift = np.interp(times, times[::40], chance.normal(0, 0.08, len(times[::40])))
    return np.asarray(np.where(voiced, 440 * 2 ** ((line + drift - 69) / 12), 0.0))


def _held(
    spoken: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]], count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Return a syllable that lasts `count` frames: its onset as spoken, its vowel held."""
    envelope, noise, voiced = spoken
    vowel = int(np.argmax(voiced)) + 8
    onset = min(vowel, count // 2, len(voiced) - 2)
    last = max(onset + 1, len(voiced) - 8)
    rows = np.concatenate([np.arange(onset), np.linspace(onset, last, count - onset)])
    near = rows.round().astype(int).clip(max=len(voiced) - 1)
    return envelope[near], noise[near], voiced[near] | (np.arange(count) >= onset)


def _spoken(
    singer: Singer, syllable: str | Path
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Return envelope and aperiodicity (T, bins) of a spoken syllable, and where it is voiced."""
    wave = _said(singer, syllable)
    pitch, times = pyworld.harvest(wave, RATE_HZ, frame_period=FRAME_SECONDS * 1000)
    envelope = pyworld.cheaptrick(wave, pitch, times, RATE_HZ)
    noise = pyworld.d4c(wave, pitch, times, RATE_HZ)
    bins = envelope.shape[1]
    places = np.clip(np.arange(bins) / singer.throat, 0, bins - 1)
    warped = np.exp([np.interp(places, np.arange(bins), np.log(row)) for row in envelope])
    return warped, noise, pitch > 0


def _register(recordings: Sequence[str | Path]) -> int:
    """Return the note in the middle of a person's speech; middle C if nothing is voiced."""
    waves = [_recorded(Path(path)) for path in recordings]
    pitches = np.concatenate([pyworld.harvest(wave, RATE_HZ)[0] for wave in waves])
    voiced = pitches[pitches > 0]
    return round(69 + 12 * np.log2(np.median(voiced) / 440)) if len(voiced) else 60


def _said(singer: Singer, syllable: str | Path) -> NDArray[np.float64]:
    """Return what is said, (N,) at `RATE_HZ`, without the silence around it, at full scale."""
    if isinstance(syllable, Path):
        return _recorded(syllable)
    return _trimmed(_synthesised(singer.voice, syllable))


def _recorded(path: Path) -> NDArray[np.float64]:
    wave = _trimmed(load(path, RATE_HZ))[: round(LONGEST_SECONDS * RATE_HZ)]
    wave[-200:] *= np.linspace(1, 0, 200)
    return wave


def _trimmed(wave: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return what sounds, 10 ms more at either end, at full scale; nothing of silence."""
    peak = np.abs(wave).max(initial=0.0)
    if not peak:
        return np.zeros(0)
    loud = np.flatnonzero(np.abs(wave) > 0.02 * peak)
    kept = wave[max(0, loud[0] - 200) : loud[-1] + 200]
    return np.ascontiguousarray(kept / peak, np.float64)


def _synthesised(voice: str, text: str) -> NDArray[np.float64]:
    """Return what eSpeak NG says, (N,) at `RATE_HZ`."""
    command = ["espeak-ng", "-v", voice, "-s", "110", "--stdout", text]
    try:
        said = subprocess.run(command, capture_output=True, check=True)
    except FileNotFoundError:
        raise CorpusError("singing needs eSpeak NG; apt-get install espeak-ng") from None
    except subprocess.CalledProcessError as error:
        raise CorpusError(f"eSpeak NG fails on the voice {voice}: {error.stderr!r}") from None
    wave, rate_hz = soundfile.read(io.BytesIO(said.stdout))
    if rate_hz != RATE_HZ or not np.any(wave):
        raise CorpusError(
            f"eSpeak NG says {text!r} in the voice {voice} as {len(wave)} samples at {rate_hz} Hz, "
            f"wanted sound at {RATE_HZ} Hz; install Debian's espeak-ng"
        )
    return np.asarray(wave, np.float64)


def _semitones(scale: tuple[int, ...], degree: int) -> int:
    octave, place = divmod(degree, len(scale))
    return 12 * octave + scale[place]
