"""From what a loader found on disk to a corpus: the manifest, and the bank at one rate."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stemwise.corpora.bank import bank_bytes, bank_of, preparation_seconds
from stemwise.corpora.piece import (
    Piece,
    checked,
    read_about,
    read_manifest,
    summary,
    summary_lines,
    write_manifest,
)
from stemwise.errors import CorpusError

__all__ = ["CorpusReport", "Found", "claim", "join", "make_corpus"]

SHOWN_PROBLEMS = 20
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Found:
    """What a loader found.

    Attributes:
        pieces: The pieces without a problem.
        problems: What is wrong with the others, one line each.
        about: What the corpus is: name, citation, licence, protocol.
    """

    pieces: Sequence[Piece]
    problems: Sequence[str]
    about: Mapping[str, Any]


@dataclass(frozen=True)
class CorpusReport:
    """What was made; `clipped_samples` holds the pieces with samples beyond full scale."""

    corpus: str
    splits: Mapping[str, Mapping[str, Any]]
    bank: str
    bank_bytes: int
    clipped_samples: Mapping[str, int]
    problems: Sequence[str]

    def __str__(self) -> str:
        lines = summary_lines(self.splits)
        lines.append(f"bank: {self.bank}, {self.bank_bytes / 1e9:.2f} GB")
        if self.clipped_samples:
            lines.append(
                f"beyond full scale and clipped: {sum(self.clipped_samples.values())} samples of "
                f"{len(self.clipped_samples)} pieces"
            )
        if self.problems:
            lines.append(f"{len(self.problems)} problems; their pieces were left out")
        return "\n".join(lines)


def make_corpus(
    directory: Path,
    found: Found,
    sample_rate_hz: int,
    *,
    partial: bool,
    jobs: int | None = None,
    announce: Callable[[str], None] = lambda line: None,
    progress: Progress = lambda done, total: None,
) -> CorpusReport:
    """Write the manifest of what was found and prepare its bank; run it again to go on.

    Args:
        directory: the corpus; made if it is missing. The stems stay where they are.
        found: what a loader found.
        sample_rate_hz: rate of the bank.
        partial: go on without the pieces that have a problem.
        jobs: pieces decoded at a time.
        announce: told the problems (20 at most), and size and time before the work starts.
        progress: called with (pieces ready, pieces in all).

    Raises:
        CorpusError: there are problems and not `partial`, no piece is left, or as
            `stemwise.corpora.bank.prepare`.
        AudioError: as `stemwise.corpora.bank.prepare`.
    """
    for line in found.problems[:SHOWN_PROBLEMS]:
        announce(line)
    if len(found.problems) > SHOWN_PROBLEMS:
        announce(f"… and {len(found.problems) - SHOWN_PROBLEMS} more problems")
    if found.problems and not partial:
        raise CorpusError(
            f"{len(found.problems)} problems; mend them and run this again, or go on with the "
            f"{len(found.pieces)} good pieces: --partial"
        )
    if not found.pieces:
        raise CorpusError("no piece without a problem is left; nothing was made")
    write_manifest(directory, found.pieces, found.about)
    size_bytes = bank_bytes(found.pieces, sample_rate_hz)
    hours = preparation_seconds(found.pieces, sample_rate_hz, jobs) / 3600
    announce(
        f"the bank of {len(found.pieces)} pieces at {sample_rate_hz} Hz takes "
        f"{size_bytes / 1e9:.2f} GB and, from the start, about {hours:.2f} h; stop it at any time"
    )
    bank = bank_of(directory, sample_rate_hz, progress, jobs)
    counts = np.zeros(0) if bank.clipped_samples is None else bank.clipped_samples
    return CorpusReport(
        corpus=str(directory),
        splits=summary(found.pieces),
        bank=str(bank.directory),
        bank_bytes=size_bytes,
        clipped_samples={bank.pieces[i].identifier: int(counts[i]) for i in np.flatnonzero(counts)},
        problems=list(found.problems),
    )


def claim(directory: Path, fixed: Mapping[str, Any]) -> None:
    """Write the settings into a new folder; `CorpusError` if it was made with others."""
    path = directory / "settings.json"
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(dict(fixed), indent=1) + "\n", encoding="utf-8")
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise CorpusError(f"{path} is damaged; choose another folder or remove this one") from None
    for key in sorted(fixed.keys() | found.keys()):
        if fixed.get(key) != found.get(key):
            raise CorpusError(
                f"{directory} was made with {key} {found.get(key)}, asked is {fixed.get(key)}; "
                "choose another folder, or the same settings"
            )


def join(corpora: Sequence[Path]) -> Found:
    """Return the pieces of several corpora, each in its split, as one; the stems stay in place.

    A piece whose name another corpus has is a problem, and so is a song that is in one split here
    and in another there.
    """
    pieces: dict[str, Piece] = {}
    split_of: dict[str, str] = {}
    problems = []
    for corpus in corpora:
        for piece in checked(read_manifest(corpus)):
            split = split_of.setdefault(piece.song, piece.split)
            if piece.identifier in pieces:
                problems.append(f"{corpus}: another corpus has a piece {piece.identifier}, too")
            elif piece.split != split:
                problems.append(
                    f"{corpus}: the song {piece.song} of {piece.identifier} is in {piece.split} "
                    f"here and in {split} in another corpus"
                )
            else:
                pieces[piece.identifier] = piece
    about = {"corpus": "Joined", "corpora": [read_about(corpus) for corpus in corpora]}
    return Found(list(pieces.values()), problems, about)
