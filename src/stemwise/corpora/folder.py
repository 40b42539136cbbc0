"""Any folder of songs with stems, such as MUSDB18-HQ: ``FOLDER/[train|valid|test/]SONG/NAME.ext``.

The name of a file says the part: drums, bass, piano, guitar and residuals stand for themselves,
vocals and other belong to the residuals, the mixture is left out, and for all else there is a map.
A part is the plain sum of its files.

Split: by song. A split folder that is there is taken as it is (``validation`` is ``valid``); the
missing ones are carved out of the training songs by a hash of the song's name, so that a song keeps
its split when others are added.
"""

import hashlib
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path

import soundfile

from stemwise.audio import EXTENSIONS
from stemwise.corpora.making import Found
from stemwise.corpora.piece import SPLITS, Piece, check_audio
from stemwise.errors import CorpusError, UsageError
from stemwise.parts import PARTS

__all__ = ["DEFAULT_MAP", "load_folder", "parse_map"]

LEFT_OUT = ""
BESIDE = "no split folder"
DEFAULT_MAP: Mapping[str, str] = {
    **{part: part for part in PARTS},
    "vocals": "residuals",
    "other": "residuals",
    "mixture": LEFT_OUT,
    "mix": LEFT_OUT,
}
SPLIT_FOLDERS = {"train": "train", "valid": "valid", "validation": "valid", "test": "test"}
SHOWN_NAMES = 20


def parse_map(texts: Iterable[str]) -> dict[str, str]:
    """Parse ``keys=piano,brass=residuals,click=`` over the default map; an empty part leaves out.

    Raises `UsageError` for an entry without ``=`` or an unknown part.
    """
    names = dict(DEFAULT_MAP)
    for entry in filter(None, (e.strip() for text in texts for e in text.split(","))):
        name, equals, part = (word.strip() for word in entry.partition("="))
        if not (name and equals):
            raise UsageError(f"{entry!r} is no entry of a map; try --map keys=piano")
        if part not in (*PARTS, LEFT_OUT):
            raise UsageError(
                f"unknown part {part!r} for {name}; choose from {', '.join(PARTS)}, or leave it "
                f"out with --map {name}="
            )
        names[name.casefold()] = part
    return names


def load_folder(
    root: Path,
    names: Mapping[str, str] = DEFAULT_MAP,
    *,
    valid_share: float = 0.1,
    test_share: float = 0.1,
    licence: str = "not stated",
) -> Found:
    """Return the songs in `root` as pieces, and what is wrong with the others.

    A song with a problem is left out: no stems, files that cannot be read or differ in length or
    rate, a name that is in two splits.

    Args:
        root: a folder of songs, or of split folders with songs.
        names: file name without extension, in small letters, to part; "" leaves the file out.
        valid_share: share of the training songs that validate if there is no such folder, 0..1.
        test_share: likewise for the test.
        licence: of the music.

    Raises:
        CorpusError: there are no songs, or files whose names the map does not know.
        UsageError: the shares are negative or leave nothing to train on.
    """
    if min(valid_share, test_share) < 0 or valid_share + test_share >= 1:
        raise UsageError(
            f"the shares of valid and test are {valid_share} and {test_share}, wanted 0 or more "
            "and together below 1"
        )
    if not root.is_dir():
        raise CorpusError(f"{root} is not a folder; give one that holds songs with stems")
    songs, split_names = _songs(root)
    missing = set(SPLITS) - set(split_names)
    shares = {
        "test": test_share if "test" in missing else 0.0,
        "valid": valid_share if "valid" in missing else 0.0,
    }
    _check_names(songs, names)
    places: dict[str, list[str]] = {}
    for song, folder_split in songs:
        places.setdefault(song.name, []).append(folder_split)
    pieces, problems = [], []
    for song, folder_split in songs:
        if len(places[song.name]) > 1:
            problems.append(f"{song.name}: is in {' and in '.join(places[song.name])}; keep one")
            continue
        if folder_split == BESIDE:
            problems.append(f"{song.name}: lies beside the split folders; move it into one")
            continue
        split = _dealt(song.name, shares) if folder_split == "train" else folder_split
        piece, found = _read_song(song, split, names, root.name, licence)
        pieces += [piece] if piece and not found else []
        problems += found
    about = {
        "corpus": root.name,
        "citation": "not stated",
        "licence": licence,
        "protocol": f"split folders {', '.join(split_names) or 'none'}; out of the training songs "
        f"by their names: valid {shares['valid']}, test {shares['test']}",
    }
    return Found(pieces, problems, about)


def _songs(root: Path) -> tuple[list[tuple[Path, str]], list[str]]:
    """Return the folders of songs with their splits, and the splits that have a folder."""
    folders = _folders(root)
    split_of = {f: SPLIT_FOLDERS[f.name.casefold()] for f in folders if _names_a_split(f)}
    if split_of:
        songs = [(song, split) for folder, split in split_of.items() for song in _folders(folder)]
        songs += [(song, BESIDE) for song in folders if song not in split_of and _sounds(song)]
    else:
        songs = [(song, "train") for song in folders]
    if not songs:
        raise CorpusError(
            f"{root} holds no song; wanted is {root}/SONG/drums.wav or {root}/train/SONG/drums.wav"
        )
    return songs, sorted(set(split_of.values()), key=SPLITS.index)


def _names_a_split(folder: Path) -> bool:
    return folder.name.casefold() in SPLIT_FOLDERS


def _folders(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))


def _sounds(song: Path) -> list[Path]:
    """Return the audio files of a song, without hidden ones."""
    return sorted(
        path
        for path in song.iterdir()
        if path.suffix.casefold() in EXTENSIONS and not path.name.startswith(".")
    )


def _check_names(songs: Iterable[tuple[Path, str]], names: Mapping[str, str]) -> None:
    stems = {path.stem.casefold() for song, _ in songs for path in _sounds(song)}
    unknown = sorted(stems - names.keys())
    if unknown:
        more = f" and {len(unknown) - SHOWN_NAMES} more" if len(unknown) > SHOWN_NAMES else ""
        raise CorpusError(
            f"no part is known for files named {', '.join(unknown[:SHOWN_NAMES])}{more}; say it "
            f"with --map {unknown[0]}=residuals, or leave them out with --map {unknown[0]}="
        )


def _dealt(song: str, shares: Mapping[str, float]) -> str:
    """Return the split of a training song: a stable hash of its name in 0..1 against the shares."""
    digest = hashlib.sha256(unicodedata.normalize("NFC", song).encode()).digest()
    place = int.from_bytes(digest[:8]) / 2**64
    for split, share in shares.items():
        if place < share:
            return split
        place -= share
    return "train"


def _read_song(
    song: Path, split: str, names: Mapping[str, str], source: str, licence: str
) -> tuple[Piece | None, list[str]]:
    """Return a song as a piece, and its problems; with a problem the piece is not to be used."""
    stems: dict[str, tuple[Path, ...]] = {}
    durations_seconds = []
    for path in _sounds(song):
        part = names[path.stem.casefold()]
        if part != LEFT_OUT:
            stems[part] = (*stems.get(part, ()), path)
            try:
                header = soundfile.info(path)
                durations_seconds.append(header.frames / header.samplerate)
            except soundfile.LibsndfileError as error:
                return None, [f"{song.name}: {path.name} cannot be read: {error}"]
    if not stems:
        return None, [f"{song.name}: has no stems"]
    piece = Piece(
        identifier=song.name,
        song=song.name,
        split=split,
        tempo_bpm=None,
        duration_seconds=durations_seconds[0],
        source=source,
        licence=licence,
        stems=stems,
    )
    if not durations_seconds[0]:
        return None, [f"{song.name}: its stems are empty"]
    return piece, check_audio([piece])
