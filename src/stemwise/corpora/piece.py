"""A piece with stems, and the manifest that lists the pieces of a corpus.

A corpus is a folder with a ``manifest.json``: what the corpus is (name, citation, licence, seed,
versions) and its pieces, sorted by identifier. Paths of stems are relative to the folder, or
absolute where the stems lie elsewhere. A part is the plain sum of its files. All files of a piece
have one length and one rate. Corpora are split by song: `Piece.song` names what two renderings or
revisions have in common, and one song is in one split only.
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
    "summary_lines",
    "write_manifest",
]

MANIFEST_NAME = "manifest.json"
MANIFEST_FORMAT = 1
SPLITS = ("train", "valid", "test")
_FIELDS = (
    "song", "split", "tempo_bpm", "tempo_cluster", "duration_seconds", "source", "licence",
)  # fmt: skip
_OPTIONAL = ("tempo_bpm", "tempo_cluster")  # written only if set


@dataclass(frozen=True)
class Piece:
    """One piece of a corpus: where its stems lie and what they were made from.

    Attributes:
        identifier: Unique in its corpus.
        song: What the split is by; renderings and revisions of one song share it.
        split: ``train``, ``valid`` or ``test``.
        tempo_bpm: Beats per minute, above 0; None if unknown.
        duration_seconds: Length of every stem.
        source: Where the music comes from.
        licence: Licence of the music.
        stems: Part to the audio files whose sum it is; a part that never plays is absent.
        rendering: How each part was made (soundfont, programs, effects); empty for recordings.
        tempo_cluster: Number of the tempo cluster in its split, where the corpus's published
            protocol gives one.
    """

    identifier: str
    song: str
    split: str
    tempo_bpm: float | None
    duration_seconds: float
    source: str
    licence: str
    stems: Mapping[str, tuple[Path, ...]]
    rendering: Mapping[str, Any] = field(default_factory=dict)
    tempo_cluster: int | None = None


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
            pieces.append(_piece(entry, root))
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

    The bytes depend on the arguments only. Files inside `directory` are written relative to it, so
    that it can be moved; files elsewhere by their absolute paths.
    """
    root = directory.absolute()
    entries = []
    for piece in sorted(pieces, key=lambda piece: piece.identifier):
        stems: dict[str, str | list[str]] = {}
        for part, paths in sorted(piece.stems.items(), key=lambda item: _part_order(item[0])):
            written = [_written(path.absolute(), root) for path in paths]
            stems[part] = written[0] if len(written) == 1 else written
        entry: dict[str, Any] = {"identifier": piece.identifier}
        for name in _FIELDS:
            value = getattr(piece, name)
            if not (value is None and name in _OPTIONAL):
                entry[name] = value
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
    parts without a file, files that are missing, and tempos or durations that are not finite and
    above 0. A tempo may be unknown.
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
            if value is not None and not (math.isfinite(value) and value > 0):
                problems.append(f"{name}: {quantity} is {value}, wanted above 0")
        if not piece.stems:
            problems.append(f"{name}: has no stems")
        for part, paths in piece.stems.items():
            if part not in PARTS:
                problems.append(f"{name}: unknown part {part!r}, wanted one of {', '.join(PARTS)}")
            if not paths:
                problems.append(f"{name}: the {part} stem has no file")
            problems += [
                f"{name}: the {part} stem is missing: {path}"
                for path in paths
                if not path.is_file()
            ]
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

    Looked for: files that cannot be read, files of one piece that differ in rate, and files that
    differ in length from the piece by more than one sample. Channels may differ: they are mixed
    down.
    """
    problems = []
    for piece in pieces:
        rates_hz = set()
        for part, path in ((part, path) for part, paths in piece.stems.items() for path in paths):
            if not path.is_file():
                continue
            try:
                info = soundfile.info(path)
            except soundfile.LibsndfileError as error:
                problems.append(f"{piece.identifier}: the {part} stem cannot be read: {error}")
                continue
            rates_hz.add(info.samplerate)
            expected_samples = piece.duration_seconds * info.samplerate
            if abs(info.frames - expected_samples) > 1:
                problems.append(
                    f"{piece.identifier}: the {part} stem lasts {info.frames} samples, "
                    f"wanted {expected_samples:.0f} ({path.name})"
                )
        if len(rates_hz) > 1:
            problems.append(f"{piece.identifier}: stems differ in rate: {sorted(rates_hz)} Hz")
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


def summary_lines(totals: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return what `summary` returns as text, a line for each split."""
    return [
        f"{split}: {total['pieces']} pieces of {total['songs']} songs, {total['hours']} h; stems: "
        + ", ".join(f"{part} {number}" for part, number in total["stems"].items())
        for split, total in totals.items()
    ]


def _document(directory: Path) -> dict[str, Any]:
    path = directory / MANIFEST_NAME
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CorpusError(
            f"no {MANIFEST_NAME} in {directory}; make a corpus with stemwise data band, "
            "stemwise data slakh, stemwise data folder or stemwise data songbook"
        ) from None
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path} cannot be read ({error}); make the corpus again") from None
    if not isinstance(document, dict) or document.get("format") != MANIFEST_FORMAT:
        seen = document.get("format") if isinstance(document, dict) else type(document).__name__
        raise CorpusError(f"{path} has format {seen!r}, wanted {MANIFEST_FORMAT}")
    return document


def _piece(entry: Mapping[str, Any], root: Path) -> Piece:
    """Return the piece that an entry of the manifest in `root` describes."""
    tempo_bpm, cluster = entry.get("tempo_bpm"), entry.get("tempo_cluster")
    return Piece(
        identifier=str(entry["identifier"]),
        song=str(entry["song"]),
        split=str(entry["split"]),
        tempo_bpm=None if tempo_bpm is None else float(tempo_bpm),
        duration_seconds=float(entry["duration_seconds"]),
        source=str(entry["source"]),
        licence=str(entry["licence"]),
        stems={
            part: tuple(root / path for path in ([paths] if isinstance(paths, str) else paths))
            for part, paths in entry["stems"].items()
        },
        rendering=dict(entry.get("rendering", {})),
        tempo_cluster=None if cluster is None else int(cluster),
    )


def _written(path: Path, root: Path) -> str:
    """Return `path` as the manifest in `root` writes it."""
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def _part_order(part: str) -> tuple[int, str]:
    return (PARTS.index(part) if part in PARTS else len(PARTS), part)
