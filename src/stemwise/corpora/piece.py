"""A piece with stems, and the manifest that lists the pieces of a corpus.

A corpus is a folder with a ``manifest.json``: what the corpus is (name, citation, licence, seed,
versions) and its pieces, sorted by identifier, with stem paths relative to the folder. All stems of
a piece have one length and one rate. Corpora are split by song: `Piece.song` names what two
renderings or revisions have in common, and one song is in one split only.
"""

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import soundfile

from stemwise.errors import CorpusError
from stemwise.parts import PARTS

__all__ = [
    "MANIFEST_NAME",
    "SPLITS",
    "Piece",
    "check_audio",
    "check_pieces",
    "checked",
    "read_about",
    "read_manifest",
    "summary",
    "write_manifest",
]

MANIFEST_NAME = "manifest.json"
MANIFEST_FORMAT = 1
SPLITS = ("train", "valid", "test")
_FIELDS = ("song", "split", "tempo_bpm", "duration_seconds", "source", "licence")


@dataclass(frozen=True)
class Piece:
    """One piece of a corpus: where its stems lie and what they were made from.

    Attributes:
        identifier: Unique in its corpus.
        song: What the split is by; renderings and revisions of one song share it.
        split: ``train``, ``valid`` or ``test``.
        tempo_bpm: Beats per minute, above 0.
        duration_seconds: Length of every stem.
        source: Where the music comes from.
        licence: Licence of the music.
        stems: Part to audio file; a part that never plays is absent.
        rendering: How each part was made (soundfont, programs, effects); empty for recordings.
    """

    identifier: str
    song: str
    split: str
    tempo_bpm: float
    duration_seconds: float
    source: str
    licence: str
    stems: Mapping[str, Path]
    rendering: Mapping[str, Any] = field(default_factory=dict)


def read_manifest(directory: Path) -> list[Piece]:
    """Return the pieces of the corpus in `directory`, with absolute stem paths.

    Raises `CorpusError` if the manifest is missing, is not of this format or lacks a field. The
    pieces themselves are not checked: see `checked`.
    """
    document = _document(directory)
    root = directory.absolute()
    pieces = []
    for number, entry in enumerate(document["pieces"]):
        try:
            pieces.append(
                Piece(
                    identifier=str(entry["identifier"]),
                    song=str(entry["song"]),
                    split=str(entry["split"]),
                    tempo_bpm=float(entry["tempo_bpm"]),
                    duration_seconds=float(entry["duration_seconds"]),
                    source=str(entry["source"]),
                    licence=str(entry["licence"]),
                    stems={part: root / path for part, path in entry["stems"].items()},
                    rendering=dict(entry.get("rendering", {})),
                )
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CorpusError(
                f"piece {number} of {directory / MANIFEST_NAME} cannot be read ({error!r}); "
                "make the corpus again"
            ) from None
    return pieces


def read_about(directory: Path) -> dict[str, Any]:
    """Return what the manifest in `directory` says of the corpus as a whole."""
    return dict(_document(directory)["about"])


def write_manifest(directory: Path, pieces: Iterable[Piece], about: Mapping[str, Any]) -> None:
    """Write the manifest of `directory` in one step, pieces sorted by identifier.

    The bytes depend on the arguments only. Stems must lie inside `directory`; one that does not is
    a `CorpusError`.
    """
    root = directory.absolute()
    entries = []
    for piece in sorted(pieces, key=lambda piece: piece.identifier):
        stems = {}
        for part, path in sorted(piece.stems.items(), key=lambda item: _part_order(item[0])):
            try:
                stems[part] = path.absolute().relative_to(root).as_posix()
            except ValueError:
                raise CorpusError(
                    f"stem {path} of {piece.identifier} lies outside {directory}; move it inside"
                ) from None
        entry: dict[str, Any] = {"identifier": piece.identifier}
        entry |= {name: getattr(piece, name) for name in _FIELDS}
        entry |= {"stems": stems, "rendering": dict(piece.rendering)}
        entries.append(entry)
    document = {"format": MANIFEST_FORMAT, "about": dict(about), "pieces": entries}
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    directory.mkdir(parents=True, exist_ok=True)
    temporary = directory / f".{MANIFEST_NAME}.{os.getpid()}"
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(directory / MANIFEST_NAME)


def check_pieces(pieces: Sequence[Piece]) -> list[str]:
    """Return every problem of `pieces`, one line each; an empty list means that all is well.

    Looked for: duplicate identifiers, a song in two splits, unknown splits and parts, no stems,
    stem files that are missing, and tempos or durations that are not finite and above 0.
    """
    problems = []
    seen: set[str] = set()
    split_of_song: dict[str, str] = {}
    for piece in pieces:
        name = piece.identifier
        if name in seen:
            problems.append(f"identifier {name} is used twice; name each piece once")
        seen.add(name)
        if piece.split not in SPLITS:
            problems.append(f"{name}: split {piece.split!r} is not one of {', '.join(SPLITS)}")
        first = split_of_song.setdefault(piece.song, piece.split)
        if first != piece.split:
            problems.append(f"{name}: song {piece.song} is in {first} and in {piece.split}")
        for quantity in ("tempo_bpm", "duration_seconds"):
            value = getattr(piece, quantity)
            if not (math.isfinite(value) and value > 0):
                problems.append(f"{name}: {quantity} is {value}, wanted above 0")
        if not piece.stems:
            problems.append(f"{name}: has no stems")
        for part, path in piece.stems.items():
            if part not in PARTS:
                problems.append(f"{name}: unknown part {part!r}, wanted one of {', '.join(PARTS)}")
            if not path.is_file():
                problems.append(f"{name}: the {part} stem is missing: {path}")
    return problems


def checked(pieces: Sequence[Piece]) -> Sequence[Piece]:
    """Return `pieces` if they have no problem; else raise `CorpusError` with the first one."""
    problems = check_pieces(pieces)
    if problems:
        more = f" (and {len(problems) - 1} more problems)" if len(problems) > 1 else ""
        raise CorpusError(f"{problems[0]}{more}")
    return pieces


def check_audio(pieces: Iterable[Piece]) -> list[str]:
    """Return the problems of the stems' headers, one line each; missing files are left out.

    Looked for: files that cannot be read, stems of one piece that differ in rate or channels, and
    stems that differ in length from the piece by more than one sample.
    """
    problems = []
    for piece in pieces:
        kinds = set()
        for part, path in piece.stems.items():
            if not path.is_file():
                continue
            try:
                info = soundfile.info(path)
            except soundfile.LibsndfileError as error:
                problems.append(f"{piece.identifier}: the {part} stem cannot be read: {error}")
                continue
            kinds.add((info.samplerate, info.channels))
            expected_samples = piece.duration_seconds * info.samplerate
            if abs(info.frames - expected_samples) > 1:
                problems.append(
                    f"{piece.identifier}: the {part} stem lasts {info.frames} samples, "
                    f"wanted {expected_samples:.0f}"
                )
        if len(kinds) > 1:
            problems.append(
                f"{piece.identifier}: stems differ in rate or channels: {sorted(kinds)}"
            )
    return problems


def summary(pieces: Sequence[Piece]) -> dict[str, dict[str, Any]]:
    """Return, by split, the numbers of pieces, of songs and of stems by part, and the hours."""
    totals: dict[str, dict[str, Any]] = {}
    for split in SPLITS:
        own = [piece for piece in pieces if piece.split == split]
        totals[split] = {
            "pieces": len(own),
            "songs": len({piece.song for piece in own}),
            "hours": round(sum(piece.duration_seconds for piece in own) / 3600, 2),
            "stems": {part: sum(part in piece.stems for piece in own) for part in PARTS},
        }
    return totals


def _document(directory: Path) -> dict[str, Any]:
    path = directory / MANIFEST_NAME
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CorpusError(
            f"no {MANIFEST_NAME} in {directory}; make a corpus with: stemwise data band {directory}"
        ) from None
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path} cannot be read ({error}); make the corpus again") from None
    if not isinstance(document, dict) or document.get("format") != MANIFEST_FORMAT:
        seen = document.get("format") if isinstance(document, dict) else type(document).__name__
        raise CorpusError(f"{path} has format {seen!r}, wanted {MANIFEST_FORMAT}")
    return document


def _part_order(part: str) -> tuple[int, str]:
    return (PARTS.index(part) if part in PARTS else len(PARTS), part)
