"""Slakh2100: the paper's corpus, read where it was unpacked.

2100 pieces rendered from MIDI with sample-based instruments, 145 hours, 44.1 kHz mono 16-bit FLAC,
CC BY 4.0. The archive is ``slakh2100_flac_redux.tar.gz`` of https://zenodo.org/records/4599666
(MD5 f4b71b6c45ac9b506f59788456b3f0c4)::

    ROOT/{train,validation,test,omitted}/TrackNNNNN/{metadata.yaml,all_src.mid,mix.flac,stems/S00.flac…}

The first release, without ``omitted``, and WAV stems are read as well.

Parts: a stem belongs to the part of its General MIDI program (`stemwise.parts.program_part`; drums
by ``is_drum`` or program 128). The part is the plain sum of its stems, not renormalised, so that
the five parts sum to the mixture.

Protocol: `protocol` holds the lists that the paper's authors published: split by song, tempo
clusters, pseudo-pieces. 19 training tracks are in no cluster of that list, and two validation
tracks.

Departure: the paper tests on 50 pseudo-pieces, and only a list of 40 is public; `pseudo_pieces`
says by which rule it is brought to 50.

References: section IV-A of the paper, and::

    @inproceedings{manilow2019cutting,
      title = {Cutting Music Source Separation Some {Slakh}: A Dataset to Study the Impact of
               Training Data Quality and Quantity},
      author = {Manilow, Ethan and Wichern, Gordon and Seetharaman, Prem and Le Roux, Jonathan},
      booktitle = {Proc. IEEE Workshop on Applications of Signal Processing to Audio and Acoustics
                   (WASPAA)},
      year = {2019}
    }
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import mido  # type: ignore[import-untyped]
import mutagen
import soundfile
import yaml
from mido.midifiles import KeySignatureError  # type: ignore[import-untyped]

from stemwise.corpora.making import Found
from stemwise.corpora.piece import SPLITS, Piece, check_audio
from stemwise.errors import CorpusError
from stemwise.parts import program_part

__all__ = [
    "SlakhProtocol",
    "check_archive",
    "check_slakh",
    "cross_songs",
    "identifier",
    "load_slakh",
    "protocol",
    "pseudo_pieces",
]

ARCHIVE = "slakh2100_flac_redux.tar.gz"
ARCHIVE_MD5 = "f4b71b6c45ac9b506f59788456b3f0c4"
FOLDERS = {"train": "train", "valid": "validation", "test": "test"}
OMITTED = "omitted"
DRUM_PROGRAM = 128
EXTENSIONS = (".flac", ".wav")
PSEUDO_SONGS = 5  # of one cluster, that make the pieces of one target in the list of 50
CROSS_SONGS = (1883, 1936, 1940, 1950, 2004, 2016, 2047, 2050, 2051, 2052)
DEFAULT_TEMPO = 500_000  # microseconds per beat, where a MIDI file gives none
BLOCK_SAMPLES = 1 << 20
ABOUT = {
    "corpus": "Slakh2100",
    "citation": "Manilow, Wichern, Seetharaman, Le Roux: Cutting Music Source Separation Some "
    "Slakh, WASPAA 2019",
    "licence": "CC-BY-4.0",
    "protocol": "Imamura et al. 2025: split 1200/270/136 and tempo clusters as published",
}
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SlakhProtocol:
    """The paper's protocol, in numbers of tracks.

    Attributes:
        about: Where the lists come from.
        split: Split to its tracks: 1200 train, 270 valid, 136 test.
        tempo_clusters: Split to its clusters; a pseudo-piece is of one cluster.
        backgrounds: The published list of 40 pseudo-pieces: target track to the tracks that lend
            the other four stems, itself first.
        query_segments: Part to the ten-second segments of these in which it sounds.
    """

    about: str
    split: Mapping[str, tuple[int, ...]]
    tempo_clusters: Mapping[str, tuple[tuple[int, ...], ...]]
    backgrounds: Mapping[int, tuple[int, ...]]
    query_segments: Mapping[str, int]


@cache
def protocol() -> SlakhProtocol:
    """Return the protocol as the authors' lists give it."""
    stored = json.loads(Path(__file__).with_name("slakh_protocol.json").read_text("utf-8"))
    pseudo = stored["mes_pseudo_40"]
    return SlakhProtocol(
        about=stored["about"],
        split={split: tuple(stored["split"][FOLDERS[split]]) for split in SPLITS},
        tempo_clusters={
            split: tuple(tuple(cluster) for cluster in stored["tempo_clusters"][FOLDERS[split]])
            for split in SPLITS
        },
        backgrounds={int(target): tuple(b) for target, b in pseudo["backgrounds"].items()},
        query_segments=pseudo["query_segments"],
    )


def identifier(number: int) -> str:
    """Return the name of a track: 1876 is Track01876."""
    return f"Track{number:05d}"


def pseudo_pieces(count: int = 50) -> Mapping[str, tuple[str, ...]]:
    """Return the test's pseudo-pieces: target to the backgrounds it meets, itself first.

    Args:
        count: 40 for the published list (10 targets, 4 backgrounds each), 50 for ours (10 and 5).

    The 50: a target whose tempo cluster has at least 5 songs keeps its backgrounds and gets one
    more, the lowest-numbered song of its cluster that the 40 do not use. Targets whose cluster has
    fewer (1893, 1957) give way to the lowest-numbered songs of the clusters of at least 5 songs
    that the 40 do not touch (1877, 1878), each with the four next songs of its cluster.
    """
    listed, clusters = protocol().backgrounds, protocol().tempo_clusters["test"]
    if count not in (40, 50):
        raise ValueError(f"there are lists of 40 and of 50 pseudo-pieces, got {count=}")
    chosen = dict(listed)
    if count == 50:
        used = {number for backgrounds in listed.values() for number in backgrounds}
        chosen = {
            target: (*listed[target], min(set(cluster) - used))
            for target in listed
            for cluster in clusters
            if target in cluster and len(cluster) >= PSEUDO_SONGS
        }
        untouched = sorted(
            sorted(c) for c in clusters if len(c) >= PSEUDO_SONGS and not used & set(c)
        )
        for songs in untouched[: len(listed) - len(chosen)]:
            chosen[songs[0]] = tuple(songs[:PSEUDO_SONGS])
    return {identifier(target): tuple(map(identifier, b)) for target, b in chosen.items()}


def cross_songs() -> tuple[str, ...]:
    """Return the 10 test songs of one cluster that the authors crossed fully, 10 x 10; harder."""
    return tuple(map(identifier, CROSS_SONGS))


def check_archive(path: Path) -> None:
    """Raise `CorpusError` unless the file at `path` is the published archive, by its MD5."""
    try:
        with path.open("rb") as file:
            seen = hashlib.file_digest(file, _md5).hexdigest()
    except OSError as error:
        raise CorpusError(f"the archive cannot be read: {error}") from None
    if seen != ARCHIVE_MD5:
        raise CorpusError(
            f"{path} has MD5 {seen}, and {ARCHIVE} has {ARCHIVE_MD5}; download it again"
        )


def check_slakh(root: Path, checksums: bool = False) -> list[str]:
    """Return every problem of the Slakh2100 in `root`, one line each; see `load_slakh`."""
    return list(load_slakh(root, checksums=checksums).problems)


def load_slakh(
    root: Path,
    *,
    checksums: bool = False,
    jobs: int | None = None,
    progress: Progress = lambda done, total: None,
) -> Found:
    """Return the tracks of the protocol in `root` as pieces, and what is wrong with the others.

    Looked for: tracks that are missing or in the folder of another split, metadata that is missing
    or unreadable, unknown programs, rendered stems without a file, stems that cannot be read or
    differ in length or rate. A track with a problem is left out and does not stop the others.

    Args:
        root: the folder that holds ``train``, ``validation`` and ``test``.
        checksums: also decode every stem and compare it with the MD5 in its FLAC header.
        jobs: tracks read at a time; None for the CPU cores.
        progress: called with (tracks read, tracks in all).

    Raises:
        CorpusError: `root` has none of the folders.
    """
    if not any((root / folder).is_dir() for folder in FOLDERS.values()):
        raise CorpusError(
            f"{root} has no folder train, validation or test; give the folder that {ARCHIVE} "
            "unpacks to"
        )
    facts = protocol()
    asked = [(split, number) for split in SPLITS for number in facts.split[split]]
    cluster_of = {
        number: k
        for split in SPLITS
        for k, cluster in enumerate(facts.tempo_clusters[split])
        for number in cluster
    }

    def read(track: tuple[str, int]) -> tuple[Piece | None, list[str]]:
        split, number = track
        return _read_track(root, split, number, cluster_of.get(number), checksums)

    pieces, problems = [], []
    with ThreadPoolExecutor(jobs or os.cpu_count()) as pool:
        for count, (piece, found) in enumerate(pool.map(read, asked), start=1):
            pieces += [piece] if piece and not found else []
            problems += found
            progress(count, len(asked))
    return Found(pieces, problems, ABOUT)


def _read_track(
    root: Path, split: str, number: int, cluster: int | None, checksums: bool
) -> tuple[Piece | None, list[str]]:
    """Return a track as a piece, and its problems; with a problem the piece is not to be used."""
    name, wanted = identifier(number), FOLDERS[split]
    folder = root / wanted / name
    if not folder.is_dir():
        for other in (*FOLDERS.values(), OMITTED):
            if (root / other / name).is_dir():
                return None, [f"{name}: is in {other}, wanted in {wanted} by its number; move it"]
        return None, [f"{name}: is missing in {wanted}; unpack it"]
    stems, problems = _read_stems(folder)
    problems = [f"{name}: {problem}" for problem in problems]
    if problems:
        return None, problems
    files = [path for paths in stems.values() for path in paths]
    piece = Piece(
        identifier=name,
        song=name,
        split=split,
        tempo_bpm=_tempo_bpm(folder / "all_src.mid"),
        duration_seconds=_duration_seconds(files),
        source=ABOUT["corpus"],
        licence=ABOUT["licence"],
        stems=stems,
        tempo_cluster=cluster,
    )
    problems = check_audio([piece])
    if checksums and not problems:
        damages = ((path, _damage(path)) for path in files)
        problems = [f"{name}: {path.name} {damage}" for path, damage in damages if damage]
    return piece, problems


def _read_stems(folder: Path) -> tuple[dict[str, tuple[Path, ...]], list[str]]:
    """Return the files of each part by the track's metadata, and the problems."""
    try:
        with (folder / "metadata.yaml").open("rb") as file:
            listed = sorted(yaml.load(file, _LOADER)["stems"].items())
    except FileNotFoundError:
        return {}, ["metadata.yaml is missing; unpack it again"]
    except (AttributeError, KeyError, OSError, TypeError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return {}, [f"metadata.yaml cannot be read ({reason}); unpack it again"]
    stems: dict[str, tuple[Path, ...]] = {}
    problems = []
    for stem, facts in listed:
        try:
            if not facts.get("audio_rendered", True):
                continue
            part = _part(facts)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            reason = f"{type(error).__name__}: {error}"
            problems.append(f"stem {stem} of metadata.yaml cannot be placed ({reason})")
            continue
        path = _file(folder / "stems", stem)
        if path is None:
            problems.append(f"stem {stem} was rendered and has no file; unpack it again")
        else:
            stems[part] = (*stems.get(part, ()), path)
    if not stems and not problems:
        problems.append("no stem was rendered")
    return stems, problems


def _part(facts: Mapping[str, Any]) -> str:
    program = int(facts["program_num"])
    return program_part(program, is_drum=bool(facts.get("is_drum")) or program == DRUM_PROGRAM)


def _file(folder: Path, stem: str) -> Path | None:
    paths = (folder / f"{stem}{extension}" for extension in EXTENSIONS)
    return next((path for path in paths if path.is_file()), None)


def _duration_seconds(files: list[Path]) -> float:
    """Return the length of the first file that can be read; 0 if none can."""
    for path in files:
        try:
            header = soundfile.info(path)
        except soundfile.LibsndfileError:
            continue
        return float(header.frames / header.samplerate)
    return 0.0


def _tempo_bpm(path: Path) -> float | None:
    """Return the tempo in force for the longest time in a MIDI file; None if it cannot be read."""
    try:
        midi = mido.MidiFile(path, clip=True)
    except (EOFError, IndexError, KeyError, OSError, TypeError, ValueError, KeySignatureError):
        return None
    changes, end = {0: DEFAULT_TEMPO}, 0
    for track in midi.tracks:
        tick = 0
        for message in track:
            tick += message.time
            if message.type == "set_tempo" and message.tempo > 0:
                changes[tick] = message.tempo
        end = max(end, tick)
    ticks = sorted(changes)
    lasting: Counter[int] = Counter()
    for tick, following in zip(ticks, [*ticks[1:], end], strict=True):
        lasting[changes[tick]] += (following - tick) * changes[tick]  # microseconds, but a factor
    return round(60e6 / lasting.most_common(1)[0][0], 3) if end else None


def _damage(path: Path) -> str:
    """Return what is wrong with the sound of a file, decoded whole; empty if it is well."""
    digest = _md5()
    try:
        with soundfile.SoundFile(path) as file:
            comparable = file.format == "FLAC" and file.subtype == "PCM_16"
            for block in file.blocks(BLOCK_SAMPLES, dtype="int16"):
                digest.update(block.astype("<i2").tobytes())
        wanted = mutagen.File(path).info.md5_signature if comparable else 0
    except (soundfile.LibsndfileError, mutagen.MutagenError) as error:
        return f"cannot be decoded ({error}); unpack it again"
    if wanted and digest.hexdigest() != f"{wanted:032x}":  # 0: the encoder left none
        return f"has sound of MD5 {digest.hexdigest()}, its header says {wanted:032x}; unpack again"
    return ""


def _md5() -> Any:
    return hashlib.md5(usedforsecurity=False)
