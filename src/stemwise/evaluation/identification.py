"""MES-Normal and MES-Pseudo of every part, with what they hide.

Intervals are of 95 % over songs (`stemwise.scores.interval`): for MES-Normal the query's song, for
MES-Pseudo the target's. Hubness is that of the five nearest segments of *other* songs, which is
what a search returns. "Other versions" is there where a song of the split has several pieces.
MES-Pseudo is told by kind as well, that of the first piece of the target's song
(`stemwise.evaluation.kinds`).
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import brier_score_loss, roc_auc_score

from stemwise.corpora.bank import Bank
from stemwise.evaluation.exhibits import Confusion, Points
from stemwise.evaluation.kinds import kind_scores, kinds_of
from stemwise.evaluation.subject import (
    Progress,
    Subject,
    block_of_plan,
    describe_plan,
    no_progress,
)
from stemwise.parts import PARTS
from stemwise.protocols import Pseudo, Pseudo10x5, PseudoListed, normal_plan
from stemwise.sampling import Segments
from stemwise.scores.hubness import hubness
from stemwise.scores.interval import interval
from stemwise.scores.mes import Mes, Votes, nearest, summary, votes

__all__ = ["normal_scores", "pseudo_scores"]

UNHEARD = asdict(Mes(float("nan"), None, float("nan"), 0, 0)) | {"interval": None}
MAPPED_SONGS = 12


def normal_scores(
    bank: Bank, segments: Segments, subject: Subject, progress: Progress = no_progress
) -> tuple[dict[str, dict[str, Any]], dict[str, Points]]:
    """Return MES-Normal, scores of presence and hubness of each part, and segments for a map.

    The score of a part that never sounds is nan.
    """
    embedding, presence = describe_plan(bank, normal_plan(segments), subject, progress)
    songs, pieces = segments.songs[segments.rows], segments.pieces[segments.rows]
    report, points = {}, {}
    for part in subject.parts:
        i = PARTS.index(part)
        sounding = segments.table[:, i]
        told = _presence_scores(sounding, presence[:, i].numpy(), subject.tells_presence)
        if sounding.any():
            block, own, played = embedding[sounding, i], songs[sounding], pieces[sounding]
            report[part] = _normal_score(block, own, played) | told
            points[part] = _points(bank, block, own, played)
        else:
            report[part] = UNHEARD | {"versions": None, "hubness": None} | told
    return report, points


def _presence_scores(
    sounding: NDArray[np.bool_], presence: NDArray[np.float32], meant: bool
) -> dict[str, float | None]:
    """Return the area under the ROC curve, and the Brier score: the mean squared error.

    The second asks for calibration as well; the share of segments in which the part sounds, s, told
    of all of them, has s (1 - s). None if presence is not `meant`; the first also if all are alike.
    """
    both = 0 < sounding.sum() < len(sounding)
    area = float(roc_auc_score(sounding, presence)) if meant and both else None
    brier = float(brier_score_loss(sounding, presence)) if meant else None
    return {"presence_auc": area, "presence_brier": brier}


def _normal_score(
    block: torch.Tensor, songs: NDArray[np.int64], pieces: NDArray[np.int64]
) -> dict[str, Any]:
    labels = torch.from_numpy(songs)
    cast = votes(block, labels)
    return asdict(summary(cast)) | {
        "interval": interval(cast.right.numpy(), songs),
        "versions": _versions_score(block, songs, pieces),
        "hubness": asdict(hubness(nearest(block, labels), len(block))),
    }


def _versions_score(
    block: torch.Tensor, songs: NDArray[np.int64], pieces: NDArray[np.int64]
) -> dict[str, Any] | None:
    """Return the score with the query's piece barred, over songs that have another one."""
    present, coded = np.unique(songs, return_inverse=True)
    versions = np.bincount(np.unique(np.stack([coded, pieces]), axis=1)[0])
    asked = versions[coded] > 1
    if not asked.any():
        return None
    cast = votes(block, torch.from_numpy(songs), barred=torch.from_numpy(pieces))
    right = cast.right.numpy()[asked]
    return {
        "accuracy": float(right.mean()),
        "interval": interval(right, songs[asked]),
        "chance": 1 / len(present),
        "queries": len(right),
    }


def _points(
    bank: Bank, block: torch.Tensor, songs: NDArray[np.int64], pieces: NDArray[np.int64]
) -> Points:
    """Return the segments of a few songs, spread evenly over the split."""
    present, first = np.unique(songs, return_index=True)
    some = np.linspace(0, len(present) - 1, min(MAPPED_SONGS, len(present))).astype(int)
    rows = np.isin(songs, present[some])
    names = tuple(bank.pieces[int(piece)].identifier for piece in pieces[first[some]])
    return Points(block.numpy()[rows], np.searchsorted(present[some], songs[rows]), names)


def pseudo_scores(
    bank: Bank,
    segments: Segments,
    subject: Subject,
    protocol: Pseudo10x5 | PseudoListed,
    progress: Progress = no_progress,
    renderings: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[dict[str, dict[str, Any]], dict[str, Confusion]]:
    """Return MES-Pseudo of each part, with leakage, and the confusions of the first gallery.

    Args:
        bank: stems at the model's rate.
        segments: of the protocol's rule of silence; its pieces are in them (`choose_protocol`).
        subject: what is scored.
        protocol: which pseudo-pieces there are.
        progress: called with how many galleries are done, and of how many.
        renderings: how pieces were made, by identifier; if given, even empty, "kinds" are told.

    Raises:
        CorpusError: pseudo-10x5, and the split holds fewer than 15 songs.
    """
    first_of = {
        int(song): bank.pieces[int(piece)]
        for song, piece in zip(segments.songs[::-1], segments.pieces[::-1], strict=True)
    }
    name_of = {song: piece.identifier for song, piece in first_of.items()}
    report, confusions = {}, {}
    for done, part in enumerate(subject.parts):
        galleries = list(protocol.galleries(segments, PARTS.index(part)))
        heard, cast = [], []
        for g, pseudo in enumerate(galleries):
            if len(pseudo.targets):
                heard.append(pseudo)
                cast.append(_gallery_votes(bank, subject, part, pseudo))
            progress(done * len(galleries) + g + 1, len(subject.parts) * len(galleries))
        report[part] = _pooled(heard, cast)
        if renderings is not None and heard:
            kinds = {
                song: kinds_of(piece, renderings.get(piece.identifier, {}), part)
                for song, piece in first_of.items()
            }
            report[part]["kinds"] = _by_kind(heard, cast, kinds)
        if heard:
            confusions[part] = _confusion(heard[0], cast[0], name_of)
    return report, confusions


def _gallery_votes(bank: Bank, subject: Subject, part: str, pseudo: Pseudo) -> Votes:
    """Let the segments of pseudo-pieces that are each other's neighbours vote on one part."""
    backgrounds = torch.from_numpy(pseudo.backgrounds) if pseudo.shares_backgrounds else None
    return votes(
        block_of_plan(bank, pseudo.plan, subject, part),
        torch.from_numpy(pseudo.targets),
        barred=torch.from_numpy(pseudo.pieces),
        backgrounds=backgrounds,
    )


def _pooled(heard: list[Pseudo], cast: list[Votes]) -> dict[str, Any]:
    """Return the mean over all queries; the spread is the deviation over the galleries."""
    if not cast:
        return UNHEARD | {"leakage_interval": None, "spread": None, "groups": 0}
    scores = [summary(votes) for votes in cast]
    right = np.concatenate([votes.right.numpy() for votes in cast])
    targets = np.concatenate([pseudo.targets for pseudo in heard])
    chances = np.concatenate([np.full(score.queries, score.chance) for score in scores])
    accuracy = [score.accuracy for score in scores]
    report = {
        "accuracy": float(right.mean()),
        "interval": interval(right, targets),
        "leakage": None,
        "leakage_interval": None,
        "chance": float(chances.mean()),
        "queries": len(right),
        "labels": max(score.labels for score in scores),
        "spread": float(np.std(accuracy, ddof=1)) if len(accuracy) > 1 else None,
        "groups": len(scores),
    }
    told = [g for g, votes in enumerate(cast) if votes.leaked is not None]
    if told:
        leaked = np.concatenate([np.asarray(cast[g].leaked) for g in told])
        of = np.concatenate([heard[g].targets for g in told])
        report |= {"leakage": float(leaked.mean()), "leakage_interval": interval(leaked, of)}
    return report


def _by_kind(
    heard: list[Pseudo], cast: list[Votes], kinds: Mapping[int, Mapping[str, str]]
) -> dict[str, Any]:
    told = [votes.leaked for votes in cast if votes.leaked is not None]
    return kind_scores(
        np.concatenate([votes.right.numpy() for votes in cast]),
        torch.cat(told).numpy() if len(told) == len(cast) else None,
        np.concatenate([pseudo.targets for pseudo in heard]),
        kinds,
    )


def _confusion(pseudo: Pseudo, cast: Votes, name_of: dict[int, str]) -> Confusion:
    targets, row = np.unique(pseudo.targets, return_inverse=True)
    backgrounds, column = np.unique(pseudo.backgrounds, return_inverse=True)
    voted = np.searchsorted(targets, cast.voted.numpy())
    counts = np.zeros((len(targets), len(targets)), np.int64)
    np.add.at(counts, (row, voted), 1)
    share: NDArray[np.float64] = np.full((len(targets), len(backgrounds)), np.nan)
    for t, b in np.ndindex(share.shape):
        here = (row == t) & (column == b)
        if here.any():
            share[t, b] = cast.right.numpy()[here].mean()
    named = [tuple(name_of[int(song)] for song in songs) for songs in (targets, backgrounds)]
    return Confusion(named[0], named[1], counts, share)
