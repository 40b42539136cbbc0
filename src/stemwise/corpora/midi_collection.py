"""Collections of MIDI files with a free licence, and which of their files are one song.

A collection is a folder or zip with an ``index.csv``. It needs the columns ``path``, ``source``,
``licence``, ``n_drums``, ``n_bass``, ``n_piano`` and ``n_guitar`` (notes per part). ``song`` names
what revisions of one piece share; without it, songs are found by `song_groups`, where files with
the same ``dup_group`` are one song in any case.

The package ships ``midi.zip``: pieces of Freedoom (and its older revisions), Blasphemer, EasyRPG's
run-time package and PianoBooster, and pieces generated with MMA, with the notices of each in
``LICENCES.md``. Pieces of Planet Blupi (GPL-3 or later) fit too, but are not shipped; add such a
collection by its path.
"""

import csv
import io
import zipfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from pathlib import Path

from stemwise.corpora.score import Score, read_score
from stemwise.errors import CorpusError

__all__ = ["SHIPPED", "MidiFile", "read_collection", "song_groups"]

SHIPPED = Path(__file__).with_name("midi.zip")
MINIMUM_NOTES = 20
GENERATED_SOURCES = ("mma",)  # their bass tracks are told by name, not by program
# Two files are one song if they share this many phrases, and this share of the shorter one's. Of
# the shipped real pieces, revisions share 0.39 and more, strangers 0.20 and less.
SHARED_PHRASES = 60
SHARED_SHARE = 0.3
_PHRASE_NOTES = 6
_STEPS_PER_BEAT = 12
_COLUMNS = ("path", "source", "licence", "n_drums", "n_bass", "n_piano", "n_guitar")


@dataclass(frozen=True)
class MidiFile:
    """One MIDI file: its path in the collection, whence it comes, its song and its bytes."""

    path: str
    source: str
    licence: str
    song: str
    midi: bytes

    def score(self) -> Score:
        """Return its notes; a damaged file is a `CorpusError`."""
        generated = self.source.startswith(GENERATED_SOURCES)
        return read_score(self.midi, bass_by_track_name=generated)


def read_collection(path: Path = SHIPPED) -> list[MidiFile]:
    """Return the usable files of the collection at `path` (folder or zip), sorted by path.

    Usable are those in which drums, bass, and piano or guitar play at least 20 notes each, as the
    index counts. A collection without songs in its index gets them from `song_groups`.
    """
    rows = list(csv.DictReader(io.StringIO(_read(path, "index.csv").decode("utf-8"))))
    if not rows or any(column not in rows[0] for column in _COLUMNS):
        raise CorpusError(f"{path}: index.csv needs the columns {', '.join(_COLUMNS)}")
    usable = [row for row in rows if _plays(row)]
    if not usable:
        raise CorpusError(f"{path}: no file has drums, bass, and piano or guitar")
    names = sorted(row["path"] for row in usable)
    contents = _read_all(path, names)
    files = [
        MidiFile(row["path"], row["source"], row["licence"], row.get("song") or "", content)
        for row, content in zip(sorted(usable, key=lambda r: r["path"]), contents, strict=True)
    ]
    if any(not file.song for file in files):
        copies = {row["path"]: row.get("dup_group") or "" for row in usable}
        songs = song_groups(files, copies=copies)
        files = [replace(file, song=songs[file.path]) for file in files]
    return files


def _plays(row: Mapping[str, str]) -> bool:
    try:
        drums, bass, piano, guitar = (int(row[name] or 0) for name in _COLUMNS[3:])
    except ValueError:
        return False
    return min(drums, bass, max(piano, guitar)) >= MINIMUM_NOTES


def _read(path: Path, name: str) -> bytes:
    return _read_all(path, [name])[0]


def _read_all(path: Path, names: Sequence[str]) -> list[bytes]:
    try:
        if path.is_dir():
            return [(path / name).read_bytes() for name in names]
        with zipfile.ZipFile(path) as archive:
            return [archive.read(name) for name in names]
    except (KeyError, OSError, zipfile.BadZipFile) as error:
        raise CorpusError(
            f"{path} is not a MIDI collection (a folder or zip with index.csv): {error}"
        ) from None


def song_groups(
    files: Sequence[MidiFile], *, copies: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return path to song: the first path, by name, of the files that are one song.

    Two files are one song if at least 60 phrases, and 30 % of the shorter file's, are the same. A
    phrase is six top notes of a melodic voice in a row, as pitch intervals and times between
    onsets, so a transposition changes nothing. Files that cannot be read stand alone. Files to
    which `copies` gives one name (not empty) are one song in any case.
    """
    copies = copies or {}
    phrases: dict[str, frozenset[int]] = {}
    for file in sorted(files, key=lambda file: file.path):
        try:
            phrases[file.path] = _phrases(file.score())
        except CorpusError:
            phrases[file.path] = frozenset()
    leader = {path: path for path in phrases}

    def find(path: str) -> str:
        while leader[path] != path:
            path = leader[path]
        return path

    for one, other in combinations(phrases, 2):
        shared = len(phrases[one] & phrases[other])
        shorter = min(len(phrases[one]), len(phrases[other]))
        alike = shared >= SHARED_PHRASES and shared >= SHARED_SHARE * shorter
        if alike or (copies.get(one) and copies.get(one) == copies.get(other)):
            first, second = sorted((find(one), find(other)))
            leader[second] = first
    return {path: find(path) for path in phrases}


def _phrases(score: Score) -> frozenset[int]:
    beat_seconds = 60 / score.tempos[0][1]
    found = set()
    for voice in score.voices:
        if voice.part == "drums":
            continue
        top: dict[int, int] = defaultdict(int)  # step of a beat to its highest pitch
        for note in voice.notes:
            step = round(note.start_seconds / beat_seconds * _STEPS_PER_BEAT)
            top[step] = max(top[step], note.pitch)
        line = sorted(top.items())
        intervals = [(min(b[0] - a[0], 96), b[1] - a[1]) for a, b in pairwise(line)]
        length = _PHRASE_NOTES - 1
        found |= {
            hash(tuple(intervals[i : i + length])) for i in range(len(intervals) - length + 1)
        }
    return frozenset(found)
