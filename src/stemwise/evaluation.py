"""Checkpoint and split to one report: MES-Normal, MES-Pseudo, presence, SDR.

The protocols are named and described in `stemwise.protocols`. **normal** is always part of the
report; one of the others makes its MES-Pseudo, by default slakh-50 where the split holds all of its
songs, and else pseudo-10x5. The songs of the Slakh lists are those of `stemwise.corpora.slakh`.

Leakage is None where no background meets two targets (slakh-50, slakh-40). Presence is scored by
the area under the ROC curve over the segments of the real pieces: does the part sound (rule A)?

SDR, of models that separate: over the first 1,000 10-s segments in which all five parts sound
(rule A), each heard as a random subset of its stems (`stemwise.protocols.sdr_plan`); a part is
scored where it is in the subset. `stemwise.scores.sdr` says which SDR. It is taken at the model's
rate.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from stemwise.corpora.bank import Bank
from stemwise.corpora.slakh import cross_songs, pseudo_pieces
from stemwise.errors import CorpusError, UsageError
from stemwise.models.checkpoint import Model
from stemwise.parts import PARTS
from stemwise.protocols import Pseudo, Pseudo10x5, PseudoListed, normal_plan, sdr_plan
from stemwise.sampling import Plan, Segments
from stemwise.scores.mes import Mes, mes
from stemwise.scores.sdr import framewise_sdr, mean_sdr, si_sdr

__all__ = [
    "PROTOCOLS", "Pseudo10x5", "PseudoListed", "Subject", "choose_protocol", "describe_plan",
    "evaluate", "normal_scores", "pseudo_scores", "report_lines", "sdr_scores", "subject_of",
]  # fmt: skip

LISTS: Mapping[str, Callable[[], Mapping[str, Sequence[str]]]] = {  # itself is a background
    "slakh-50": lambda: pseudo_pieces(50),
    "slakh-40": lambda: pseudo_pieces(40),
    "slakh-10x10": lambda: dict.fromkeys(cross_songs(), cross_songs()),
}
PROTOCOLS = (*LISTS, Pseudo10x5.name)
SEGMENT_SECONDS = 10.0
BATCH = 16
CROSS_SEGMENTS = 10
SDR_SEGMENTS = 1000
Progress = Callable[[int, int], None]
Bar = Callable[[str], AbstractContextManager[Progress]]


def _no_progress(done: int, total: int) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Subject:
    """What is scored.

    Attributes:
        describe: (B, N) to embedding (B, 5, 128) and presence (B, 5).
        takes_stems: `describe` wants the stems (B, 5, N) in place of their sum (Clean).
        parts: those that it was made for; the others are not scored.
        device: where `describe` and `separate` run.
        separate: (B, N) to the parts (B, 5, N); None for what does not separate.
    """

    describe: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
    takes_stems: bool = False
    parts: tuple[str, ...] = PARTS
    device: str = "cpu"
    separate: Callable[[torch.Tensor], torch.Tensor] | None = None


def subject_of(model: Model, device: str = "auto") -> Subject:
    """Return what `evaluate` scores of a model, which is moved to `device`.

    Args:
        model: a loaded checkpoint of any method.
        device: "cpu", "cuda", or "auto" for the GPU if there is one.

    Raises:
        UsageError: no such device.
    """
    here = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
    device = here[-1] if device == "auto" else device
    if device not in here:
        raise UsageError(f"no device {device!r}; choose from auto, {', '.join(here)}")
    model.to(device)
    separate = model.separate if hasattr(model.network, "separate") else None
    return Subject(model.describe, model.takes_stems, model.parts, device, separate)


def choose_protocol(
    bank: Bank, split: str, name: str | None = None, groups: int | None = None
) -> Pseudo10x5 | PseudoListed:
    """Return the protocol of MES-Pseudo by its name, or the default for the split of a bank.

    Args:
        bank: what is to be scored on.
        split: "valid" or "test".
        name: one of ``PROTOCOLS``; by default slakh-50 if the split holds all of its songs, else
            pseudo-10x5.
        groups: of pseudo-10x5.

    Raises:
        CorpusError: the split lacks songs of the list.
        UsageError: unknown name, or groups for a protocol without.
    """
    if name not in (None, *PROTOCOLS):
        raise UsageError(f"unknown protocol {name!r}; choose from {', '.join(PROTOCOLS)}")
    here = {piece.identifier: p for p, piece in enumerate(bank.pieces) if piece.split == split}
    listed = LISTS[name or "slakh-50"]() if name != Pseudo10x5.name else {}
    wanted = {song for others in listed.values() for song in others}
    missing = sorted(wanted - here.keys())
    if not listed or (missing and name is None):
        return Pseudo10x5(groups)
    if missing:
        raise CorpusError(
            f"{len(missing)} of the {len(wanted)} songs of {name} are not in the {split} split of "
            f"{bank.directory} (the first: {missing[0]}); it is for Slakh2100's test split, for "
            f"others use --protocol {Pseudo10x5.name}"
        )
    name = name or "slakh-50"
    if groups is not None:
        raise UsageError(f"{name} has no groups; they go with --protocol {Pseudo10x5.name}")
    backgrounds = {here[t]: [here[other] for other in others] for t, others in listed.items()}
    return PseudoListed(name, backgrounds, CROSS_SEGMENTS if name == "slakh-10x10" else None)


def _heard(
    bank: Bank, plan: Plan, device: str, progress: Progress = _no_progress
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield the stems (B, I, N) of a plan with V = 1 on `device`, and which rows they are."""
    for first in range(0, len(plan.pieces), BATCH):
        rows = slice(first, first + BATCH)
        part = Plan(plan.pieces[rows], plan.starts[rows], plan.gains_db[rows], plan.length_samples)
        yield rows, torch.from_numpy(bank.gather(part)[:, 0]).to(device)
        progress(min(rows.stop, len(plan.pieces)), len(plan.pieces))


def describe_plan(
    bank: Bank, plan: Plan, subject: Subject, progress: Progress = _no_progress
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return embeddings (B, 5, 128) and presence (B, 5) of the mixtures of a plan with V = 1."""
    embeddings, presences = [], []
    for _, stems in _heard(bank, plan, subject.device, progress):
        with torch.inference_mode():
            embedding, presence = subject.describe(
                stems if subject.takes_stems else stems.sum(dim=1)
            )
        embeddings.append(embedding.float().cpu())
        presences.append(presence.float().cpu())
    return torch.cat(embeddings), torch.cat(presences)


def normal_scores(
    bank: Bank, segments: Segments, subject: Subject, progress: Progress = _no_progress
) -> dict[str, dict[str, Any]]:
    """Return MES-Normal and the presence AUC of each part; nan for a part that never sounds."""
    embedding, presence = describe_plan(bank, normal_plan(segments), subject, progress)
    songs = torch.from_numpy(segments.songs[segments.rows])
    sounding = torch.from_numpy(segments.table)
    report = {}
    for part in subject.parts:
        i = PARTS.index(part)
        rows = sounding[:, i]
        both = 0 < rows.sum() < len(rows)
        auc = float(roc_auc_score(rows, presence[:, i])) if both else None
        score = mes(embedding[rows, i], songs[rows]) if rows.any() else UNHEARD
        report[part] = asdict(score) | {"presence_auc": auc}
    return report


def pseudo_scores(
    bank: Bank,
    segments: Segments,
    subject: Subject,
    protocol: Pseudo10x5 | PseudoListed,
    progress: Progress = _no_progress,
) -> dict[str, dict[str, Any]]:
    """Return MES-Pseudo of each part, with leakage and the spread over the galleries.

    `segments` are of the protocol's rule of silence; its pieces are in them (`choose_protocol`).

    Raises:
        CorpusError: pseudo-10x5, and the split holds fewer than 15 songs.
    """
    report = {}
    for done, part in enumerate(subject.parts):
        i = PARTS.index(part)
        galleries = list(protocol.galleries(segments, i))
        scores = []
        for g, pseudo in enumerate(galleries):
            if len(pseudo.targets):
                scores.append(_gallery_score(bank, subject, i, pseudo))
            progress(done * len(galleries) + g + 1, len(subject.parts) * len(galleries))
        report[part] = _pooled(scores)
    return report


def _gallery_score(bank: Bank, subject: Subject, part: int, pseudo: Pseudo) -> Mes:
    """Score one part over pseudo-pieces that are each other's neighbours."""
    embedding, _ = describe_plan(bank, pseudo.plan, subject)
    backgrounds = torch.from_numpy(pseudo.backgrounds) if pseudo.shares_backgrounds else None
    return mes(
        embedding[:, part],
        torch.from_numpy(pseudo.targets),
        barred=torch.from_numpy(pseudo.pieces),
        backgrounds=backgrounds,
    )


UNHEARD = Mes(float("nan"), None, float("nan"), 0, 0)


def _pooled(scores: list[Mes]) -> dict[str, Any]:
    """Weigh the galleries by their queries; the spread is the deviation over the galleries."""
    if not scores:
        return asdict(UNHEARD) | {"spread": None, "groups": 0}
    queries = np.array([score.queries for score in scores])
    share = queries / queries.sum()
    accuracy = np.array([score.accuracy for score in scores])
    told = [(s.leakage, s.queries) for s in scores if s.leakage is not None]
    return {
        "accuracy": float(accuracy @ share),
        "leakage": sum(s * q for s, q in told) / sum(q for _, q in told) if told else None,
        "chance": float(np.array([score.chance for score in scores]) @ share),
        "queries": int(queries.sum()),
        "labels": max(score.labels for score in scores),
        "spread": float(accuracy.std(ddof=1)) if len(scores) > 1 else None,
        "groups": len(scores),
    }


def sdr_scores(
    bank: Bank,
    segments: Segments,
    separate: Callable[[torch.Tensor], torch.Tensor],
    parts: Sequence[str] = PARTS,
    *,
    count: int = SDR_SEGMENTS,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress = _no_progress,
) -> dict[str, dict[str, Any]]:
    """Return SDR and SI-SDR of each part.

    Args:
        bank: stems at the model's rate.
        segments: by rule A.
        separate: (B, N) to the parts (B, 5, N).
        parts: those to score.
        count: segments at most, before the draw of their stems.
        seed: of that draw.
        device: where `separate` runs.
        progress: called with (segments separated, segments in all).
    """
    plan, present = sdr_plan(segments, seed, count)
    rate_hz = bank.sample_rate_hz
    windows_db: dict[str, list[torch.Tensor]] = {part: [] for part in parts}
    si_sdr_db: dict[str, list[torch.Tensor]] = {part: [] for part in parts}
    for rows, stems in _heard(bank, plan, device, progress):
        with torch.inference_mode():
            estimates = separate(stems.sum(dim=1)).float()
        for part in parts:
            i = PARTS.index(part)
            here = torch.from_numpy(present[rows, i]).to(device)
            reference, estimate = stems[here, i], estimates[here, i]
            windows_db[part].append(
                framewise_sdr(reference=reference, estimate=estimate, sample_rate_hz=rate_hz).cpu()
            )
            si_sdr_db[part].append(si_sdr(reference=reference, estimate=estimate).cpu())
    nothing = torch.zeros(0, 1)
    return {
        part: asdict(mean_sdr(torch.cat(windows_db[part] or [nothing]),
                              torch.cat(si_sdr_db[part] or [nothing[:, 0]])))
        for part in parts
    }  # fmt: skip


def evaluate(
    bank: Bank,
    subject: Subject,
    split: str = "test",
    protocol: Pseudo10x5 | PseudoListed | None = None,
    sdr_segments: int = SDR_SEGMENTS,
    bar: Bar = lambda unit: nullcontext(_no_progress),
) -> dict[str, Any]:
    """Return the scores of a model on one split of a bank; "normal" and "pseudo" are by part.

    "protocol" names that of "pseudo". "sdr" is there if the subject separates. What has no value,
    for example the score of a part that never sounds, is None.

    Args:
        bank: stems at the model's rate.
        subject: what is scored.
        split: "valid" for choosing, "test" for telling.
        protocol: of MES-Pseudo; default as `choose_protocol`.
        sdr_segments: segments that the SDR begins with; 0 leaves it out.
        bar: called with the unit of each stage, gives what is called with (done, total).

    Raises:
        CorpusError: no piece in the split, or too few for the protocol.
    """
    protocol = protocol or choose_protocol(bank, split)
    segments = bank.segments(split, SEGMENT_SECONDS, SEGMENT_SECONDS)
    ruled = bank.segments(split, SEGMENT_SECONDS, SEGMENT_SECONDS, protocol.rule)
    report: dict[str, Any] = {
        "split": split,
        "songs": len(set(segments.songs.tolist())),
        "pieces": len(segments.pieces),
        "protocol": protocol.name,
    }
    with bar("segments of real pieces") as progress:
        report["normal"] = normal_scores(bank, segments, subject, progress)
    with bar("galleries of pseudo-pieces") as progress:
        report["pseudo"] = pseudo_scores(bank, ruled, subject, protocol, progress)
    if subject.separate and sdr_segments:
        with bar("segments separated") as progress:
            report["sdr"] = sdr_scores(
                bank, segments, subject.separate, subject.parts, count=sdr_segments,
                device=subject.device, progress=progress,
            )  # fmt: skip
    return {
        key: _without_nan(value) if isinstance(value, dict) else value
        for key, value in report.items()
    }


def _without_nan(scores: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        part: {key: None if value != value else value for key, value in score.items()}
        for part, score in scores.items()
    }


def report_lines(report: dict[str, Any]) -> list[str]:
    """Return a report of `evaluate` as the lines of Markdown tables, scores in percent and dB."""
    lines = [
        f"{report['split']} split: {report['songs']} songs, {report['pieces']} pieces; "
        f"MES-Pseudo by {report['protocol']}",
        "",
        "| part | MES-Normal | chance | MES-Pseudo | spread | chance | leakage | presence AUC |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for part, normal in report["normal"].items():
        pseudo = report["pseudo"][part]
        shares = (
            normal["accuracy"], normal["chance"], pseudo["accuracy"], pseudo["spread"],
            pseudo["chance"], pseudo["leakage"],
        )  # fmt: skip
        cells = ["–" if share is None else f"{100 * share:.1f}" for share in shares]
        auc = normal["presence_auc"]
        lines.append(f"| {' | '.join([part, *cells, '–' if auc is None else f'{auc:.3f}'])} |")
    if "sdr" in report:
        lines += [
            "", "| part | SDR (dB) | SI-SDR (dB) | segments | windows left out |",
            "|---|---|---|---|---|",
        ]  # fmt: skip
    for part, sdr in report.get("sdr", {}).items():
        cells = ["–" if db is None else f"{db:.2f}" for db in (sdr["sdr_db"], sdr["si_sdr_db"])]
        cells += [str(sdr["segments"]), str(sdr["dropped_windows"])]
        lines.append(f"| {' | '.join([part, *cells])} |")
    return lines
