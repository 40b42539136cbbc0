"""The bank: a corpus prepared once for fast random reads; `gather` turns a plan into sound.

On disk a bank is a folder: ``audio.i16`` (every stem of every piece, one after the other, mono
16-bit at the bank's rate), ``bank.json`` (pieces, rate, offsets), ``done.u8`` (which pieces are
ready, so that a stopped preparation goes on) and ``clipped.i64`` (samples per piece that were
beyond full scale and so were clipped). Memory stays flat: the file is memory-mapped.

A part is the plain sum of its files, in float32, then coded with 16 bits; its scale is never
changed, so that the sum of the parts is the mixture.

Conventions: (B, V, I, N) batch, view, instrument part, sample; waveforms are float32 in -1..1.
"""

import contextlib
import dataclasses
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
from numpy.typing import NDArray

from stemwise.audio import load, sounding_by_power, sounding_by_range
from stemwise.corpora.piece import Piece, read_manifest
from stemwise.errors import AudioError, CorpusError
from stemwise.parts import PARTS
from stemwise.sampling import Plan, Segments, tempo_clusters

__all__ = [
    "FULL_SCALE",
    "Bank",
    "BankPiece",
    "SilenceRule",
    "bank_bytes",
    "bank_of",
    "open_bank",
    "preparation_seconds",
    "prepare",
]

FULL_SCALE = 32767.0
MOST_JOBS = 8  # more decode no faster from one disk
SAMPLE_BYTES = 2
TRIAL_STEMS, TRIAL_SECONDS = 4, 20.0
SilenceRule = Literal["range", "power"]
Progress = Callable[[int, int], None]
RULES = {"range": sounding_by_range, "power": sounding_by_power}


@dataclass(frozen=True)
class BankPiece:
    """One piece in the bank; `offsets` holds each part's first sample, -1 for an absent part."""

    identifier: str
    song: str
    split: str
    tempo_bpm: float | None
    source: str
    length_samples: int
    offsets: tuple[int, ...]
    tempo_cluster: int | None = None


@dataclass(frozen=True)
class Bank:
    """A prepared corpus; make it with `prepare`, reopen it with `open_bank`.

    `clipped_samples` counts, per piece, what was beyond full scale; None in a bank that was
    prepared before this was counted.
    """

    directory: Path
    sample_rate_hz: int
    pieces: tuple[BankPiece, ...]
    audio: NDArray[np.int16]
    clipped_samples: NDArray[np.int64] | None = None

    def resident(self) -> "Bank":
        """Return this bank read into memory: 2 bytes per sample, for disks slow at random reads."""
        return dataclasses.replace(self, audio=np.array(self.audio))

    def stem(
        self, piece: int, part: int, start: int = 0, length: int | None = None
    ) -> NDArray[np.float32]:
        """Return `length` samples of one stem from `start`, float32; zeros if the part is absent.

        What lies beyond the end of the piece is zero.
        """
        entry = self.pieces[piece]
        length = entry.length_samples - start if length is None else length
        wave = np.zeros(length, np.float32)
        if entry.offsets[part] >= 0:
            stop = min(start + length, entry.length_samples)
            first = entry.offsets[part] + start
            np.divide(
                self.audio[first : first + stop - start], FULL_SCALE, out=wave[: stop - start]
            )
        return wave

    def gather(self, plan: Plan) -> NDArray[np.float32]:
        """Return the stems that `plan` names, (B, V, I, N), each scaled by its gain."""
        stems = np.zeros((*plan.pieces.shape, plan.length_samples), np.float32)
        scale = (10 ** (plan.gains_db / 20) / FULL_SCALE).astype(np.float32)
        for place in np.ndindex(plan.pieces.shape):
            piece, part, start = int(plan.pieces[place]), place[-1], int(plan.starts[place])
            if piece < 0 or self.pieces[piece].offsets[part] < 0:
                continue
            first = self.pieces[piece].offsets[part] + start
            last = max(0, min(plan.length_samples, self.pieces[piece].length_samples - start))
            np.multiply(self.audio[first : first + last], scale[place], out=stems[place][:last])
        return stems

    def segments(
        self, split: str, segment_seconds: float, hop_seconds: float, rule: SilenceRule = "range"
    ) -> Segments:
        """Return where each part of each piece of `split` sounds, on a grid of segments.

        Args:
            split: "train", "valid" or "test".
            segment_seconds: length of a segment; only whole segments count.
            hop_seconds: step between segments.
            rule: "range" (rule A) or "power" (rule B) of `stemwise.audio`.

        The table is computed once and kept in the bank's folder. Tempo clusters are those of the
        corpus's protocol if it gives any to this split, else `stemwise.sampling.tempo_clusters`.
        """
        wanted = [i for i, piece in enumerate(self.pieces) if piece.split == split]
        if not wanted:
            raise CorpusError(f"the bank {self.directory} holds no piece of the split {split!r}")
        length = round(segment_seconds * self.sample_rate_hz)
        hop = round(hop_seconds * self.sample_rate_hz)
        cache = self.directory / f"sounding-{split}-{length}-{hop}-{rule}.npz"
        if cache.exists():
            with np.load(cache) as stored:
                tables = [stored[str(i)] for i in wanted]
        else:
            with ThreadPoolExecutor() as pool:
                tables = list(pool.map(lambda i: self._sounding(i, length, hop, rule), wanted))
            partial = cache.with_suffix(f".{uuid.uuid4().hex}.partial")  # others may write it too
            with partial.open("wb") as file:
                np.savez_compressed(
                    file, **{str(i): t for i, t in zip(wanted, tables, strict=True)}
                )
            partial.replace(cache)
        names = {song: k for k, song in enumerate(sorted({self.pieces[i].song for i in wanted}))}
        songs = np.array([names[self.pieces[i].song] for i in wanted])
        entries = [self.pieces[i] for i in wanted]
        tempos_bpm = np.array([np.nan if e.tempo_bpm is None else e.tempo_bpm for e in entries])
        if any(entry.tempo_cluster is not None for entry in entries):
            given = [-1 if e.tempo_cluster is None else e.tempo_cluster for e in entries]
            clusters = np.array(given)
        else:
            clusters = tempo_clusters(tempos_bpm, songs)
        return Segments(
            pieces=np.array(wanted),
            songs=songs,
            tempos_bpm=tempos_bpm,
            clusters=clusters,
            sounding=tables,
            hop_samples=hop,
            length_samples=length,
        )

    def _sounding(self, piece: int, length: int, hop: int, rule: SilenceRule) -> NDArray[np.bool_]:
        count = max(0, (self.pieces[piece].length_samples - length) // hop + 1)
        table = np.zeros((count, len(PARTS)), bool)
        for part in range(len(PARTS)):
            if self.pieces[piece].offsets[part] >= 0:
                wave = self.stem(piece, part)
                for s in range(count):
                    table[s, part] = RULES[rule](wave[s * hop : s * hop + length])
        return table


def open_bank(directory: Path) -> Bank:
    """Return the bank in `directory`; `CorpusError` if there is none or it is unfinished."""
    index = directory / "bank.json"
    if not index.is_file():
        raise CorpusError(f"no bank in {directory}: {index.name} is missing; prepare it first")
    sample_rate_hz, pieces = _read_index(index)
    done = np.memmap(directory / "done.u8", np.uint8, "r")
    if not done.all():
        raise CorpusError(
            f"the bank {directory} is unfinished: {int(done.sum())} of {len(pieces)} pieces are "
            "ready; run its preparation again to go on"
        )
    audio = np.memmap(directory / "audio.i16", np.int16, "r")
    counts = directory / "clipped.i64"
    clipped_samples = np.fromfile(counts, np.int64) if counts.exists() else None
    return Bank(directory, sample_rate_hz, tuple(pieces), audio, clipped_samples)


def bank_of(
    corpus: Path,
    sample_rate_hz: int,
    progress: Progress = lambda done, total: None,
    jobs: int | None = None,
) -> Bank:
    """Return the bank of the corpus in the folder `corpus`, prepared there if need be."""
    folder = corpus / f"bank-{sample_rate_hz}"
    return prepare(read_manifest(corpus), folder, sample_rate_hz, progress, jobs)


def bank_bytes(pieces: Sequence[Piece], sample_rate_hz: int) -> int:
    """Return the size on disk of a bank of `pieces`, to within a sample per part."""
    samples = (
        len(piece.stems) * round(piece.duration_seconds * sample_rate_hz) for piece in pieces
    )
    return SAMPLE_BYTES * sum(samples)


def preparation_seconds(
    pieces: Sequence[Piece], sample_rate_hz: int, jobs: int | None = None
) -> float:
    """Return how long `prepare` would take from the start, from a decode of a few stems.

    It is the best case: the disk keeps up, and `jobs` decode as fast as one each.
    """
    files = [(path, p.duration_seconds) for p in pieces for s in p.stems.values() for path in s]
    heard_seconds, began = 0.0, time.perf_counter()
    for path, duration_seconds in files[:: -(-len(files) // TRIAL_STEMS)] if files else ():
        with contextlib.suppress(AudioError):  # told by `prepare`
            load(path, sample_rate_hz, duration_seconds=TRIAL_SECONDS)
        heard_seconds += min(duration_seconds, TRIAL_SECONDS)
    taken_seconds = time.perf_counter() - began
    whole_seconds = sum(duration_seconds for _, duration_seconds in files)
    return taken_seconds * whole_seconds / max(heard_seconds, 1e-9) / (jobs or _default_jobs())


def prepare(
    pieces: Sequence[Piece],
    directory: Path,
    sample_rate_hz: int,
    progress: Progress = lambda done, total: None,
    jobs: int | None = None,
) -> Bank:
    """Decode, sum and resample the stems of `pieces` into a bank, or go on with a stopped one.

    A piece that cannot be decoded does not stop the others; the error comes at the end.

    Args:
        pieces: what to prepare; their order is the order in the bank.
        directory: the bank's folder; made if it is missing.
        sample_rate_hz: rate of the bank.
        progress: called with (pieces ready, pieces in all).
        jobs: pieces decoded at a time; None for the CPU cores, 8 at most.

    Raises:
        CorpusError: the folder holds a bank of other pieces or another rate, or the disk has too
            little free space.
        AudioError: stems cannot be decoded.
    """
    jobs = jobs or _default_jobs()
    entries, total = _layout(pieces, sample_rate_hz, jobs)
    index, ready = directory / "bank.json", directory / "done.u8"
    resumed = index.exists()
    if resumed and _read_index(index) != (sample_rate_hz, entries):
        raise CorpusError(
            f"{directory} holds a bank of other pieces or another rate; remove it or choose "
            "another folder"
        )
    if resumed and np.fromfile(ready, np.uint8).all():
        return open_bank(directory)
    directory.mkdir(parents=True, exist_ok=True)
    _check_space(directory, SAMPLE_BYTES * total)
    mode: Literal["r+", "w+"] = "r+" if resumed else "w+"
    audio = np.memmap(directory / "audio.i16", np.int16, mode, shape=(max(total, 1),))
    done = np.memmap(ready, np.uint8, mode, shape=(len(entries),))
    counts = directory / "clipped.i64"
    if not (resumed and counts.exists()):
        np.zeros(len(entries), np.int64).tofile(counts)
    clipped_samples = np.memmap(counts, np.int64, "r+", shape=(len(entries),))
    if not resumed:
        _write_index(index, sample_rate_hz, entries)

    def fill(i: int) -> str:
        """Prepare one piece; return why it cannot be, or nothing."""
        beyond = 0
        try:
            for part, offset in zip(PARTS, entries[i].offsets, strict=True):
                if offset >= 0:
                    wave = _sum(pieces[i].stems[part], sample_rate_hz, entries[i].length_samples)
                    beyond += int(np.count_nonzero(np.abs(wave) > 1))
                    coded = np.rint(np.clip(wave, -1, 1) * FULL_SCALE).astype(np.int16)
                    audio[offset : offset + len(coded)] = coded
        except AudioError as error:
            return str(error)
        clipped_samples[i] = beyond
        done[i] = 1
        return ""

    todo = [i for i in range(len(entries)) if not done[i]]
    failures = []
    with ThreadPoolExecutor(jobs) as pool:
        for count, failure in enumerate(pool.map(fill, todo), len(entries) - len(todo) + 1):
            failures += [failure] if failure else []
            progress(count - len(failures), len(entries))
    for file in (audio, clipped_samples, done):
        file.flush()
    if failures:
        more = f" (and {len(failures) - 1} more pieces fail)" if len(failures) > 1 else ""
        raise AudioError(
            f"{failures[0]}{more}; all other pieces are ready: repair it and run this again, or "
            "leave its piece out of the corpus"
        )
    return open_bank(directory)


def _default_jobs() -> int:
    return min(os.cpu_count() or 1, MOST_JOBS)


def _check_space(directory: Path, wanted_bytes: int) -> None:
    """Refuse a bank of `wanted_bytes` for which the disk has too little free space."""
    audio = directory / "audio.i16"  # sparse until it is filled
    held_bytes = audio.stat().st_blocks * 512 if audio.exists() else 0
    free_bytes = shutil.disk_usage(directory).free
    if wanted_bytes - held_bytes > free_bytes:
        raise CorpusError(
            f"the bank {directory} takes {wanted_bytes / 1e9:.2f} GB, of which "
            f"{(wanted_bytes - held_bytes) / 1e9:.2f} GB are still to be written, and the disk has "
            f"{free_bytes / 1e9:.2f} GB free; free some, or choose another disk or a lower rate"
        )


def _read_index(index: Path) -> tuple[int, list[BankPiece]]:
    """Return the rate and the pieces of a bank, whichever of our versions wrote it."""
    stored = json.loads(index.read_text())
    pieces = [
        BankPiece(**piece | {"offsets": tuple(piece["offsets"])}) for piece in stored["pieces"]
    ]
    return int(stored["sample_rate_hz"]), pieces


def _write_index(index: Path, sample_rate_hz: int, entries: Sequence[BankPiece]) -> None:
    pieces = [dataclasses.asdict(entry) for entry in entries]
    partial = index.with_suffix(".partial")
    partial.write_text(json.dumps({"sample_rate_hz": sample_rate_hz, "pieces": pieces}, indent=1))
    partial.replace(index)


def _sum(paths: Sequence[Path], sample_rate_hz: int, length: int) -> NDArray[np.float32]:
    """Return the sum of files, float32, `length` samples at most."""
    waves = [load(path, sample_rate_hz)[:length] for path in paths]
    total = np.zeros(max(map(len, waves)), np.float32)
    for wave in waves:
        total[: len(wave)] += wave
    return total


def _layout(pieces: Sequence[Piece], sample_rate_hz: int, jobs: int) -> tuple[list[BankPiece], int]:
    """Give every part its place; return the entries and the number of samples in all."""
    if not pieces:
        raise CorpusError("a bank needs pieces, and there are none; check the corpus")

    def length(piece: Piece) -> int:
        headers = [soundfile.info(str(path)) for paths in piece.stems.values() for path in paths]
        lengths = (header.frames * sample_rate_hz // header.samplerate for header in headers)
        return max(lengths, default=0)

    with ThreadPoolExecutor(jobs) as pool:
        try:
            lengths = list(pool.map(length, pieces))
        except soundfile.LibsndfileError as error:
            raise AudioError(f"{error}; see what else is wrong with: stemwise data check") from None
    entries, total = [], 0
    for piece, length_samples in zip(pieces, lengths, strict=True):
        offsets = []
        for part in PARTS:
            offsets.append(total if part in piece.stems else -1)
            total += length_samples if part in piece.stems else 0
        entries.append(
            BankPiece(
                piece.identifier,
                piece.song,
                piece.split,
                piece.tempo_bpm,
                piece.source,
                length_samples,
                tuple(offsets),
                piece.tempo_cluster,
            )
        )
    return entries, total
