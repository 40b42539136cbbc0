"""A take: one rendering of one song, and the studio that records it.

What a take sounds like follows from the seed and its identifier alone. A take after the first of a
song is moved by -3..3 semitones (drums excepted) and played at 0.9..1.1 times the tempo.
"""

import io
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stemwise.corpora.composer import MINIMUM_SECONDS as MINIMUM_COMPOSED_SECONDS
from stemwise.corpora.composer import compose
from stemwise.corpora.midi_collection import MidiFile
from stemwise.corpora.piece import Piece
from stemwise.corpora.rendering import (
    SAMPLE_RATE_HZ,
    SILENT_LUFS,
    Audio,
    Synthesizer,
    apply_effects,
    balance,
    loudness_lufs,
    write_stem,
)
from stemwise.corpora.score import (
    TAIL_SECONDS,
    Score,
    Voice,
    by_part,
    densest_stretch,
    excerpt,
    read_score,
    tempo_bpm,
    transposed,
)
from stemwise.corpora.sounds import Sound, draw_sound, generator
from stemwise.errors import CorpusError

__all__ = ["Studio", "Take", "read_take"]

MINIMUM_PARTS = 3
MINIMUM_SECONDS = 5.0
ATTEMPTS = 4
TRANSPOSITION_SEMITONES = 3
TEMPO_FACTORS = (0.9, 1.1)
INAUDIBLE_PEAK = 1e-5
RECORD_NAME = "piece.json"


@dataclass(frozen=True)
class Take:
    """What to record.

    Attributes:
        identifier: Unique in the corpus; also the folder's name.
        song: What all takes of one song share.
        split: ``train``, ``valid`` or ``test``.
        source: The collection's source, or ``composed``.
        licence: Licence of the music.
        midi: Path of the MIDI file in its collection; empty for a composed song.
        composition_seed: Seed of a composed song; 0 for a MIDI file.
        number: 0 for a song's first take.
    """

    identifier: str
    song: str
    split: str
    source: str
    licence: str
    midi: str
    composition_seed: int
    number: int


class Studio:
    """A synthesizer with its soundfonts, and the MIDI files to play."""

    def __init__(
        self,
        *,
        soundfonts: Mapping[str, Path],
        files: Iterable[MidiFile],
        seed: int,
        seconds: float,
    ) -> None:
        self._synthesizer = Synthesizer(soundfonts)
        self._soundfonts = tuple(soundfonts)
        self._files = {file.path: file for file in files}
        self._seed = seed
        self._seconds = seconds

    def close(self) -> None:
        """Free the soundfonts."""
        self._synthesizer.close()

    def record(self, take: Take, folder: Path) -> float:
        """Record `take` into ``folder/identifier`` in one step; return its length in seconds.

        What an earlier, broken run left of it is removed. Raises `CorpusError` if the MIDI file is
        damaged, too short, or has fewer than three parts that sound.
        """
        target = folder / take.identifier
        partial = folder / f".{take.identifier}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(target, ignore_errors=True)
        score, about, styles = self._score(take)
        samples = round(min(self._seconds, score.end_seconds + TAIL_SECONDS) * SAMPLE_RATE_HZ)
        stems, sounds, lufs = self._stems(take, score, samples)
        offsets_db = {part: sound.offset_db for part, sound in sounds.items()}
        stems = balance(stems, lufs=lufs, offsets_db=offsets_db)
        partial.mkdir(parents=True)
        for part, audio in stems.items():
            write_stem(partial / f"{part}.flac", audio)
        rendering: dict[str, Any] = {part: _described(sound) for part, sound in sounds.items()}
        for part in rendering.keys() & styles.keys():
            rendering[part]["style"] = dict(styles[part])
        entry = {
            "identifier": take.identifier,
            "song": take.song,
            "split": take.split,
            "tempo_bpm": round(tempo_bpm(score), 3),
            "duration_seconds": samples / SAMPLE_RATE_HZ,
            "source": take.source,
            "licence": take.licence,
            "stems": list(stems),
            "rendering": rendering | {"piece": about},
        }
        (partial / RECORD_NAME).write_text(json.dumps(entry, default=_plain), encoding="utf-8")
        partial.rename(target)
        return samples / SAMPLE_RATE_HZ

    def _score(self, take: Take) -> tuple[Score, dict[str, Any], Mapping[str, Mapping[str, Any]]]:
        """Return the notes to play, what is said of them, and the styles of the parts."""
        about: dict[str, Any] = {}
        styles: Mapping[str, Mapping[str, Any]] = {}
        if take.midi:
            score = self._files[take.midi].score()
            about["midi"] = take.midi
        else:
            composition = compose(
                take.composition_seed, seconds=max(self._seconds, MINIMUM_COMPOSED_SECONDS)
            )
            stream = io.BytesIO()
            composition.midi.write(stream)
            score = read_score(stream.getvalue())
            styles = composition.styles
            about |= {"composition_seed": take.composition_seed, "title": composition.title}
        if take.number:
            random = generator(self._seed, take.identifier, "transposition")
            span = TRANSPOSITION_SEMITONES
            about["semitones"] = int(random.integers(-span, span + 1))
            about["tempo_factor"] = round(float(random.uniform(*TEMPO_FACTORS)), 4)
            score = transposed(
                score, semitones=about["semitones"], tempo_factor=about["tempo_factor"]
            )
        start_seconds = densest_stretch(score, seconds=self._seconds)
        score = excerpt(score, start_seconds=start_seconds, seconds=self._seconds)
        about["start_seconds"] = round(start_seconds, 3)
        if score.end_seconds < MINIMUM_SECONDS:
            raise CorpusError(f"only {score.end_seconds:.1f} s of notes, wanted {MINIMUM_SECONDS}")
        return score, about, styles

    def _stems(
        self, take: Take, score: Score, samples: int
    ) -> tuple[dict[str, Audio], dict[str, Sound], dict[str, float]]:
        """Return the audible stems (N,), their sounds and their loudness, by part."""
        stems, sounds, lufs = {}, {}, {}
        for part, voices in by_part(score).items():
            for attempt in range(ATTEMPTS):  # a drawn preset may be silent at these notes
                audio, sound = self._stem(take, part, voices, samples, attempt)
                loudness = loudness_lufs(audio)
                if loudness > SILENT_LUFS:
                    stems[part], sounds[part], lufs[part] = audio, sound, loudness
                    break
        if len(stems) < MINIMUM_PARTS:
            raise CorpusError(
                f"only {', '.join(stems) or 'nothing'} sounds, wanted {MINIMUM_PARTS} parts"
            )
        return stems, sounds, lufs

    def _stem(
        self, take: Take, part: str, voices: Sequence[Voice], samples: int, attempt: int
    ) -> tuple[Audio, Sound]:
        sound = draw_sound(
            generator(self._seed, take.identifier, part, attempt),
            part=part,
            programs={voice.program for voice in voices},
            split=take.split,
            soundfonts=self._soundfonts,
        )
        audio = self._synthesizer.render(voices, sound, samples=samples)
        if np.abs(audio).max() > INAUDIBLE_PEAK:
            audio = apply_effects(audio, sound.effects)
        return audio, sound


def read_take(take: Take, folder: Path) -> Piece | None:
    """Return the finished piece of `take` in `folder`, or None if it is not there or not whole."""
    place = folder / take.identifier
    try:
        entry = json.loads((place / RECORD_NAME).read_text(encoding="utf-8"))
        stems = {part: (place / f"{part}.flac",) for part in entry.pop("stems")}
        piece = Piece(stems=stems, **entry)
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        return None
    whole = all(path.is_file() for paths in stems.values() for path in paths)
    same = (piece.song, piece.split, piece.source) == (take.song, take.split, take.source)
    return piece if whole and same else None


def _described(sound: Sound) -> dict[str, Any]:
    described = asdict(sound)
    described["programs"] = {str(asked): played for asked, played in sound.programs.items()}
    return described


def _plain(value: Any) -> Any:
    """Return a NumPy scalar as a number of Python, for JSON."""
    return value.item()
