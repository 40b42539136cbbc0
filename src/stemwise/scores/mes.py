"""Music estimation score (MES): is the nearest music the same song, part by part?

**Definition.** Every segment is a query. Its five nearest other segments by Euclidean distance in
the block of one part vote for their labels; the score is the share of queries whose vote is right.

- *MES-Normal*: real pieces, segments of 10 s without overlap in which the part sounds. The label is
  the song. Only the query segment itself is barred, so the rest of its song may vote. It can be
  won by listening to the other parts ("leakage").
- *MES-Pseudo*: pseudo-pieces, in which the target part comes from one song and the other four from
  another. The label is the target's song. All segments of the query's own pseudo-piece are barred,
  so that only the target part tells.

**Conventions.** Ties in the vote go to the smallest label, as in scikit-learn; of equal distances
the earlier segment is nearer. Chance is one over the number of labels. With fewer than five
segments left, all that are left vote.

**Beyond the paper.** *Leakage* is the share of queries whose *nearest* segment has the query's
background (the song of its other four parts) though not its target. For a part that is not heard
at all it nears 1; for one that is heard well, 0. *Other versions*: MES-Normal with all segments of
the query's own piece barred, where a song has several pieces; that the same recording is near to
itself counts no more.

References: section IV-B of the paper.
"""

from dataclasses import dataclass

import torch

__all__ = ["Mes", "Votes", "mes", "nearest", "summary", "votes"]

NEIGHBOURS = 5


@dataclass(frozen=True)
class Votes:
    """How every query fared.

    Attributes:
        labels: (S,) the song of the target part, as given.
        near: (S, 5) positions of its neighbours, the nearest first; -1 where none is left.
        voted: (S,) the label that they voted for; meaningless where `near` is all -1.
        right: (S,) whether that is the query's own label.
        leaked: (S,) whether the nearest has its background, not its target; None if not asked.
    """

    labels: torch.Tensor
    near: torch.Tensor
    voted: torch.Tensor
    right: torch.Tensor
    leaked: torch.Tensor | None


@dataclass(frozen=True)
class Mes:
    """Score of one part: shares in 0..1, and over how many queries and labels."""

    accuracy: float
    leakage: float | None
    chance: float
    queries: int
    labels: int


def nearest(
    block: torch.Tensor, barred: torch.Tensor, neighbours: int = NEIGHBOURS, chunk: int = 1024
) -> torch.Tensor:
    """Return the positions (S, k) of each segment's nearest others, the nearest first.

    Distances are computed in double precision from the differences, so that equal vectors are at
    distance 0 and ties are seen as such.

    Args:
        block: (S, D) one part's block of every segment.
        barred: (S,) integers; segments with the query's integer may not be its neighbours.
        neighbours: k; fewer come back, marked -1, where fewer are left.
        chunk: queries compared at a time, to bound memory.
    """
    found = []
    block = block.double()
    for first in range(0, len(block), chunk):
        query = block[first : first + chunk]
        distance = torch.cdist(query, block, compute_mode="donot_use_mm_for_euclid_dist")
        shut = barred[first : first + chunk, None] == barred[None, :]
        distance = distance.masked_fill(shut, torch.inf)
        ordered, order = distance.sort(dim=1, stable=True)
        order = order[:, :neighbours].masked_fill(ordered[:, :neighbours].isinf(), -1)
        found.append(order)
    return torch.cat(found)


def votes(
    block: torch.Tensor,
    labels: torch.Tensor,
    *,
    barred: torch.Tensor | None = None,
    backgrounds: torch.Tensor | None = None,
) -> Votes:
    """Return how every query of one part fared.

    Args:
        block: (S, D) the part's block of every segment in which it sounds.
        labels: (S,) integers, the song of the target part.
        barred: (S,) integers, see `nearest`; by default a segment bars itself only (MES-Normal).
            For MES-Pseudo, the pseudo-piece of every segment.
        backgrounds: (S,) integers, the song of the other parts; needed for the leakage.

    Raises:
        ValueError: no segment, or shapes that differ.
    """
    count = len(block)
    if count == 0 or labels.shape != (count,):
        raise ValueError(f"need (S, D) and (S,), got {tuple(block.shape)}, {tuple(labels.shape)}")
    barred = torch.arange(count, device=block.device) if barred is None else barred
    near = nearest(block, barred)
    values, coded = torch.unique(labels, return_inverse=True)
    ballots = torch.zeros(count, len(values) + 1, dtype=torch.long, device=block.device)
    ballots.scatter_add_(1, torch.where(near >= 0, coded[near], len(values)), torch.ones_like(near))
    vote = ballots[:, :-1].argmax(dim=1)  # the first, so the smallest, of equal counts
    has_voted = near[:, 0] >= 0
    leaked = None
    if backgrounds is not None:
        first = near[:, 0]
        leaked = (backgrounds[first] == backgrounds) & (coded[first] != coded) & has_voted
    return Votes(labels, near, values[vote], (vote == coded) & has_voted, leaked)


def summary(cast: Votes) -> Mes:
    """Return the score that votes come to."""
    count, labels = len(cast.labels), len(torch.unique(cast.labels))
    leakage = None if cast.leaked is None else cast.leaked.double().mean().item()
    return Mes(cast.right.double().mean().item(), leakage, 1 / labels, count, labels)


def mes(
    block: torch.Tensor,
    labels: torch.Tensor,
    *,
    barred: torch.Tensor | None = None,
    backgrounds: torch.Tensor | None = None,
) -> Mes:
    """Return the score of one part; arguments and errors as `votes`."""
    return summary(votes(block, labels, barred=barred, backgrounds=backgrounds))
