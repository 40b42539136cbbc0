"""A corpus of computer-sung songs: one stem each, residuals; to be joined with one of bands."""

import itertools
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import soundfile

from stemwise.corpora.making import claim
from stemwise.corpora.piece import Piece, write_manifest
from stemwise.corpora.rendering import apply_effects
from stemwise.corpora.singing import RATE_HZ, Person, cast, compose, leveled, sing
from stemwise.corpora.sounds import draw_effects
from stemwise.errors import CorpusError

__all__ = ["SongbookSettings", "make_songbook"]

FORMAT = 2
OWN_LICENCE = "CC0-1.0"


@dataclass(frozen=True)
class SongbookSettings:
    """What is sung.

    Attributes:
        train: songs to train on.
        valid: songs to validate on.
        test: songs to test on.
        seconds: length of each.
        seed: of every draw.
        voices: folder with the people's recordings, if there are any.
        licence: of these recordings, and so of the songs that they sing.
    """

    train: int
    valid: int
    test: int
    seconds: float
    seed: int
    voices: str | None = None
    licence: str = OWN_LICENCE

    def splits(self) -> list[str]:
        """Return the split of each song."""
        counts = (("train", self.train), ("valid", self.valid), ("test", self.test))
        return [split for split, count in counts for _ in range(count)]


def make_songbook(
    directory: Path,
    settings: SongbookSettings,
    people: Sequence[Person] = (),
    *,
    jobs: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Piece]:
    """Sing the songs that are missing, write the manifest and return the pieces.

    The people are those of the folder `settings.voices`. Raises `CorpusError` if the folder was
    made with other settings, if no song is asked for, or without eSpeak NG.
    """
    splits = settings.splits()
    if not splits:
        raise CorpusError("no songs are asked for; give --train, --valid or --test above 0")
    claim(directory, asdict(settings) | {"format": FORMAT})
    missing = [k for k in range(len(splits)) if not _told(directory, k).exists()]
    done = len(splits) - len(missing)
    progress(done, len(splits))
    with ProcessPoolExecutor(max(1, min(jobs, len(missing))), get_context("spawn")) as pool:
        told = (itertools.repeat(directory), itertools.repeat(settings), itertools.repeat(people))
        for _ in pool.map(_sung, *told, missing):
            done += 1
            progress(done, len(splits))
    pieces = [_piece(directory, k, split, settings) for k, split in enumerate(splits)]
    about = {
        "corpus": "Stemwise songbook",
        "citation": "Stemwise: songs drawn by chance, spoken by eSpeak NG and sung by WORLD",
        "licence": " and ".join(sorted({piece.licence for piece in pieces})),
        "people": {person.name: len(person.recordings) for person in people},
        "seed": settings.seed,
        "settings": asdict(settings),
        "versions": {name: version(name) for name in ("stemwise", "pyworld-prebuilt", "numpy")},
    }
    write_manifest(directory, pieces, about)
    return pieces


def _folder(directory: Path, number: int) -> Path:
    return directory / "pieces" / f"song_{number:04d}"


def _told(directory: Path, number: int) -> Path:
    return _folder(directory, number) / "song.json"


def _sung(
    directory: Path, settings: SongbookSettings, people: Sequence[Person], number: int
) -> None:
    """Sing one song and keep it; what is told of it is written last."""
    chance = np.random.default_rng([settings.seed, number])
    singer = cast(chance, people)
    song = compose(chance, singer)
    effects = draw_effects(chance, "residuals", driven=False)
    dry = sing(singer, song, settings.seconds, chance)
    wave = leveled(apply_effects(dry, effects, RATE_HZ))
    folder = _folder(directory, number)
    folder.mkdir(parents=True, exist_ok=True)
    soundfile.write(folder / "residuals.flac", wave, RATE_HZ)
    told = {
        "singer": asdict(singer) | {"syllables": [Path(s).name for s in singer.syllables]},
        "recorded": any(isinstance(syllable, Path) for syllable in singer.syllables),
        "tempo_bpm": song.tempo_bpm,
        "form": song.form,
        "effects": effects,
    }
    partial = folder / f"song.json.{os.getpid()}"
    partial.write_text(json.dumps(told, indent=1))
    partial.replace(_told(directory, number))


def _piece(directory: Path, number: int, split: str, settings: SongbookSettings) -> Piece:
    """Return a song that has been sung as a piece of the corpus."""
    told = json.loads(_told(directory, number).read_text())
    name = f"song_{number:04d}"
    return Piece(
        identifier=f"songbook_{settings.seed}_{name}",
        song=f"songbook_{settings.seed}_{name}",
        split=split,
        tempo_bpm=told["tempo_bpm"],
        duration_seconds=settings.seconds,
        source="songbook",
        licence=settings.licence if told["recorded"] else OWN_LICENCE,
        stems={"residuals": (_folder(directory, number) / "residuals.flac",)},
        rendering=told,
    )
