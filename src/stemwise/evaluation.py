"""Checkpoint and split to one report.

Protocols, by name:

- **normal**: MES-Normal over all 10-s segments, without overlap, of the split's pieces.
- **pseudo-10x5**: MES-Pseudo. The split's songs are cut into groups of 15 neighbours in tempo; in
  each group 10 targets meet 5 backgrounds, each with each, which makes 50 pseudo-pieces per part
  and group. The score is the mean over all queries of all groups; its spread is over the groups.
  Departure: the paper's 50-piece list is not public, and its pseudo-pieces do not share
  backgrounds; a full cross is harder, since the nearest wrong answer has the same background at
  the same time.

Both see stems that sum to the mixture without gains. Presence is scored by the area under the ROC
curve over the segments of the real pieces: does the part sound (rule A)?
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from stemwise.corpora.bank import Bank
from stemwise.errors import CorpusError
from stemwise.parts import PARTS
from stemwise.protocols import cross_plan, normal_plan, tempo_groups
from stemwise.sampling import Plan, Segments
from stemwise.scores.mes import Mes, mes

__all__ = [
    "Pseudo10x5", "Subject", "describe_plan", "evaluate", "normal_scores", "pseudo_scores",
    "report_lines",
]  # fmt: skip

SEGMENT_SECONDS = 10.0
TARGETS = 10
BACKGROUNDS = 5
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Subject:
    """What is scored.

    Attributes:
        describe: (B, N) to embedding (B, 5, 128) and presence (B, 5).
        takes_stems: `describe` wants the stems (B, 5, N) in place of their sum (Clean).
        parts: those that it was made for; the others are not scored.
        device: where `describe` runs.
    """

    describe: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
    takes_stems: bool = False
    parts: tuple[str, ...] = PARTS
    device: str = "cpu"


def describe_plan(
    bank: Bank, plan: Plan, subject: Subject, batch: int = 16
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return embeddings (B, 5, 128) and presence (B, 5) of the mixtures of a plan with V = 1."""
    embeddings, presences = [], []
    for first in range(0, len(plan.pieces), batch):
        rows = slice(first, first + batch)
        part = Plan(plan.pieces[rows], plan.starts[rows], plan.gains_db[rows], plan.length_samples)
        sound = torch.from_numpy(bank.gather(part)[:, 0])
        with torch.inference_mode():
            heard = sound if subject.takes_stems else sound.sum(dim=1)
            embedding, presence = subject.describe(heard.to(subject.device))
        embeddings.append(embedding.float().cpu())
        presences.append(presence.float().cpu())
    return torch.cat(embeddings), torch.cat(presences)


def normal_scores(bank: Bank, segments: Segments, subject: Subject) -> dict[str, dict[str, Any]]:
    """Return MES-Normal and the presence AUC of each part."""
    embedding, presence = describe_plan(bank, normal_plan(segments), subject)
    counts = [len(table) for table in segments.sounding]
    songs = torch.from_numpy(np.repeat(segments.songs, counts))
    sounding = torch.from_numpy(np.concatenate(list(segments.sounding)))
    report = {}
    for part in subject.parts:
        i = PARTS.index(part)
        rows = sounding[:, i]
        both = 0 < rows.sum() < len(rows)
        auc = float(roc_auc_score(rows, presence[:, i])) if both else None
        report[part] = asdict(mes(embedding[rows, i], songs[rows])) | {"presence_auc": auc}
    return report


@dataclass(frozen=True)
class Pseudo10x5:
    """How much of the protocol to run; the defaults are the whole of it.

    Attributes:
        groups: groups of 15 songs at most; None for all that the split holds.
        segments_per_piece: segments of each pseudo-piece at most.
        seed: of the roles of the songs within their group.
    """

    groups: int | None = None
    segments_per_piece: int | None = None
    seed: int = 0


def pseudo_scores(
    bank: Bank,
    segments: Segments,
    subject: Subject,
    protocol: Pseudo10x5 = Pseudo10x5(),
    progress: Progress = lambda done, total: None,
) -> dict[str, dict[str, Any]]:
    """Return MES-Pseudo of each part, with leakage and the spread over the groups of songs.

    Raises:
        CorpusError: the split holds fewer than 15 songs.
    """
    groups = tempo_groups(segments, TARGETS + BACKGROUNDS, protocol.seed)[: protocol.groups]
    if not groups:
        raise CorpusError(
            f"MES-Pseudo needs at least {TARGETS + BACKGROUNDS} songs in the split, "
            f"but it holds {len(set(segments.songs))}"
        )
    report = {}
    for done, part in enumerate(subject.parts):
        scores = []
        for g, group in enumerate(groups):
            i = PARTS.index(part)
            scores.append(_group_score(bank, segments, subject, protocol, i, group))
            progress(done * len(groups) + g + 1, len(subject.parts) * len(groups))
        report[part] = _pooled([score for score in scores if score is not None])
    return report


def _group_score(
    bank: Bank, segments: Segments, subject: Subject, protocol: Pseudo10x5,
    part: int, group: NDArray[np.int64],
) -> Mes | None:  # fmt: skip
    """Score one part of one group of songs; None if the part never sounds in its targets."""
    pseudo = cross_plan(segments, part, group, TARGETS)
    pieces = pseudo.targets * (segments.songs.max() + 1) + pseudo.backgrounds
    if protocol.segments_per_piece:
        _, coded = np.unique(pieces, return_inverse=True)
        nth = np.array([np.sum(coded[:k] == c) for k, c in enumerate(coded)], int)
        keep = nth < protocol.segments_per_piece
    else:
        keep = np.ones(len(pieces), bool)
    if not keep.any():
        return None
    plan = Plan(
        pseudo.plan.pieces[keep], pseudo.plan.starts[keep], pseudo.plan.gains_db[keep],
        pseudo.plan.length_samples,
    )  # fmt: skip
    embedding, _ = describe_plan(bank, plan, subject)
    return mes(
        embedding[:, part],
        torch.from_numpy(pseudo.targets[keep]),
        barred=torch.from_numpy(pieces[keep]),
        backgrounds=torch.from_numpy(pseudo.backgrounds[keep]),
    )


def _pooled(scores: list[Mes]) -> dict[str, Any]:
    """Weigh the groups by their queries; the spread is the deviation over the groups."""
    if not scores:
        return asdict(Mes(float("nan"), None, float("nan"), 0, 0)) | {"spread": None, "groups": 0}
    queries = np.array([score.queries for score in scores])
    share = queries / queries.sum()
    accuracy = np.array([score.accuracy for score in scores])
    return {
        "accuracy": float(accuracy @ share),
        "leakage": float(np.array([score.leakage for score in scores]) @ share),
        "chance": float(np.array([score.chance for score in scores]) @ share),
        "queries": int(queries.sum()),
        "labels": max(score.labels for score in scores),
        "spread": float(accuracy.std(ddof=1)) if len(scores) > 1 else None,
        "groups": len(scores),
    }


def evaluate(
    bank: Bank,
    subject: Subject,
    split: str = "test",
    protocol: Pseudo10x5 = Pseudo10x5(),
    progress: Progress = lambda done, total: None,
) -> dict[str, Any]:
    """Return the scores of a model on one split of a bank: ``{"normal": …, "pseudo-10x5": …}``.

    Args:
        bank: stems at the model's rate.
        subject: what is scored.
        split: "valid" for choosing, "test" for telling.
        protocol: how much of the pseudo-pieces to make.
        progress: called with (groups done, groups in all).
    """
    segments = bank.segments(split, SEGMENT_SECONDS, SEGMENT_SECONDS)
    return {
        "split": split,
        "songs": len(set(segments.songs.tolist())),
        "pieces": len(segments.pieces),
        "normal": normal_scores(bank, segments, subject),
        "pseudo-10x5": pseudo_scores(bank, segments, subject, protocol, progress),
    }


def report_lines(report: dict[str, Any]) -> list[str]:
    """Return a report of `evaluate` as the lines of a Markdown table, scores in percent."""
    lines = [
        f"{report['split']} split: {report['songs']} songs, {report['pieces']} pieces",
        "",
        "| part | MES-Normal | chance | MES-Pseudo | spread | chance | leakage | presence AUC |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for part in report["normal"]:
        normal, pseudo = report["normal"][part], report["pseudo-10x5"][part]
        shares = (
            normal["accuracy"], normal["chance"], pseudo["accuracy"], pseudo["spread"],
            pseudo["chance"], pseudo["leakage"],
        )  # fmt: skip
        cells = ["–" if share is None else f"{100 * share:.1f}" for share in shares]
        auc = normal["presence_auc"]
        lines.append(f"| {' | '.join([part, *cells, '–' if auc is None else f'{auc:.3f}'])} |")
    return lines
