"""The band corpus: stems rendered from MIDI with FluidSynth; free, and as large as you like.

Songs come from a collection of MIDI files with free licences (`midi_collection`) and, to fill up
the numbers asked for, from the composer. Each song is in one split only, with the same mix of
sources in all; in training a song may have several takes, each with its own sounds, key and tempo,
through its revisions in turn. Soundfonts that are held out play in the test split only.

The folder holds ``settings.json``, ``pieces/<identifier>/`` (stems as 44.1 kHz mono 16-bit FLAC,
and ``piece.json``), ``errors.jsonl`` and ``manifest.json``. Pieces are made in parallel, each in
one step; a run that was stopped goes on where it was. The same settings give the same bytes,
whatever the number of processes.
"""

import hashlib
import importlib.metadata
import itertools
import json
import multiprocessing
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stemwise.corpora.making import claim
from stemwise.corpora.midi_collection import SHIPPED, MidiFile, read_collection
from stemwise.corpora.piece import SPLITS, write_manifest
from stemwise.corpora.sounds import SOUNDFONTS, find_soundfonts, generator
from stemwise.corpora.takes import Studio, Take, read_take
from stemwise.errors import CorpusError, UsageError

__all__ = ["BandReport", "BandSettings", "make_band", "plan_takes"]

BAND_FORMAT = 1
COMPOSED_LICENCE = "CC0-1.0 (composed by Stemwise)"
MANIFEST_EVERY_SECONDS = 60.0


@dataclass(frozen=True)
class BandSettings:
    """What a band corpus follows from.

    Attributes:
        train: Songs to train on.
        valid: Songs to validate on.
        test: Songs to test on.
        renderings: Takes of each training song.
        composed_share: Share of composed songs, 0..1; None composes only what MIDI files lack.
        seconds: Length of the longest piece, at least 6.
        seed: Seed of every draw.
        midi: A further MIDI collection (folder or zip).
        soundfonts: Names of the soundfonts to draw from; None means all.
    """

    train: int = 400
    valid: int = 60
    test: int = 136
    renderings: int = 1
    composed_share: float | None = None
    seconds: float = 90.0
    seed: int = 0
    midi: Path | None = None
    soundfonts: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name in SPLITS:
            if getattr(self, name) < 0:
                raise UsageError(f"--{name} is {getattr(self, name)}, wanted 0 or more")
        if self.train + self.valid + self.test == 0:
            raise UsageError("no songs asked for; give --train, --valid or --test")
        if self.renderings < 1:
            raise UsageError(f"--renderings is {self.renderings}, wanted 1 or more")
        if self.composed_share is not None and not 0 <= self.composed_share <= 1:
            raise UsageError(f"--composed-share is {self.composed_share}, wanted 0..1")
        if not 6 <= self.seconds <= 3600:
            raise UsageError(f"--seconds is {self.seconds:g}, wanted 6..3600")


@dataclass(frozen=True)
class BandReport:
    """How far the making of a corpus is.

    Attributes:
        total: Pieces asked for.
        done: Pieces that are there, older ones included.
        skipped: Pieces that an earlier run had made.
        failed: Pieces that could not be made; the reasons are in ``errors.jsonl``.
        audio_seconds: Length of the pieces made in this run.
        wall_seconds: Time since its start.
    """

    total: int
    done: int
    skipped: int
    failed: int
    audio_seconds: float
    wall_seconds: float

    def __str__(self) -> str:
        rate = self.audio_seconds / max(self.wall_seconds, 1e-9)
        return (
            f"{self.done} of {self.total} pieces ({self.skipped} were there), "
            f"{self.failed} failed; {self.audio_seconds / 3600:.2f} h of music in "
            f"{self.wall_seconds:.0f} s, {rate:.0f} times faster than playing"
        )


def make_band(
    directory: Path,
    settings: BandSettings,
    *,
    jobs: int = 1,
    report: Callable[[BandReport], None] = lambda report: None,
) -> BandReport:
    """Make the corpus in `directory`, or what is still missing of it.

    Args:
        directory: Where to; it may hold a part of the same corpus.
        settings: What to make.
        jobs: Processes that render.
        report: Called at the start and after every piece.

    Returns:
        The last report. A piece that fails is recorded in ``errors.jsonl`` and stops nothing.

    Raises:
        CorpusError: A soundfont is missing, `directory` was made with other settings, or a process
            died.
    """
    if jobs < 1:
        raise UsageError(f"--jobs is {jobs}, wanted 1 or more")
    started = time.monotonic()
    soundfonts = find_soundfonts(settings.soundfonts)
    files = _files(settings)
    claim(directory, _fixed(settings, tuple(soundfonts), files))
    takes = plan_takes(settings, files)
    folder = directory / "pieces"
    missing = [take for take in takes if read_take(take, folder) is None]
    errors_path = directory / "errors.jsonl"
    errors_path.unlink(missing_ok=True)
    skipped, made, failed, audio_seconds = len(takes) - len(missing), 0, 0, 0.0

    def progress() -> BandReport:
        wall_seconds = time.monotonic() - started
        done = skipped + made
        return BandReport(len(takes), done, skipped, failed, audio_seconds, wall_seconds)

    report(progress())
    written = time.monotonic()
    for take, seconds, reason in _record(settings, missing, folder, jobs):
        if reason:
            failed += 1
            line = json.dumps({"identifier": take.identifier, "midi": take.midi, "reason": reason})
            with errors_path.open("a", encoding="utf-8") as stream:
                stream.write(line + "\n")
        else:
            made, audio_seconds = made + 1, audio_seconds + seconds
        report(progress())
        if time.monotonic() - written > MANIFEST_EVERY_SECONDS:
            _write(directory, settings, soundfonts, takes)
            written = time.monotonic()
    _write(directory, settings, soundfonts, takes)
    return progress()


def plan_takes(settings: BandSettings, files: Sequence[MidiFile]) -> list[Take]:
    """Return what to record, in the order of work: first takes before others, MIDI before composed.

    A song's split depends on the settings and on the collection, on nothing else.
    """
    revisions: dict[str, list[MidiFile]] = defaultdict(list)
    for file in files:
        revisions[file.song].append(file)
    wanted = {split: int(getattr(settings, split)) for split in SPLITS}
    total = sum(wanted.values())
    share = settings.composed_share or 0.0
    chosen = _stratified(revisions, settings.seed)[: round(total * (1 - share))]
    split_of = _assign(chosen, revisions, wanted)
    takes = []
    for song in chosen:
        split = split_of[song]
        order = generator(settings.seed, "revisions", song).permutation(len(revisions[song]))
        for number in range(settings.renderings if split == "train" else 1):
            file = revisions[song][order[number % len(order)]]
            takes.append(
                Take(
                    identifier=f"{_slug(file.path)}_{number}",
                    song=song,
                    split=split,
                    source=file.source,
                    licence=file.licence,
                    midi=file.path,
                    composition_seed=0,
                    number=number,
                )
            )
    counts = Counter(split_of.values())
    for split in SPLITS:
        for i in range(wanted[split] - counts[split]):
            takes += _composed(settings, split, i)
    return sorted(takes, key=lambda take: (take.number, not take.midi, _shuffled(take)))


def _composed(settings: BandSettings, split: str, i: int) -> list[Take]:
    name = f"composed_{split}_{i:05d}"
    seed = int(generator(settings.seed, name).integers(2**31))
    return [
        Take(f"{name}_{number}", name, split, "composed", COMPOSED_LICENCE, "", seed, number)
        for number in range(settings.renderings if split == "train" else 1)
    ]


def _stratified(revisions: dict[str, list[MidiFile]], seed: int) -> list[str]:
    """Return the songs in an order of which every beginning has about the same mix of sources."""
    by_source: dict[str, list[str]] = defaultdict(list)
    for song in sorted(revisions):
        by_source[revisions[song][0].source].append(song)
    ranked = []
    for source, songs in by_source.items():
        order = generator(seed, "songs", source).permutation(len(songs))
        ranked += [((rank + 0.5) / len(songs), songs[i]) for rank, i in enumerate(order)]
    return [song for _, song in sorted(ranked)]


def _assign(
    songs: Sequence[str], revisions: dict[str, list[MidiFile]], wanted: dict[str, int]
) -> dict[str, str]:
    """Return song to split: source after source, each song to the split that lags most."""
    total = sum(wanted.values())
    counts: Counter[str] = Counter()
    split_of = {}
    by_source = sorted(songs, key=lambda song: revisions[song][0].source)  # stable: draw order
    for number, song in enumerate(by_source, start=1):
        open_splits = [split for split in SPLITS if counts[split] < wanted[split]]
        lag = {split: wanted[split] / total * number - counts[split] for split in open_splits}
        split_of[song] = max(open_splits, key=lambda split: lag[split])
        counts[split_of[song]] += 1
    return split_of


def _shuffled(take: Take) -> str:
    """Return a key that mixes splits and sources, so that a part of a corpus is of use."""
    return hashlib.sha256(take.identifier.encode()).hexdigest()


def _slug(path: str) -> str:
    stem = path.rsplit(".", 1)[0]
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in stem)


def _files(settings: BandSettings) -> list[MidiFile]:
    files = read_collection(SHIPPED)
    if settings.midi is None:
        return files
    shipped = {file.midi for file in files}
    return files + [file for file in read_collection(settings.midi) if file.midi not in shipped]


_studio: Studio | None = None  # of a worker process


def _new_studio(settings: BandSettings) -> Studio:
    return Studio(
        soundfonts=find_soundfonts(settings.soundfonts),
        files=_files(settings),
        seed=settings.seed,
        seconds=settings.seconds,
    )


def _open_studio(settings: BandSettings) -> None:
    global _studio
    _studio = _new_studio(settings)


def _record_in_worker(take: Take, folder: Path) -> tuple[float, str]:
    assert _studio is not None, "a worker opens its studio first"
    return _record_one(_studio, take, folder)


def _record_one(studio: Studio, take: Take, folder: Path) -> tuple[float, str]:
    """Return the length of the piece in seconds and why it failed, or an empty string."""
    try:
        return studio.record(take, folder), ""
    except CorpusError as error:
        return 0.0, str(error)
    except Exception as error:  # one piece must not stop the others: recorded and counted
        return 0.0, f"{type(error).__name__}: {error}"


def _record(
    settings: BandSettings, takes: Sequence[Take], folder: Path, jobs: int
) -> Iterator[tuple[Take, float, str]]:
    """Yield (take, seconds, reason) as the pieces are finished; few wait in the queue."""
    if not takes:
        return
    if jobs == 1:
        studio = _new_studio(settings)
        for take in takes:
            yield take, *_record_one(studio, take, folder)
        studio.close()
        return
    spawn = multiprocessing.get_context("spawn")
    remaining = iter(takes)
    running: dict[Future[tuple[float, str]], Take] = {}
    jobs = min(jobs, len(takes))
    with ProcessPoolExecutor(jobs, spawn, _open_studio, (settings,)) as pool:
        try:
            while True:
                for take in itertools.islice(remaining, 2 * jobs - len(running)):
                    running[pool.submit(_record_in_worker, take, folder)] = take
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future), *future.result()
        except BrokenProcessPool:
            raise CorpusError(
                "a rendering process died (out of memory?); run the same command again to go on"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _fixed(
    settings: BandSettings, soundfonts: Sequence[str], files: Sequence[MidiFile]
) -> dict[str, Any]:
    """Return what must not change inside one folder."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.path}\0{file.song}\0".encode() + hashlib.sha256(file.midi).digest())
    fixed = asdict(settings) | {
        "soundfonts": list(soundfonts),
        "midi": digest.hexdigest(),
        "format": BAND_FORMAT,
    }
    return {key: fixed[key] for key in sorted(fixed)}


def _write(
    directory: Path, settings: BandSettings, soundfonts: Collection[str], takes: Sequence[Take]
) -> None:
    """Write the manifest of what is there."""
    found = (read_take(take, directory / "pieces") for take in takes)
    about = {
        "corpus": "Stemwise band corpus",
        "citation": "Stemwise: rendered from MIDI files with free licences and composed songs",
        "licence": "The licence of each piece is its own; see also the soundfonts' licences",
        "seed": settings.seed,
        "settings": asdict(settings) | {"midi": str(settings.midi) if settings.midi else None},
        "soundfonts": {f.name: f.licence for f in SOUNDFONTS if f.name in soundfonts},
        "versions": {
            name: importlib.metadata.version(name)
            for name in ("stemwise", "pedalboard", "pyfluidsynth", "pyloudnorm", "numpy")
        },
    }
    write_manifest(directory, [piece for piece in found if piece], about)
