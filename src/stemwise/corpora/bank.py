"""The bank: a corpus prepared once for fast random reads; `gather` turns a plan into sound.

On disk a bank is a folder: ``audio.i16`` (every stem of every piece, one after the other, mono
16-bit at the bank's rate), ``bank.json`` (pieces, rate, offsets) and ``done.u8`` (which pieces are
ready, so that a stopped preparation goes on). Memory stays flat: the file is memory-mapped.

Conventions: (B, V, I, N) batch, view, instrument part, sample; waveforms are float32 in -1..1.
"""

import dataclasses
import json
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
from stemwise.errors import CorpusError
from stemwise.parts import PARTS
from stemwise.sampling import Plan, Segments, tempo_clusters

__all__ = ["Bank", "BankPiece", "SilenceRule", "bank_of", "open_bank", "prepare"]

FULL_SCALE = 32767.0
SilenceRule = Literal["range", "power"]
Progress = Callable[[int, int], None]
RULES = {"range": sounding_by_range, "power": sounding_by_power}


@dataclass(frozen=True)
class BankPiece:
    """One piece in the bank; `offsets` holds each part's first sample, -1 for an absent part."""

    identifier: str
    song: str
    split: str
    tempo_bpm: float
    source: str
    length_samples: int
    offsets: tuple[int, ...]


@dataclass(frozen=True)
class Bank:
    """A prepared corpus; make it with `prepare`, reopen it with `open_bank`."""

    directory: Path
    sample_rate_hz: int
    pieces: tuple[BankPiece, ...]
    audio: NDArray[np.int16]

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
            last = min(plan.length_samples, self.pieces[piece].length_samples - start)
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

        The table is computed once and kept in the bank's folder.
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
            partial = cache.with_suffix(".partial")
            with partial.open("wb") as file:
                np.savez_compressed(
                    file, **{str(i): t for i, t in zip(wanted, tables, strict=True)}
                )
            partial.replace(cache)
        names = {song: k for k, song in enumerate(sorted({self.pieces[i].song for i in wanted}))}
        songs = np.array([names[self.pieces[i].song] for i in wanted])
        tempos_bpm = np.array([self.pieces[i].tempo_bpm for i in wanted])
        return Segments(
            pieces=np.array(wanted),
            songs=songs,
            tempos_bpm=tempos_bpm,
            clusters=tempo_clusters(tempos_bpm, songs),
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
    stored = json.loads(index.read_text())
    pieces = tuple(
        BankPiece(**{**piece, "offsets": tuple(piece["offsets"])}) for piece in stored["pieces"]
    )
    done = np.memmap(directory / "done.u8", np.uint8, "r")
    if not done.all():
        raise CorpusError(
            f"the bank {directory} is unfinished: {int(done.sum())} of {len(pieces)} pieces are "
            "ready; run its preparation again to go on"
        )
    audio = np.memmap(directory / "audio.i16", np.int16, "r")
    return Bank(directory, stored["sample_rate_hz"], pieces, audio)


def bank_of(
    corpus: Path, sample_rate_hz: int, progress: Progress = lambda done, total: None
) -> Bank:
    """Return the bank of the corpus in the folder `corpus`, prepared there if need be."""
    folder = corpus / f"bank-{sample_rate_hz}"
    return prepare(read_manifest(corpus), folder, sample_rate_hz, progress)


def prepare(
    pieces: Sequence[Piece],
    directory: Path,
    sample_rate_hz: int,
    progress: Progress = lambda done, total: None,
    jobs: int = 2,
) -> Bank:
    """Decode and resample the stems of `pieces` into a bank, or go on with one that was stopped.

    Args:
        pieces: what to prepare; their order is the order in the bank.
        directory: the bank's folder; made if it is missing.
        sample_rate_hz: rate of the bank.
        progress: called with (pieces ready, pieces in all).
        jobs: stems decoded at a time.

    Raises:
        CorpusError: the folder holds a bank of other pieces or another rate.
        AudioError: a stem cannot be decoded.
    """
    entries, total = _layout(pieces, sample_rate_hz)
    layout = {
        "sample_rate_hz": sample_rate_hz,
        "pieces": [dataclasses.asdict(entry) for entry in entries],
    }
    index = directory / "bank.json"
    text = json.dumps(layout, indent=1)
    if index.exists() and json.loads(index.read_text()) != json.loads(text):
        raise CorpusError(
            f"{directory} holds a bank of other pieces or another rate; choose an empty folder"
        )
    directory.mkdir(parents=True, exist_ok=True)
    mode: Literal["r+", "w+"] = "r+" if index.exists() else "w+"
    audio = np.memmap(directory / "audio.i16", np.int16, mode, shape=(max(total, 1),))
    done = np.memmap(directory / "done.u8", np.uint8, mode, shape=(len(entries),))
    if mode == "w+":
        partial = index.with_suffix(".partial")
        partial.write_text(text)
        partial.replace(index)

    def fill(i: int) -> None:
        for part, offset in zip(PARTS, entries[i].offsets, strict=True):
            if offset >= 0:
                wave = load(pieces[i].stems[part], sample_rate_hz)[: entries[i].length_samples]
                coded = np.rint(np.clip(wave, -1, 1) * FULL_SCALE).astype(np.int16)
                audio[offset : offset + len(coded)] = coded
        done[i] = 1

    todo = [i for i in range(len(entries)) if not done[i]]
    with ThreadPoolExecutor(jobs) as pool:
        for count, _ in enumerate(pool.map(fill, todo), start=len(entries) - len(todo) + 1):
            progress(count, len(entries))
    audio.flush()
    done.flush()
    return open_bank(directory)


def _layout(pieces: Sequence[Piece], sample_rate_hz: int) -> tuple[list[BankPiece], int]:
    """Give every stem its place; return the entries and the number of samples in all."""
    entries, total = [], 0
    for piece in pieces:
        lengths = []
        for path in piece.stems.values():
            header = soundfile.info(str(path))
            lengths.append(header.frames * sample_rate_hz // header.samplerate)
        length = max(lengths, default=0)
        offsets = []
        for part in PARTS:
            offsets.append(total if part in piece.stems else -1)
            total += length if part in piece.stems else 0
        entries.append(
            BankPiece(
                piece.identifier,
                piece.song,
                piece.split,
                piece.tempo_bpm,
                piece.source,
                length,
                tuple(offsets),
            )
        )
    return entries, total
